#include "broker/internal/topic_config.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <limits>
#include <vector>

#include "base/check.h"
#include "base/text.h"
#include "broker/internal/shortened.h"

namespace millrace::broker {
namespace {

using enum TopicConfigType;

constexpr std::string_view kForever = "9223372036854775807";
constexpr double kIntMax = 2'147'483'647;
constexpr double kLongMax = 9.3e18;  // the type has the exact bound
constexpr std::string_view kCodecs = "producer,uncompressed,gzip,snappy,lz4,zstd";

constexpr TopicConfigBounds at_least(double min) { return {.min = min, .max = kLongMax}; }
constexpr TopicConfigBounds int_at_least(double min) { return {.min = min, .max = kIntMax}; }
constexpr TopicConfigBounds one_of(std::string_view words) { return {.words = words}; }
constexpr TopicConfigBounds kAny = {};
// A list of partition:broker, or * for all.
constexpr std::string_view kThrottledReplicas = "replication.throttled.replicas";

// The rows: name, type, default, the broker's setting, whether it does something here, bounds, what it means.
constexpr std::array kInfos = {
    TopicConfigInfo{"cleanup.policy", kList, "delete", "log.cleanup.policy", true, one_of("delete,compact"),
                    "What happens to old records: delete (after retention.ms or beyond retention.bytes), compact (the "
                    "last record of each key stays), or both."},
    TopicConfigInfo{"compression.gzip.level", kInt, "-1", "compression.gzip.level", false,
                    one_of("-1,1,2,3,4,5,6,7,8,9"), "Compression has one level here for each codec."},
    TopicConfigInfo{"compression.lz4.level",
                    kInt,
                    "9",
                    "compression.lz4.level",
                    false,
                    {1, 17},
                    "Compression has one level here for each codec."},
    TopicConfigInfo{"compression.type", kString, "producer", "compression.type", true, one_of(kCodecs),
                    "How batches are stored: as the producer sent them, or compressed anew."},
    TopicConfigInfo{"compression.zstd.level",
                    kInt,
                    "3",
                    "compression.zstd.level",
                    false,
                    {-131'072, 22},
                    "Compression has one level here for each codec."},
    TopicConfigInfo{"delete.retention.ms", kLong, "86400000", "log.cleaner.delete.retention.ms", true, at_least(0),
                    "How long compaction keeps tombstones, and the markers of transactions that are gone."},
    TopicConfigInfo{"file.delete.delay.ms", kLong, "60000", "log.segment.delete.delay.ms", false, at_least(0),
                    "Files go as soon as no reader and no recovery needs them."},
    TopicConfigInfo{"flush.messages", kLong, kForever, "log.flush.interval.messages", false, at_least(1),
                    "Every answer waits for a sync in any case."},
    TopicConfigInfo{"flush.ms", kLong, kForever, "log.flush.interval.ms", false, at_least(0),
                    "Every answer waits for a sync in any case."},
    TopicConfigInfo{"follower.replication.throttled.replicas", kList, "", "", false, kAny, "There are no followers."},
    TopicConfigInfo{"index.interval.bytes", kInt, "4096", "log.index.interval.bytes", true, int_at_least(0),
                    "Bytes of log between two entries of the offset index."},
    TopicConfigInfo{"leader.replication.throttled.replicas", kList, "", "", false, kAny, "There are no followers."},
    TopicConfigInfo{"max.compaction.lag.ms", kLong, kForever, "log.cleaner.max.compaction.lag.ms", true, at_least(1),
                    "How long a record may stay out of reach of compaction."},
    TopicConfigInfo{"max.message.bytes", kInt, "1048588", "message.max.bytes", true, int_at_least(0),
                    "The largest record batch taken."},
    TopicConfigInfo{"message.timestamp.after.max.ms", kLong, "3600000", "log.message.timestamp.after.max.ms", true,
                    at_least(0), "How far ahead of the broker's clock a record's timestamp may be."},
    TopicConfigInfo{"message.timestamp.before.max.ms", kLong, kForever, "log.message.timestamp.before.max.ms", true,
                    at_least(0), "How far behind the broker's clock a record's timestamp may be."},
    TopicConfigInfo{"message.timestamp.type", kString, "CreateTime", "log.message.timestamp.type", true,
                    one_of("CreateTime,LogAppendTime"), "CreateTime, the producer's, or LogAppendTime, the broker's."},
    TopicConfigInfo{"min.cleanable.dirty.ratio",
                    kDouble,
                    "0.5",
                    "log.cleaner.min.cleanable.ratio",
                    true,
                    {0, 1},
                    "How much of a compacted log must be new before it is compacted again."},
    TopicConfigInfo{"min.compaction.lag.ms", kLong, "0", "log.cleaner.min.compaction.lag.ms", true, at_least(0),
                    "How long compaction leaves a record alone."},
    TopicConfigInfo{"min.insync.replicas", kInt, "1", "min.insync.replicas", false, int_at_least(1),
                    "There is one replica, and it is in sync."},
    TopicConfigInfo{"preallocate", kBool, "false", "log.preallocate", false, kAny,
                    "Segment files grow as they are written."},
    TopicConfigInfo{"retention.bytes", kLong, "-1", "log.retention.bytes", true, at_least(-1),
                    "Bytes of a partition that are kept; -1 keeps all."},
    TopicConfigInfo{"retention.ms", kLong, "604800000", "log.retention.ms", true, at_least(-1),
                    "How long records are kept, by their timestamps; -1 keeps them for ever."},
    TopicConfigInfo{"segment.bytes", kInt, "1073741824", "log.segment.bytes", true, int_at_least(1'048'576),
                    "A segment file of this size is closed and a new one begun."},
    TopicConfigInfo{"segment.index.bytes", kInt, "10485760", "log.index.size.max.bytes", false, int_at_least(4),
                    "Index files grow as they are written."},
    TopicConfigInfo{"segment.jitter.ms", kLong, "0", "log.roll.jitter.ms", false, at_least(0),
                    "Segments of several partitions may be closed at the same time."},
    TopicConfigInfo{"segment.ms", kLong, "604800000", "log.roll.ms", true, at_least(1),
                    "A segment file is closed so long after its first record at the latest."},
    TopicConfigInfo{"unclean.leader.election.enable", kBool, "false", "unclean.leader.election.enable", false, kAny,
                    "There is one replica."},
};

// There are no followers, and one data folder.
constexpr std::array kThrottles = {
    TopicConfigInfo{"", kLong, kForever, "follower.replication.throttled.rate", false, at_least(0),
                    "There are no followers."},
    TopicConfigInfo{"", kLong, kForever, "leader.replication.throttled.rate", false, at_least(0),
                    "There are no followers."},
    TopicConfigInfo{"", kLong, kForever, "replica.alter.log.dirs.io.max.bytes.per.second", false, at_least(0),
                    "There is one data folder."},
};

bool is_one_of(std::string_view word, std::string_view words) {
  for (const std::string_view known : split(words, ','))
    if (word == known) return true;
  return false;
}

std::string number_bounds(const TopicConfigInfo& info) {
  if (info.bounds.max >= kLongMax) return fmt::format("a whole number, at least {:.0f}", info.bounds.min);
  if (info.type == kDouble) return fmt::format("a number from {:g} to {:g}", info.bounds.min, info.bounds.max);
  return fmt::format("a whole number from {:.0f} to {:.0f}", info.bounds.min, info.bounds.max);
}

bool is_line(std::string_view text) {
  return std::ranges::none_of(text, [](char c) { return c >= 0 && c < ' '; });
}

bool is_digits(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, [](char c) { return c >= '0' && c <= '9'; });
}

bool is_replica(std::string_view word) {
  const auto parts = split(word, ':');
  return parts.size() == 2 && is_digits(parts[0]) && is_digits(parts[1]);
}

bool is_list_of_replicas(std::string_view value) {
  return value.empty() || value == "*" || std::ranges::all_of(split(value, ','), is_replica);
}

// The value that holds for a topic.
class Values {
 public:
  Values(const ConfigTexts& config, const ConfigDefaults& defaults) : config_(config), defaults_(defaults) {}

  std::string text(std::string_view name) const {
    if (const auto own = config_.find(std::string(name)); own != config_.end()) return own->second;
    const TopicConfigInfo* info = find_topic_config(name);
    MILLRACE_CHECK(info != nullptr, "a topic configuration that is not in the table");
    return topic_config_default(*info, defaults_);
  }
  int64_t number(std::string_view name) const { return parse_int64(text(name)).value_or(0); }
  bool has(std::string_view name, std::string_view word) const {
    const std::string value = text(name);
    return std::ranges::any_of(split(value, ','), [&](std::string_view one) { return trim(one) == word; });
  }

 private:
  const ConfigTexts& config_;
  const ConfigDefaults& defaults_;
};

}  // namespace

std::span<const TopicConfigInfo> topic_config_infos() { return kInfos; }

const TopicConfigInfo* find_topic_config(std::string_view name) {
  const auto* found = std::ranges::find(kInfos, name, &TopicConfigInfo::name);
  return found == kInfos.end() ? nullptr : found;
}

const TopicConfigInfo* find_topic_config_of_setting(std::string_view broker_setting) {
  if (broker_setting.empty()) return nullptr;
  const auto* found = std::ranges::find(kInfos, broker_setting, &TopicConfigInfo::broker_setting);
  if (found != kInfos.end()) return found;
  const auto* throttle = std::ranges::find(kThrottles, broker_setting, &TopicConfigInfo::broker_setting);
  return throttle == kThrottles.end() ? nullptr : throttle;
}

std::string plain_config_value(const TopicConfigInfo& info, std::string_view value) {
  if (!is_line(value)) return std::string(value);
  std::string plain(trim(value));
  switch (info.type) {
    case kBool: {
      std::string lower = to_lower(plain);
      return lower == "true" || lower == "false" ? lower : plain;
    }
    case kInt:
    case kLong:
    case kDouble:
      return plain.size() > 1 && plain[0] == '+' && plain[1] != '-' ? plain.substr(1) : plain;
    case kString:
      return plain;
    case kList: {
      std::vector<std::string_view> words;
      for (std::string_view word : split(plain, ',')) {
        word = trim(word);
        if (info.bounds.words.empty() || std::ranges::find(words, word) == words.end()) words.push_back(word);
      }
      return fmt::format("{}", fmt::join(words, ","));
    }
  }
}

std::span<const TopicConfigInfo> replication_throttle_infos() { return kThrottles; }

Status check_config_value(const TopicConfigInfo& info, std::string_view name, std::string_view value) {
  const auto refuse = [&](std::string_view wanted) {
    return fail(Errc::kInvalidArgument, fmt::format("{} is {}, not '{}'", name, wanted, shortened(value)));
  };
  constexpr size_t kValueBytesMax = 4096;
  if (!is_line(value) || value.size() > kValueBytesMax)
    return fail(Errc::kInvalidArgument, fmt::format("{} is one line of at most {} bytes", name, kValueBytesMax));
  switch (info.type) {
    case kBool:
      if (value != "true" && value != "false") return refuse("true or false");
      return {};
    case kInt:
    case kLong: {
      if (!info.bounds.words.empty())
        return is_one_of(value, info.bounds.words) ? Status{} : refuse(fmt::format("one of {}", info.bounds.words));
      const auto number = parse_int64(value);
      if (!number || static_cast<double>(*number) < info.bounds.min || static_cast<double>(*number) > info.bounds.max)
        return refuse(number_bounds(info));
      return {};
    }
    case kDouble: {
      const auto number = parse_double(value);
      if (!number || !(*number >= info.bounds.min && *number <= info.bounds.max)) return refuse(number_bounds(info));
      return {};
    }
    case kString:
      if (!info.bounds.words.empty() && !is_one_of(value, info.bounds.words))
        return refuse(fmt::format("one of {}", info.bounds.words));
      return {};
    case kList:
      if (info.name.ends_with(kThrottledReplicas) && !is_list_of_replicas(value))
        return refuse("a list of partition:broker, or *");
      if (info.bounds.words.empty() || value.empty()) return {};
      for (const std::string_view word : split(value, ','))
        if (!is_one_of(trim(word), info.bounds.words)) return refuse(fmt::format("a list of {}", info.bounds.words));
      return {};
  }
}

tl::unexpected<Error> unknown_topic_config(std::string_view name) {
  name = shortened(name);
  std::vector<std::string> known;
  for (const TopicConfigInfo& info : kInfos) known.emplace_back(info.name);
  const auto nearest = nearest_name(name, known);
  return fail(Errc::kInvalidArgument,
              nearest ? fmt::format("unknown topic configuration '{}'; did you mean '{}'?", name, *nearest)
                      : fmt::format("unknown topic configuration '{}'", name));
}

Result<std::string> check_topic_config(std::string_view name, const std::optional<std::string>& value) {
  const TopicConfigInfo* info = find_topic_config(name);
  if (info == nullptr) return unknown_topic_config(name);
  if (!value) return fail(Errc::kInvalidArgument, fmt::format("{} has no value", name));
  std::string plain = plain_config_value(*info, *value);
  MILLRACE_RETURN_IF_ERROR(check_config_value(*info, name, plain));
  return plain;
}

const std::string* DynamicSettings::find(const std::string& name) const {
  if (const auto own = node.find(name); own != node.end()) return &own->second;
  const auto shared = cluster.find(name);
  return shared == cluster.end() ? nullptr : &shared->second;
}

std::string topic_config_default(const TopicConfigInfo& info, const ConfigDefaults& defaults) {
  if (info.broker_setting.empty()) return std::string(info.default_value);
  if (const std::string* changed = defaults.dynamic.find(std::string(info.broker_setting))) return *changed;
  return setting_value(defaults.settings, info.broker_setting);
}

Status check_topic_configs_together(const ConfigTexts& config, const ConfigDefaults& defaults) {
  const Values values(config, defaults);
  const int64_t min_lag = values.number("min.compaction.lag.ms");
  const int64_t max_lag = values.number("max.compaction.lag.ms");
  if (min_lag > max_lag)
    return fail(Errc::kInvalidArgument,
                fmt::format("min.compaction.lag.ms, {}, is greater than max.compaction.lag.ms, {}", min_lag, max_lag));
  return {};
}

TopicConfig parse_topic_config(const ConfigTexts& config, const ConfigDefaults& defaults) {
  const Values values(config, defaults);
  TopicConfig parsed;
  parsed.message_bytes_max = values.number("max.message.bytes");
  parsed.log_append_time = values.has("message.timestamp.type", "LogAppendTime");
  parsed.timestamp_before_max_ms = values.number("message.timestamp.before.max.ms");
  parsed.timestamp_after_max_ms = values.number("message.timestamp.after.max.ms");
  parsed.needs_keys = values.has("cleanup.policy", "compact");
  const std::string codec = values.text("compression.type");
  if (codec == "uncompressed")
    parsed.codec = record::Codec::kNone;
  else if (const auto named = record::parse_codec(codec); named)
    parsed.codec = *named;
  return parsed;
}

log::TopicPolicy parse_topic_policy(const ConfigTexts& config, const ConfigDefaults& defaults) {
  const Values values(config, defaults);
  log::TopicPolicy policy;
  policy.segment_bytes = static_cast<uint64_t>(values.number("segment.bytes"));
  policy.segment_ms = values.number("segment.ms");
  policy.index_interval_bytes = static_cast<uint32_t>(values.number("index.interval.bytes"));
  policy.deletes = values.has("cleanup.policy", "delete");
  policy.retention_ms = values.number("retention.ms");
  policy.retention_bytes = values.number("retention.bytes");
  policy.compacts = values.has("cleanup.policy", "compact");
  policy.min_compaction_lag_ms = values.number("min.compaction.lag.ms");
  policy.max_compaction_lag_ms = values.number("max.compaction.lag.ms");
  policy.min_cleanable_dirty_ratio = parse_double(values.text("min.cleanable.dirty.ratio")).value_or(0.5);
  policy.delete_retention_ms = values.number("delete.retention.ms");
  return policy;
}

}  // namespace millrace::broker
