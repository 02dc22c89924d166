#include "broker/internal/topic_config.h"

#include <fmt/core.h>

#include <array>
#include <vector>

#include "base/text.h"

namespace millrace::broker {
namespace {

using enum TopicConfigType;

constexpr std::string_view kForever = "9223372036854775807";

constexpr std::array kInfos = {
    TopicConfigInfo{"cleanup.policy", kList, "delete", "", false, "delete or compact"},
    TopicConfigInfo{"compression.type", kString, "producer", "", true, "producer: batches stay as they were sent"},
    TopicConfigInfo{"delete.retention.ms", kLong, "86400000", "", false, "How long tombstones are kept"},
    TopicConfigInfo{"file.delete.delay.ms", kLong, "60000", "", false, "When files of deleted data go"},
    TopicConfigInfo{"flush.messages", kLong, kForever, "", false, "Every answer waits for a sync in any case"},
    TopicConfigInfo{"flush.ms", kLong, kForever, "", false, "Every answer waits for a sync in any case"},
    TopicConfigInfo{"follower.replication.throttled.replicas", kList, "", "", false, "There are no followers"},
    TopicConfigInfo{"index.interval.bytes", kInt, "4096", "log.index.interval.bytes", false,
                    "Bytes of log between two entries of the offset index"},
    TopicConfigInfo{"leader.replication.throttled.replicas", kList, "", "", false, "There are no followers"},
    TopicConfigInfo{"max.compaction.lag.ms", kLong, kForever, "", false, "When a record is compacted at the latest"},
    TopicConfigInfo{"max.message.bytes", kInt, "1048588", "message.max.bytes", true, "The largest record batch taken"},
    TopicConfigInfo{"message.downconversion.enable", kBool, "false", "", false, "Old formats are never served"},
    TopicConfigInfo{"message.timestamp.after.max.ms", kLong, "3600000", "", false,
                    "How far in the future a timestamp may be"},
    TopicConfigInfo{"message.timestamp.before.max.ms", kLong, kForever, "", false,
                    "How far in the past a timestamp may be"},
    TopicConfigInfo{"message.timestamp.type", kString, "CreateTime", "", true,
                    "CreateTime, the producer's, or LogAppendTime, the broker's"},
    TopicConfigInfo{"min.cleanable.dirty.ratio", kDouble, "0.5", "", false, "How much must be new before compaction"},
    TopicConfigInfo{"min.compaction.lag.ms", kLong, "0", "", false, "When a record is compacted at the earliest"},
    TopicConfigInfo{"min.insync.replicas", kInt, "1", "", false, "There is one replica"},
    TopicConfigInfo{"preallocate", kBool, "false", "", false, "Whether segment files are made at full size"},
    TopicConfigInfo{"retention.bytes", kLong, "-1", "", false, "Bytes of a partition that are kept; -1: all"},
    TopicConfigInfo{"retention.ms", kLong, "604800000", "", false, "How long records are kept; -1: for ever"},
    TopicConfigInfo{"segment.bytes", kInt, "1073741824", "log.segment.bytes", false, "The size of a segment file"},
    TopicConfigInfo{"segment.index.bytes", kInt, "10485760", "", false, "The size of an index file"},
    TopicConfigInfo{"segment.jitter.ms", kLong, "0", "", false, "Spreads the beginnings of segments"},
    TopicConfigInfo{"segment.ms", kLong, "604800000", "", false, "When a segment is closed at the latest"},
    TopicConfigInfo{"unclean.leader.election.enable", kBool, "false", "", false, "There is one replica"},
};

Status check_value(const TopicConfigInfo& info, const std::string& value) {
  const auto refuse = [&](std::string_view wanted) {
    return fail(Errc::kInvalidArgument, fmt::format("{} is {}, not '{}'", info.name, wanted, value));
  };
  switch (info.type) {
    case kBool:
      if (value != "true" && value != "false") return refuse("true or false");
      return {};
    case kInt: {
      const auto number = parse_int64(value);
      if (!number || *number < 0 || *number > INT32_MAX) return refuse("a whole number from 0 to 2147483647");
      return {};
    }
    case kLong: {
      const auto number = parse_int64(value);
      if (!number || *number < -1) return refuse("a whole number, at least -1");
      return {};
    }
    case kDouble: {
      const auto number = parse_double(value);
      if (!number || *number < 0 || *number > 1) return refuse("a number from 0 to 1");
      return {};
    }
    case kString:
    case kList:
      return {};
  }
}

Status check_words(const TopicConfigInfo& info, const std::string& value) {
  if (info.name == "compression.type" && value != "producer") {
    for (const std::string_view codec : {"uncompressed", "gzip", "snappy", "lz4", "zstd"})
      if (value == codec)
        return fail(Errc::kNotBuiltYet, fmt::format("compression.type={} is not built yet: batches stay as the "
                                                    "producer sent them",
                                                    value));
    return fail(Errc::kInvalidArgument, fmt::format("compression.type is a codec or producer, not '{}'", value));
  }
  if (info.name == "message.timestamp.type" && value != "CreateTime" && value != "LogAppendTime")
    return fail(Errc::kInvalidArgument,
                fmt::format("message.timestamp.type is CreateTime or LogAppendTime, not '{}'", value));
  if (info.name == "cleanup.policy") {
    for (const std::string_view word : split(value, ','))
      if (trim(word) != "delete" && trim(word) != "compact")
        return fail(Errc::kInvalidArgument, fmt::format("cleanup.policy is delete or compact, not '{}'", value));
  }
  return {};
}

}  // namespace

std::span<const TopicConfigInfo> topic_config_infos() { return kInfos; }

Status check_topic_config(std::string_view name, const std::optional<std::string>& value) {
  for (const TopicConfigInfo& info : kInfos) {
    if (info.name != name) continue;
    if (!value) return fail(Errc::kInvalidArgument, fmt::format("{} has no value", name));
    MILLRACE_RETURN_IF_ERROR(check_value(info, *value));
    return check_words(info, *value);
  }
  std::vector<std::string> known;
  for (const TopicConfigInfo& info : kInfos) known.emplace_back(info.name);
  const auto nearest = nearest_name(name, known);
  return fail(Errc::kInvalidArgument,
              nearest ? fmt::format("unknown topic configuration '{}'; did you mean '{}'?", name, *nearest)
                      : fmt::format("unknown topic configuration '{}'", name));
}

std::string topic_config_default(const TopicConfigInfo& info, const Settings& settings) {
  if (!info.broker_setting.empty()) return setting_value(settings, info.broker_setting);
  return std::string(info.default_value);
}

TopicConfig parse_topic_config(const std::map<std::string, std::string>& config, const Settings& settings) {
  TopicConfig parsed{.message_bytes_max = settings.message_bytes_max, .log_append_time = false};
  if (const auto found = config.find("max.message.bytes"); found != config.end())
    parsed.message_bytes_max = parse_int64(found->second).value_or(settings.message_bytes_max);
  if (const auto found = config.find("message.timestamp.type"); found != config.end())
    parsed.log_append_time = found->second == "LogAppendTime";
  return parsed;
}

}  // namespace millrace::broker
