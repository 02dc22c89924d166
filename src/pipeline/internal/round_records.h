#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_writer.h"
#include "base/result.h"
#include "pipeline/internal/round_state.h"

namespace millrace::pipeline {

// The records of the topic of rounds: docs/formats/rounds.md.

inline constexpr std::string_view kRoundsTopic = "__millrace_rounds";
// A contribution's bytes are cut into chunks of this size, and are at most so many.
inline constexpr size_t kRoundChunkBytes = 512 << 10;
inline constexpr uint32_t kRoundChunksMax = 512;

// What a record is about. Without a partition: the decision of a round.
struct RoundKey {
  std::string series;  // PIPELINE/MODEL/DEFINITION
  int64_t boundary = 0;
  struct Part {
    PartitionId partition;
    std::string hash;
    std::optional<uint32_t> chunk;  // none: the contribution's head

    friend auto operator<=>(const Part&, const Part&) = default;
  };
  std::optional<Part> part;

  std::string text() const;
  // kCorruption for what is no key of the topic.
  static Result<RoundKey> parse(std::string_view text);
  friend auto operator<=>(const RoundKey&, const RoundKey&) = default;
};

// The rounds of one model, as long as they may be compared: `definition` is all that makes them what they are.
std::string round_series(std::string_view pipeline, std::string_view model, std::string_view definition);

struct RoundRecord {
  RoundKey key;
  std::optional<Bytes> value;  // none: a tombstone
};

// A contribution as records, its head last: it is there when all of them are.
Result<std::vector<RoundRecord>> encode_contribution(const std::string& series, const Contribution& contribution);
// The contribution that a head tells of, without its trainer.
Result<Contribution> decode_contribution(const RoundKey& key, ByteView head);

RoundRecord encode_decision(const std::string& series, int64_t boundary, RoundDecision decision);
Result<RoundDecision> decode_decision(ByteView value);

}  // namespace millrace::pipeline
