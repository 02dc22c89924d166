#include "format/format.h"

#include <fmt/core.h>

#include <array>
#include <string>
#include <vector>

#include "base/text.h"

namespace millrace::format {
namespace {

struct Name {
  std::string_view text;
  Format format;
};
constexpr std::array kNames{Name{"json", Format::kJson}, Name{"csv", Format::kCsv}, Name{"raw", Format::kRaw},
                            Name{"text", Format::kText}};
constexpr std::array<std::string_view, 5> kLater{"avro", "protobuf", "debezium", "apache", "syslog"};

}  // namespace

Result<Format> parse_format(std::string_view name) {
  std::vector<std::string> names;
  for (const Name& known : kNames) {
    if (known.text == name) return known.format;
    names.emplace_back(known.text);
  }
  for (const std::string_view later : kLater)
    if (later == name)
      return fail(Errc::kNotBuiltYet, fmt::format("format {} is not built yet", name), "json, csv, raw or text");
  const auto nearest = nearest_name(name, names);
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is not a format", name),
              nearest ? fmt::format("did you mean {}?", *nearest) : "json, csv, raw or text");
}

std::string_view format_name(Format format) {
  for (const Name& known : kNames)
    if (known.format == format) return known.text;
  return {};
}

}  // namespace millrace::format
