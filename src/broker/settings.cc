#include "broker/settings.h"

#include <fmt/core.h>

#include <array>
#include <optional>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "broker/internal/topic_config.h"

namespace millrace::broker {
namespace {

constexpr int64_t kIntMax = 2'147'483'647;

struct Row {
  SettingInfo info;
  int64_t Settings::* number = nullptr;
  bool Settings::* flag = nullptr;
};

constexpr Row number(std::string_view name, int64_t Settings::* member, int64_t min, int64_t max,
                     std::string_view documentation) {
  return {{name, SettingType::kInt, documentation, min, max}, member, nullptr};
}
constexpr Row flag(std::string_view name, bool Settings::* member, std::string_view documentation) {
  return {{name, SettingType::kBool, documentation, 0, 1}, nullptr, member};
}

constexpr std::array kRows = {
    number("node.id", &Settings::node_id, 0, kIntMax, "The broker's id, as clients see it."),
    // Network.
    number("num.network.threads", &Settings::num_network_threads, 0, 64,
           "Threads that serve connections; 0 means one per core, at most 4."),
    number("max.connections", &Settings::max_connections, 1, 1'000'000,
           "Connections open at once over all listeners; one more is closed as it comes. Never more than half the "
           "open files that the system allows the process (`ulimit -n`), so that the log keeps its own."),
    number("connections.max.idle.ms", &Settings::connections_max_idle_ms, 1000, kIntMax,
           "A connection on which nothing happened for so long is closed."),
    number("socket.request.max.bytes", &Settings::socket_request_bytes_max, 1024, kIntMax,
           "The largest request taken; a larger one closes its connection."),
    number("queued.max.request.bytes", &Settings::queued_request_bytes_max, 65'536, 1ll << 40,
           "Memory for requests being read or in work; while it is used up, no further request of more than 4 KB is "
           "read."),
    // Topics.
    flag("auto.create.topics.enable", &Settings::auto_create_topics,
         "Make a topic when a client asks for metadata of one that does not exist."),
    number("num.partitions", &Settings::num_partitions, 1, 10'000, "Partitions of a topic made without a number."),
    number("message.max.bytes", &Settings::message_bytes_max, 0, kIntMax,
           "The largest record batch taken; a topic's max.message.bytes goes before it."),
    number("log.segment.bytes", &Settings::segment_bytes, 1'048'576, kIntMax,
           "A segment file of this size is closed and a new one begun, in all topics."),
    number("log.index.interval.bytes", &Settings::index_interval_bytes, 0, kIntMax,
           "Bytes of log between two entries of the offset index."),
    number("fetch.max.bytes", &Settings::fetch_bytes_max, 1024, kIntMax,
           "The most bytes of records that one fetch gets, whatever the client allows."),
    number("max.incremental.fetch.session.cache.slots", &Settings::fetch_sessions_max, 0, 1'000'000,
           "Fetch sessions (KIP-227) kept at once; a client that gets none names all its partitions in each fetch."),
    number("parked.fetch.max.bytes", &Settings::parked_fetch_bytes_max, 0, 1ll << 40,
           "Memory that waiting fetches may hold together; one that would need more is answered with what there is "
           "(Millrace's own)."),
    number("wal.checkpoint.bytes", &Settings::wal_checkpoint_bytes, 1'048'576, 1ll << 40,
           "After so many bytes of write-ahead log the segments are synced and the log begins anew (Millrace's own)."),
    number("wal.checkpoint.ms", &Settings::wal_checkpoint_ms, 100, kIntMax,
           "After so long with unsynced segments the same happens (Millrace's own)."),
    // Groups.
    number("group.min.session.timeout.ms", &Settings::group_session_timeout_min_ms, 1, kIntMax,
           "The shortest session timeout that a member may ask for."),
    number("group.max.session.timeout.ms", &Settings::group_session_timeout_max_ms, 1, kIntMax,
           "The longest session timeout that a member may ask for."),
    number("group.initial.rebalance.delay.ms", &Settings::group_initial_rebalance_delay_ms, 0, kIntMax,
           "How long the first member of an empty group waits for others: the consumers of one program come within "
           "this. Kafka's default is 3 s."),
    number("group.rebalance.debounce.ms", &Settings::group_rebalance_debounce_ms, 0, kIntMax,
           "A rebalance that has everyone ends this long after the last newcomer, so that members that start together "
           "share one (Millrace's own)."),
    number("group.disconnect.grace.ms", &Settings::group_disconnect_grace_ms, 0, kIntMax,
           "A dynamic member whose connection has closed is out when it is not heard from for so long, without waiting "
           "for its session timeout; 0: it is not, as in Kafka (Millrace's own)."),
    number("group.heartbeat.hold.max.ms", &Settings::group_heartbeat_hold_max_ms, 0, 30'000,
           "How long the answer to a heartbeat may be kept back, so that its member hears of a rebalance as soon as it "
           "begins; a third of the session timeout at most. 0, or group.disconnect.grace.ms=0: it is answered at once, "
           "as in Kafka (Millrace's own)."),
    number("group.max.size", &Settings::group_size_max, 1, kIntMax, "Members that a group may have."),
    number("group.members.max.bytes", &Settings::group_members_bytes_max, 1'048'576, 1ll << 40,
           "Memory for what the members of all groups tell about themselves and are assigned; a JoinGroup or SyncGroup "
           "that would need more is answered COORDINATOR_NOT_AVAILABLE, and clients ask again (Millrace's own)."),
    number("offsets.topic.num.partitions", &Settings::offsets_topic_partitions, 1, 10'000,
           "Partitions of __consumer_offsets; fixed when the first group is made."),
    number("offset.metadata.max.bytes", &Settings::offset_metadata_bytes_max, 0, 1'048'576,
           "The longest text that a client may commit with an offset."),
    number("offsets.retention.minutes", &Settings::offsets_retention_minutes, 1, kIntMax,
           "How long committed offsets are kept after their group became empty."),
    number("offsets.retention.check.interval.ms", &Settings::offsets_retention_check_interval_ms, 1, kIntMax,
           "How often expired offsets are looked for."),
    // Retention and compaction.
    number("log.retention.check.interval.ms", &Settings::retention_check_interval_ms, 1, kIntMax,
           "How often it is looked whether records are to be deleted and segments to be closed."),
    flag("log.cleaner.enable", &Settings::cleaner_enabled, "Compact topics with cleanup.policy=compact."),
    number("log.cleaner.backoff.ms", &Settings::cleaner_backoff_ms, 0, kIntMax,
           "How often it is looked whether there is something to compact, while records arrive."),
    number("log.cleaner.dedupe.buffer.size", &Settings::cleaner_map_bytes, 1'048'576, 1ll << 40,
           "The most memory that compaction uses for keys; with more keys it needs several passes."),
    number("log.cleaner.io.max.bytes.per.second", &Settings::cleaner_bytes_per_s, 1'048'576, 1ll << 40,
           "Compaction reads and writes no faster than this. Kafka has no bound by default."),
    // Transactions.
    number("transaction.max.timeout.ms", &Settings::transaction_timeout_max_ms, 1, kIntMax,
           "The longest timeout that a transactional producer may ask for."),
    number("transactional.id.expiration.ms", &Settings::transactional_id_expiration_ms, 1, kIntMax,
           "A transactional id that was not used for so long is forgotten."),
    number("transaction.remove.expired.transaction.cleanup.interval.ms",
           &Settings::transaction_remove_expired_interval_ms, 1, kIntMax,
           "How often transactional ids that are to be forgotten are looked for."),
    number("transaction.state.log.num.partitions", &Settings::transactions_topic_partitions, 1, 10'000,
           "Partitions of __transaction_state; fixed when the first transactional id is made."),
};

const Row* find_row(std::string_view name) {
  for (const Row& row : kRows)
    if (row.info.name == name) return &row;
  return nullptr;
}

// The rows above, what topics have by default, and the throttles of replication.
const std::vector<SettingInfo>& all_infos() {
  static const std::vector<SettingInfo> kAll = [] {
    std::vector<SettingInfo> infos;
    for (const Row& row : kRows) infos.push_back(row.info);
    for (const TopicConfigInfo& topic : topic_config_infos()) {
      if (topic.broker_setting.empty() || find_row(topic.broker_setting) != nullptr) continue;
      infos.push_back({topic.broker_setting, SettingType::kTopicDefault, topic.documentation, 0, 0});
    }
    for (const TopicConfigInfo& throttle : replication_throttle_infos())
      infos.push_back({throttle.broker_setting, SettingType::kTopicDefault, throttle.documentation, 0, 0});
    return infos;
  }();
  return kAll;
}

tl::unexpected<Error> unknown_setting(std::string_view name) {
  std::vector<std::string> known;
  for (const SettingInfo& info : all_infos()) known.emplace_back(info.name);
  const auto nearest = nearest_name(name, known);
  return fail(Errc::kInvalidArgument, fmt::format("the broker has no setting '{}'", name),
              nearest ? fmt::format("did you mean '{}'?", *nearest) : "the settings are listed in the broker's manual");
}

}  // namespace

std::span<const SettingInfo> setting_infos() { return all_infos(); }

Status set_setting(Settings& settings, std::string_view name, std::string_view value) {
  const Row* row = find_row(name);
  if (row == nullptr) {
    const TopicConfigInfo* topic = find_topic_config_of_setting(name);
    if (topic == nullptr) return unknown_setting(name);
    std::string plain = plain_config_value(*topic, value);
    MILLRACE_RETURN_IF_ERROR(check_config_value(*topic, name, plain));
    settings.topic_defaults.insert_or_assign(std::string(name), std::move(plain));
    return {};
  }
  if (row->flag != nullptr) {
    if (value != "true" && value != "false")
      return fail(Errc::kInvalidArgument, fmt::format("{} is true or false, not '{}'", name, value));
    settings.*row->flag = value == "true";
    return {};
  }
  auto parsed = parse_int64(value);
  if (!parsed) {
    if (const auto size = parse_size(value); size && *size <= static_cast<uint64_t>(INT64_MAX))
      parsed = static_cast<int64_t>(*size);
  }
  if (!parsed) return fail(Errc::kInvalidArgument, fmt::format("{} is a whole number, not '{}'", name, value));
  if (*parsed < row->info.min || *parsed > row->info.max)
    return fail(Errc::kInvalidArgument,
                fmt::format("{} is {}, but may be {} to {}", name, *parsed, row->info.min, row->info.max));
  settings.*row->number = *parsed;
  return {};
}

std::string setting_value(const Settings& settings, std::string_view name) {
  const Row* row = find_row(name);
  if (row == nullptr) {
    const TopicConfigInfo* topic = find_topic_config_of_setting(name);
    MILLRACE_CHECK(topic != nullptr, "setting_value() of a name that is not in the table");
    const auto given = settings.topic_defaults.find(name);
    return given == settings.topic_defaults.end() ? std::string(topic->default_value) : given->second;
  }
  if (row->flag != nullptr) return settings.*row->flag ? "true" : "false";
  return fmt::format("{}", settings.*row->number);
}

std::string settings_reference() {
  const Settings defaults;
  std::string table = "| setting | default | meaning |\n|---|---|---|\n";
  for (const SettingInfo& info : all_infos())
    table += fmt::format("| `{}` | {} | {} |\n", info.name, setting_value(defaults, info.name), info.documentation);
  return table;
}

}  // namespace millrace::broker
