#include "pipeline/internal/delivery.h"

#include <fmt/core.h>

#include <array>

#include "base/logging.h"
#include "pipeline/internal/round_records.h"

namespace millrace::pipeline {
namespace {

constexpr client::Millis kTimeout{60'000};
constexpr client::Millis kCommitTimeout{10'000};
constexpr client::Millis kPollWait{100};

}  // namespace

Result<std::unique_ptr<Delivery>> Delivery::make(const client::Options& options, const ResolvedPlan& resolved,
                                                 const Stage& stage, const std::map<std::string, int32_t>& partitions) {
  auto delivery = std::unique_ptr<Delivery>(new Delivery(options, resolved, stage));
  client::ProducerOptions producer;
  producer.linger = client::Millis(20);
  MILLRACE_ASSIGN_OR_RETURN(delivery->producer_, client::Producer::create(options, producer));
  delivery->sinks_.resize(resolved.plan.sinks.size());
  for (const size_t s : stage.sinks) {
    const std::string& topic = resolved.plan.sinks[s].topic.value;
    MILLRACE_ASSIGN_OR_RETURN(delivery->sinks_[s].topic, delivery->producer_->topic(topic));
    delivery->sinks_[s].partitions = partitions.at(topic);
  }
  MILLRACE_ASSIGN_OR_RETURN(delivery->dlq_, delivery->producer_->topic(resolved.plan.defaults.dlq));
  if (stage.has_state) {
    MILLRACE_ASSIGN_OR_RETURN(delivery->changelog_, delivery->producer_->topic(stage.changelog(resolved.plan)));
  }
  return delivery;
}

Status Delivery::write(const SinkRecord& record) {
  const SinkTopic& sink = sinks_[record.sink];
  client::OutRecord out;
  if (record.key)
    out.key = as_byte_view(*record.key);
  else
    out.partition = PartitionId(record.source_partition.value() % sink.partitions);
  out.value = as_byte_view(record.value);
  out.timestamp_ms = record.timestamp_ms;
  return producer_->produce(*sink.topic, out);
}

Status Delivery::dead_letter(const DeadLetter& letter) {
  const std::string partition = fmt::format("{}", letter.partition.value());
  const std::string offset = fmt::format("{}", letter.offset.value());
  const std::array<client::HeaderRef, 7> headers = {
      {{"__millrace.pipeline", as_byte_view(resolved_.plan.name)},
       {"__millrace.topic", as_byte_view(letter.topic)},
       {"__millrace.partition", as_byte_view(partition)},
       {"__millrace.offset", as_byte_view(offset)},
       {"__millrace.step", as_byte_view(letter.step)},
       {"__millrace.error", as_byte_view(letter.error)},
       {"__millrace.value", as_byte_view(letter.value_is_row ? "row" : "raw")}}};
  client::OutRecord out;
  out.partition = PartitionId(0);
  if (letter.key) out.key = as_byte_view(*letter.key);
  if (letter.value) out.value = as_byte_view(*letter.value);
  out.headers = headers;
  out.timestamp_ms = letter.timestamp_ms;
  return producer_->produce(*dlq_, out);
}

Status Delivery::round_record(const RoundRecord& record) {
  if (!rounds_) {
    MILLRACE_ASSIGN_OR_RETURN(rounds_, producer_->topic(std::string(kRoundsTopic)));
  }
  const std::string key = record.key.text();
  client::OutRecord out;
  out.partition = PartitionId(0);
  out.key = as_byte_view(key);
  if (record.value) out.value = *record.value;
  return producer_->produce(*rounds_, out);
}

Status Delivery::flush() {
  Status flushed = producer_->flush(kTimeout);
  const auto errors = producer_->take_delivery_errors();
  if (!errors.empty()) {
    Error error = errors.front().error;
    error.message = fmt::format("records could not be delivered to {}: {}", errors.front().topic, error.message);
    return tl::unexpected<Error>(std::move(error));
  }
  return flushed;
}

Status Delivery::open_state(PartitionId partition, state::Generation generation) {
  const state::EncodedRecord open = state::encode(state::Open{generation});
  client::OutRecord out;
  out.partition = partition;
  out.key = open.key;
  out.value = open.value;
  MILLRACE_RETURN_IF_ERROR(producer_->produce(*changelog_, out));
  return flush();
}

Status Delivery::read_state(client::PartitionReader& reader, const client::ReadRange& range, const Owner& owner,
                            state::Restorer& restorer) {
  MILLRACE_RETURN_IF_ERROR(reader.assign({&range, 1}, kTimeout));
  while (!reader.done()) {
    MILLRACE_RETURN_IF_ERROR(owner.meanwhile());
    MILLRACE_ASSIGN_OR_RETURN(const client::Records records, reader.poll(10'000, kPollWait));
    for (const client::PartitionRecords& part : records.partitions())
      for (const client::RecordView& record : part.records)
        MILLRACE_RETURN_IF_ERROR(restorer.feed(record.key(), record.value()));
  }
  return {};
}

Result<Delivery::TakenOver> Delivery::take_over(PartitionId partition, const Owner& owner) {
  const client::TopicPartition source{stage_.changelog(resolved_.plan), partition};
  const std::string name = fmt::format("{}-{}", source.topic, partition.value());
  TakenOver taken;
  taken.generation = owner.generation;
  MILLRACE_RETURN_IF_ERROR(open_state(partition, taken.generation));
  // What was written before our Open counts where it is closed; what others write behind it does not.
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, client::PartitionReader::create(options_));
  MILLRACE_ASSIGN_OR_RETURN(client::OffsetRange range, reader->watermarks(source, kTimeout));
  state::Restorer restorer;
  MILLRACE_RETURN_IF_ERROR(read_state(*reader, {source, range.begin, range.end}, owner, restorer));

  const state::Generation newest = restorer.generation().value_or(0);
  if (newest > taken.generation) {
    MILLRACE_ASSIGN_OR_RETURN(const bool is_member, owner.is_member());
    if (!is_member) return fail(Errc::kConflict, fmt::format("{}: a later worker owns its state", name));
    // The group began anew, and its generations with it. The sum keeps the order of its members: who comes later has a
    // greater generation, whether or not he has seen this.
    if (__builtin_add_overflow(newest, owner.generation + 1, &taken.generation))
      return fail(Errc::kTooLarge, fmt::format("{}: there are no more generations", name),
                  "run the pipeline under a new name");
    MILLRACE_RETURN_IF_ERROR(open_state(partition, taken.generation));
    const Offset read_to = range.end;
    MILLRACE_ASSIGN_OR_RETURN(range, reader->watermarks(source, kTimeout));
    MILLRACE_RETURN_IF_ERROR(read_state(*reader, {source, read_to, range.end}, owner, restorer));
    log_info("pipeline", "{}: the group {} began anew; going on as generation {}", name, stage_.group,
             taken.generation);
  }
  if (restorer.generation() != taken.generation)
    return fail(Errc::kConflict, fmt::format("{}: a later worker owns its state", name));
  log_info("pipeline", "{}: {} commits restored, {} changes dropped", name, restorer.groups_applied(),
           restorer.changes_dropped());
  taken.restored = std::move(restorer).finish();
  return taken;
}

Status Delivery::write_state(const Part& part) {
  group_.clear(part.generation);
  part.task->collect(group_);
  group_.close(part.task->next_offset(0));
  client::OutRecord out;
  out.partition = part.task->partition();
  for (size_t i = 0; i < group_.size(); ++i) {
    const auto record = group_.record(i);
    out.key = record.key;
    out.value = record.value;
    MILLRACE_RETURN_IF_ERROR(producer_->produce(*changelog_, out));
  }
  return {};
}

Status Delivery::commit(std::span<const Part> parts) {
  MILLRACE_RETURN_IF_ERROR(flush());
  if (parts.empty() || !stage_.has_state) return {};
  for (const Part& part : parts) MILLRACE_RETURN_IF_ERROR(write_state(part));
  return flush();
}

// The group's offsets are for people and lag figures where there is a changelog; where there is none, records are read
// again. Either way a member that is being replaced finds out by the event that follows.
bool Delivery::commit_offsets(std::span<const client::TopicOffset> offsets, client::GroupConsumer& consumer) {
  const Status committed = consumer.commit(offsets, kCommitTimeout);
  if (!committed)
    log_warning("pipeline", "group {}: offsets were not committed: {}", stage_.group, committed.error().message);
  return committed.has_value();
}

}  // namespace millrace::pipeline
