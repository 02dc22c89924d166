#include "registry/version.h"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <simdjson.h>

#include <algorithm>
#include <array>
#include <limits>

namespace millrace::registry {
namespace {

constexpr int64_t kFormat = 1;

tl::unexpected<Error> wrong_field(std::string_view name) {
  return fail(Errc::kCorruption, fmt::format("field {} is missing or wrong", name));
}

// The fields of one JSON object. The first that is missing or wrong is kept as the error; reading goes on, so that a
// record is read as a list of fields and judged once.
class Fields {
 public:
  explicit Fields(simdjson::dom::object object) : object_(object) {}

  int64_t integer(const char* name) { return get<int64_t>(name, 0); }
  int64_t natural(const char* name) {
    const int64_t value = integer(name);
    if (value < 0) note(name);
    return value;
  }
  std::string text(const char* name) { return std::string(get<std::string_view>(name, {})); }
  std::string raw(const char* name) {
    simdjson::dom::element element;
    if (object_[name].get(element) != simdjson::SUCCESS) {
      note(name);
      return {};
    }
    return simdjson::minify(element);
  }
  std::optional<int64_t> optional_integer(const char* name) {
    simdjson::dom::element element;
    if (object_[name].get(element) != simdjson::SUCCESS || element.is_null()) return std::nullopt;
    return integer(name);
  }
  std::optional<simdjson::dom::object> optional_object(const char* name) {
    simdjson::dom::element element;
    simdjson::dom::object object;
    if (object_[name].get(element) != simdjson::SUCCESS || element.is_null()) return std::nullopt;
    if (element.get(object) == simdjson::SUCCESS) return object;
    note(name);
    return std::nullopt;
  }
  // Empty where it is missing. (simdjson's own empty array must not be iterated over.)
  std::vector<simdjson::dom::element> array(const char* name) {
    simdjson::dom::array elements;
    if (object_[name].get(elements) != simdjson::SUCCESS) {
      note(name);
      return {};
    }
    return {elements.begin(), elements.end()};
  }

  Status status() const {
    if (bad_ == nullptr) return {};
    return wrong_field(bad_);
  }

 private:
  template <typename T>
  T get(const char* name, T otherwise) {
    T value;
    if (object_[name].get(value) == simdjson::SUCCESS) return value;
    note(name);
    return otherwise;
  }
  void note(const char* name) {
    if (bad_ == nullptr) bad_ = name;
  }

  simdjson::dom::object object_;
  const char* bad_ = nullptr;
};

// The root object of `json`, which lives as long as `parser`.
Result<simdjson::dom::object> parse_object(simdjson::dom::parser& parser, std::string_view json) {
  simdjson::dom::element root;
  simdjson::dom::object object;
  if (parser.parse(json.data(), json.size()).get(root) != simdjson::SUCCESS || root.get(object) != simdjson::SUCCESS)
    return fail(Errc::kCorruption, "the record is not a JSON object");
  return object;
}

Status check_format(Fields& fields) {
  if (fields.integer("format") == kFormat) return {};
  return fail(Errc::kUnsupported, "the record is of a newer format");
}

}  // namespace

void write_json(JsonWriter& json, const VersionInfo& info) {
  json.begin_object().key("format").number(kFormat);
  json.key("model").text(info.model).key("version").number(info.version).key("parent").number(info.parent);
  json.key("pipeline").text(info.pipeline).key("algorithm").text(info.algorithm);
  json.key("params").raw(info.params_json).key("features").raw(info.features_json).key("label").raw(info.label_json);
  json.key("round");
  if (info.round)
    json.begin_object()
        .key("series")
        .text(info.round->series)
        .key("boundary")
        .number(info.round->boundary)
        .end_object();
  else
    json.null();
  json.key("learned").begin_array();
  for (const LearnedRange& range : info.learned) {
    json.begin_object().key("topic").text(range.topic).key("partition").number(range.partition);
    json.key("from").number(range.from).key("until").number(range.until).end_object();
  }
  json.end_array();
  const auto time = [&](const char* name, std::optional<int64_t> us) {
    json.key(name);
    us ? json.number(*us) : json.null();
  };
  time("event_time_from_us", info.event_time_from_us);
  time("event_time_until_us", info.event_time_until_us);
  json.key("rows").number(info.rows).key("positives").number(info.positives);
  json.key("metrics").raw(info.metrics_json);
  json.key("created_at_us").number(info.created_at_us).key("code_version").text(info.code_version);
  json.key("blob_bytes").number(info.blob_bytes).key("blob_sha256").text(info.blob_sha256).end_object();
}

Result<VersionInfo> parse_version_info(std::string_view text) {
  simdjson::dom::parser parser;
  MILLRACE_ASSIGN_OR_RETURN(const auto object, parse_object(parser, text));
  Fields fields(object);
  MILLRACE_RETURN_IF_ERROR(check_format(fields));
  VersionInfo info;
  info.model = fields.text("model");
  info.version = fields.natural("version");
  info.parent = fields.natural("parent");
  info.pipeline = fields.text("pipeline");
  info.algorithm = fields.text("algorithm");
  info.params_json = fields.raw("params");
  info.features_json = fields.raw("features");
  info.label_json = fields.raw("label");
  if (const auto object_of_round = fields.optional_object("round")) {
    Fields of_round(*object_of_round);
    info.round = Round{of_round.text("series"), of_round.integer("boundary")};
    MILLRACE_RETURN_IF_ERROR(of_round.status());
  }
  for (const auto element : fields.array("learned")) {
    simdjson::dom::object range;
    if (element.get(range) != simdjson::SUCCESS) return wrong_field("learned");
    Fields of_range(range);
    LearnedRange learned{of_range.text("topic"), 0, of_range.natural("from"), of_range.natural("until")};
    const int64_t partition = of_range.natural("partition");
    MILLRACE_RETURN_IF_ERROR(of_range.status());
    if (partition > std::numeric_limits<int32_t>::max()) return wrong_field("partition");
    learned.partition = static_cast<int32_t>(partition);
    info.learned.push_back(std::move(learned));
  }
  info.event_time_from_us = fields.optional_integer("event_time_from_us");
  info.event_time_until_us = fields.optional_integer("event_time_until_us");
  info.rows = static_cast<uint64_t>(fields.natural("rows"));
  info.positives = static_cast<uint64_t>(fields.natural("positives"));
  info.metrics_json = fields.raw("metrics");
  info.created_at_us = fields.integer("created_at_us");
  info.code_version = fields.text("code_version");
  info.blob_bytes = static_cast<uint64_t>(fields.natural("blob_bytes"));
  info.blob_sha256 = fields.text("blob_sha256");
  MILLRACE_RETURN_IF_ERROR(fields.status());
  return info;
}

void write_json(JsonWriter& json, const Alias& alias) {
  json.begin_object().key("format").number(kFormat).key("version").number(alias.version);
  json.key("who").text(alias.who).key("why").text(alias.why).key("when_us").number(alias.when_us).end_object();
}

Result<Alias> parse_alias(std::string_view text) {
  simdjson::dom::parser parser;
  MILLRACE_ASSIGN_OR_RETURN(const auto object, parse_object(parser, text));
  Fields fields(object);
  MILLRACE_RETURN_IF_ERROR(check_format(fields));
  Alias alias{fields.natural("version"), fields.text("who"), fields.text("why"), fields.integer("when_us")};
  MILLRACE_RETURN_IF_ERROR(fields.status());
  return alias;
}

Status check_name(std::string_view kind, std::string_view name) {
  const auto allowed = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '.' || c == '_' ||
           c == '-';
  };
  if (!name.empty() && name.size() <= 200 && std::ranges::all_of(name, allowed)) return {};
  return fail(Errc::kInvalidArgument, fmt::format("{} is not a name for a {}", name.empty() ? "\"\"" : name, kind),
              "names are 1 to 200 letters, digits, dots, underscores and dashes");
}

std::string sha256_hex(ByteView bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int size = 0;
  EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) fmt::format_to(std::back_inserter(hex), "{:02x}", digest[i]);
  return hex;
}

}  // namespace millrace::registry
