#pragma once

#include "broker/internal/handler.h"
#include "wire/add_offsets_to_txn.h"
#include "wire/add_partitions_to_txn.h"
#include "wire/alter_client_quotas.h"
#include "wire/alter_configs.h"
#include "wire/alter_partition_reassignments.h"
#include "wire/alter_replica_log_dirs.h"
#include "wire/create_partitions.h"
#include "wire/create_topics.h"
#include "wire/delete_groups.h"
#include "wire/delete_records.h"
#include "wire/delete_topics.h"
#include "wire/describe_client_quotas.h"
#include "wire/describe_cluster.h"
#include "wire/describe_configs.h"
#include "wire/describe_groups.h"
#include "wire/describe_log_dirs.h"
#include "wire/describe_producers.h"
#include "wire/describe_quorum.h"
#include "wire/describe_topic_partitions.h"
#include "wire/describe_transactions.h"
#include "wire/elect_leaders.h"
#include "wire/end_txn.h"
#include "wire/fetch.h"
#include "wire/find_coordinator.h"
#include "wire/heartbeat.h"
#include "wire/incremental_alter_configs.h"
#include "wire/init_producer_id.h"
#include "wire/join_group.h"
#include "wire/leave_group.h"
#include "wire/list_config_resources.h"
#include "wire/list_groups.h"
#include "wire/list_offsets.h"
#include "wire/list_partition_reassignments.h"
#include "wire/list_transactions.h"
#include "wire/metadata.h"
#include "wire/offset_commit.h"
#include "wire/offset_delete.h"
#include "wire/offset_fetch.h"
#include "wire/offset_for_leader_epoch.h"
#include "wire/produce.h"
#include "wire/sync_group.h"
#include "wire/txn_offset_commit.h"
#include "wire/update_features.h"
#include "wire/write_txn_markers.h"

// Each served API's handler, in handle_<family>.cc. They answer, now or later, and never throw.
namespace millrace::broker {

void handle_metadata(Core& core, Request request, wire::MetadataRequest message);
void handle_produce(Core& core, Request request, wire::ProduceRequest message);
void handle_fetch(Core& core, Request request, wire::FetchRequest message);
void handle_list_offsets(Core& core, Request request, wire::ListOffsetsRequest message);
void handle_offset_for_leader_epoch(Core& core, Request request, wire::OffsetForLeaderEpochRequest message);
void handle_find_coordinator(Core& core, Request request, wire::FindCoordinatorRequest message);
void handle_join_group(Core& core, Request request, wire::JoinGroupRequest message);
void handle_sync_group(Core& core, Request request, wire::SyncGroupRequest message);
void handle_heartbeat(Core& core, Request request, wire::HeartbeatRequest message);
void handle_leave_group(Core& core, Request request, wire::LeaveGroupRequest message);
void handle_offset_commit(Core& core, Request request, wire::OffsetCommitRequest message);
void handle_offset_fetch(Core& core, Request request, wire::OffsetFetchRequest message);
void handle_list_groups(Core& core, Request request, wire::ListGroupsRequest message);
void handle_describe_groups(Core& core, Request request, wire::DescribeGroupsRequest message);
void handle_create_topics(Core& core, Request request, wire::CreateTopicsRequest message);
void handle_delete_topics(Core& core, Request request, wire::DeleteTopicsRequest message);
void handle_describe_configs(Core& core, Request request, wire::DescribeConfigsRequest message);
void handle_alter_configs(Core& core, Request request, wire::AlterConfigsRequest message);
void handle_incremental_alter_configs(Core& core, Request request, wire::IncrementalAlterConfigsRequest message);
void handle_list_config_resources(Core& core, Request request, wire::ListConfigResourcesRequest message);
void handle_add_partitions_to_txn(Core& core, Request request, wire::AddPartitionsToTxnRequest message);
void handle_add_offsets_to_txn(Core& core, Request request, wire::AddOffsetsToTxnRequest message);
void handle_end_txn(Core& core, Request request, wire::EndTxnRequest message);
void handle_txn_offset_commit(Core& core, Request request, wire::TxnOffsetCommitRequest message);
void handle_write_txn_markers(Core& core, Request request, wire::WriteTxnMarkersRequest message);
void handle_describe_producers(Core& core, Request request, wire::DescribeProducersRequest message);
void handle_describe_transactions(Core& core, Request request, wire::DescribeTransactionsRequest message);
void handle_list_transactions(Core& core, Request request, wire::ListTransactionsRequest message);
void handle_init_producer_id(Core& core, Request request, wire::InitProducerIdRequest message);

// The part of InitProducerId for those with a transactional id.
void init_transactional_producer(Core& core, Request request, const wire::InitProducerIdRequest& message);
void handle_create_partitions(Core& core, Request request, wire::CreatePartitionsRequest message);
void handle_delete_records(Core& core, Request request, wire::DeleteRecordsRequest message);
void handle_delete_groups(Core& core, Request request, wire::DeleteGroupsRequest message);
void handle_offset_delete(Core& core, Request request, wire::OffsetDeleteRequest message);
void handle_elect_leaders(Core& core, Request request, wire::ElectLeadersRequest message);
void handle_alter_partition_reassignments(Core& core, Request request,
                                          wire::AlterPartitionReassignmentsRequest message);
void handle_list_partition_reassignments(Core& core, Request request, wire::ListPartitionReassignmentsRequest message);
void handle_describe_log_dirs(Core& core, Request request, wire::DescribeLogDirsRequest message);
void handle_alter_replica_log_dirs(Core& core, Request request, wire::AlterReplicaLogDirsRequest message);
void handle_describe_cluster(Core& core, Request request, wire::DescribeClusterRequest message);
void handle_describe_topic_partitions(Core& core, Request request, wire::DescribeTopicPartitionsRequest message);
void handle_describe_quorum(Core& core, Request request, wire::DescribeQuorumRequest message);
void handle_update_features(Core& core, Request request, wire::UpdateFeaturesRequest message);
void handle_describe_client_quotas(Core& core, Request request, wire::DescribeClientQuotasRequest message);
void handle_alter_client_quotas(Core& core, Request request, wire::AlterClientQuotasRequest message);

// ApiVersions is the only API that is answered whatever its version and content; `supported` says whether the version
// is.
void handle_api_versions(Request request, bool supported);

}  // namespace millrace::broker
