#include "pipeline/internal/round_records.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>

#include "base/byte_reader.h"
#include "base/crc32c.h"
#include "base/text.h"

// Keys: SERIES/BOUNDARY for a decision, SERIES/BOUNDARY/PARTITION/HASH for a contribution's head, and …/I for its
// chunks, where SERIES is PIPELINE/MODEL/DEFINITION.
namespace millrace::pipeline {
namespace {

constexpr uint8_t kVersion = 1;
constexpr size_t kHashDigits = 16;
constexpr int64_t kNoTime = std::numeric_limits<int64_t>::min();

void seal(Bytes& bytes) { ByteWriter(bytes).fixed(crc32c(bytes)); }

// What stands between version and checksum.
Result<ByteReader> open(ByteView bytes) {
  if (bytes.size() < sizeof(uint8_t) + sizeof(uint32_t))
    return fail(Errc::kCorruption, "a record of rounds is cut off");
  const ByteView body = bytes.first(bytes.size() - sizeof(uint32_t));
  ByteReader sum(bytes.subspan(body.size()));
  if (sum.fixed<uint32_t>() != crc32c(body)) return fail(Errc::kCorruption, "a record of rounds fails its checksum");
  ByteReader in(body);
  MILLRACE_ASSIGN_OR_RETURN(const uint8_t version, in.fixed<uint8_t>());
  if (version != kVersion) return fail(Errc::kUnsupported, "a record of rounds is of a later version");
  return in;
}

std::string digits_of(std::string_view text) { return registry::sha256_hex(as_byte_view(text)).substr(0, kHashDigits); }

}  // namespace

std::string round_series(std::string_view pipeline, std::string_view model, std::string_view definition) {
  return fmt::format("{}/{}/{}", pipeline, model, digits_of(definition));
}

std::string RoundKey::text() const {
  std::string text = fmt::format("{}/{}", series, boundary);
  if (part) text += fmt::format("/{}/{}", part->partition.value(), part->hash);
  if (part && part->chunk) text += fmt::format("/{}", *part->chunk);
  return text;
}

Result<RoundKey> RoundKey::parse(std::string_view text) {
  const auto bad = [&] {
    return fail(Errc::kCorruption, fmt::format("\"{}\" is no key of {}", text.substr(0, 100), kRoundsTopic));
  };
  const auto words = split(text, '/');
  if (words.size() != 4 && words.size() != 6 && words.size() != 7) return bad();
  RoundKey key;
  key.series = fmt::format("{}/{}/{}", words[0], words[1], words[2]);
  const auto boundary = parse_int64(words[3]);
  if (!boundary) return bad();
  key.boundary = *boundary;
  if (words.size() == 4) return key;
  const auto partition = parse_int64(words[4]);
  if (!partition || *partition < 0 || *partition > std::numeric_limits<int32_t>::max()) return bad();
  key.part = Part{PartitionId(static_cast<int32_t>(*partition)), std::string(words[5]), std::nullopt};
  if (words.size() == 6) return key;
  const auto chunk = parse_int64(words[6]);
  if (!chunk || *chunk < 0 || *chunk >= kRoundChunksMax) return bad();
  key.part->chunk = static_cast<uint32_t>(*chunk);
  return key;
}

Result<std::vector<RoundRecord>> encode_contribution(const std::string& series, const Contribution& contribution) {
  const Bytes trainer = contribution.trainer ? contribution.trainer->serialize() : Bytes();
  const size_t chunks = (trainer.size() + kRoundChunkBytes - 1) / kRoundChunkBytes;
  if (chunks > kRoundChunksMax)
    return fail(Errc::kTooLarge,
                fmt::format("{}: a learner of {} bytes is too large to be merged", series, trainer.size()));
  Bytes head;
  ByteWriter out(head);
  out.fixed(kVersion);
  out.fixed(static_cast<uint8_t>(contribution.makes_round ? 1 : 0));
  out.uvarint(chunks);
  out.uvarint(contribution.learned.topic.size());
  out.text(contribution.learned.topic);
  out.varint(contribution.learned.from);
  out.varint(contribution.learned.until);
  out.fixed(contribution.event_time_from_us.value_or(kNoTime));
  out.fixed(contribution.event_time_until_us.value_or(kNoTime));
  seal(head);

  const std::string hash = digits_of(registry::sha256_hex(head) + registry::sha256_hex(trainer));
  std::vector<RoundRecord> records;
  for (size_t i = 0; i < chunks; ++i) {
    const ByteView chunk = ByteView(trainer).subspan(i * kRoundChunkBytes,
                                                     std::min(kRoundChunkBytes, trainer.size() - i * kRoundChunkBytes));
    const RoundKey::Part part{contribution.partition, hash, static_cast<uint32_t>(i)};
    records.push_back({{series, contribution.boundary, part}, to_bytes(chunk)});
  }
  const RoundKey::Part part{contribution.partition, hash, std::nullopt};
  records.push_back({{series, contribution.boundary, part}, std::move(head)});
  return records;
}

Result<Contribution> decode_contribution(const RoundKey& key, ByteView head) {
  MILLRACE_ASSIGN_OR_RETURN(ByteReader in, open(head));
  Contribution contribution;
  contribution.partition = key.part->partition;
  contribution.boundary = key.boundary;
  contribution.hash = key.part->hash;
  MILLRACE_ASSIGN_OR_RETURN(const uint8_t makes_round, in.fixed<uint8_t>());
  contribution.makes_round = makes_round != 0;
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t chunks, in.uvarint());
  if (chunks > kRoundChunksMax) return fail(Errc::kCorruption, "a contribution has too many chunks");
  contribution.chunks = static_cast<uint32_t>(chunks);
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, in.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const std::string_view topic, in.text(size));
  contribution.learned.topic = topic;
  contribution.learned.partition = key.part->partition.value();
  MILLRACE_ASSIGN_OR_RETURN(contribution.learned.from, in.varint());
  MILLRACE_ASSIGN_OR_RETURN(contribution.learned.until, in.varint());
  MILLRACE_ASSIGN_OR_RETURN(const int64_t from_us, in.fixed<int64_t>());
  MILLRACE_ASSIGN_OR_RETURN(const int64_t until_us, in.fixed<int64_t>());
  if (in.remaining() > 0) return fail(Errc::kCorruption, "a contribution is longer than it says");
  if (from_us != kNoTime) contribution.event_time_from_us = from_us;
  if (until_us != kNoTime) contribution.event_time_until_us = until_us;
  return contribution;
}

RoundRecord encode_decision(const std::string& series, int64_t boundary, RoundDecision decision) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.fixed(kVersion);
  out.varint(decision.version);
  out.varint(decision.champion);
  seal(bytes);
  return {{series, boundary, std::nullopt}, std::move(bytes)};
}

Result<RoundDecision> decode_decision(ByteView value) {
  MILLRACE_ASSIGN_OR_RETURN(ByteReader in, open(value));
  RoundDecision decision;
  MILLRACE_ASSIGN_OR_RETURN(decision.version, in.varint());
  MILLRACE_ASSIGN_OR_RETURN(decision.champion, in.varint());
  if (in.remaining() > 0 || decision.version < 0 || decision.champion < 0)
    return fail(Errc::kCorruption, "the decision of a round is not one");
  return decision;
}

}  // namespace millrace::pipeline
