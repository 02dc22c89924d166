#include "format/infer.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <limits>
#include <map>
#include <vector>

#include "base/text.h"
#include "format/internal/csv_row.h"
#include "format/time_format.h"

namespace millrace::format {
namespace {

using simdjson::dom::element;
using simdjson::dom::element_type;

// What text columns are tried for; the first that every value fits is it.
constexpr std::array<std::string_view, 10> kTextFormats{
    "rfc3339",           "%m/%d/%Y %H:%M", "%m/%d/%Y %H:%M:%S", "%d/%m/%Y %H:%M",       "%d/%m/%Y %H:%M:%S",
    "%Y/%m/%d %H:%M:%S", "%m/%d/%y %H:%M", "%d.%m.%Y %H:%M",    "%d/%b/%Y:%H:%M:%S %z", "%a %b %d %H:%M:%S %Y"};
// Times between 1990 and 2100 in the units of numbers.
constexpr int64_t kSecondsMin = 631'152'000, kSecondsMax = 4'102'444'800;

// What all values of a column have in common so far.
struct Seen {
  std::string name;
  bool any = false;
  bool boolean = true, integer = true, number = true, text_only = true;
  int64_t integer_min = std::numeric_limits<int64_t>::max(), integer_max = std::numeric_limits<int64_t>::min();
  std::array<bool, kTextFormats.size()> fits;

  explicit Seen(std::string column) : name(std::move(column)) { fits.fill(true); }

  void no_text() { fits.fill(false), text_only = false; }

  void saw_integer(int64_t value) {
    any = true;
    boolean = false;
    integer_min = std::min(integer_min, value);
    integer_max = std::max(integer_max, value);
  }
  void try_times(std::string_view text, const std::vector<TimeFormat>& formats) {
    for (size_t i = 0; i < fits.size(); ++i) fits[i] = fits[i] && formats[i].read_text(text).has_value();
  }
};

class Sample {
 public:
  Sample() {
    formats_.reserve(kTextFormats.size());
    for (const std::string_view format : kTextFormats) formats_.push_back(*TimeFormat::parse(format));
  }

  Seen& column(std::string_view name) {
    const auto found = by_name_.find(name);
    if (found != by_name_.end()) return columns_[found->second];
    by_name_.emplace(name, columns_.size());
    return columns_.emplace_back(std::string(name));
  }

  void add_json(Seen& seen, const element& value) {
    switch (value.type()) {
      case element_type::NULL_VALUE:
        return;
      case element_type::BOOL:
        seen.any = true;
        seen.integer = seen.number = false;
        return seen.no_text();
      case element_type::INT64:
        seen.saw_integer(value.get_int64().value());
        return seen.no_text();
      case element_type::UINT64:
      case element_type::DOUBLE:
        seen.any = true;
        seen.boolean = seen.integer = false;
        return seen.no_text();
      case element_type::STRING:
        seen.any = true;
        seen.boolean = seen.integer = seen.number = false;
        return seen.try_times(value.get_string().value(), formats_);
      case element_type::ARRAY:
      case element_type::OBJECT:
        seen.any = true;
        seen.boolean = seen.integer = seen.number = false;
        return seen.no_text();
    }
  }

  void add_text(Seen& seen, std::string_view text) {
    if (text.empty()) return;
    seen.any = true;
    const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
    // 007 and 01234 are codes, not numbers.
    const bool code = digits.size() > 1 && digits[0] == '0' && digits[1] != '.';
    const auto integer = parse_int64(text);
    const bool boolean = text == "true" || text == "false" || text == "True" || text == "False";
    seen.boolean &= boolean;
    if (integer && !code)
      seen.saw_integer(*integer);
    else
      seen.integer = false;
    seen.number &= !code && !boolean && parse_double(text).has_value();
    seen.try_times(text, formats_);
  }

  Inferred result(Format format) {
    Inferred inferred;
    inferred.format = format;
    std::vector<columns::Field> fields;
    fields.reserve(columns_.size());
    for (Seen& seen : columns_) fields.push_back({seen.name, type_of(seen, inferred)});
    if (inferred.time_column.empty()) find_number_time(fields, inferred);
    inferred.columns = columns::Schema(std::move(fields));
    return inferred;
  }

 private:
  // A column in the format of the time column, or RFC 3339, is a timestamp; other formats can be declared for the time
  // column only.
  static columns::Type type_of(const Seen& seen, Inferred& inferred) {
    if (!seen.any) return columns::kVarchar;
    if (seen.boolean) return columns::kBoolean;
    if (seen.integer) return columns::kBigint;
    if (seen.number) return columns::kDouble;
    for (size_t i = 0; i < seen.fits.size(); ++i) {
      if (!seen.fits[i]) continue;
      if (inferred.time_column.empty()) {
        inferred.time_column = seen.name;
        inferred.time_format = kTextFormats[i];
        return columns::kTimestamp;
      }
      return i == 0 ? columns::kTimestamp : columns::kVarchar;
    }
    return columns::kVarchar;
  }

  void find_number_time(std::vector<columns::Field>& fields, Inferred& inferred) const {
    struct Unit {
      std::string_view format;
      int64_t per_second;
    };
    constexpr std::array kUnits{Unit{"unix_s", 1}, Unit{"unix_ms", 1'000}, Unit{"unix_us", 1'000'000}};
    for (size_t i = 0; i < columns_.size(); ++i) {
      const Seen& seen = columns_[i];
      if (fields[i].type != columns::kBigint || !named_like_a_time(seen.name)) continue;
      for (const Unit& unit : kUnits) {
        if (seen.integer_min < kSecondsMin * unit.per_second || seen.integer_max >= kSecondsMax * unit.per_second)
          continue;
        fields[i].type = columns::kTimestamp;
        inferred.time_column = seen.name;
        inferred.time_format = unit.format;
        return;
      }
    }
  }

  static bool named_like_a_time(std::string_view name) {
    const std::string lower = to_lower(name);
    for (const std::string_view word : {"time", "date", "stamp"})
      if (lower.find(word) != std::string::npos) return true;
    return lower == "ts" || lower == "at" || lower.ends_with("_ts") || lower.ends_with("_at");
  }

  std::vector<TimeFormat> formats_;
  std::vector<Seen> columns_;
  std::map<std::string, size_t, std::less<>> by_name_;
};

Inferred lines_of_text(uint64_t rows) {
  Inferred inferred;
  inferred.format = Format::kRaw;
  inferred.columns = columns::Schema({{"value", columns::kVarchar}});
  inferred.rows = rows;
  return inferred;
}

std::string yaml_scalar(std::string_view text) {
  // Plain scalars would be read as something else where they hold YAML's own characters, or its booleans.
  const bool plain = !text.empty() && std::isdigit(static_cast<unsigned char>(text[0])) == 0 &&
                     std::all_of(text.begin(), text.end(), [](char c) {
                       return std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '_' || c == '.';
                     });
  for (const std::string_view word : {"on",  "off", "yes",  "no",    "true", "false", "null", "y",  "n",   "On",  "Off",
                                      "Yes", "No",  "True", "False", "Null", "Y",     "N",    "ON", "OFF", "YES", "NO"})
    if (text == word) return fmt::format("\"{}\"", text);
  if (plain) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') quoted += '\\';
    quoted += c;
  }
  return quoted + '"';
}

}  // namespace

Inferred infer_records(std::span<const std::string_view> values) {
  Sample sample;
  simdjson::dom::parser parser;
  uint64_t unreadable = 0;
  for (const std::string_view value : values) {
    simdjson::dom::object object;
    if (parser.parse(value.data(), value.size()).get_object().get(object) != simdjson::SUCCESS) {
      ++unreadable;
      continue;
    }
    for (const simdjson::dom::key_value_pair member : object) sample.add_json(sample.column(member.key), member.value);
  }
  // A stream of JSON has a bad line here and there; one of text has nothing else.
  if (unreadable * 2 > values.size() || values.empty()) return lines_of_text(values.size());
  Inferred inferred = sample.result(Format::kJson);
  inferred.rows = values.size();
  inferred.unreadable = unreadable;
  return inferred;
}

Result<Inferred> infer_file(const FileReaderOptions& options, uint64_t rows_max) {
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, FileReader::open(options));
  if (options.kind != FileKind::kCsv) {
    std::vector<std::string> lines;
    std::string_view line;
    while (lines.size() < rows_max) {
      MILLRACE_ASSIGN_OR_RETURN(const bool found, reader->next(line));
      if (!found) break;
      lines.emplace_back(line);
    }
    const std::vector<std::string_view> views(lines.begin(), lines.end());
    return options.kind == FileKind::kJsonl ? infer_records(views) : lines_of_text(lines.size());
  }
  Sample sample;
  for (const std::string& name : reader->header()) sample.column(name);
  std::vector<CsvField> fields;
  std::string scratch;
  uint64_t rows = 0, unreadable = 0;
  std::string_view row;
  for (; rows < rows_max; ++rows) {
    MILLRACE_ASSIGN_OR_RETURN(const bool found, reader->next(row));
    if (!found) break;
    if (split_csv_row(row, reader->delimiter(), fields, scratch) != nullptr ||
        fields.size() != reader->header().size()) {
      ++unreadable;
      continue;
    }
    for (size_t i = 0; i < fields.size(); ++i)
      sample.add_text(sample.column(reader->header()[i]), trim(fields[i].text));
  }
  Inferred inferred = sample.result(Format::kCsv);
  inferred.rows = rows;
  inferred.unreadable = unreadable;
  return inferred;
}

std::string to_source_yaml(const Inferred& inferred, std::string_view source, std::string_view topic) {
  std::string yaml = fmt::format("  {}:\n    topic: {}\n    format: {}\n", yaml_scalar(source), yaml_scalar(topic),
                                 format_name(inferred.format));
  if (inferred.format != Format::kRaw) yaml += "    columns:\n";
  for (const columns::Field& field : inferred.columns.fields()) {
    if (inferred.format == Format::kRaw) break;
    yaml += fmt::format("      {}: {}\n", yaml_scalar(field.name), yaml_scalar(field.type.to_string()));
  }
  if (!inferred.time_column.empty())
    yaml += fmt::format("    time: {{column: {}, format: {}}}\n", yaml_scalar(inferred.time_column),
                        yaml_scalar(inferred.time_format));
  return yaml;
}

}  // namespace millrace::format
