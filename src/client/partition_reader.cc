#include "client/partition_reader.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "client/internal/consumer_settings.h"
#include "client/internal/handle.h"
#include "client/internal/partition_list.h"
#include "client/internal/records_builder.h"

namespace millrace::client {

namespace {

std::string name_of(const TopicPartition& source) {
  return fmt::format("{}[{}]", source.topic, source.partition.value());
}

}  // namespace

struct PartitionReader::Impl {
  struct Range {
    Offset next;
    std::optional<Offset> until;
    bool assigned = false;  // to librdkafka: it fetches

    bool done() const { return until && next >= *until; }
  };
  std::shared_ptr<Handle> handle;
  QueuePtr queue;
  std::map<TopicPartition, Range> ranges;
  // The range of the last message: messages come in runs, and a look-up by name costs an allocation.
  const rd_kafka_topic_t* last_topic = nullptr;
  int32_t last_partition = -1;
  Range* last_range = nullptr;

  rd_kafka_t* rk() const { return handle->get(); }
  tl::unexpected<Error> failed(rd_kafka_resp_err_t code, std::string_view what, std::string_view detail = {}) const {
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT) return tl::unexpected<Error>(handle->no_answer(what));
    return tl::unexpected<Error>(to_error(code, what, handle->bootstrap(), detail));
  }
  Range* find(const rd_kafka_message_t& message) {
    if (message.rkt == last_topic && message.partition == last_partition) return last_range;
    const auto found = ranges.find({rd_kafka_topic_name(message.rkt), PartitionId(message.partition)});
    last_topic = message.rkt;
    last_partition = message.partition;
    last_range = found == ranges.end() ? nullptr : &found->second;
    return last_range;
  }
  void forget_last() { last_topic = nullptr; }
  Status fetch(const TopicPartition& source, Range& range);
  Status stop_finished();
  Result<bool> keep(rd_kafka_message_t& message);
};

PartitionReader::PartitionReader(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

PartitionReader::~PartitionReader() {
  if (impl_->handle) rd_kafka_assign(impl_->rk(), nullptr);
}

Result<std::unique_ptr<PartitionReader>> PartitionReader::create(const Options& options,
                                                                 const ReaderOptions& reader_options) {
  auto impl = std::make_unique<Impl>();
  Settings settings = consumer_settings(reader_options.read_committed, reader_options.queue_bytes_max);
  // librdkafka assigns only to a consumer with a group; this one is never joined, nor does anything commit to it.
  settings.insert({{"group.id", "millrace-reader"}, {"auto.offset.reset", "error"}, {"enable.partition.eof", "true"}});
  MILLRACE_ASSIGN_OR_RETURN(impl->handle, Handle::create(RD_KAFKA_CONSUMER, options, std::move(settings)));
  rd_kafka_poll_set_consumer(impl->rk());
  impl->queue.reset(rd_kafka_queue_get_consumer(impl->rk()));
  return std::unique_ptr<PartitionReader>(new PartitionReader(std::move(impl)));
}

Result<OffsetRange> PartitionReader::watermarks(const TopicPartition& source, Millis timeout) {
  int64_t begin = 0;
  int64_t end = 0;
  const rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
      impl_->rk(), source.topic.c_str(), source.partition.value(), &begin, &end, std::max(to_ms(timeout), 1));
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return impl_->failed(code, fmt::format("cannot ask where {} begins and ends", name_of(source)));
  return OffsetRange{Offset(begin), Offset(end)};
}

Status PartitionReader::Impl::fetch(const TopicPartition& source, Range& range) {
  if (range.done() || range.assigned) return {};
  const PartitionListPtr list = to_list(source, range.next.value());
  MILLRACE_RETURN_IF_ERROR(to_status(rd_kafka_incremental_assign(rk(), list.get()),
                                     fmt::format("cannot read {}", name_of(source)), handle->bootstrap()));
  range.assigned = true;
  return {};
}

Status PartitionReader::assign(std::span<const ReadRange> ranges, Millis timeout) {
  rd_kafka_assign(impl_->rk(), nullptr);
  impl_->ranges.clear();
  impl_->forget_last();
  for (const ReadRange& range : ranges) MILLRACE_RETURN_IF_ERROR(add(range, timeout));
  return {};
}

Status PartitionReader::add(const ReadRange& range, Millis timeout) {
  MILLRACE_ASSIGN_OR_RETURN(const OffsetRange there, watermarks(range.source, timeout));
  if (range.from > there.end)
    return fail(Errc::kInvalidArgument, fmt::format("cannot read {} from offset {}: it ends at {}",
                                                    name_of(range.source), range.from.value(), there.end.value()));
  MILLRACE_RETURN_IF_ERROR(remove(range.source));
  impl_->forget_last();
  Impl::Range& added = impl_->ranges[range.source];
  added = {std::max(range.from, there.begin), range.until, false};
  return impl_->fetch(range.source, added);
}

Status PartitionReader::remove(const TopicPartition& source) {
  const auto found = impl_->ranges.find(source);
  if (found == impl_->ranges.end()) return {};
  const bool assigned = found->second.assigned;
  impl_->ranges.erase(found);
  impl_->forget_last();
  if (!assigned) return {};
  const PartitionListPtr list = to_list(std::span(&source, 1));
  return to_status(rd_kafka_incremental_unassign(impl_->rk(), list.get()),
                   fmt::format("cannot stop reading {}", name_of(source)), impl_->handle->bootstrap());
}

// Whether `message` is a record to hand out; its error, if it is one that matters.
Result<bool> PartitionReader::Impl::keep(rd_kafka_message_t& message) {
  Range* range = message.rkt != nullptr ? find(message) : nullptr;
  switch (message.err) {
    case RD_KAFKA_RESP_ERR_NO_ERROR:
      if (range == nullptr || message.offset < range->next.value()) return false;
      if (range->until && message.offset >= range->until->value()) {
        range->next = *range->until;
        return false;
      }
      range->next = Offset(message.offset + 1);
      return true;
    case RD_KAFKA_RESP_ERR__PARTITION_EOF:
      // The last offsets may hold no records: markers of transactions, or what compaction took.
      if (range != nullptr) {
        const Offset end = std::min(Offset(message.offset), range->until.value_or(Offset(message.offset)));
        range->next = std::max(range->next, end);
      }
      return false;
    default:
      break;
  }
  const std::string what = message.rkt != nullptr
                               ? fmt::format("cannot read {}[{}]", rd_kafka_topic_name(message.rkt), message.partition)
                               : std::string("cannot read on");
  return failed(message.err, what, rd_kafka_message_errstr(&message));
}

// What has come to its end need not be fetched any more.
Status PartitionReader::Impl::stop_finished() {
  for (auto& [source, range] : ranges) {
    if (!range.done() || !range.assigned) continue;
    range.assigned = false;
    const PartitionListPtr list = to_list(std::span(&source, 1));
    MILLRACE_RETURN_IF_ERROR(to_status(rd_kafka_incremental_unassign(rk(), list.get()),
                                       fmt::format("cannot stop reading {}", name_of(source)), handle->bootstrap()));
  }
  return {};
}

Result<Records> PartitionReader::poll(size_t records_max, Millis wait) {
  const auto deadline = std::chrono::steady_clock::now() + wait;
  while (!done()) {
    const auto left = std::chrono::ceil<Millis>(deadline - std::chrono::steady_clock::now());
    std::vector<rd_kafka_message_t*> messages = consume(impl_->queue.get(), records_max, left, Millis(0));
    const bool nothing = messages.empty();
    std::optional<Error> error;
    std::erase_if(messages, [&](rd_kafka_message_t* message) {
      const Result<bool> kept = impl_->keep(*message);
      if (!kept) error = kept.error();
      if (kept && *kept) return false;
      rd_kafka_message_destroy(message);
      return true;
    });
    MILLRACE_RETURN_IF_ERROR(impl_->stop_finished());
    if (!messages.empty()) {
      impl_->handle->note_answer();
      return RecordsBuilder::build(impl_->handle, std::move(messages));  // an error comes again with the next poll
    }
    if (error) return tl::unexpected<Error>(std::move(*error));
    // Ends of partitions arrive as messages, too: what they leave of the time is waited for records.
    if (!nothing && left > Millis(0)) continue;
    if (impl_->handle->all_brokers_down()) return tl::unexpected<Error>(impl_->handle->no_answer("cannot read on"));
    break;
  }
  return Records{};
}

bool PartitionReader::done() const {
  return std::all_of(impl_->ranges.begin(), impl_->ranges.end(), [](const auto& entry) { return entry.second.done(); });
}

std::optional<Offset> PartitionReader::position(const TopicPartition& source) const {
  const auto found = impl_->ranges.find(source);
  if (found == impl_->ranges.end()) return std::nullopt;
  return found->second.next;
}

}  // namespace millrace::client
