#include "pipeline/internal/truths.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/byte_reader.h"

namespace millrace::pipeline {
namespace {

bool holds(Comparison comparison, double value, double number) {
  switch (comparison) {
    case Comparison::kNone:
      return false;
    case Comparison::kEqual:
      return value == number;
    case Comparison::kNotEqual:
      return value != number;
    case Comparison::kLess:
      return value < number;
    case Comparison::kLessEqual:
      return value <= number;
    case Comparison::kGreater:
      return value > number;
    case Comparison::kGreaterEqual:
      return value >= number;
  }
  return false;
}

}  // namespace

void Truths::insert(const std::string& key, Truth truth) {
  std::vector<Truth>& list = by_key_[key];
  const auto place = std::upper_bound(list.begin(), list.end(), truth, [](const Truth& a, const Truth& b) {
    return std::pair(a.time_us, a.offset) < std::pair(b.time_us, b.offset);
  });
  expiry_.emplace(truth.time_us, key);
  list.insert(place, truth);
}

void Truths::add(const std::string& key, int64_t time_us, Offset offset, std::optional<double> value) {
  fresh_.emplace_back(key, offset.value());
  insert(key, {time_us, offset.value(), value, false});
}

Truths::Label Truths::label(const std::string& key, int64_t after_us, int64_t until_us) const {
  Label label;
  double sum = 0;
  double least = std::numeric_limits<double>::infinity();
  double greatest = -least;
  uint64_t values = 0;
  if (const auto found = by_key_.find(key); found != by_key_.end()) {
    const auto& list = found->second;
    auto truth = std::upper_bound(list.begin(), list.end(), after_us,
                                  [](int64_t time, const Truth& t) { return time < t.time_us; });
    for (; truth != list.end() && truth->time_us <= until_us; ++truth) {
      ++label.matches;
      if (!truth->value) continue;
      if (value_.function != features::Function::kCount && !std::isfinite(*truth->value)) continue;
      ++values;
      sum += *truth->value;
      least = std::min(least, *truth->value);
      greatest = std::max(greatest, *truth->value);
    }
  }
  switch (value_.function) {
    case features::Function::kCount:
      label.value = static_cast<double>(value_.column.empty() ? label.matches : values);
      break;
    case features::Function::kSum:
      label.value = sum;
      break;
    case features::Function::kAvg:
      if (values > 0) label.value = sum / static_cast<double>(values);
      break;
    case features::Function::kMin:
      if (values > 0) label.value = least;
      break;
    case features::Function::kMax:
      if (values > 0) label.value = greatest;
      break;
    case features::Function::kStddev:
    case features::Function::kStddevPop:
    case features::Function::kVar:
    case features::Function::kVarPop:
      break;  // parse_label_value() lets none of these through
  }
  if (value_.comparison != Comparison::kNone && label.value)
    label.value = holds(value_.comparison, *label.value, value_.number) ? 1 : 0;
  return label;
}

void Truths::forget(const std::string& key, int64_t time_us) {
  const auto found = by_key_.find(key);
  if (found == by_key_.end()) return;
  auto& list = found->second;
  size_t count = 0;
  for (; count < list.size() && list[count].time_us <= time_us; ++count) {
    if (list[count].written) gone_.emplace_back(key, list[count].offset);
    expiry_.erase({list[count].time_us, key});
  }
  list.erase(list.begin(), list.begin() + static_cast<ptrdiff_t>(count));
  if (list.empty()) by_key_.erase(found);
}

std::optional<std::pair<int64_t, std::string>> Truths::pop_expired(int64_t watermark_us) {
  if (expiry_.empty() || expiry_.begin()->first > watermark_us) return std::nullopt;
  return std::move(expiry_.extract(expiry_.begin()).value());
}

void Truths::collect(state::PageSink& sink) {
  for (const auto& [key, offset] : gone_) sink.erase(as_byte_view(key), static_cast<uint64_t>(offset));
  gone_.clear();
  Bytes page;
  for (const auto& fresh : fresh_) {
    const auto& [key, offset] = fresh;
    const auto found = by_key_.find(key);
    if (found == by_key_.end()) continue;
    const auto truth = std::find_if(found->second.begin(), found->second.end(),
                                    [&fresh](const Truth& t) { return t.offset == fresh.second; });
    if (truth == found->second.end()) continue;
    page.clear();
    ByteWriter out(page);
    out.fixed(truth->time_us);
    out.fixed<uint8_t>(truth->value ? 1 : 0);
    out.float64(truth->value.value_or(0));
    sink.put(as_byte_view(key), static_cast<uint64_t>(offset), page);
    truth->written = true;
  }
  fresh_.clear();
}

Status Truths::restore(ByteView key, uint64_t page, ByteView value) {
  ByteReader in(value);
  Truth truth;
  MILLRACE_ASSIGN_OR_RETURN(truth.time_us, in.fixed<int64_t>());
  MILLRACE_ASSIGN_OR_RETURN(const uint8_t valid, in.fixed<uint8_t>());
  MILLRACE_ASSIGN_OR_RETURN(const double number, in.float64());
  truth.offset = static_cast<int64_t>(page);
  if (valid != 0) truth.value = number;
  truth.written = true;
  insert(std::string(as_text(key)), truth);
  return {};
}

}  // namespace millrace::pipeline
