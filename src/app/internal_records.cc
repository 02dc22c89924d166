#include "app/internal_records.h"

#include <fmt/format.h>

#include <array>

#include "base/unix_time.h"
#include "columns/column.h"
#include "wire/group_records.h"
#include "wire/transaction_records.h"
#include "wire/versioned.h"

namespace millrace::app {

namespace {

constexpr std::string_view kOffsets = "__consumer_offsets";
constexpr std::string_view kTransactions = "__transaction_state";

std::string time_text(int64_t ms) { return ms < 0 ? "-" : columns::format_timestamp(us_from_ms(ms)); }

Result<std::string> describe_offset(const record::Record& record) {
  MILLRACE_ASSIGN_OR_RETURN(const auto key, wire::decode_record_key<wire::OffsetCommitKey>(*record.key));
  const std::string place = fmt::format("offset group={} topic={} partition={}", key.group, key.topic, key.partition);
  if (!record.value) return place + " forgotten";
  MILLRACE_ASSIGN_OR_RETURN(const auto value, wire::decode_versioned<wire::OffsetCommitValue>(*record.value));
  return fmt::format("{} offset={} metadata={} committed={}", place, value.offset, value.metadata,
                     time_text(value.commit_timestamp));
}

Result<std::string> describe_group(const record::Record& record) {
  MILLRACE_ASSIGN_OR_RETURN(const auto key, wire::decode_record_key<wire::GroupMetadataKey>(*record.key));
  if (!record.value) return fmt::format("group={} forgotten", key.group);
  MILLRACE_ASSIGN_OR_RETURN(const auto value, wire::decode_versioned<wire::GroupMetadataValue>(*record.value));
  std::string members;
  for (const auto& member : value.members) members += (members.empty() ? "" : ",") + member.member_id;
  return fmt::format("group={} generation={} protocol={} leader={} members=[{}]", key.group, value.generation,
                     value.protocol.value_or("-"), value.leader.value_or("-"), members);
}

Result<std::string> describe_transaction(const record::Record& record) {
  static constexpr std::array kStates = {"Empty",          "Ongoing",       "PrepareCommit", "PrepareAbort",
                                         "CompleteCommit", "CompleteAbort", "Dead",          "PrepareEpochFence"};
  MILLRACE_ASSIGN_OR_RETURN(const auto key, wire::decode_record_key<wire::TransactionLogKey>(*record.key));
  if (!record.value) return fmt::format("transactional_id={} forgotten", key.transactional_id);
  MILLRACE_ASSIGN_OR_RETURN(const auto value, wire::decode_versioned<wire::TransactionLogValue>(*record.value));
  if (value.transaction_status < 0 || static_cast<size_t>(value.transaction_status) >= kStates.size())
    return fail(Errc::kCorruption, fmt::format("{} is no state of a transaction", value.transaction_status));
  std::string places;
  if (value.transaction_partitions)
    for (const auto& topic : *value.transaction_partitions)
      for (const int32_t partition : topic.partition_ids)
        places += fmt::format("{}{}[{}]", places.empty() ? "" : ",", topic.topic, partition);
  return fmt::format("transactional_id={} state={} producer={} epoch={} timeout_ms={} partitions=[{}] updated={}",
                     key.transactional_id, kStates[static_cast<size_t>(value.transaction_status)], value.producer_id,
                     value.producer_epoch, value.transaction_timeout_ms, places,
                     time_text(value.transaction_last_update_timestamp_ms));
}

}  // namespace

bool is_known_internal(std::string_view topic) { return topic == kOffsets || topic == kTransactions; }

Result<std::string> describe_internal(std::string_view topic, const record::Record& record) {
  if (!record.key) return fail(Errc::kCorruption, fmt::format("a record of {} without a key", topic));
  if (topic == kTransactions) return describe_transaction(record);
  MILLRACE_ASSIGN_OR_RETURN(const int16_t type, wire::record_type(*record.key));
  if (type == wire::GroupMetadataKey::kRecordType) return describe_group(record);
  if (type == wire::OffsetCommitKey::kRecordType) return describe_offset(record);
  // Later kinds of groups have types of their own.
  return fmt::format("record of type {}", type);
}

}  // namespace millrace::app
