#include "client/admin.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <limits>
#include <optional>
#include <thread>

#include "client/internal/handle.h"
#include "client/internal/partition_list.h"

namespace millrace::client {

namespace {

using MetadataPtr = std::unique_ptr<const struct rd_kafka_metadata, FreeWith<rd_kafka_metadata_destroy>>;
using NewTopicPtr = std::unique_ptr<rd_kafka_NewTopic_t, FreeWith<rd_kafka_NewTopic_destroy>>;
using DeleteTopicPtr = std::unique_ptr<rd_kafka_DeleteTopic_t, FreeWith<rd_kafka_DeleteTopic_destroy>>;
using ConfigResourcePtr = std::unique_ptr<rd_kafka_ConfigResource_t, FreeWith<rd_kafka_ConfigResource_destroy>>;
using TopicCollectionPtr = std::unique_ptr<rd_kafka_TopicCollection_t, FreeWith<rd_kafka_TopicCollection_destroy>>;
using GroupOffsetsPtr =
    std::unique_ptr<rd_kafka_ListConsumerGroupOffsets_t, FreeWith<rd_kafka_ListConsumerGroupOffsets_destroy>>;

// How long a call goes on after every broker was found unreachable: one that is just starting still gets its answer.
constexpr Millis kUnreachablePatience{2'000};
constexpr Millis kPollSlice{50};
constexpr Millis kMetadataSlice{250};

using SteadyTime = std::chrono::steady_clock::time_point;

Millis left_until(SteadyTime deadline) {
  return std::max(Millis(0), std::chrono::ceil<Millis>(deadline - std::chrono::steady_clock::now()));
}

// Runs out where every broker has been unreachable for long, from one look to the next.
class Patience {
 public:
  explicit Patience(const Handle& handle) : handle_(handle) {}

  bool is_over() {
    const auto now = std::chrono::steady_clock::now();
    if (!handle_.all_brokers_down())
      unreachable_at_.reset();
    else if (!unreachable_at_)
      unreachable_at_ = now;
    return unreachable_at_ && now - *unreachable_at_ >= kUnreachablePatience;
  }

 private:
  const Handle& handle_;
  std::optional<SteadyTime> unreachable_at_;
};

std::string text_or_empty(const char* text) { return text != nullptr ? text : ""; }

Uuid uuid_of(const rd_kafka_Uuid_t* id) {
  Uuid uuid;
  if (id == nullptr) return uuid;
  const std::array<uint64_t, 2> halves = {static_cast<uint64_t>(rd_kafka_Uuid_most_significant_bits(id)),
                                          static_cast<uint64_t>(rd_kafka_Uuid_least_significant_bits(id))};
  for (size_t i = 0; i < uuid.bytes.size(); ++i)
    uuid.bytes[i] = static_cast<uint8_t>(halves[i / 8] >> (56 - 8 * (i % 8)));
  return uuid;
}

}  // namespace

struct Admin::Impl {
  std::shared_ptr<Handle> handle;

  rd_kafka_t* rk() const { return handle->get(); }
  const std::string& bootstrap() const { return handle->bootstrap(); }

  AdminOptionsPtr admin_options(Millis timeout) const {
    AdminOptionsPtr options(rd_kafka_AdminOptions_new(rk(), RD_KAFKA_ADMIN_OP_ANY));
    std::array<char, 128> why{};
    rd_kafka_AdminOptions_set_request_timeout(options.get(), std::max(to_ms(timeout), 1), why.data(), why.size());
    return options;
  }

  // Start an admin request with `request(options, queue)` and wait for its result.
  template <typename Request>
  Result<EventPtr> ask(std::string_view what, Millis timeout, Request&& request) const {
    const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
    const QueuePtr queue(rd_kafka_queue_new(rk()));
    const AdminOptionsPtr options = admin_options(timeout);
    std::forward<Request>(request)(options.get(), queue.get());
    Patience patience(*handle);
    while (true) {
      const Millis left = left_until(deadline);
      EventPtr event(rd_kafka_queue_poll(queue.get(), to_ms(std::min(left, kPollSlice))));
      rd_kafka_poll(rk(), 0);  // errors arrive there
      if (event) return judged(what, std::move(event));
      if (patience.is_over() || left == Millis(0)) return tl::unexpected<Error>(handle->no_answer(what));
    }
  }

  Result<EventPtr> judged(std::string_view what, EventPtr event) const {
    const rd_kafka_resp_err_t code = rd_kafka_event_error(event.get());
    if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
      handle->note_answer();
      return event;
    }
    if (code == RD_KAFKA_RESP_ERR__TIMED_OUT) return tl::unexpected<Error>(handle->no_answer(what));
    return tl::unexpected<Error>(
        to_error(code, what, bootstrap(), text_or_empty(rd_kafka_event_error_string(event.get()))));
  }

  Result<MetadataPtr> metadata(std::string_view what, Millis timeout) const {
    const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
    Patience patience(*handle);
    while (true) {
      const struct rd_kafka_metadata* metadata = nullptr;
      const Millis left = left_until(deadline);
      const rd_kafka_resp_err_t code =
          rd_kafka_metadata(rk(), 1, nullptr, &metadata, std::max(1, to_ms(std::min(left, kMetadataSlice))));
      rd_kafka_poll(rk(), 0);
      if (code == RD_KAFKA_RESP_ERR_NO_ERROR) {
        handle->note_answer();
        return MetadataPtr(metadata);
      }
      const bool waiting = code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__TIMED_OUT;
      if (!waiting) return tl::unexpected<Error>(to_error(code, what, bootstrap()));
      if (patience.is_over() || left == Millis(0)) return tl::unexpected<Error>(handle->no_answer(what));
    }
  }

  Result<std::vector<TopicInfo>> describe(std::span<const std::string> names, Millis timeout) const;
  Result<std::vector<PartitionOffsets>> list_offsets(std::span<const TopicPartition> partitions, int64_t which,
                                                     Millis timeout) const;
  Result<std::vector<PartitionOffsets>> list_offsets_once(std::span<const TopicPartition> partitions, int64_t which,
                                                          Millis timeout) const;
};

namespace {

// What create and delete answer for each topic, in the order asked.
std::vector<TopicOutcome> outcomes_of(const rd_kafka_topic_result_t** results, size_t count, std::string_view verb,
                                      std::span<const std::string> names, std::string_view bootstrap) {
  std::vector<TopicOutcome> outcomes;
  for (const std::string& name : names) {
    TopicOutcome outcome{name, fail(Errc::kInternal, fmt::format("cannot {} topic {}: no answer for it", verb, name))};
    for (size_t i = 0; i < count; ++i) {
      if (name != rd_kafka_topic_result_name(results[i])) continue;
      const rd_kafka_resp_err_t code = rd_kafka_topic_result_error(results[i]);
      outcome.status = {};
      if (code != RD_KAFKA_RESP_ERR_NO_ERROR)
        outcome.status = tl::unexpected<Error>(to_error(code, fmt::format("cannot {} topic {}", verb, name), bootstrap,
                                                        text_or_empty(rd_kafka_topic_result_error_string(results[i]))));
    }
    outcomes.push_back(std::move(outcome));
  }
  return outcomes;
}

}  // namespace

Admin::Admin(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Admin::~Admin() = default;

Result<std::unique_ptr<Admin>> Admin::create(const Options& options) {
  auto impl = std::make_unique<Impl>();
  MILLRACE_ASSIGN_OR_RETURN(impl->handle, Handle::create(RD_KAFKA_PRODUCER, options, {}));
  return std::unique_ptr<Admin>(new Admin(std::move(impl)));
}

Result<std::vector<TopicOutcome>> Admin::create_topics(std::span<const TopicSpec> topics, Millis timeout) {
  std::vector<NewTopicPtr> owned;
  std::vector<rd_kafka_NewTopic_t*> requests;
  std::vector<std::string> names;
  std::array<char, 256> why{};
  for (const TopicSpec& topic : topics) {
    constexpr int kOneReplicaOrTheClustersDefault = -1;
    NewTopicPtr request(rd_kafka_NewTopic_new(topic.name.c_str(), topic.partitions, kOneReplicaOrTheClustersDefault,
                                              why.data(), why.size()));
    if (!request)
      return fail(Errc::kInvalidArgument, fmt::format("cannot create topic \"{}\": {}", topic.name, why.data()));
    for (const auto& [name, value] : topic.config)
      rd_kafka_NewTopic_set_config(request.get(), name.c_str(), value.c_str());
    requests.push_back(request.get());
    owned.push_back(std::move(request));
    names.push_back(topic.name);
  }
  MILLRACE_ASSIGN_OR_RETURN(const EventPtr event,
                            impl_->ask("cannot create topics", timeout, [&](auto* options, auto* queue) {
                              rd_kafka_CreateTopics(impl_->rk(), requests.data(), requests.size(), options, queue);
                            }));
  size_t count = 0;
  const rd_kafka_topic_result_t** results =
      rd_kafka_CreateTopics_result_topics(rd_kafka_event_CreateTopics_result(event.get()), &count);
  return outcomes_of(results, count, "create", names, impl_->bootstrap());
}

Result<std::vector<TopicOutcome>> Admin::delete_topics(std::span<const std::string> topics, Millis timeout) {
  std::vector<DeleteTopicPtr> owned;
  std::vector<rd_kafka_DeleteTopic_t*> requests;
  for (const std::string& topic : topics) {
    owned.emplace_back(rd_kafka_DeleteTopic_new(topic.c_str()));
    requests.push_back(owned.back().get());
  }
  MILLRACE_ASSIGN_OR_RETURN(const EventPtr event,
                            impl_->ask("cannot delete topics", timeout, [&](auto* options, auto* queue) {
                              rd_kafka_DeleteTopics(impl_->rk(), requests.data(), requests.size(), options, queue);
                            }));
  size_t count = 0;
  const rd_kafka_topic_result_t** results =
      rd_kafka_DeleteTopics_result_topics(rd_kafka_event_DeleteTopics_result(event.get()), &count);
  return outcomes_of(results, count, "delete", topics, impl_->bootstrap());
}

Status Admin::ensure_topic(const TopicSpec& topic, Millis timeout) {
  MILLRACE_ASSIGN_OR_RETURN(const auto outcomes, create_topics({&topic, 1}, timeout));
  const Status& created = outcomes.front().status;
  if (created || created.error().code != Errc::kAlreadyExists) return created;
  MILLRACE_ASSIGN_OR_RETURN(const auto topics, list_topics(timeout));
  const auto existing =
      std::find_if(topics.begin(), topics.end(), [&topic](const TopicInfo& t) { return t.name == topic.name; });
  if (existing == topics.end()) return created;  // deleted in between
  if (existing->partitions.size() == static_cast<size_t>(topic.partitions)) return {};
  return fail(Errc::kConflict,
              fmt::format("topic {} exists with {} partitions, {} are needed", topic.name, existing->partitions.size(),
                          topic.partitions),
              "delete the topic, or ask for as many partitions as it has");
}

Result<std::vector<TopicInfo>> Admin::Impl::describe(std::span<const std::string> names, Millis timeout) const {
  std::vector<const char*> raw_names;
  for (const std::string& name : names) raw_names.push_back(name.c_str());
  const TopicCollectionPtr collection(rd_kafka_TopicCollection_of_topic_names(raw_names.data(), raw_names.size()));
  MILLRACE_ASSIGN_OR_RETURN(const EventPtr event,
                            ask("cannot describe topics", timeout, [&](auto* options, auto* queue) {
                              rd_kafka_DescribeTopics(rk(), collection.get(), options, queue);
                            }));
  size_t count = 0;
  const rd_kafka_TopicDescription_t** topics =
      rd_kafka_DescribeTopics_result_topics(rd_kafka_event_DescribeTopics_result(event.get()), &count);
  std::vector<TopicInfo> infos;
  for (const rd_kafka_TopicDescription_t* topic : std::span(topics, count)) {
    const std::string name = rd_kafka_TopicDescription_name(topic);
    const rd_kafka_error_t* error = rd_kafka_TopicDescription_error(topic);
    if (error != nullptr && rd_kafka_error_code(error) != RD_KAFKA_RESP_ERR_NO_ERROR)
      return tl::unexpected<Error>(to_error(rd_kafka_error_code(error), fmt::format("cannot describe topic {}", name),
                                            bootstrap(), text_or_empty(rd_kafka_error_string(error))));
    TopicInfo info{name,
                   uuid_of(rd_kafka_TopicDescription_topic_id(topic)),
                   rd_kafka_TopicDescription_is_internal(topic) != 0,
                   {}};
    size_t partition_count = 0;
    const auto** partitions = rd_kafka_TopicDescription_partitions(topic, &partition_count);
    for (const auto* partition : std::span(partitions, partition_count)) {
      const rd_kafka_Node_t* leader = rd_kafka_TopicPartitionInfo_leader(partition);
      info.partitions.push_back({PartitionId(rd_kafka_TopicPartitionInfo_partition(partition)),
                                 leader != nullptr ? rd_kafka_Node_id(leader) : -1});
    }
    std::sort(info.partitions.begin(), info.partitions.end(), [](const auto& a, const auto& b) { return a.id < b.id; });
    infos.push_back(std::move(info));
  }
  std::sort(infos.begin(), infos.end(), [](const TopicInfo& a, const TopicInfo& b) { return a.name < b.name; });
  return infos;
}

Result<std::vector<TopicInfo>> Admin::list_topics(Millis timeout) {
  MILLRACE_ASSIGN_OR_RETURN(const MetadataPtr metadata, impl_->metadata("cannot list topics", timeout));
  std::vector<TopicInfo> infos;
  for (const auto& topic : std::span(metadata->topics, static_cast<size_t>(metadata->topic_cnt))) {
    TopicInfo& info = infos.emplace_back();
    info.name = topic.topic;
    info.internal =
        info.name == "__consumer_offsets" || info.name == "__transaction_state" || info.name == "__millrace_rebalances";
    for (const auto& partition : std::span(topic.partitions, static_cast<size_t>(topic.partition_cnt)))
      info.partitions.push_back({PartitionId(partition.id), partition.leader});
    std::sort(info.partitions.begin(), info.partitions.end(), [](const auto& x, const auto& y) { return x.id < y.id; });
  }
  std::sort(infos.begin(), infos.end(), [](const TopicInfo& x, const TopicInfo& y) { return x.name < y.name; });
  return infos;
}

Result<TopicInfo> Admin::describe_topic(const std::string& topic, Millis timeout) {
  MILLRACE_ASSIGN_OR_RETURN(auto infos, impl_->describe({&topic, 1}, timeout));
  if (infos.empty()) return fail(Errc::kNotFound, fmt::format("there is no topic {}", topic));
  return std::move(infos.front());
}

Result<std::vector<ConfigEntry>> Admin::describe_topic_config(const std::string& topic, Millis timeout) {
  const ConfigResourcePtr resource(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
  rd_kafka_ConfigResource_t* request = resource.get();
  const std::string what = fmt::format("cannot describe the settings of topic {}", topic);
  MILLRACE_ASSIGN_OR_RETURN(const EventPtr event, impl_->ask(what, timeout, [&](auto* options, auto* queue) {
    rd_kafka_DescribeConfigs(impl_->rk(), &request, 1, options, queue);
  }));
  size_t count = 0;
  const rd_kafka_ConfigResource_t** resources =
      rd_kafka_DescribeConfigs_result_resources(rd_kafka_event_DescribeConfigs_result(event.get()), &count);
  std::vector<ConfigEntry> entries;
  for (const rd_kafka_ConfigResource_t* answer : std::span(resources, count)) {
    if (const auto code = rd_kafka_ConfigResource_error(answer); code != RD_KAFKA_RESP_ERR_NO_ERROR)
      return tl::unexpected<Error>(
          to_error(code, what, impl_->bootstrap(), text_or_empty(rd_kafka_ConfigResource_error_string(answer))));
    size_t entry_count = 0;
    const rd_kafka_ConfigEntry_t** raw = rd_kafka_ConfigResource_configs(answer, &entry_count);
    for (const rd_kafka_ConfigEntry_t* entry : std::span(raw, entry_count)) {
      ConfigEntry& out = entries.emplace_back();
      out.name = rd_kafka_ConfigEntry_name(entry);
      if (const char* value = rd_kafka_ConfigEntry_value(entry)) out.value = value;
      out.is_default = rd_kafka_ConfigEntry_is_default(entry) == 1;
      out.read_only = rd_kafka_ConfigEntry_is_read_only(entry) == 1;
    }
  }
  std::sort(entries.begin(), entries.end(), [](const auto& a, const auto& b) { return a.name < b.name; });
  return entries;
}

Result<ClusterInfo> Admin::describe_cluster(Millis timeout) {
  MILLRACE_ASSIGN_OR_RETURN(const MetadataPtr metadata, impl_->metadata("cannot describe the cluster", timeout));
  ClusterInfo info;
  for (const auto& broker : std::span(metadata->brokers, static_cast<size_t>(metadata->broker_cnt)))
    info.brokers.push_back({broker.id, text_or_empty(broker.host), broker.port});
  // Both come with the metadata that has just arrived.
  info.controller = rd_kafka_controllerid(impl_->rk(), 0);
  if (char* id = rd_kafka_clusterid(impl_->rk(), 0)) {
    info.cluster_id = id;
    rd_kafka_mem_free(impl_->rk(), id);
  }
  return info;
}

// A cluster elects the leaders of new partitions a moment after it has answered that they exist.
Result<std::vector<PartitionOffsets>> Admin::Impl::list_offsets(std::span<const TopicPartition> partitions,
                                                                int64_t which, Millis timeout) const {
  constexpr Millis kElectionPause{50};
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout;
  while (true) {
    auto found = list_offsets_once(partitions, which, left_until(deadline));
    const bool electing = found ? std::any_of(found->begin(), found->end(),
                                              [](const auto& o) { return !o.range && is_retriable(o.range.error()); })
                                : is_retriable(found.error());
    if (!electing || handle->all_brokers_down() || left_until(deadline) <= kElectionPause) return found;
    std::this_thread::sleep_for(kElectionPause);
  }
}

Result<std::vector<PartitionOffsets>> Admin::Impl::list_offsets_once(std::span<const TopicPartition> partitions,
                                                                     int64_t which, Millis timeout) const {
  std::vector<PartitionOffsets> found;
  if (partitions.empty()) return found;
  const PartitionListPtr list = to_list(partitions);
  for (int i = 0; i < list->cnt; ++i) list->elems[i].offset = which;
  const std::string what = "cannot ask for offsets";
  MILLRACE_ASSIGN_OR_RETURN(const EventPtr event, ask(what, timeout, [&](auto* options, auto* queue) {
                              rd_kafka_ListOffsets(rk(), list.get(), options, queue);
                            }));
  size_t count = 0;
  const rd_kafka_ListOffsetsResultInfo_t** infos =
      rd_kafka_ListOffsets_result_infos(rd_kafka_event_ListOffsets_result(event.get()), &count);
  for (const TopicPartition& source : partitions) {
    PartitionOffsets outcome{source, fail(Errc::kInternal, fmt::format("{} of {}[{}]: no answer for it", what,
                                                                       source.topic, source.partition.value()))};
    for (const rd_kafka_ListOffsetsResultInfo_t* info : std::span(infos, count)) {
      const rd_kafka_topic_partition_t* element = rd_kafka_ListOffsetsResultInfo_topic_partition(info);
      if (partition_of(*element) != source) continue;
      if (element->err != RD_KAFKA_RESP_ERR_NO_ERROR)
        outcome.range = tl::unexpected<Error>(to_error(
            element->err, fmt::format("{} of {}[{}]", what, source.topic, source.partition.value()), bootstrap()));
      else
        outcome.range = OffsetRange{Offset(element->offset), Offset(element->offset)};
    }
    found.push_back(std::move(outcome));
  }
  return found;
}

Result<std::vector<PartitionOffsets>> Admin::offsets(std::span<const TopicPartition> partitions, Millis timeout) {
  MILLRACE_ASSIGN_OR_RETURN(auto begins, impl_->list_offsets(partitions, RD_KAFKA_OFFSET_SPEC_EARLIEST, timeout));
  MILLRACE_ASSIGN_OR_RETURN(auto ends, impl_->list_offsets(partitions, RD_KAFKA_OFFSET_SPEC_LATEST, timeout));
  for (size_t i = 0; i < begins.size(); ++i) {
    if (begins[i].range && ends[i].range) begins[i].range->end = ends[i].range->end;
    if (!ends[i].range) begins[i].range = std::move(ends[i].range);
  }
  return begins;
}

Result<std::vector<TopicOffset>> Admin::offsets_at(std::span<const TopicPartition> partitions, int64_t timestamp_ms,
                                                   Millis timeout) {
  if (timestamp_ms < 0) return fail(Errc::kInvalidArgument, "a time before 1970 has no offset");
  MILLRACE_ASSIGN_OR_RETURN(auto found, impl_->list_offsets(partitions, timestamp_ms, timeout));
  MILLRACE_ASSIGN_OR_RETURN(auto ends, impl_->list_offsets(partitions, RD_KAFKA_OFFSET_SPEC_LATEST, timeout));
  std::vector<TopicOffset> offsets;
  for (size_t i = 0; i < found.size(); ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const OffsetRange at, std::move(found[i].range));
    MILLRACE_ASSIGN_OR_RETURN(const OffsetRange end, std::move(ends[i].range));
    offsets.push_back({found[i].source, at.begin < Offset(0) ? end.end : at.begin});
  }
  return offsets;
}

Result<std::vector<GroupInfo>> Admin::list_groups(Millis timeout) {
  MILLRACE_ASSIGN_OR_RETURN(const EventPtr event,
                            impl_->ask("cannot list groups", timeout, [&](auto* options, auto* queue) {
                              rd_kafka_ListConsumerGroups(impl_->rk(), options, queue);
                            }));
  const rd_kafka_ListConsumerGroups_result_t* result = rd_kafka_event_ListConsumerGroups_result(event.get());
  size_t count = 0;
  const rd_kafka_error_t** errors = rd_kafka_ListConsumerGroups_result_errors(result, &count);
  if (count > 0)
    return tl::unexpected<Error>(to_error(rd_kafka_error_code(errors[0]), "cannot list groups", impl_->bootstrap(),
                                          rd_kafka_error_string(errors[0])));
  const rd_kafka_ConsumerGroupListing_t** groups = rd_kafka_ListConsumerGroups_result_valid(result, &count);
  std::vector<GroupInfo> infos;
  for (const rd_kafka_ConsumerGroupListing_t* group : std::span(groups, count))
    infos.push_back({rd_kafka_ConsumerGroupListing_group_id(group),
                     rd_kafka_consumer_group_state_name(rd_kafka_ConsumerGroupListing_state(group)),
                     rd_kafka_ConsumerGroupListing_is_simple_consumer_group(group) != 0});
  std::sort(infos.begin(), infos.end(), [](const GroupInfo& a, const GroupInfo& b) { return a.name < b.name; });
  return infos;
}

namespace {

GroupMember member_of(const rd_kafka_MemberDescription_t* raw) {
  GroupMember member{text_or_empty(rd_kafka_MemberDescription_consumer_id(raw)),
                     text_or_empty(rd_kafka_MemberDescription_client_id(raw)),
                     text_or_empty(rd_kafka_MemberDescription_host(raw)),
                     text_or_empty(rd_kafka_MemberDescription_group_instance_id(raw)),
                     {}};
  if (const rd_kafka_MemberAssignment_t* assignment = rd_kafka_MemberDescription_assignment(raw))
    if (const auto* partitions = rd_kafka_MemberAssignment_partitions(assignment))
      member.assignment = partitions_of(*partitions);
  return member;
}

}  // namespace

Result<GroupDescription> Admin::describe_group(const std::string& group, Millis timeout) {
  const char* name = group.c_str();
  const std::string what = fmt::format("cannot describe group {}", group);
  MILLRACE_ASSIGN_OR_RETURN(const EventPtr event, impl_->ask(what, timeout, [&](auto* options, auto* queue) {
    rd_kafka_DescribeConsumerGroups(impl_->rk(), &name, 1, options, queue);
  }));
  size_t count = 0;
  const rd_kafka_ConsumerGroupDescription_t** groups =
      rd_kafka_DescribeConsumerGroups_result_groups(rd_kafka_event_DescribeConsumerGroups_result(event.get()), &count);
  if (count == 0) return fail(Errc::kInternal, what + ": no answer for it");
  const rd_kafka_ConsumerGroupDescription_t* raw = groups[0];
  if (const rd_kafka_error_t* error = rd_kafka_ConsumerGroupDescription_error(raw))
    return tl::unexpected<Error>(
        to_error(rd_kafka_error_code(error), what, impl_->bootstrap(), text_or_empty(rd_kafka_error_string(error))));

  GroupDescription description;
  description.name = group;
  const rd_kafka_consumer_group_state_t state = rd_kafka_ConsumerGroupDescription_state(raw);
  description.state = rd_kafka_consumer_group_state_name(state);
  description.assignor = text_or_empty(rd_kafka_ConsumerGroupDescription_partition_assignor(raw));
  const size_t members = rd_kafka_ConsumerGroupDescription_member_count(raw);
  for (size_t i = 0; i < members; ++i)
    description.members.push_back(member_of(rd_kafka_ConsumerGroupDescription_member(raw, i)));

  MILLRACE_ASSIGN_OR_RETURN(const auto offsets, committed(group, timeout));
  // A broker describes a group it never heard of as dead, without members or offsets.
  if (state == RD_KAFKA_CONSUMER_GROUP_STATE_DEAD && members == 0 && offsets.empty())
    return fail(Errc::kNotFound, fmt::format("there is no group {}", group),
                "list those there are: millrace group list");
  std::vector<TopicPartition> partitions;
  for (const TopicOffset& place : offsets) partitions.push_back(place.source);
  MILLRACE_ASSIGN_OR_RETURN(const auto ends, impl_->list_offsets(partitions, RD_KAFKA_OFFSET_SPEC_LATEST, timeout));
  for (size_t i = 0; i < offsets.size(); ++i)
    if (ends[i].range)  // a topic deleted since has no lag
      description.offsets.push_back({offsets[i].source, offsets[i].offset, ends[i].range->end});
  return description;
}

Result<std::vector<TopicOffset>> Admin::committed(const std::string& group, Millis timeout) {
  const GroupOffsetsPtr request(rd_kafka_ListConsumerGroupOffsets_new(group.c_str(), nullptr));
  rd_kafka_ListConsumerGroupOffsets_t* raw = request.get();
  const std::string what = fmt::format("cannot read the offsets of group {}", group);
  MILLRACE_ASSIGN_OR_RETURN(const EventPtr event, impl_->ask(what, timeout, [&](auto* options, auto* queue) {
    rd_kafka_ListConsumerGroupOffsets(impl_->rk(), &raw, 1, options, queue);
  }));
  size_t count = 0;
  const rd_kafka_group_result_t** groups = rd_kafka_ListConsumerGroupOffsets_result_groups(
      rd_kafka_event_ListConsumerGroupOffsets_result(event.get()), &count);
  std::vector<TopicOffset> offsets;
  for (const rd_kafka_group_result_t* result : std::span(groups, count)) {
    if (const rd_kafka_error_t* error = rd_kafka_group_result_error(result))
      return tl::unexpected<Error>(
          to_error(rd_kafka_error_code(error), what, impl_->bootstrap(), text_or_empty(rd_kafka_error_string(error))));
    const rd_kafka_topic_partition_list_t* partitions = rd_kafka_group_result_partitions(result);
    if (partitions == nullptr) continue;
    for (const auto& element : std::span(partitions->elems, static_cast<size_t>(partitions->cnt)))
      if (element.offset >= 0) offsets.push_back({partition_of(element), Offset(element.offset)});
  }
  std::sort(offsets.begin(), offsets.end());
  return offsets;
}

}  // namespace millrace::client
