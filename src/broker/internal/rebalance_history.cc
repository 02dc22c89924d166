#include "broker/internal/rebalance_history.h"

#include <algorithm>
#include <deque>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "base/json_writer.h"
#include "base/logging.h"
#include "log/topic_name.h"
#include "record/records.h"
#include "wire/consumer_protocol.h"

namespace millrace::broker {
namespace {

// Of each list in a record; the counts beside them count all.
constexpr size_t kListedMax = 500;

// How much of what members say they hold is compared.
constexpr size_t kOwnedMax = 200'000;

// A static member is the same one under every member id.
const std::string& name_of(const coord::RebalanceMember& member) {
  return member.instance_id ? *member.instance_id : member.member_id;
}

using Partition = std::pair<std::string, int32_t>;
using Owners = std::map<Partition, std::string>;

void add_owned(const coord::RebalanceMember& member, Owners& owners) {
  ByteReader in(member.assignment);
  const auto version = in.fixed<int16_t>();
  if (!version || *version < 0) return;
  // Later versions only add to the end.
  const auto assignment = wire::ConsumerProtocolAssignment::decode(
      in, std::min<int16_t>(*version, wire::ConsumerProtocolAssignment::kMaxVersion));
  if (!assignment) return;
  for (const auto& topic : assignment->assigned_partitions) {
    if (topic.topic.size() > log::kTopicNameBytesMax) continue;  // no topic has such a name
    for (const int32_t partition : topic.partitions) {
      if (owners.size() >= kOwnedMax) return;
      owners[{topic.topic, partition}] = name_of(member);
    }
  }
}

Owners owners_in(const std::string& protocol_type, const std::vector<coord::RebalanceMember>& members) {
  Owners owners;
  if (protocol_type != "consumer") return owners;
  for (const auto& member : members) add_owned(member, owners);
  return owners;
}

struct Move {
  Partition partition;
  const std::string* from;  // null: nobody
  const std::string* to;
};

std::vector<Move> moves(const Owners& before, const Owners& after) {
  std::vector<Move> all;
  for (const auto& [partition, owner] : before) {
    const auto now = after.find(partition);
    if (now == after.end() || now->second != owner)
      all.push_back({partition, &owner, now == after.end() ? nullptr : &now->second});
  }
  for (const auto& [partition, owner] : after)
    if (!before.contains(partition)) all.push_back({partition, nullptr, &owner});
  return all;
}

std::vector<std::string> missing(const std::vector<coord::RebalanceMember>& those,
                                 const std::vector<coord::RebalanceMember>& among) {
  std::set<std::string> there;
  for (const auto& member : among) there.insert(name_of(member));
  std::vector<std::string> names;
  for (const auto& member : those)
    if (!there.contains(name_of(member))) names.push_back(name_of(member));
  return names;
}

void text_or_null(JsonWriter& json, const std::string* text) {
  if (text == nullptr) {
    json.null();
  } else {
    json.text(*text);
  }
}

void write_names(JsonWriter& json, const std::vector<std::string>& names) {
  json.begin_array();
  for (size_t i = 0; i < std::min(names.size(), kListedMax); ++i) json.text(names[i]);
  json.end_array();
}

void write_causes(JsonWriter& json, const std::vector<coord::RebalanceCause>& causes) {
  json.begin_array();
  for (const auto& cause : causes) {
    json.begin_object().key("reason").text(cause.reason).key("member").text(cause.member_id);
    json.key("instance");
    text_or_null(json, cause.instance_id ? &*cause.instance_id : nullptr);
    json.key("client").text(cause.client_id).key("host").text(cause.client_host).end_object();
  }
  json.end_array();
}

void write_moves(JsonWriter& json, const std::vector<Move>& moved) {
  json.begin_array();
  for (size_t i = 0; i < std::min(moved.size(), kListedMax); ++i) {
    json.begin_object().key("topic").text(moved[i].partition.first);
    json.key("partition").number(int64_t{moved[i].partition.second});
    json.key("from");
    text_or_null(json, moved[i].from);
    json.key("to");
    text_or_null(json, moved[i].to);
    json.end_object();
  }
  json.end_array();
}

}  // namespace

std::string rebalance_json(const coord::Rebalance& rebalance) {
  const Owners before = owners_in(rebalance.protocol_type, rebalance.before);
  const Owners after = owners_in(rebalance.protocol_type, rebalance.after);
  const auto moved = moves(before, after);
  const auto joined = missing(rebalance.after, rebalance.before);
  const auto left = missing(rebalance.before, rebalance.after);
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("group").text(rebalance.group);
  json.key("generation").number(int64_t{rebalance.generation});
  json.key("began_ms").number(to_unix_ms(rebalance.began));
  json.key("took_ms").number(int64_t{rebalance.took.count()});
  json.key("causes");
  write_causes(json, rebalance.causes);
  json.key("members").number(static_cast<uint64_t>(rebalance.after.size()));
  json.key("joined_count").number(static_cast<uint64_t>(joined.size())).key("joined");
  write_names(json, joined);
  json.key("left_count").number(static_cast<uint64_t>(left.size())).key("left");
  write_names(json, left);
  json.key("moved_count").number(static_cast<uint64_t>(moved.size())).key("moved");
  write_moves(json, moved);
  json.end_object();
  return text;
}

void RebalanceHistory::add(std::vector<coord::Rebalance> rebalances) {
  const size_t count = rebalances.size();
  if (waiting_.fetch_add(count) + count > kWaitingMax) {
    waiting_.fetch_sub(count);
    if (notes_.pass()) log_warning("broker", "rebalances come faster than their history can be written");
    return;
  }
  worker_.post([this, count, rebalances = std::move(rebalances)] {
    if (const auto written = write(rebalances); !written && notes_.pass())
      log_warning("broker", "the history of rebalances could not be written: {}", written.error().message);
    waiting_.fetch_sub(count);
  });
}

Status RebalanceHistory::write(const std::vector<coord::Rebalance>& rebalances) {
  auto topic = topics_.snapshot()->find(kRebalancesTopic);
  if (!topic) {
    MILLRACE_ASSIGN_OR_RETURN(topic, topics_.create_internal(kRebalancesTopic));
  }
  const int64_t now_ms = to_unix_ms(clock_.wall_now());
  for (const coord::Rebalance& rebalance : rebalances) {
    const std::string json = rebalance_json(rebalance);
    record::BatchBuilder builder({});
    builder.add(now_ms, as_byte_view(rebalance.group), as_byte_view(json));
    MILLRACE_ASSIGN_OR_RETURN(Bytes batch, builder.finish());
    MILLRACE_RETURN_IF_ERROR((*topic->partition(0))->append(batch));
  }
  return {};
}

Result<std::vector<std::string>> RebalanceHistory::last_of(std::string_view group, size_t count_max) const {
  constexpr size_t kReadBytes = 1 << 20;
  constexpr size_t kPlainBytesMax = 64u << 20;
  const auto topic = topics_.snapshot()->find(kRebalancesTopic);
  if (!topic) return std::vector<std::string>{};
  const log::Partition& partition = **topic->partition(0);
  std::deque<std::string> newest;
  Bytes bytes;
  for (Offset next = partition.log_start_offset(); next < partition.high_watermark();) {
    bytes.clear();
    MILLRACE_RETURN_IF_ERROR(partition.read(next, kReadBytes, true, bytes));
    if (bytes.empty()) break;
    record::BatchReader batches(bytes);
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const auto batch, batches.next());
      if (!batch) break;
      next = batch->last_offset() + 1;
      if (batch->is_control()) continue;
      MILLRACE_ASSIGN_OR_RETURN(auto records, record::RecordReader::open(*batch, kPlainBytesMax));
      record::Record record;
      while (true) {
        MILLRACE_ASSIGN_OR_RETURN(const bool more, records.next(record));
        if (!more) break;
        if (!record.key || !record.value || as_text(*record.key) != group) continue;
        newest.emplace_front(as_text(*record.value));
        if (newest.size() > count_max) newest.pop_back();
      }
    }
  }
  return std::vector<std::string>(newest.begin(), newest.end());
}

}  // namespace millrace::broker
