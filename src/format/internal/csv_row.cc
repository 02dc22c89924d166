#include "format/internal/csv_row.h"

#include <cstring>

namespace millrace::format {

const char* split_csv_row(std::string_view row, char delimiter, std::vector<CsvField>& fields, std::string& scratch) {
  fields.clear();
  scratch.clear();
  // Enough for every field: the views into it must not move.
  if (scratch.capacity() < row.size()) scratch.reserve(row.size());
  size_t at = 0;
  while (true) {
    if (at < row.size() && row[at] == '"') {
      size_t begin = at + 1, end = begin;
      bool doubled = false;
      while (true) {
        end = row.find('"', end);
        if (end == std::string_view::npos) return "a quoted field does not end";
        if (end + 1 >= row.size() || row[end + 1] != '"') break;
        doubled = true;
        end += 2;
      }
      std::string_view text = row.substr(begin, end - begin);
      if (doubled) {
        const size_t start = scratch.size();
        for (size_t i = 0; i < text.size(); ++i) {
          scratch += text[i];
          if (text[i] == '"') ++i;
        }
        text = std::string_view(scratch).substr(start);
      }
      fields.push_back({text, true});
      at = end + 1;
      if (at == row.size()) return nullptr;
      if (row[at] != delimiter) return "text follows the closing quote of a field";
    } else {
      const void* found = std::memchr(row.data() + at, delimiter, row.size() - at);
      const size_t end =
          found == nullptr ? row.size() : static_cast<size_t>(static_cast<const char*>(found) - row.data());
      fields.push_back({row.substr(at, end - at), false});
      if (end == row.size()) return nullptr;
      at = end;
    }
    ++at;
    if (at == row.size()) {
      fields.push_back({});
      return nullptr;
    }
  }
}

}  // namespace millrace::format
