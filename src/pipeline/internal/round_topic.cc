#include "pipeline/internal/round_topic.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>

#include "base/logging.h"

namespace millrace::pipeline {
namespace {

constexpr client::Millis kTimeout{30'000};
constexpr size_t kPollRecordsMax = 1000;
// How long the thread waits for records, and so how long its end takes.
constexpr client::Millis kPollWait{100};

client::TopicPartition source() { return {std::string(kRoundsTopic), PartitionId(0)}; }

}  // namespace

Result<std::unique_ptr<RoundTopic>> RoundTopic::open(const client::Options& client, std::vector<Rounds*> rounds,
                                                     const Clock& clock) {
  std::unique_ptr<RoundTopic> topic(new RoundTopic(client, clock));
  for (Rounds* of_model : rounds) topic->rounds_.emplace(of_model->series(), of_model);
  MILLRACE_ASSIGN_OR_RETURN(
      topic->follower_,
      client::TopicFollower::create(client, clock, {.topic = std::string(kRoundsTopic), .timeout = kTimeout}));
  RoundTopic* self = topic.get();
  MILLRACE_RETURN_IF_ERROR(
      self->follower_->start({.apply = [self](const client::Records& records) { self->apply(records); },
                              .looked = [self] { self->lead_all(); },
                              .ended =
                                  [self](const Error& error) {
                                    for (const auto& [series, of_model] : self->rounds_) of_model->end(error);
                                  }}));
  return topic;
}

void RoundTopic::lead_all() {
  bool well = true;
  for (const auto& [series, rounds] : rounds_) {
    const Status led = rounds->leads() ? lead(*rounds) : Status();
    if (led) continue;
    well = false;
    if (!complained_) log_warning("pipeline", "{}: {}", kRoundsTopic, led.error().message);
    complained_ = true;
    producer_.reset();
    fetcher_.reset();
    if (!client::is_retriable(led.error()) && !client::is_fatal(led.error())) rounds->end(led.error());
  }
  if (well) complained_ = false;
}

void RoundTopic::apply(const client::Records& records) {
  for (const client::PartitionRecords& part : records.partitions())
    for (const client::RecordView& record : part.records) {
      const auto key = RoundKey::parse(as_text(record.key()));
      Status applied;
      if (!key) {
        applied = tl::unexpected<Error>(key.error());
      } else if (const auto rounds = rounds_.find(key->series); rounds != rounds_.end()) {
        applied = rounds->second->apply(*key, record.offset,
                                        record.has_value() ? std::optional(record.value()) : std::nullopt);
        if (key->part && key->part->chunk && record.has_value() && rounds->second->leads())
          keep_recent(record.offset, record.value());
      }
      if (!applied)
        log_warning("pipeline", "skipped a record of {} at offset {}: {}", kRoundsTopic, record.offset.value(),
                    applied.error().message);
    }
}

Status RoundTopic::lead(Rounds& rounds) {
  Deciding& deciding = deciding_[&rounds];
  if (const auto due = rounds.due()) {
    if (deciding.boundary != due->boundary || deciding.end == Offset(0)) {
      MILLRACE_ASSIGN_OR_RETURN(const Offset end, follower_->end());
      deciding = {due->boundary, end, false};
    }
    if (deciding.written || follower_->position() < deciding.end) return {};
    MILLRACE_RETURN_IF_ERROR(decide(rounds, *due));
    // In force when it has been read back: an earlier one of somebody else would count.
    deciding.written = true;
    return {};
  }
  std::vector<RoundRecord> tombstones;
  for (RoundKey& key : rounds.take_garbage()) tombstones.push_back({std::move(key), std::nullopt});
  return tombstones.empty() ? Status() : write(tombstones);
}

Status RoundTopic::decide(Rounds& rounds, const RoundState::Due& due) {
  std::vector<ContributionPtr> parts;
  for (const ContributionPtr& part : due.parts) {
    MILLRACE_ASSIGN_OR_RETURN(ContributionPtr fetched, fetch(rounds, part));
    parts.push_back(std::move(fetched));
  }
  const auto decision = rounds.decide(due.boundary, parts);
  // Someone else decided it, and later ones: that is read soon.
  if (!decision && decision.error().code == Errc::kAlreadyExists) return {};
  if (!decision) return tl::unexpected<Error>(decision.error());
  const RoundRecord record = encode_decision(rounds.series(), due.boundary, *decision);
  return write({&record, 1});
}

// The part with its trainer.
Result<ContributionPtr> RoundTopic::fetch(const Rounds& rounds, const ContributionPtr& part) {
  if (part->chunks == 0) return part;
  const auto offsets = rounds.chunks_of(*part);
  if (!offsets)
    return fail(Errc::kUnavailable, fmt::format("model {}: the learner of partition {} is no longer in {}",
                                                rounds.model(), part->partition.value(), kRoundsTopic));
  std::map<Offset, Bytes> chunks;
  for (const Offset offset : *offsets)
    if (auto recent = recent_.extract(offset)) {
      recent_bytes_ -= recent.mapped().size();
      chunks.insert(std::move(recent));
    }
  if (chunks.size() < offsets->size()) MILLRACE_RETURN_IF_ERROR(read_chunks(*offsets, chunks));
  Bytes bytes;
  for (const Offset offset : *offsets) {
    const auto chunk = chunks.find(offset);
    // Compaction kept a later copy, which is yet to be followed.
    if (chunk == chunks.end())
      return fail(Errc::kUnavailable, fmt::format("{}: offset {} was compacted", kRoundsTopic, offset.value()));
    bytes.insert(bytes.end(), chunk->second.begin(), chunk->second.end());
  }
  MILLRACE_ASSIGN_OR_RETURN(learn::Trainer trainer, learn::Trainer::deserialize(bytes));
  auto whole = std::make_shared<Contribution>(*part);
  whole->trainer = std::make_shared<const learn::Trainer>(std::move(trainer));
  return whole;
}

Status RoundTopic::read_chunks(const std::vector<Offset>& offsets, std::map<Offset, Bytes>& chunks) {
  if (!fetcher_) {
    MILLRACE_ASSIGN_OR_RETURN(fetcher_, client::PartitionReader::create(client_));
  }
  const auto [first, last] = std::ranges::minmax(offsets);
  const client::ReadRange range{source(), first, last + 1};
  MILLRACE_RETURN_IF_ERROR(fetcher_->assign({&range, 1}, kTimeout));
  const std::set<Offset> wanted(offsets.begin(), offsets.end());
  while (!fetcher_->done()) {
    MILLRACE_ASSIGN_OR_RETURN(const client::Records records, fetcher_->poll(kPollRecordsMax, kPollWait));
    for (const client::PartitionRecords& read : records.partitions())
      for (const client::RecordView& record : read.records)
        if (wanted.contains(record.offset) && record.has_value())
          chunks.insert_or_assign(record.offset, Bytes(record.value().begin(), record.value().end()));
  }
  return {};
}

void RoundTopic::keep_recent(Offset offset, ByteView chunk) {
  recent_bytes_ += chunk.size();
  recent_.emplace(offset, to_bytes(chunk));
  while (recent_bytes_ > kRecentBytesMax) {
    recent_bytes_ -= recent_.begin()->second.size();
    recent_.erase(recent_.begin());
  }
}

// Returns when the broker has them.
Status RoundTopic::write(std::span<const RoundRecord> records) {
  if (!producer_) {
    MILLRACE_ASSIGN_OR_RETURN(producer_, client::Producer::create(client_));
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, producer_->topic(source().topic));
  for (const RoundRecord& record : records) {
    const std::string key = record.key.text();
    const client::OutRecord out{.partition = PartitionId(0),
                                .key = as_byte_view(key),
                                .value = record.value ? std::optional<ByteView>(*record.value) : std::nullopt,
                                .timestamp_ms = to_unix_ms(clock_.wall_now())};
    MILLRACE_RETURN_IF_ERROR(producer_->produce(topic, out));
  }
  MILLRACE_RETURN_IF_ERROR(producer_->flush(kTimeout));
  if (const auto errors = producer_->take_delivery_errors(); !errors.empty())
    return tl::unexpected<Error>(errors.front().error);
  return {};
}

}  // namespace millrace::pipeline
