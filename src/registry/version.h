#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_writer.h"
#include "base/json_writer.h"
#include "base/result.h"

namespace millrace::registry {

// What a version learned from, of one partition of a source topic.
struct LearnedRange {
  std::string topic;
  int32_t partition = 0;
  int64_t from = 0;   // offsets
  int64_t until = 0;  // exclusive

  friend bool operator==(const LearnedRange&, const LearnedRange&) = default;
};

// The round of training that made a version. Rounds of one series come in the order of their boundaries, and each makes
// one version at most.
struct Round {
  std::string series;
  int64_t boundary = 0;

  friend bool operator==(const Round&, const Round&) = default;
};

// All that is known of a version but its bytes. Texts that end in _json are complete JSON values that the registry
// keeps as they are; what is in them is the trainer's business. docs/formats/registry.md has the fields as they are
// stored.
struct VersionInfo {
  std::string model;
  int64_t version = 0;   // from 1
  int64_t parent = 0;    // the version before it; 0: none
  std::string pipeline;  // that trains the model

  std::string algorithm;
  std::string params_json = "{}";
  std::string features_json = "[]";
  std::string label_json = "{}";  // definition and delay

  std::optional<Round> round;  // none: made once, at the end of a run
  std::vector<LearnedRange> learned;
  std::optional<int64_t> event_time_from_us, event_time_until_us;  // of the rows learned
  uint64_t rows = 0;                                               // learned
  uint64_t positives = 0;                                          // of them; 0 in regression
  std::string metrics_json = "{}";

  int64_t created_at_us = 0;
  std::string code_version;

  uint64_t blob_bytes = 0;
  std::string blob_sha256;  // lower-case hex

  friend bool operator==(const VersionInfo&, const VersionInfo&) = default;
};

// As one JSON object, and back. kCorruption names the field that is missing or wrong.
void write_json(JsonWriter& json, const VersionInfo& info);
Result<VersionInfo> parse_version_info(std::string_view json);

// A registered version with the model's bytes, which the registry never looks into. Immutable, shared.
struct Version {
  VersionInfo info;
  Bytes blob;
};
using VersionPtr = std::shared_ptr<const Version>;

// An alias points at a version: what `promote` moves. champion, challenger and shadow are the ones with a meaning.
struct Alias {
  int64_t version = 0;
  std::string who;  // "pipeline fraud", "user"
  std::string why;
  int64_t when_us = 0;

  friend bool operator==(const Alias&, const Alias&) = default;
};
inline constexpr std::string_view kChampion = "champion";

void write_json(JsonWriter& json, const Alias& alias);
Result<Alias> parse_alias(std::string_view json);

// Names of models, aliases and pipelines are 1 to 200 of A-Z a-z 0-9 . _ -. kInvalidArgument says what is wrong; `kind`
// is what the name is of.
Status check_name(std::string_view kind, std::string_view name);

// SHA-256 in lower-case hex.
std::string sha256_hex(ByteView bytes);

}  // namespace millrace::registry
