#include "broker/internal/group_records.h"

#include <utility>

#include "broker/internal/record_time.h"
#include "wire/group_records.h"
#include "wire/versioned.h"

namespace millrace::broker {
namespace {

using std::chrono::milliseconds;

// What Kafka 4 writes.
constexpr int16_t kValueVersion = 3;

wire::GroupMetadataValue to_wire(const coord::GroupRecordValue& group) {
  wire::GroupMetadataValue value;
  value.protocol_type = group.protocol_type;
  value.generation = group.generation;
  value.protocol = group.protocol_name;
  value.leader = group.leader;
  value.current_state_timestamp = to_unix_ms(group.state_since);
  for (const auto& member : group.members) {
    auto& out = value.members.emplace_back();
    out.member_id = member.member_id;
    out.group_instance_id = member.instance_id;
    out.client_id = member.client_id;
    out.client_host = member.client_host;
    out.rebalance_timeout = static_cast<int32_t>(member.rebalance_timeout_ms.count());
    out.session_timeout = static_cast<int32_t>(member.session_timeout_ms.count());
    out.subscription = member.subscription;
    out.assignment = member.assignment;
  }
  return value;
}

coord::GroupRecordValue from_wire(wire::GroupMetadataValue value) {
  coord::GroupRecordValue group;
  group.protocol_type = std::move(value.protocol_type);
  group.generation = value.generation;
  group.protocol_name = std::move(value.protocol);
  group.leader = std::move(value.leader);
  group.state_since = record_time(value.current_state_timestamp);
  for (auto& member : value.members) {
    group.members.push_back({.member_id = std::move(member.member_id),
                             .instance_id = std::move(member.group_instance_id),
                             .client_id = std::move(member.client_id),
                             .client_host = std::move(member.client_host),
                             .session_timeout_ms = milliseconds{member.session_timeout},
                             .rebalance_timeout_ms = milliseconds{member.rebalance_timeout},
                             .subscription = to_bytes(member.subscription),
                             .assignment = to_bytes(member.assignment)});
  }
  return group;
}

Result<EncodedRecord> encode(const coord::GroupRecord& record) {
  EncodedRecord encoded;
  MILLRACE_ASSIGN_OR_RETURN(encoded.key, wire::encode_record_key(wire::GroupMetadataKey{.group = record.group}));
  if (!record.value) return encoded;
  MILLRACE_ASSIGN_OR_RETURN(encoded.value, wire::encode_versioned(to_wire(*record.value), kValueVersion));
  return encoded;
}

Result<EncodedRecord> encode(const coord::OffsetRecord& record) {
  EncodedRecord encoded;
  const wire::OffsetCommitKey key{.group = record.group, .topic = record.topic, .partition = record.partition.value()};
  MILLRACE_ASSIGN_OR_RETURN(encoded.key, wire::encode_record_key(key));
  if (!record.value) return encoded;
  wire::OffsetCommitValue value;
  value.offset = record.value->offset.value();
  value.leader_epoch = record.value->leader_epoch;
  value.metadata = record.value->metadata;
  value.commit_timestamp = to_unix_ms(record.value->committed_at);
  MILLRACE_ASSIGN_OR_RETURN(encoded.value, wire::encode_versioned(value, kValueVersion));
  return encoded;
}

Result<std::optional<coord::Record>> decode_offset(ByteView key_bytes, std::optional<ByteView> value_bytes) {
  MILLRACE_ASSIGN_OR_RETURN(auto key, wire::decode_record_key<wire::OffsetCommitKey>(key_bytes));
  coord::OffsetRecord record{.group = std::move(key.group),
                             .topic = std::move(key.topic),
                             .partition = PartitionId{key.partition},
                             .value = {}};
  if (value_bytes) {
    MILLRACE_ASSIGN_OR_RETURN(auto value, wire::decode_versioned<wire::OffsetCommitValue>(*value_bytes));
    record.value = {.offset = Offset{value.offset},
                    .leader_epoch = value.leader_epoch,
                    .metadata = std::move(value.metadata),
                    .committed_at = record_time(value.commit_timestamp)};
  }
  return coord::Record(std::move(record));
}

Result<std::optional<coord::Record>> decode_group(ByteView key_bytes, std::optional<ByteView> value_bytes) {
  MILLRACE_ASSIGN_OR_RETURN(auto key, wire::decode_record_key<wire::GroupMetadataKey>(key_bytes));
  coord::GroupRecord record{.group = std::move(key.group), .value = {}};
  if (value_bytes) {
    MILLRACE_ASSIGN_OR_RETURN(auto value, wire::decode_versioned<wire::GroupMetadataValue>(*value_bytes));
    record.value = from_wire(std::move(value));
  }
  return coord::Record(std::move(record));
}

}  // namespace

Result<EncodedRecord> encode_group_record(const coord::Record& record) {
  return std::visit([](const auto& any) { return encode(any); }, record);
}

Result<std::optional<coord::Record>> decode_group_record(ByteView key, std::optional<ByteView> value) {
  MILLRACE_ASSIGN_OR_RETURN(const int16_t type, wire::record_type(key));
  if (type == wire::OffsetCommitKey::kRecordType) return decode_offset(key, value);
  if (type == wire::GroupMetadataKey::kRecordType) return decode_group(key, value);
  return std::nullopt;
}

int32_t group_partition(std::string_view group, int32_t partitions) {
  // String.hashCode(): over UTF-16 units, wrapping.
  uint32_t hash = 0;
  const auto add = [&hash](uint32_t unit) { hash = hash * 31 + unit; };
  for (size_t i = 0; i < group.size();) {
    const auto lead = static_cast<unsigned char>(group[i]);
    const size_t length = lead < 0x80 ? 1 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;
    uint32_t point = length == 1 ? lead : lead & (0xffu >> (length + 1));
    for (size_t k = 1; k < length && i + k < group.size(); ++k)
      point = (point << 6) | (static_cast<unsigned char>(group[i + k]) & 0x3fu);
    i += length;
    if (point < 0x10000) {
      add(point);
    } else {
      add(0xd800 + ((point - 0x10000) >> 10));
      add(0xdc00 + ((point - 0x10000) & 0x3ff));
    }
  }
  const auto value = static_cast<int32_t>(hash);
  const int32_t positive = value == INT32_MIN ? 0 : value < 0 ? -value : value;
  return positive % partitions;
}

}  // namespace millrace::broker
