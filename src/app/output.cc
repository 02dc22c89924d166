#include "app/output.h"

#include <fmt/core.h>

#include <algorithm>
#include <ostream>

#include "base/json_writer.h"
#include "base/text.h"
#include "base/utf8.h"

namespace millrace::app {
namespace {

std::string cell_text(const Cell& cell) {
  struct Visitor {
    std::string operator()(std::monostate) const { return ""; }
    std::string operator()(bool value) const { return value ? "true" : "false"; }
    std::string operator()(int64_t value) const { return fmt::format("{}", value); }
    std::string operator()(double value) const { return fmt::format("{}", value); }
    std::string operator()(const std::string& value) const { return value; }
  };
  return std::visit(Visitor{}, cell);
}

bool is_number(const Cell& cell) {
  return std::holds_alternative<int64_t>(cell) || std::holds_alternative<double>(cell);
}

uint32_t code_point(std::string_view sequence) {
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(sequence[i])); };
  switch (sequence.size()) {
    case 1:
      return byte(0);
    case 2:
      return (byte(0) & 0x1f) << 6 | (byte(1) & 0x3f);
    case 3:
      return (byte(0) & 0x0f) << 12 | (byte(1) & 0x3f) << 6 | (byte(2) & 0x3f);
    default:
      return (byte(0) & 0x07) << 18 | (byte(1) & 0x3f) << 12 | (byte(2) & 0x3f) << 6 | (byte(3) & 0x3f);
  }
}

// The terminal's columns that `text` takes: East Asian wide characters take two (UAX #11, in ranges).
size_t display_width(std::string_view text) {
  size_t width = 0;
  while (!text.empty()) {
    const size_t length = std::max<size_t>(1, utf8_sequence_length(text));
    const uint32_t c = code_point(text.substr(0, length));
    const bool wide = (c >= 0x1100 && c <= 0x115f) || (c >= 0x2e80 && c <= 0xa4cf) || (c >= 0xac00 && c <= 0xd7a3) ||
                      (c >= 0xf900 && c <= 0xfaff) || (c >= 0xfe30 && c <= 0xfe6f) || (c >= 0xff00 && c <= 0xff60) ||
                      (c >= 0x1f300 && c <= 0x1faff) || (c >= 0x20000 && c <= 0x3fffd);
    width += wide ? 2 : 1;
    text.remove_prefix(length);
  }
  return width;
}

// A terminal must not be driven by data: control characters are shown, not sent.
std::string printable(std::string_view text) {
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7f)
      shown += c == '\n' ? "\\n" : c == '\t' ? "\\t" : fmt::format("\\x{:02x}", byte);
    else
      shown.push_back(c);
  }
  return shown;
}

void print_table(const Listing& listing, std::ostream& out) {
  const size_t columns = listing.columns.size();
  std::vector<size_t> widths(columns);
  std::vector<bool> right(columns, true);
  for (size_t i = 0; i < columns; ++i) widths[i] = display_width(listing.columns[i]);
  std::vector<std::vector<std::string>> texts;
  for (const auto& row : listing.rows) {
    auto& line = texts.emplace_back();
    for (size_t i = 0; i < columns; ++i) {
      line.push_back(printable(cell_text(row[i])));
      widths[i] = std::max(widths[i], display_width(line.back()));
      if (!is_number(row[i]) && !std::holds_alternative<std::monostate>(row[i])) right[i] = false;
    }
  }
  const auto print_line = [&](const std::vector<std::string>& cells) {
    std::string line;
    for (size_t i = 0; i < columns; ++i) {
      const std::string padding(widths[i] - display_width(cells[i]), ' ');
      line += right[i] ? padding + cells[i] : cells[i] + padding;
      if (i + 1 < columns) line += "  ";
    }
    line.erase(line.find_last_not_of(' ') + 1);
    out << line << '\n';
  };
  std::vector<std::string> header;
  for (const auto& name : listing.columns) header.push_back(to_upper(name));
  print_line(header);
  for (const auto& line : texts) print_line(line);
}

void write_json(const Cell& cell, JsonWriter& json) {
  if (const auto* truth = std::get_if<bool>(&cell))
    json.boolean(*truth);
  else if (const auto* integer = std::get_if<int64_t>(&cell))
    json.number(*integer);
  else if (const auto* real = std::get_if<double>(&cell))
    json.number(*real);
  else if (const auto* text = std::get_if<std::string>(&cell))
    json.text(*text);
  else
    json.null();
}

}  // namespace

void write_json_row(const Listing& listing, const std::vector<Cell>& row, JsonWriter& json) {
  json.begin_object();
  for (size_t i = 0; i < row.size(); ++i) write_json(row[i], json.key(listing.columns[i]));
  json.end_object();
}

namespace {

void print_json(const Listing& listing, std::ostream& out) {
  std::string text;
  JsonWriter json(text);
  json.begin_array();
  for (const auto& row : listing.rows) write_json_row(listing, row, json);
  json.end_array();
  out << text << '\n';
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string quoted = "\"";
  for (const char c : text) quoted += c == '"' ? std::string("\"\"") : std::string(1, c);
  return quoted + "\"";
}

void print_csv(const Listing& listing, std::ostream& out) {
  const auto print_line = [&](size_t count, auto&& field) {
    for (size_t i = 0; i < count; ++i) out << (i > 0 ? "," : "") << csv_field(field(i));
    out << "\r\n";
  };
  print_line(listing.columns.size(), [&](size_t i) { return listing.columns[i]; });
  for (const auto& row : listing.rows) print_line(row.size(), [&](size_t i) { return cell_text(row[i]); });
}

void print_yaml(const Listing& listing, std::ostream& out) {
  if (listing.rows.empty()) out << "[]\n";
  for (const auto& row : listing.rows) {
    for (size_t i = 0; i < row.size(); ++i) {
      // JSON's scalars are YAML's, and quoting every text leaves no trap.
      std::string value;
      JsonWriter json(value);
      write_json(row[i], json);
      out << (i == 0 ? "- " : "  ") << listing.columns[i] << ": " << value << '\n';
    }
  }
}

}  // namespace

void print_json_lines(const Listing& listing, std::ostream& out) {
  for (const auto& row : listing.rows) {
    std::string text;
    JsonWriter json(text);
    write_json_row(listing, row, json);
    out << text << '\n';
  }
}

void print_last_column(const Listing& listing, std::ostream& out) {
  for (const auto& row : listing.rows) out << cell_text(row.back()) << '\n';
}

Result<OutputFormat> parse_output_format(std::string_view name) {
  if (name == "table") return OutputFormat::kTable;
  if (name == "json") return OutputFormat::kJson;
  if (name == "csv") return OutputFormat::kCsv;
  if (name == "yaml") return OutputFormat::kYaml;
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is not an output format", name), "table, json, csv or yaml");
}

void print(const Listing& listing, OutputFormat format, std::ostream& out, std::ostream& notes) {
  switch (format) {
    case OutputFormat::kTable:
      if (listing.rows.empty() && !listing.empty_note.empty())
        notes << listing.empty_note << '\n';
      else
        print_table(listing, out);
      return;
    case OutputFormat::kJson:
      return print_json(listing, out);
    case OutputFormat::kCsv:
      return print_csv(listing, out);
    case OutputFormat::kYaml:
      return print_yaml(listing, out);
  }
}

}  // namespace millrace::app
