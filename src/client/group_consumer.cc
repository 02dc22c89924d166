#include "client/group_consumer.h"

#include <fmt/core.h>

#include <algorithm>
#include <map>

#include "base/check.h"
#include "client/internal/consumer_settings.h"
#include "client/internal/handle.h"
#include "client/internal/partition_list.h"
#include "client/internal/records_builder.h"

namespace millrace::client {

namespace {

constexpr Millis kDestructorPatience{1'000};

const char* assignor_name(Assignor assignor) {
  switch (assignor) {
    case Assignor::kCooperativeSticky:
      return "cooperative-sticky";
    case Assignor::kRange:
      return "range";
  }
  return "range";
}

const char* reset_name(OffsetReset reset) {
  switch (reset) {
    case OffsetReset::kEarliest:
      return "earliest";
    case OffsetReset::kLatest:
      return "latest";
    case OffsetReset::kError:
      return "error";
  }
  return "error";
}

// Errors after which polling on brings nothing: the others librdkafka deals with by itself.
bool ends_membership(const Error& error) {
  return error.code == Errc::kConflict || error.code == Errc::kInvalidArgument || error.code == Errc::kPermissionDenied;
}

}  // namespace

struct GroupConsumer::Impl {
  std::shared_ptr<Handle> handle;
  QueuePtr queue;
  std::string group;
  std::optional<GroupEvent> event;
  bool event_is_new = false;
  bool joined = false;
  bool is_static = false;
  bool closing = false;
  bool closed = false;
  std::map<TopicPartition, Offset> positions;

  rd_kafka_t* rk() const { return handle->get(); }
  std::string what(std::string_view verb) const { return fmt::format("group {}: cannot {}", group, verb); }
  tl::unexpected<Error> failed(rd_kafka_resp_err_t code, std::string_view verb) const {
    if (auto fatal = handle->fatal()) return tl::unexpected<Error>(std::move(*fatal));
    return tl::unexpected<Error>(to_error(code, what(verb), handle->bootstrap()));
  }

  static void on_rebalance(rd_kafka_t* rk, rd_kafka_resp_err_t code, rd_kafka_topic_partition_list_t* partitions,
                           void* handle_pointer);
  bool cooperative() const {
    const char* protocol = rd_kafka_rebalance_protocol(rk());
    return protocol != nullptr && std::string_view(protocol) == "COOPERATIVE";
  }
  Status assign(const rd_kafka_topic_partition_list_t* partitions);
  Status unassign(const rd_kafka_topic_partition_list_t* partitions);
  Result<Polled> take(std::vector<rd_kafka_message_t*> messages);
  GroupMetadata metadata() const;
  void serve() const;
  void leave_as_static(std::chrono::steady_clock::time_point deadline) const;
};

// Runs inside poll(), on its thread. Only notes what the group decided: nothing changes before acknowledge().
void GroupConsumer::Impl::on_rebalance(rd_kafka_t* rk, rd_kafka_resp_err_t code,
                                       rd_kafka_topic_partition_list_t* partitions, void* handle_pointer) {
  auto* handle = static_cast<Handle*>(handle_pointer);
  auto* self = static_cast<Impl*>(handle->context());
  if (code != RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS && code != RD_KAFKA_RESP_ERR__REVOKE_PARTITIONS) {
    rd_kafka_assign(rk, nullptr);
    return;
  }
  const bool assigned = code == RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS;
  if (self->closing) {
    // What is revoked now was committed before close(), and an assignment that comes this late is not taken up.
    (void)(assigned ? self->assign(nullptr) : self->unassign(partitions));
    return;
  }
  GroupEvent event{GroupEvent::Kind::kAssigned, partitions_of(*partitions)};
  if (!assigned) event.kind = rd_kafka_assignment_lost(rk) != 0 ? GroupEvent::Kind::kLost : GroupEvent::Kind::kRevoked;
  self->event = std::move(event);
  self->event_is_new = true;
  rd_kafka_yield(rk);  // so that records behind the event come with the next poll
}

Status GroupConsumer::Impl::assign(const rd_kafka_topic_partition_list_t* partitions) {
  const PartitionListPtr none(rd_kafka_topic_partition_list_new(0));
  if (partitions == nullptr) partitions = none.get();
  if (cooperative())
    return to_status(rd_kafka_incremental_assign(rk(), partitions), what("take partitions"), handle->bootstrap());
  const rd_kafka_resp_err_t code = rd_kafka_assign(rk(), partitions);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return failed(code, "take partitions");
  return {};
}

Status GroupConsumer::Impl::unassign(const rd_kafka_topic_partition_list_t* partitions) {
  if (cooperative())
    return to_status(rd_kafka_incremental_unassign(rk(), partitions), what("give partitions back"),
                     handle->bootstrap());
  const rd_kafka_resp_err_t code = rd_kafka_assign(rk(), nullptr);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return failed(code, "give partitions back");
  return {};
}

GroupConsumer::GroupConsumer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

GroupConsumer::~GroupConsumer() {
  if (impl_->handle) (void)close(kDestructorPatience);
}

Result<std::unique_ptr<GroupConsumer>> GroupConsumer::create(const Options& options,
                                                             const GroupOptions& group_options) {
  if (group_options.group.empty()) return fail(Errc::kInvalidArgument, "a consumer group needs a name");
  auto impl = std::make_unique<Impl>();
  impl->group = group_options.group;
  Settings settings = consumer_settings(group_options.read_committed, group_options.queue_bytes_max);
  settings.insert({{"group.id", group_options.group},
                   {"partition.assignment.strategy", assignor_name(group_options.assignor)},
                   {"auto.offset.reset", reset_name(group_options.reset)},
                   {"enable.partition.eof", "true"},
                   {"session.timeout.ms", std::to_string(group_options.session_timeout.count())},
                   {"heartbeat.interval.ms", std::to_string(group_options.heartbeat_interval.count())},
                   {"max.poll.interval.ms", std::to_string(group_options.poll_interval_max.count())}});
  if (!options.instance_id.empty()) settings["group.instance.id"] = options.instance_id;
  impl->is_static = !options.instance_id.empty();
  MILLRACE_ASSIGN_OR_RETURN(impl->handle, Handle::create(RD_KAFKA_CONSUMER, options, std::move(settings),
                                                         {.rebalance = &Impl::on_rebalance, .context = impl.get()}));
  rd_kafka_poll_set_consumer(impl->rk());
  impl->queue.reset(rd_kafka_queue_get_consumer(impl->rk()));
  return std::unique_ptr<GroupConsumer>(new GroupConsumer(std::move(impl)));
}

Status GroupConsumer::subscribe(std::span<const std::string> topics) {
  const PartitionListPtr list(rd_kafka_topic_partition_list_new(static_cast<int>(topics.size())));
  for (const std::string& topic : topics)
    rd_kafka_topic_partition_list_add(list.get(), topic.c_str(), RD_KAFKA_PARTITION_UA);
  const rd_kafka_resp_err_t code = rd_kafka_subscribe(impl_->rk(), list.get());
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return impl_->failed(code, "subscribe");
  impl_->joined = true;
  return {};
}

// Errors and ends of partitions travel between the messages: they are taken out here.
Result<Polled> GroupConsumer::Impl::take(std::vector<rd_kafka_message_t*> messages) {
  Polled polled;
  std::optional<Error> end;
  std::vector<TopicOffset> partition_ends;
  std::erase_if(messages, [&](rd_kafka_message_t* message) {
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return false;
    if (message->err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
      if (message->rkt != nullptr)
        partition_ends.push_back(
            {{rd_kafka_topic_name(message->rkt), PartitionId(message->partition)}, Offset(message->offset)});
      rd_kafka_message_destroy(message);
      return true;
    }
    Error error = to_error(message->err, what("read on"), handle->bootstrap(), rd_kafka_message_errstr(message));
    // The group answers this one with a kLost event.
    const bool lost = message->err == RD_KAFKA_RESP_ERR__MAX_POLL_EXCEEDED;
    if (!lost && ends_membership(error))
      end = std::move(error);
    else
      polled.trouble = std::move(error);
    rd_kafka_message_destroy(message);
    return true;
  });
  polled.records = RecordsBuilder::build(handle, std::move(messages));
  if (auto fatal = handle->fatal()) return tl::unexpected<Error>(std::move(*fatal));
  if (end) return tl::unexpected<Error>(std::move(*end));
  if (!polled.trouble) polled.trouble = handle->take_trouble();
  if (std::exchange(event_is_new, false)) polled.event = event;
  for (const PartitionRecords& part : polled.records.partitions())
    positions[{std::string(part.topic), part.partition}] = part.records.back().offset + 1;
  // The last offsets may hold no records: markers of transactions, or what compaction took.
  for (const TopicOffset& reached : partition_ends) {
    Offset& position = positions[reached.source];
    position = std::max(position, reached.offset);
  }
  return polled;
}

Result<Polled> GroupConsumer::poll(size_t records_max, Millis wait, Millis gather) {
  MILLRACE_CHECK(!impl_->closed, "polled after close()");
  std::vector<rd_kafka_message_t*> messages = consume(impl_->queue.get(), records_max, wait, gather);
  return impl_->take(std::move(messages));
}

Status GroupConsumer::acknowledge(std::span<const TopicOffset> starts, bool paused) {
  MILLRACE_CHECK(impl_->event.has_value(), "no event is pending");
  const GroupEvent event = std::exchange(impl_->event, std::nullopt).value_or(GroupEvent{});
  impl_->event_is_new = false;
  const PartitionListPtr list = to_list(event.partitions);
  if (event.kind != GroupEvent::Kind::kAssigned) {
    for (const TopicPartition& source : event.partitions) impl_->positions.erase(source);
    return impl_->unassign(list.get());
  }
  for (const TopicOffset& start : starts) {
    rd_kafka_topic_partition_t* element =
        rd_kafka_topic_partition_list_find(list.get(), start.source.topic.c_str(), start.source.partition.value());
    MILLRACE_CHECK(element != nullptr, "a start for a partition that was not assigned");
    element->offset = start.offset.value();
    impl_->positions[start.source] = start.offset;
  }
  MILLRACE_RETURN_IF_ERROR(impl_->assign(list.get()));
  return paused ? pause(event.partitions) : Status{};
}

bool GroupConsumer::event_pending() const { return impl_->event.has_value(); }

std::vector<TopicPartition> GroupConsumer::assignment() const {
  rd_kafka_topic_partition_list_t* raw = nullptr;
  if (rd_kafka_assignment(impl_->rk(), &raw) != RD_KAFKA_RESP_ERR_NO_ERROR) return {};
  const PartitionListPtr list(raw);
  return partitions_of(*list);
}

Status GroupConsumer::pause(std::span<const TopicPartition> partitions) {
  const PartitionListPtr list = to_list(partitions);
  if (const auto code = rd_kafka_pause_partitions(impl_->rk(), list.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return impl_->failed(code, "pause");
  return first_error(*list, impl_->what("pause"), impl_->handle->bootstrap());
}

Status GroupConsumer::resume(std::span<const TopicPartition> partitions) {
  const PartitionListPtr list = to_list(partitions);
  if (const auto code = rd_kafka_resume_partitions(impl_->rk(), list.get()); code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return impl_->failed(code, "resume");
  return first_error(*list, impl_->what("resume"), impl_->handle->bootstrap());
}

Status GroupConsumer::seek(const TopicOffset& place, Millis timeout) {
  const PartitionListPtr list = to_list(place.source, place.offset.value());
  MILLRACE_RETURN_IF_ERROR(to_status(rd_kafka_seek_partitions(impl_->rk(), list.get(), to_ms(timeout)),
                                     impl_->what("seek"), impl_->handle->bootstrap()));
  MILLRACE_RETURN_IF_ERROR(first_error(*list, impl_->what("seek"), impl_->handle->bootstrap()));
  impl_->positions[place.source] = place.offset;
  return {};
}

Status GroupConsumer::commit(std::span<const TopicOffset> offsets, Millis timeout) {
  if (offsets.empty()) return {};
  const PartitionListPtr list = to_list(offsets);
  const QueuePtr reply(rd_kafka_queue_new(impl_->rk()));
  const rd_kafka_resp_err_t code = rd_kafka_commit_queue(impl_->rk(), list.get(), reply.get(), nullptr, nullptr);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return impl_->failed(code, "commit offsets");
  const EventPtr event(rd_kafka_queue_poll(reply.get(), to_ms(timeout)));
  if (!event) return tl::unexpected<Error>(impl_->handle->no_answer(impl_->what("commit offsets")));
  if (const auto result = rd_kafka_event_error(event.get()); result != RD_KAFKA_RESP_ERR_NO_ERROR)
    return impl_->failed(result, "commit offsets");
  if (const rd_kafka_topic_partition_list_t* results = rd_kafka_event_topic_partition_list(event.get()))
    return first_error(*results, impl_->what("commit offsets"), impl_->handle->bootstrap());
  return {};
}

Result<std::vector<TopicOffset>> GroupConsumer::committed(std::span<const TopicPartition> partitions, Millis timeout) {
  const PartitionListPtr list = to_list(partitions);
  if (const auto code = rd_kafka_committed(impl_->rk(), list.get(), to_ms(timeout)); code != RD_KAFKA_RESP_ERR_NO_ERROR)
    return impl_->failed(code, "read committed offsets");
  MILLRACE_RETURN_IF_ERROR(first_error(*list, impl_->what("read committed offsets"), impl_->handle->bootstrap()));
  std::vector<TopicOffset> offsets;
  for (const auto& element : std::span(list->elems, static_cast<size_t>(list->cnt)))
    if (element.offset >= 0) offsets.push_back({partition_of(element), Offset(element.offset)});
  return offsets;
}

std::optional<Offset> GroupConsumer::position(const TopicPartition& source) const {
  const auto found = impl_->positions.find(source);
  if (found == impl_->positions.end()) return std::nullopt;
  return found->second;
}

Result<OffsetRange> GroupConsumer::watermarks(const TopicPartition& source, Millis timeout) {
  int64_t begin = 0;
  int64_t end = 0;
  const rd_kafka_resp_err_t code = rd_kafka_query_watermark_offsets(
      impl_->rk(), source.topic.c_str(), source.partition.value(), &begin, &end, std::max(to_ms(timeout), 1));
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR) return impl_->failed(code, "ask where a partition begins and ends");
  return OffsetRange{Offset(begin), Offset(end)};
}

std::optional<Offset> GroupConsumer::known_end(const TopicPartition& source) const {
  int64_t begin = 0;
  int64_t end = 0;
  const rd_kafka_resp_err_t code =
      rd_kafka_get_watermark_offsets(impl_->rk(), source.topic.c_str(), source.partition.value(), &begin, &end);
  if (code != RD_KAFKA_RESP_ERR_NO_ERROR || end < 0) return std::nullopt;
  return Offset(end);
}

GroupMetadata GroupConsumer::metadata() const { return impl_->metadata(); }

GroupMetadata GroupConsumer::Impl::metadata() const {
  const GroupMetadataPtr raw(rd_kafka_consumer_group_metadata(rk()));
  if (!raw) return {};
  GroupMetadata metadata{rd_kafka_consumer_group_metadata_generation_id(raw.get()), {}};
  if (const char* member = rd_kafka_consumer_group_metadata_member_id(raw.get())) metadata.member_id = member;
  return metadata;
}

// Rebalances are answered while the queue is polled; records that still come are dropped.
void GroupConsumer::Impl::serve() const {
  constexpr int kServeMs = 20;
  rd_kafka_message_t* message = nullptr;
  if (rd_kafka_consume_batch_queue(queue.get(), kServeMs, &message, 1) == 1) rd_kafka_message_destroy(message);
}

// A static member that closes sends no LeaveGroup: its partitions would wait for the session timeout. One that
// unsubscribes does, and forgets its member id as it sends it.
void GroupConsumer::Impl::leave_as_static(std::chrono::steady_clock::time_point deadline) const {
  if (rd_kafka_unsubscribe(rk()) != RD_KAFKA_RESP_ERR_NO_ERROR) return;
  while (!metadata().member_id.empty() && std::chrono::steady_clock::now() < deadline) serve();
}

Status GroupConsumer::close(Millis timeout) {
  if (impl_->closed) return {};
  impl_->closing = true;
  if (event_pending()) (void)acknowledge({}, true);
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  if (impl_->is_static && impl_->joined) impl_->leave_as_static(deadline);
  MILLRACE_RETURN_IF_ERROR(to_status(rd_kafka_consumer_close_queue(impl_->rk(), impl_->queue.get()),
                                     impl_->what("leave"), impl_->handle->bootstrap()));
  impl_->closed = true;
  while (rd_kafka_consumer_closed(impl_->rk()) == 0) {
    if (std::chrono::steady_clock::now() >= deadline)
      return tl::unexpected<Error>(impl_->handle->no_answer(impl_->what("leave")));
    impl_->serve();
  }
  return {};
}

}  // namespace millrace::client
