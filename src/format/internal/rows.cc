#include "format/internal/rows.h"

#include <fmt/core.h>

#include "base/utf8.h"

namespace millrace::format {

std::string shown(std::string_view value) {
  constexpr size_t kShownMax = 60;
  std::string text;
  while (!value.empty() && text.size() < kShownMax) {
    const size_t length = utf8_sequence_length(value);
    if (length == 0)
      text += "\ufffd";
    else
      text += value.substr(0, length);
    value.remove_prefix(length == 0 ? 1 : length);
  }
  if (!value.empty()) text += "…";
  return text;
}

std::string wrong_type(const Slot& slot, std::string_view what, std::string_view value) {
  const std::string got = fmt::format("got {}{}{}", what, value.empty() ? "" : " ", shown(value));
  if (slot.rule == nullptr) return fmt::format("column {}: expected {}, {}", slot.name, slot.type.to_string(), got);
  return fmt::format("{}: type: expected {} ({}), {}", slot.pointer, type_names(slot.rule->types),
                     slot.type.to_string(), got);
}

std::optional<int64_t> parse_decimal(std::string_view text, int width, int scale) {
  const bool negative = !text.empty() && text[0] == '-';
  if (!text.empty() && (text[0] == '-' || text[0] == '+')) text.remove_prefix(1);
  // The digits without the point, and how many of them stand behind it.
  uint64_t digits = 0;
  int significant = 0, behind = 0;
  bool point = false, any = false;
  size_t i = 0;
  // Zeros at the end wait until a digit follows them: 1.5000000000000000000000 is no long number.
  int zeros = 0;
  for (; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '.' && !point) {
      point = true;
      continue;
    }
    if (c < '0' || c > '9') break;
    any = true;
    if (point) ++behind;
    if (c == '0') {
      if (significant > 0) ++zeros;
      continue;
    }
    significant += zeros + 1;
    if (significant > 18) return std::nullopt;
    for (; zeros > 0; --zeros) digits *= 10;
    digits = digits * 10 + static_cast<uint64_t>(c - '0');
  }
  if (!any) return std::nullopt;
  int exponent = 0;
  if (i < text.size() && (text[i] == 'e' || text[i] == 'E')) {
    ++i;
    const bool minus = i < text.size() && text[i] == '-';
    if (i < text.size() && (text[i] == '-' || text[i] == '+')) ++i;
    if (i == text.size()) return std::nullopt;
    for (; i < text.size() && text[i] >= '0' && text[i] <= '9'; ++i)
      exponent = std::min(exponent * 10 + (text[i] - '0'), 1'000);
    if (minus) exponent = -exponent;
  }
  if (i != text.size()) return std::nullopt;
  if (digits == 0) return 0;
  // value = digits * 10^(zeros - behind + exponent), to become scaled = value * 10^scale.
  const int shift = zeros - behind + exponent + scale;
  if (shift < 0 || significant + shift > width) return std::nullopt;
  for (int k = 0; k < shift; ++k) digits *= 10;
  return negative ? -static_cast<int64_t>(digits) : static_cast<int64_t>(digits);
}

}  // namespace millrace::format
