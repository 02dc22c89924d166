#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>

#include "base/result.h"

namespace millrace::broker {

// The broker's settings, under Kafka's names (the table in settings.cc says which member has which, what it means and
// what it may be). The defaults are Kafka's except where the table says why not.
struct Settings {
  int64_t node_id = 1;
  int64_t num_network_threads = 0;
  int64_t max_connections = 10'000;
  int64_t connections_max_idle_ms = 600'000;
  int64_t socket_request_bytes_max = 104'857'600;
  int64_t queued_request_bytes_max = 134'217'728;

  bool auto_create_topics = true;
  int64_t num_partitions = 1;
  int64_t message_bytes_max = 1'048'588;
  int64_t segment_bytes = 1'073'741'824;
  int64_t index_interval_bytes = 4096;
  int64_t fetch_bytes_max = 57'671'680;
  int64_t fetch_sessions_max = 1'000;
  int64_t parked_fetch_bytes_max = 67'108'864;
  int64_t wal_checkpoint_bytes = 268'435'456;
  int64_t wal_checkpoint_ms = 60'000;

  int64_t group_session_timeout_min_ms = 6'000;
  int64_t group_session_timeout_max_ms = 1'800'000;
  int64_t group_initial_rebalance_delay_ms = 60;
  int64_t group_rebalance_debounce_ms = 50;
  int64_t group_disconnect_grace_ms = 1'000;
  int64_t group_heartbeat_hold_max_ms = 2'500;
  int64_t group_size_max = 10'000;
  int64_t group_members_bytes_max = 134'217'728;
  int64_t offsets_topic_partitions = 50;
  int64_t offset_metadata_bytes_max = 4096;
  int64_t transaction_timeout_max_ms = 900'000;
  int64_t transactional_id_expiration_ms = 604'800'000;
  int64_t transaction_remove_expired_interval_ms = 3'600'000;
  int64_t transactions_topic_partitions = 50;
  int64_t offsets_retention_minutes = 10'080;
  int64_t offsets_retention_check_interval_ms = 600'000;

  int64_t retention_check_interval_ms = 300'000;
  bool cleaner_enabled = true;
  int64_t cleaner_backoff_ms = 15'000;
  int64_t cleaner_map_bytes = 134'217'728;
  int64_t cleaner_bytes_per_s = 67'108'864;

  // What topics have that set nothing of their own, as texts under the broker's names (log.retention.ms, …): those that
  // differ from the defaults. Their table is that of the topic configurations.
  std::map<std::string, std::string, std::less<>> topic_defaults;
};

// kTopicDefault: one that can be changed while the broker runs, as text (TopicConfigInfo has its type and bounds).
enum class SettingType { kInt, kBool, kTopicDefault };

// One row of the reference in docs/manual/broker.md, which is made from these.
struct SettingInfo {
  std::string_view name;
  SettingType type;
  std::string_view documentation;
  int64_t min;  // of kInt, and so is max
  int64_t max;
};

std::span<const SettingInfo> setting_infos();

// Set what `name` names from its text ("true", "1048576", "64MB"). An unknown name is kInvalidArgument with the nearest
// known one; so is a value that does not parse or is out of bounds.
Status set_setting(Settings& settings, std::string_view name, std::string_view value);

// The value as DescribeConfigs shows it. `name` must be one of setting_infos().
std::string setting_value(const Settings& settings, std::string_view name);

// The table in docs/manual/broker.md, in Markdown: every setting with its default and what it means.
std::string settings_reference();

}  // namespace millrace::broker
