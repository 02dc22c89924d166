#include <fmt/core.h>

#include <memory>
#include <utility>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/record_checks.h"
#include "record/batch.h"
#include "record/rewrite.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;
using PartitionResponse = wire::ProduceResponse::PartitionProduceResponse;

// From this version on a producer may send zstd (KIP-110).
constexpr int16_t kZstdFrom = 7;

PartitionResponse refuse(int32_t index, ErrorCode error, std::string message) {
  PartitionResponse response;
  response.index = index;
  response.error_code = error;
  response.base_offset = -1;
  response.error_message = std::move(message);
  return response;
}

PartitionResponse refuse(int32_t index, RecordDefect defect) {
  PartitionResponse response = refuse(index, defect.error, std::move(defect.message));
  for (RefusedRecord& record : defect.records)
    response.record_errors.push_back({record.index, std::move(record.message)});
  return response;
}

// Appends one partition's batches. `last` becomes the position to wait for, where that is later.
class Appender {
 public:
  Appender(Core& core, const Request& request)
      : core_(core), frame_(*request.frame), version_(request.header.api_version) {}

  PartitionResponse append(const TopicState* topic, int32_t index, ByteView records) {
    const auto* partition = topic == nullptr ? nullptr : topic->partition(index);
    if (partition == nullptr)
      return refuse(index, ErrorCode::kUnknownTopicOrPartition, "there is no such topic or partition");
    if (topic->internal)
      return refuse(index, ErrorCode::kInvalidTopicException, "clients may not produce to internal topics");
    const auto arrived = record::check_batches(records);
    if (!arrived) return refuse(index, to_wire(arrived.error().defect), arrived.error().message);
    if (arrived->largest_batch_bytes > static_cast<size_t>(topic->config.message_bytes_max))
      return refuse(index, ErrorCode::kMessageTooLarge,
                    fmt::format("a batch of {} bytes; the topic's max.message.bytes is {}",
                                arrived->largest_batch_bytes, topic->config.message_bytes_max));
    if (arrived->uses_zstd && version_ < kZstdFrom)
      return refuse(index, ErrorCode::kUnsupportedCompressionType, "zstd needs Produce version 7");
    if (arrived->batches != 1)
      return refuse(index, ErrorCode::kInvalidRecord, "a request may have one record batch for each partition");
    const auto batch = record::BatchView::first_of(records);
    if (auto defect = check_records(*batch, topic->config, to_unix_ms(core_.clock.wall_now())))
      return refuse(index, std::move(*defect));

    std::span<std::byte> stored = writable(records);
    Bytes recompressed;
    if (topic->config.codec && *topic->config.codec != batch->codec()) {
      if (const Status made = record::recompress(*batch, *topic->config.codec, kPlainBatchBytesMax, recompressed);
          !made)
        return refuse(index, ErrorCode::kInvalidRecord, made.error().message);
      if (recompressed.size() > static_cast<size_t>(topic->config.message_bytes_max))
        return refuse(index, ErrorCode::kMessageTooLarge,
                      fmt::format("a batch of {} bytes as compression.type has it; the topic's max.message.bytes is {}",
                                  recompressed.size(), topic->config.message_bytes_max));
      stored = recompressed;
    }

    log::AppendOptions options;
    if (topic->config.log_append_time) options.timestamp_type = record::TimestampType::kLogAppendTime;
    const auto appended = (*partition)->append(stored, options);
    if (!appended) {
      if (appended.error().code != Errc::kNotFound && core_.notes.pass())
        log_warning("broker", "produce to {}-{} failed: {}", topic->name(), index, appended.error().message);
      return refuse(index, to_wire(appended.error().code), appended.error().message);
    }
    if (const auto error = to_wire(appended->outcome); error != ErrorCode::kNone)
      return refuse(index, error, "the producer's sequence or epoch does not follow its last batch");
    last_ = std::max(last_, appended->position);
    appended_any_ = true;
    if (appended->outcome == log::AppendOutcome::kAppended) {
      for (TopicTraffic* traffic : {topic->traffic.get(), &core_.topics.traffic()}) {
        traffic->records_in.add(static_cast<uint64_t>(arrived->records));
        traffic->bytes_in.add(stored.size());
      }
    }
    PartitionResponse response;
    response.index = index;
    response.base_offset = appended->base_offset.value();
    response.log_append_time_ms = appended->log_append_time_ms;
    response.log_start_offset = appended->log_start_offset.value();
    return response;
  }

  bool appended_any() const { return appended_any_; }
  log::WalPosition last() const { return last_; }

 private:
  // The frame is ours, so offsets are set in it rather than in a copy.
  std::span<std::byte> writable(ByteView records) {
    return {frame_.data() + (records.data() - frame_.view().data()), records.size()};
  }

  Core& core_;
  Frame& frame_;
  int16_t version_;
  bool appended_any_ = false;
  log::WalPosition last_{0};
};

wire::ProduceResponse append_all(Appender& appender, const TopicTable& topics, const wire::ProduceRequest& message) {
  wire::ProduceResponse response;
  response.responses.reserve(message.topic_data.size());
  for (const auto& topic : message.topic_data) {
    auto& answer = response.responses.emplace_back();
    answer.name = topic.name;
    answer.partition_responses.reserve(topic.partition_data.size());
    const auto state = topics.find(topic.name);
    for (const auto& part : topic.partition_data)
      answer.partition_responses.push_back(appender.append(state.get(), part.index, part.records.value_or(ByteView{})));
  }
  return response;
}

template <typename Change>
void for_each_partition(wire::ProduceResponse& response, Change change) {
  for (auto& topic : response.responses)
    for (auto& partition : topic.partition_responses) change(partition);
}

void refuse_all(wire::ProduceResponse& response, const wire::ProduceRequest& message, ErrorCode error,
                const std::string& text) {
  for (const auto& topic : message.topic_data) {
    auto& answer = response.responses.emplace_back();
    answer.name = topic.name;
    for (const auto& part : topic.partition_data) answer.partition_responses.push_back(refuse(part.index, error, text));
  }
}

// Fields that the version lacks must be at their defaults.
void fit_to_version(wire::ProduceResponse& response, int16_t version) {
  if (version >= 8) return;
  for_each_partition(response, [](PartitionResponse& partition) {
    partition.error_message.reset();
    partition.record_errors.clear();
  });
}

// Without acknowledgements there is no answer that could say what went wrong: the connection is closed instead.
void finish_unacknowledged(Request& request, const wire::ProduceResponse& response) {
  for (const auto& topic : response.responses)
    for (const auto& partition : topic.partition_responses)
      if (partition.error_code != ErrorCode::kNone)
        return request.reply.give_up(fmt::format("produce without acks to {}-{}: {}", topic.name, partition.index,
                                                 wire::error_name(partition.error_code)));
  request.reply.send_nothing();
}

// What a durable answer needs, apart from the frame, whose memory goes back at once.
struct Waiting {
  Request request;
  wire::ProduceResponse response;
};

void finish_durable(Waiting& waiting, const Status& durable) {
  if (!durable) {
    for_each_partition(waiting.response, [&](PartitionResponse& partition) {
      if (partition.error_code == ErrorCode::kNone)
        partition = refuse(partition.index, to_wire(durable.error().code), durable.error().message);
    });
  }
  fit_to_version(waiting.response, waiting.request.header.api_version);
  respond(waiting.request, waiting.response);
}

}  // namespace

void handle_produce(Core& core, Request request, wire::ProduceRequest message) {
  wire::ProduceResponse refused;
  if (message.acks < -1 || message.acks > 1) {
    refuse_all(refused, message, ErrorCode::kInvalidRequiredAcks, fmt::format("acks={}", message.acks));
  }
  if (!refused.responses.empty()) {
    if (message.acks == 0) return finish_unacknowledged(request, refused);
    fit_to_version(refused, request.header.api_version);
    return respond(request, refused);
  }

  Appender appender(core, request);
  auto response = append_all(appender, *core.topics.snapshot(), message);
  request.frame.reset();
  request.body = ByteReader({});
  if (message.acks == 0) return finish_unacknowledged(request, response);
  auto waiting = std::make_shared<Waiting>(Waiting{std::move(request), std::move(response)});
  if (!appender.appended_any()) return finish_durable(*waiting, {});
  // The log's thread only hands over: what it spends here, the next sync waits for.
  core.store.when_durable(appender.last(), [waiting](const Status& durable) {
    Executor& home = waiting->request.reply.home();
    if (home.is_current()) return finish_durable(*waiting, durable);
    home.post([waiting, durable] { finish_durable(*waiting, durable); });
  });
}

}  // namespace millrace::broker
