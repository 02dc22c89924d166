#pragma once

#include "broker/internal/handler.h"
#include "wire/add_offsets_to_txn.h"
#include "wire/add_partitions_to_txn.h"
#include "wire/create_topics.h"
#include "wire/delete_topics.h"
#include "wire/describe_configs.h"
#include "wire/describe_groups.h"
#include "wire/describe_producers.h"
#include "wire/describe_transactions.h"
#include "wire/end_txn.h"
#include "wire/fetch.h"
#include "wire/find_coordinator.h"
#include "wire/heartbeat.h"
#include "wire/init_producer_id.h"
#include "wire/join_group.h"
#include "wire/leave_group.h"
#include "wire/list_groups.h"
#include "wire/list_offsets.h"
#include "wire/list_transactions.h"
#include "wire/metadata.h"
#include "wire/offset_commit.h"
#include "wire/offset_fetch.h"
#include "wire/offset_for_leader_epoch.h"
#include "wire/produce.h"
#include "wire/sync_group.h"
#include "wire/txn_offset_commit.h"
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

// ApiVersions is the only API that is answered whatever its version and content; `supported` says whether the version
// is.
void handle_api_versions(Request request, bool supported);

}  // namespace millrace::broker
