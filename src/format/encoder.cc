#include "format/encoder.h"

#include <fmt/core.h>

#include <charconv>
#include <cmath>

#include "base/check.h"
#include "base/json_writer.h"
#include "base/text.h"

namespace millrace::format {
namespace {

using columns::Column;
using columns::Kind;

void append_integer(int64_t value, std::string& out) {
  char digits[24];
  const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
  out.append(digits, end);
}

void append_json_value(const Column& column, size_t row, std::string& out) {
  if (column.is_null(row)) {
    out += "null";
    return;
  }
  switch (column.type().kind) {
    case Kind::kBoolean:
    case Kind::kDecimal:
      return column.append_text(row, out);
    case Kind::kBigint:
      return append_integer(column.int64s()[row], out);
    case Kind::kDouble: {
      const double value = column.doubles()[row];
      if (!std::isfinite(value)) {
        out += "null";
        return;
      }
      char digits[32];
      const auto [end, error] = std::to_chars(digits, digits + sizeof(digits), value);
      out.append(digits, end);
      return;
    }
    case Kind::kTimestamp:
      out += '"';
      column.append_text(row, out);
      out += '"';
      return;
    case Kind::kVarchar:
      return append_json_string(out, column.texts()[row]);
  }
}

void append_csv_text(std::string_view text, std::string& out) {
  const bool plain = !text.empty() && text.find_first_of(",\"\r\n") == std::string_view::npos && text.front() != ' ' &&
                     text.back() != ' ';
  if (plain) {
    out += text;
    return;
  }
  out += '"';
  for (const char c : text) {
    if (c == '"') out += '"';
    out += c;
  }
  out += '"';
}

}  // namespace

Result<Encoder> Encoder::make(Format format, columns::SchemaPtr schema, std::vector<std::string> columns) {
  if (columns.empty()) columns = schema->names();
  Encoder encoder;
  encoder.format_ = format;
  for (const std::string& name : columns) {
    const auto index = schema->index_of(name);
    if (!index) {
      const std::vector<std::string> names = schema->names();
      const auto nearest = nearest_name(name, names);
      return fail(Errc::kInvalidArgument, fmt::format("there is no column {}", name),
                  nearest ? fmt::format("did you mean {}?", *nearest) : std::string());
    }
    std::string prefix = encoder.members_.empty() ? "{" : ",";
    append_json_string(prefix, name);
    encoder.members_.push_back({*index, prefix + ':'});
  }
  const bool line = format == Format::kRaw || format == Format::kText;
  if (line && (encoder.members_.size() != 1 || schema->field(encoder.members_[0].column).type != columns::kVarchar))
    return fail(Errc::kInvalidArgument, fmt::format("format {} writes one column, a varchar", format_name(format)),
                "select one column before, or use json");
  encoder.schema_ = std::move(schema);
  return encoder;
}

void Encoder::append_row(const columns::Batch& batch, size_t row, std::string& out) const {
  MILLRACE_CHECK(batch.schema().size() == schema_->size());
  switch (format_) {
    case Format::kJson:
      if (members_.empty()) out += '{';
      for (const Member& member : members_) {
        out += member.prefix;
        append_json_value(batch.column(member.column), row, out);
      }
      out += '}';
      return;
    case Format::kCsv:
      for (size_t i = 0; i < members_.size(); ++i) {
        if (i > 0) out += ',';
        const Column& column = batch.column(members_[i].column);
        if (column.is_null(row)) continue;
        if (column.type().kind == Kind::kVarchar)
          append_csv_text(column.texts()[row], out);
        else
          column.append_text(row, out);
      }
      return;
    case Format::kRaw:
    case Format::kText: {
      const Column& column = batch.column(members_[0].column);
      if (column.is_valid(row)) out += column.texts()[row];
      return;
    }
  }
}

std::string Encoder::csv_header() const {
  std::string header;
  for (const Member& member : members_) {
    if (!header.empty()) header += ',';
    append_csv_text(schema_->field(member.column).name, header);
  }
  return header;
}

}  // namespace millrace::format
