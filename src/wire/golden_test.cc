// Bytes that Kafka's own Java client wrote (tests/peers/golden.py), for every message and version.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "wire/add_partitions_to_txn.h"
#include "wire/api_versions.h"
#include "wire/describe_quorum.h"
#include "wire/describe_topic_partitions.h"
#include "wire/error_code.h"
#include "wire/fetch.h"
#include "wire/frame.h"
#include "wire/group_records.h"
#include "wire/join_group.h"
#include "wire/messages.h"
#include "wire/metadata.h"
#include "wire/offset_fetch.h"
#include "wire/produce.h"
#include "wire/transaction_records.h"

namespace millrace::wire {
namespace {

const std::filesystem::path kGolden = std::filesystem::path(MILLRACE_SOURCE_DIR) / "src/wire/golden";

struct Sample {
  std::string message;
  int16_t version = 0;
  Bytes bytes;
};

Bytes from_hex(std::string_view hex) {
  Bytes bytes(hex.size() / 2);
  for (size_t i = 0; i < bytes.size(); ++i) {
    bytes[i] = static_cast<std::byte>(std::stoi(std::string(hex.substr(2 * i, 2)), nullptr, 16));
  }
  return bytes;
}

std::vector<Sample> load_samples() {
  std::vector<Sample> samples;
  for (const auto& entry : std::filesystem::directory_iterator(kGolden)) {
    if (entry.path().extension() != ".hex") continue;
    std::ifstream file(entry.path());
    for (std::string line; std::getline(file, line);) {
      std::istringstream words(line);
      std::string hex;
      Sample sample;
      words >> sample.message >> sample.version >> hex;
      sample.bytes = from_hex(hex);
      samples.push_back(std::move(sample));
    }
  }
  return samples;
}

const std::vector<Sample>& samples() {
  static const std::vector<Sample> all = load_samples();
  return all;
}

const MessageInfo* find_message(std::string_view name) {
  for (const MessageInfo& message : all_messages()) {
    if (message.name == name) return &message;
  }
  return nullptr;
}

// The sample of a version in which every field has a value of its own.
template <typename T>
T full(int16_t version) {
  for (const Sample& sample : samples()) {
    if (sample.message != T::kName || sample.version != version) continue;
    ByteReader in(sample.bytes);
    return T::decode(in, version).value();
  }
  ADD_FAILURE() << "no sample of " << T::kName << " v" << version;
  return {};
}

std::string text(std::optional<ByteView> bytes) { return bytes ? std::string(as_text(*bytes)) : "null"; }

TEST(GoldenBytes, EveryVersionOfEveryMessageIsThere) {
  std::map<std::pair<std::string_view, int16_t>, int> count;
  for (const Sample& sample : samples()) ++count[{sample.message, sample.version}];
  size_t expected = 0;
  for (const MessageInfo& message : all_messages()) {
    for (int16_t version = message.min; version <= message.max; ++version) {
      ++expected;
      EXPECT_EQ((count[{message.name, version}]), 2) << message.name << " v" << version;
    }
  }
  EXPECT_EQ(count.size(), expected + 4) << "and two versions each of the headers";
}

TEST(GoldenBytes, DecodedAndEncodedAgainTheyAreTheSame) {
  for (const Sample& sample : samples()) {
    const MessageInfo* message = find_message(sample.message);
    if (message == nullptr) continue;
    const auto again = message->recode(sample.bytes, sample.version);
    ASSERT_TRUE(again) << sample.message << " v" << sample.version << ": " << again.error().message;
    EXPECT_EQ(*again, sample.bytes) << sample.message << " v" << sample.version;
  }
}

TEST(GoldenBytes, HeadersAreTheSameToo) {
  int seen = 0;
  for (const Sample& sample : samples()) {
    ByteReader in(sample.bytes);
    Bytes again;
    ByteWriter out(again);
    if (sample.message == "RequestHeader") {
      const RequestHeader header = decode_request_header(in, sample.version).value();
      EXPECT_TRUE(encode_request_header(header, out, sample.version));
    } else if (sample.message == "ResponseHeader") {
      encode_response_header(decode_response_header(in, sample.version).value(), out, sample.version);
    } else {
      continue;
    }
    ++seen;
    EXPECT_EQ(in.remaining(), 0u);
    EXPECT_EQ(again, sample.bytes) << sample.message << " v" << sample.version;
  }
  EXPECT_EQ(seen, 8);
}

TEST(GoldenBytes, NoPrefixOfAMessageIsAMessage) {
  for (const Sample& sample : samples()) {
    const MessageInfo* message = find_message(sample.message);
    if (message == nullptr) continue;
    for (size_t size = 0; size < sample.bytes.size(); ++size) {
      const auto cut = message->recode(ByteView(sample.bytes).first(size), sample.version);
      ASSERT_FALSE(cut) << sample.message << " v" << sample.version << " cut to " << size << " bytes";
      EXPECT_EQ(cut.error().code, Errc::kCorruption);
    }
  }
}

// In the samples numbers count up in the order of the wire, tagged fields last; the second element of an array has null
// where it may.

TEST(GoldenValues, Produce) {
  const auto request = full<ProduceRequest>(3);
  EXPECT_EQ(request.transactional_id, "s1");
  EXPECT_EQ(request.acks, 2);
  EXPECT_EQ(request.timeout_ms, 3);
  ASSERT_EQ(request.topic_data.size(), 2u);
  EXPECT_EQ(request.topic_data[0].name, "s4");
  ASSERT_EQ(request.topic_data[0].partition_data.size(), 2u);
  EXPECT_EQ(request.topic_data[0].partition_data[0].index, 5);
  EXPECT_EQ(text(request.topic_data[0].partition_data[0].records), "bytes 6");
  EXPECT_EQ(request.topic_data[0].partition_data[1].records, std::nullopt);
  EXPECT_EQ(request.topic_data[1].name, "s9");

  const auto response = full<ProduceResponse>(11);
  const auto& partition = response.responses.at(0).partition_responses.at(0);
  EXPECT_EQ(partition.index, 2);
  EXPECT_EQ(static_cast<int16_t>(partition.error_code), 3);
  EXPECT_EQ(partition.base_offset, (int64_t{1} << 40) + 4);
  EXPECT_EQ(partition.log_append_time_ms, (int64_t{1} << 40) + 5);
  EXPECT_EQ(partition.log_start_offset, (int64_t{1} << 40) + 6);
  EXPECT_EQ(partition.record_errors.at(0), (ProduceResponse::BatchIndexAndErrorMessage{7, "s8"}));
  EXPECT_EQ(partition.record_errors.at(1), (ProduceResponse::BatchIndexAndErrorMessage{9, std::nullopt}));
  EXPECT_EQ(partition.error_message, "s11");
  EXPECT_EQ(partition.current_leader, (ProduceResponse::LeaderIdAndEpoch{12, 13}));
}

TEST(GoldenValues, Fetch) {
  const auto request = full<FetchRequest>(17);
  EXPECT_EQ(request.replica_id, -1) << "not in this version";
  EXPECT_EQ(request.max_wait_ms, 1);
  EXPECT_EQ(request.min_bytes, 2);
  EXPECT_EQ(request.max_bytes, 3);
  EXPECT_EQ(request.isolation_level, 4);
  EXPECT_EQ(request.session_id, 5);
  EXPECT_EQ(request.session_epoch, 6);
  ASSERT_EQ(request.topics.size(), 2u);
  EXPECT_EQ(request.topics[0].topic, "") << "not in this version";
  EXPECT_EQ(request.topics[0].topic_id.bytes,
            (std::array<uint8_t, 16>{0x01, 0x23, 0x45, 0x67, 0x89, 0xab, 0xcd, 0xef, 0, 0, 0, 0, 0, 0, 0, 7}));
  const auto& partition = request.topics[0].partitions.at(0);
  EXPECT_EQ(partition.partition, 8);
  EXPECT_EQ(partition.current_leader_epoch, 9);
  EXPECT_EQ(partition.fetch_offset, (int64_t{1} << 40) + 10);
  EXPECT_EQ(partition.last_fetched_epoch, 11);
  EXPECT_EQ(partition.log_start_offset, (int64_t{1} << 40) + 12);
  EXPECT_EQ(partition.partition_max_bytes, 13);
  EXPECT_EQ(partition.replica_directory_id.bytes[15], 14);

  const auto response = full<FetchResponse>(12);
  EXPECT_EQ(response.throttle_time_ms, 1);
  EXPECT_EQ(static_cast<int16_t>(response.error_code), 2);
  EXPECT_EQ(response.session_id, 3);
  EXPECT_EQ(response.responses.at(0).topic, "s4");
  const auto& data = response.responses.at(0).partitions.at(0);
  EXPECT_EQ(data.partition_index, 5);
  EXPECT_EQ(data.high_watermark, (int64_t{1} << 40) + 7);
  EXPECT_THAT(data.aborted_transactions, testing::Optional(testing::SizeIs(2)));
  EXPECT_EQ(data.preferred_read_replica, 14);
  EXPECT_EQ(text(data.records), "bytes 15");
  EXPECT_EQ(data.diverging_epoch, (FetchResponse::EpochEndOffset{16, (int64_t{1} << 40) + 17}));
  EXPECT_EQ(response.responses.at(0).partitions.at(1).aborted_transactions, std::nullopt);
}

TEST(GoldenValues, Metadata) {
  const auto request = full<MetadataRequest>(12);
  const auto topics = request.topics.value_or(std::vector<MetadataRequest::MetadataRequestTopic>());
  ASSERT_EQ(topics.size(), 2u);
  EXPECT_EQ(topics[0].name, "s2");
  EXPECT_EQ(topics[1].name, std::nullopt);
  EXPECT_TRUE(request.allow_auto_topic_creation);
  EXPECT_TRUE(request.include_topic_authorized_operations);

  const auto response = full<MetadataResponse>(0);
  EXPECT_EQ(response.brokers.at(0), (MetadataResponse::MetadataResponseBroker{1, "s2", 3, std::nullopt}));
  EXPECT_EQ(response.controller_id, -1) << "not in this version";
  const auto& partition = response.topics.at(0).partitions.at(0);
  EXPECT_EQ(partition.partition_index, 10);
  EXPECT_EQ(partition.leader_id, 11);
  EXPECT_THAT(partition.replica_nodes, testing::ElementsAre(12, 13));
  EXPECT_THAT(partition.isr_nodes, testing::ElementsAre(14, 15));
}

TEST(GoldenValues, JoinGroup) {
  const auto request = full<JoinGroupRequest>(9);
  EXPECT_EQ(request.group_id, "s1");
  EXPECT_EQ(request.session_timeout_ms, 2);
  EXPECT_EQ(request.rebalance_timeout_ms, 3);
  EXPECT_EQ(request.member_id, "s4");
  EXPECT_EQ(request.group_instance_id, "s5");
  EXPECT_EQ(request.protocol_type, "s6");
  EXPECT_EQ(request.protocols.at(0).name, "s7");
  EXPECT_EQ(text(request.protocols.at(0).metadata), "bytes 8");
  EXPECT_EQ(request.reason, "s11");
}

TEST(GoldenValues, OffsetFetch) {
  const auto response = full<OffsetFetchResponse>(9);
  EXPECT_TRUE(response.topics.empty()) << "not in this version";
  const auto& group = response.groups.at(0);
  EXPECT_EQ(group.group_id, "s2");
  const auto& partition = group.topics.at(0).partitions.at(0);
  EXPECT_EQ(partition.partition_index, 4);
  EXPECT_EQ(partition.committed_offset, (int64_t{1} << 40) + 5);
  EXPECT_EQ(partition.committed_leader_epoch, 6);
  EXPECT_EQ(partition.metadata, "s7");
  EXPECT_EQ(static_cast<int16_t>(partition.error_code), 8);
}

TEST(GoldenValues, ApiVersionsWithItsTaggedFields) {
  const auto response = full<ApiVersionsResponse>(4);
  EXPECT_EQ(response.api_keys.at(1), (ApiVersionsResponse::ApiVersion{5, 6, 7}));
  EXPECT_EQ(response.throttle_time_ms, 8);
  EXPECT_EQ(response.supported_features.at(0), (ApiVersionsResponse::SupportedFeatureKey{"s9", 10, 11}));
  EXPECT_EQ(response.finalized_features_epoch, (int64_t{1} << 40) + 15);
  EXPECT_EQ(response.finalized_features.at(1), (ApiVersionsResponse::FinalizedFeatureKey{"s19", 20, 21}));
  EXPECT_TRUE(response.zk_migration_ready);
}

TEST(GoldenValues, GroupMetadata) {
  const auto value = full<GroupMetadataValue>(3);
  EXPECT_EQ(value.protocol_type, "s1");
  EXPECT_EQ(value.generation, 2);
  EXPECT_EQ(value.protocol, "s3");
  EXPECT_EQ(value.leader, "s4");
  EXPECT_EQ(value.current_state_timestamp, (int64_t{1} << 40) + 5);
  const auto& member = value.members.at(0);
  EXPECT_EQ(member.member_id, "s6");
  EXPECT_EQ(member.group_instance_id, "s7");
  EXPECT_EQ(member.client_id, "s8");
  EXPECT_EQ(member.client_host, "s9");
  EXPECT_EQ(member.rebalance_timeout, 10);
  EXPECT_EQ(member.session_timeout, 11);
  EXPECT_EQ(text(member.subscription), "bytes 12");
  EXPECT_EQ(text(member.assignment), "bytes 13");
  EXPECT_EQ(value.members.at(1).group_instance_id, std::nullopt);
}

TEST(GoldenValues, AddPartitionsToTxn) {
  const auto old = full<AddPartitionsToTxnRequest>(3);
  EXPECT_TRUE(old.transactions.empty()) << "not in this version";
  EXPECT_EQ(old.v3_and_below_transactional_id, "s1");
  EXPECT_EQ(old.v3_and_below_producer_id, (int64_t{1} << 40) + 2);
  EXPECT_EQ(old.v3_and_below_producer_epoch, 3);
  EXPECT_EQ(old.v3_and_below_topics.at(0), (AddPartitionsToTxnRequest::AddPartitionsToTxnTopic{"s4", {5, 6}}));

  const auto request = full<AddPartitionsToTxnRequest>(5);
  EXPECT_TRUE(request.v3_and_below_topics.empty()) << "not in this version";
  const auto& transaction = request.transactions.at(0);
  EXPECT_EQ(transaction.transactional_id, "s1");
  EXPECT_TRUE(transaction.verify_only);
  EXPECT_EQ(transaction.topics.at(1), (AddPartitionsToTxnRequest::AddPartitionsToTxnTopic{"s8", {9, 10}}));

  const auto response = full<AddPartitionsToTxnResponse>(0);
  const auto& result = response.results_by_topic_v3_and_below.at(0).results_by_partition.at(1);
  EXPECT_EQ(result.partition_index, 5);
  EXPECT_EQ(static_cast<int16_t>(result.partition_error_code), 6);
}

TEST(GoldenValues, DescribeTopicPartitionsWithAndWithoutACursor) {
  const auto request = full<DescribeTopicPartitionsRequest>(0);
  EXPECT_EQ(request.topics.at(1).name, "s2");
  EXPECT_EQ(request.response_partition_limit, 3);
  EXPECT_EQ(request.cursor, (DescribeTopicPartitionsRequest::Cursor{"s4", 5}));

  const Bytes last_page = from_hex("0000000001ff00");
  ByteReader in(last_page);
  EXPECT_EQ(DescribeTopicPartitionsResponse::decode(in, 0).value(), DescribeTopicPartitionsResponse());
}

TEST(GoldenValues, DescribeQuorumWithStructsThatFieldsShare) {
  const auto old = full<DescribeQuorumResponse>(0);
  const auto& partition = old.topics.at(0).partitions.at(0);
  EXPECT_EQ(partition.high_watermark, (int64_t{1} << 40) + 7);
  EXPECT_EQ(partition.current_voters.at(0).replica_id, 8);
  EXPECT_EQ(partition.current_voters.at(0).last_fetch_timestamp, -1) << "not in this version";
  EXPECT_EQ(partition.observers.size(), 2u);

  const auto now = full<DescribeQuorumResponse>(2);
  EXPECT_EQ(now.topics.at(0).partitions.at(0).current_voters.at(0).replica_directory_id.bytes[15], 11);
  EXPECT_EQ(now.nodes.size(), 2u);
}

TEST(GoldenValues, TransactionLogWithItsTaggedFields) {
  const auto value = full<TransactionLogValue>(1);
  constexpr int64_t kLong = int64_t{1} << 40;
  EXPECT_EQ(value.producer_id, kLong + 1);
  EXPECT_EQ(value.producer_epoch, 2);
  EXPECT_EQ(value.transaction_timeout_ms, 3);
  EXPECT_EQ(value.transaction_status, 4);
  EXPECT_EQ(value.transaction_partitions.value().at(0), (TransactionLogValue::PartitionsSchema{"s5", {6, 7}}));
  EXPECT_EQ(value.transaction_last_update_timestamp_ms, kLong + 11);
  EXPECT_EQ(value.transaction_start_timestamp_ms, kLong + 12);
  EXPECT_EQ(value.previous_producer_id, kLong + 13);
  EXPECT_EQ(value.next_producer_id, kLong + 14);
  EXPECT_EQ(value.client_transaction_version, 15);
  EXPECT_EQ(value.next_producer_epoch, 16);
}

TEST(GoldenTables, ErrorCodesAreKafkas) {
  std::ifstream file(kGolden / "errors.txt");
  int lines = 0;
  int16_t code = 0;
  std::string name;
  std::string retriable;
  while (file >> code >> name >> retriable) {
    ++lines;
    EXPECT_EQ(error_name(static_cast<ErrorCode>(code)), name) << code;
    EXPECT_EQ(is_retriable(static_cast<ErrorCode>(code)), retriable == "true") << name;
  }
  EXPECT_GT(lines, 130);
  EXPECT_STREQ(error_name(static_cast<ErrorCode>(code + 1)), "?") << "the list ends with Kafka's";
}

TEST(GoldenTables, ApiKeysAreKafkas) {
  std::ifstream file(kGolden / "apis.txt");
  int lines = 0;
  int16_t key = 0;
  std::string name;
  while (file >> key >> name) {
    ++lines;
    EXPECT_EQ(api_name(static_cast<ApiKey>(key)), name) << key;
  }
  EXPECT_GT(lines, 90);
  EXPECT_STREQ(api_name(static_cast<ApiKey>(key + 1)), "?") << "the list ends with Kafka's";
}

}  // namespace
}  // namespace millrace::wire
