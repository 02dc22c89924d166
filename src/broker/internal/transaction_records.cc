#include "broker/internal/transaction_records.h"

#include <chrono>
#include <map>
#include <utility>

#include "broker/internal/record_time.h"
#include "wire/transaction_records.h"
#include "wire/versioned.h"

namespace millrace::broker {
namespace {

using std::chrono::milliseconds;

constexpr int16_t kValueVersion = 1;
// Kafka's transaction version 2: the client's epoch is raised with each transaction (KIP-890).
constexpr int16_t kRaisesEpochFrom = 2;

wire::TransactionLogValue to_wire(const coord::TransactionRecordValue& value) {
  wire::TransactionLogValue out;
  out.producer_id = value.producer.id.value();
  out.producer_epoch = value.producer.epoch.value();
  out.previous_producer_id = value.previous_producer_id.value();
  out.transaction_timeout_ms = static_cast<int32_t>(value.timeout_ms.count());
  out.transaction_status = static_cast<int8_t>(value.state);
  out.transaction_partitions.reset();
  if (value.state != coord::TransactionState::kEmpty) {
    auto& topics = out.transaction_partitions.emplace();
    for (const auto& [topic, partition] : value.partitions) {
      if (topics.empty() || topics.back().topic != topic) topics.emplace_back().topic = topic;
      topics.back().partition_ids.push_back(partition.value());
    }
  }
  out.transaction_last_update_timestamp_ms = to_unix_ms(value.last_update);
  out.transaction_start_timestamp_ms = value.started_at ? to_unix_ms(*value.started_at) : -1;
  out.client_transaction_version = value.raises_epoch ? kRaisesEpochFrom : 0;
  return out;
}

// Nothing for a state of Kafka's that is never written, or one that is to come.
std::optional<coord::TransactionState> state_of(int8_t status) {
  constexpr auto kLast = static_cast<int8_t>(coord::TransactionState::kCompleteAbort);
  if (status < 0 || status > kLast) return std::nullopt;
  return static_cast<coord::TransactionState>(status);
}

}  // namespace

Result<EncodedRecord> encode_transaction_record(const coord::TransactionRecord& record) {
  EncodedRecord encoded;
  const wire::TransactionLogKey key{.transactional_id = record.transactional_id};
  MILLRACE_ASSIGN_OR_RETURN(encoded.key, wire::encode_record_key(key));
  if (!record.value) return encoded;
  MILLRACE_ASSIGN_OR_RETURN(encoded.value, wire::encode_versioned(to_wire(*record.value), kValueVersion));
  return encoded;
}

Result<std::optional<coord::TransactionRecord>> decode_transaction_record(ByteView key_bytes,
                                                                          std::optional<ByteView> value_bytes) {
  MILLRACE_ASSIGN_OR_RETURN(const int16_t type, wire::record_type(key_bytes));
  if (type != wire::TransactionLogKey::kRecordType) return std::nullopt;
  MILLRACE_ASSIGN_OR_RETURN(auto key, wire::decode_record_key<wire::TransactionLogKey>(key_bytes));
  coord::TransactionRecord record{.transactional_id = std::move(key.transactional_id), .value = {}};
  if (!value_bytes) return record;
  MILLRACE_ASSIGN_OR_RETURN(const auto in, wire::decode_versioned<wire::TransactionLogValue>(*value_bytes));
  const auto state = state_of(in.transaction_status);
  if (!state) return std::nullopt;
  coord::TransactionRecordValue& value = record.value.emplace();
  value.producer = {ProducerId{in.producer_id}, ProducerEpoch{in.producer_epoch}};
  value.previous_producer_id = ProducerId{in.previous_producer_id};
  value.timeout_ms = milliseconds{in.transaction_timeout_ms};
  value.state = *state;
  if (in.transaction_partitions) {
    for (const auto& topic : *in.transaction_partitions)
      for (const int32_t partition : topic.partition_ids)
        value.partitions.insert({topic.topic, PartitionId{partition}});
  }
  value.last_update = record_time(in.transaction_last_update_timestamp_ms);
  if (in.transaction_start_timestamp_ms >= 0) value.started_at = record_time(in.transaction_start_timestamp_ms);
  value.raises_epoch = in.client_transaction_version >= kRaisesEpochFrom;
  return record;
}

}  // namespace millrace::broker
