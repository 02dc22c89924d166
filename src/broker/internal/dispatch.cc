#include "broker/internal/dispatch.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <utility>

#include "broker/internal/handlers.h"
#include "wire/messages.h"

namespace millrace::broker {

using wire::ApiKey;

namespace {

struct Row {
  ApiKey key;
  Handler handler;
};

constexpr std::array kHandlers = {
    Row{ApiKey::kProduce, decoded<wire::ProduceRequest, handle_produce>},
    Row{ApiKey::kFetch, decoded<wire::FetchRequest, handle_fetch>},
    Row{ApiKey::kListOffsets, decoded<wire::ListOffsetsRequest, handle_list_offsets>},
    Row{ApiKey::kMetadata, decoded<wire::MetadataRequest, handle_metadata>},
    Row{ApiKey::kOffsetCommit, decoded<wire::OffsetCommitRequest, handle_offset_commit>},
    Row{ApiKey::kOffsetFetch, decoded<wire::OffsetFetchRequest, handle_offset_fetch>},
    Row{ApiKey::kFindCoordinator, decoded<wire::FindCoordinatorRequest, handle_find_coordinator>},
    Row{ApiKey::kJoinGroup, decoded<wire::JoinGroupRequest, handle_join_group>},
    Row{ApiKey::kHeartbeat, decoded<wire::HeartbeatRequest, handle_heartbeat>},
    Row{ApiKey::kLeaveGroup, decoded<wire::LeaveGroupRequest, handle_leave_group>},
    Row{ApiKey::kSyncGroup, decoded<wire::SyncGroupRequest, handle_sync_group>},
    Row{ApiKey::kDescribeGroups, decoded<wire::DescribeGroupsRequest, handle_describe_groups>},
    Row{ApiKey::kListGroups, decoded<wire::ListGroupsRequest, handle_list_groups>},
    Row{ApiKey::kCreateTopics, decoded<wire::CreateTopicsRequest, handle_create_topics>},
    Row{ApiKey::kDeleteTopics, decoded<wire::DeleteTopicsRequest, handle_delete_topics>},
    Row{ApiKey::kAddPartitionsToTxn, decoded<wire::AddPartitionsToTxnRequest, handle_add_partitions_to_txn>},
    Row{ApiKey::kAddOffsetsToTxn, decoded<wire::AddOffsetsToTxnRequest, handle_add_offsets_to_txn>},
    Row{ApiKey::kEndTxn, decoded<wire::EndTxnRequest, handle_end_txn>},
    Row{ApiKey::kTxnOffsetCommit, decoded<wire::TxnOffsetCommitRequest, handle_txn_offset_commit>},
    Row{ApiKey::kWriteTxnMarkers, decoded<wire::WriteTxnMarkersRequest, handle_write_txn_markers>},
    Row{ApiKey::kDescribeProducers, decoded<wire::DescribeProducersRequest, handle_describe_producers>},
    Row{ApiKey::kDescribeTransactions, decoded<wire::DescribeTransactionsRequest, handle_describe_transactions>},
    Row{ApiKey::kListTransactions, decoded<wire::ListTransactionsRequest, handle_list_transactions>},
    Row{ApiKey::kInitProducerId, decoded<wire::InitProducerIdRequest, handle_init_producer_id>},
    Row{ApiKey::kOffsetForLeaderEpoch, decoded<wire::OffsetForLeaderEpochRequest, handle_offset_for_leader_epoch>},
    Row{ApiKey::kDescribeConfigs, decoded<wire::DescribeConfigsRequest, handle_describe_configs>},
    Row{ApiKey::kAlterConfigs, decoded<wire::AlterConfigsRequest, handle_alter_configs>},
    Row{ApiKey::kIncrementalAlterConfigs,
        decoded<wire::IncrementalAlterConfigsRequest, handle_incremental_alter_configs>},
    Row{ApiKey::kListConfigResources, decoded<wire::ListConfigResourcesRequest, handle_list_config_resources>},
    Row{ApiKey::kCreatePartitions, decoded<wire::CreatePartitionsRequest, handle_create_partitions>},
    Row{ApiKey::kDeleteRecords, decoded<wire::DeleteRecordsRequest, handle_delete_records>},
    Row{ApiKey::kDeleteGroups, decoded<wire::DeleteGroupsRequest, handle_delete_groups>},
    Row{ApiKey::kOffsetDelete, decoded<wire::OffsetDeleteRequest, handle_offset_delete>},
    Row{ApiKey::kElectLeaders, decoded<wire::ElectLeadersRequest, handle_elect_leaders>},
    Row{ApiKey::kAlterPartitionReassignments,
        decoded<wire::AlterPartitionReassignmentsRequest, handle_alter_partition_reassignments>},
    Row{ApiKey::kListPartitionReassignments,
        decoded<wire::ListPartitionReassignmentsRequest, handle_list_partition_reassignments>},
    Row{ApiKey::kDescribeLogDirs, decoded<wire::DescribeLogDirsRequest, handle_describe_log_dirs>},
    Row{ApiKey::kAlterReplicaLogDirs, decoded<wire::AlterReplicaLogDirsRequest, handle_alter_replica_log_dirs>},
    Row{ApiKey::kDescribeCluster, decoded<wire::DescribeClusterRequest, handle_describe_cluster>},
    Row{ApiKey::kDescribeTopicPartitions,
        decoded<wire::DescribeTopicPartitionsRequest, handle_describe_topic_partitions>},
    Row{ApiKey::kDescribeQuorum, decoded<wire::DescribeQuorumRequest, handle_describe_quorum>},
    Row{ApiKey::kUpdateFeatures, decoded<wire::UpdateFeaturesRequest, handle_update_features>},
    Row{ApiKey::kDescribeClientQuotas, decoded<wire::DescribeClientQuotasRequest, handle_describe_client_quotas>},
    Row{ApiKey::kAlterClientQuotas, decoded<wire::AlterClientQuotasRequest, handle_alter_client_quotas>},
};

// Of requests without records. To decode and answer one takes some fifty times its size at worst: an answer has more
// about a partition than its number, which is all that a request needs.
constexpr size_t kPlainRequestBytesMax = 8 << 20;

bool is_decodable(const wire::ApiRange& api, int16_t version) {
  return version >= api.decodable_min && version <= api.decodable_max;
}

// Of an ApiVersions request in a version to come even the header may be another; what tells its answer from others
// stands where it always did.
Result<wire::RequestHeader> read_header(ByteReader& in) {
  ByteReader ahead = in;
  wire::RequestHeader header;
  MILLRACE_ASSIGN_OR_RETURN(const auto key, ahead.fixed<int16_t>());
  MILLRACE_ASSIGN_OR_RETURN(header.api_version, ahead.fixed<int16_t>());
  MILLRACE_ASSIGN_OR_RETURN(header.correlation_id, ahead.fixed<int32_t>());
  header.api_key = ApiKey::kApiVersions;
  if (key == static_cast<int16_t>(ApiKey::kApiVersions) && !is_decodable(*wire::find_api(key), header.api_version))
    return header;
  return wire::decode_request_header(in);
}

}  // namespace

Handler find_handler(ApiKey key) {
  const auto* found = std::ranges::find(kHandlers, key, &Row::key);
  return found == kHandlers.end() ? nullptr : found->handler;
}

bool is_served(ApiKey key) { return key == ApiKey::kApiVersions || find_handler(key) != nullptr; }

void Dispatcher::closed(uint64_t connection) {
  core_.groups.post([&core = core_, connection] { core.groups.connection_closed(connection); });
}

void Dispatcher::next_waits(uint64_t connection) {
  core_.groups.post([&core = core_, connection] { core.groups.next_request_waits(connection); });
}

void Dispatcher::handle(Incoming incoming) {
  ByteReader in(incoming.frame->view());
  auto header = read_header(in);
  if (!header) return incoming.reply.give_up(header.error().message);
  if (header->api_key != ApiKey::kProduce && incoming.frame->size() > kPlainRequestBytesMax)
    return incoming.reply.give_up(fmt::format("a {} request of {} bytes; only Produce may have more than {}",
                                              wire::api_name(header->api_key), incoming.frame->size(),
                                              kPlainRequestBytesMax));
  Request request{.header = std::move(*header),
                  .frame = std::move(incoming.frame),
                  .body = in,
                  .client_host = std::move(incoming.client_host),
                  .listener = incoming.listener,
                  .connection = incoming.connection,
                  .client = incoming.client,
                  .metrics = &metrics_,
                  .reply = std::move(incoming.reply)};
  const ApiKey key = request.header.api_key;
  const int16_t version = request.header.api_version;
  const wire::ApiRange* api = wire::find_api(static_cast<int16_t>(key));
  metrics_.begun(key);
  const bool supported = api != nullptr && is_decodable(*api, version);
  if (key == ApiKey::kApiVersions) return handle_api_versions(std::move(request), supported);
  const Handler handler = find_handler(key);
  if (!supported || handler == nullptr)
    return request.reply.give_up(fmt::format("{} version {} is not served", wire::api_name(key), version));
  handler(core_, std::move(request));
}

}  // namespace millrace::broker
