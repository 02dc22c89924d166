#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/metrics.h"
#include "base/mutex.h"
#include "base/random.h"
#include "broker/broker.h"
#include "broker/internal/dynamic_configs.h"
#include "broker/internal/topic_config.h"
#include "log/store.h"

namespace millrace::broker {

inline constexpr std::string_view kOffsetsTopic = "__consumer_offsets";
inline constexpr std::string_view kRebalancesTopic = "__millrace_rebalances";
inline constexpr std::string_view kTransactionsTopic = "__transaction_state";

// Topics that the broker itself writes: shown as internal, and closed to producers.
bool is_internal_topic(std::string_view name);

// What went in and out of a topic since the start, or since it was made.
struct TopicTraffic {
  Counter records_in;
  Counter bytes_in;
  Counter records_out;
  Counter bytes_out;
};

// An existing topic as requests see it. Immutable but for its traffic; usable after deletion (its log then refuses).
struct TopicState {
  std::shared_ptr<const log::Topic> topic;
  TopicConfig config;
  bool internal;
  std::shared_ptr<TopicTraffic> traffic;  // the same whatever else changes

  const std::string& name() const { return topic->info.name; }
  const Uuid& id() const { return topic->info.id; }
  int32_t partitions() const { return static_cast<int32_t>(topic->partitions.size()); }
  // Null where there is no such partition.
  const std::shared_ptr<log::Partition>* partition(int32_t index) const {
    if (index < 0 || index >= partitions()) return nullptr;
    return &topic->partitions[static_cast<size_t>(index)];
  }
};

// All topics at one moment.
class TopicTable {
 public:
  using ByName = std::map<std::string, std::shared_ptr<const TopicState>, std::less<>>;

  const ByName& all() const { return by_name_; }
  std::shared_ptr<const TopicState> find(std::string_view name) const;
  std::shared_ptr<const TopicState> find(const Uuid& id) const;
  // A topic whose name differs from `name` in nothing but '.' for '_', or the other way round: Kafka, whose metrics
  // take them for the same, does not have both. Null where there is none.
  std::shared_ptr<const TopicState> find_colliding(std::string_view name) const;
  // Null where there is no such topic or partition.
  std::shared_ptr<log::Partition> find_partition(std::string_view topic, int32_t index) const;
  // What topics have that set nothing. Valid as long as the table is.
  ConfigDefaults defaults() const { return {*settings_, dynamic_}; }

 private:
  friend class Topics;
  const Settings* settings_ = nullptr;
  DynamicSettings dynamic_;
  ByName by_name_;
  std::unordered_map<Uuid, std::shared_ptr<const TopicState>> by_id_;
};

// The broker's view of the store's topics. Reading takes a snapshot, which stays as it is. Thread-safe.
class Topics {
 public:
  // Takes up the topics that the store has, with `dynamic` of the settings changed.
  Topics(log::Store& store, const Settings& settings, DynamicSettings dynamic, Random random);

  std::shared_ptr<const TopicTable> snapshot() const EXCLUDES(mutex_);

  // These write to disk and wait for it, so not on a network thread. Errors are the store's, and change nothing.
  Result<std::shared_ptr<const TopicState>> create(const std::string& name, int32_t partitions,
                                                   std::map<std::string, std::string> config) EXCLUDES(mutex_);
  // An internal topic as its coordinator needs it, whoever asks for it first.
  Result<std::shared_ptr<const TopicState>> create_internal(std::string_view name) EXCLUDES(mutex_);
  // Give a topic more partitions, `count` in all.
  Status add_partitions(const std::string& name, int32_t count) EXCLUDES(mutex_);
  Status remove(const std::string& name) EXCLUDES(mutex_);
  // Replace a topic's own configurations, which were checked; they hold at once. kNotFound.
  Status configure(const std::string& name, ConfigTexts config) EXCLUDES(mutex_);
  // Replace the settings that were changed while the broker runs; they hold at once. Whoever calls has kept them.
  void set_dynamic(DynamicSettings dynamic) EXCLUDES(mutex_);

  std::vector<TopicStats> stats() const;
  // Of all topics, deleted ones included, since the start.
  TopicTraffic& traffic() { return traffic_; }

 private:
  // With the traffic of `known`, the same topic's state before; null: it is new.
  static std::shared_ptr<const TopicState> make_state(std::shared_ptr<const log::Topic> topic,
                                                      const ConfigDefaults& defaults, const TopicState* known);
  // Have the topic in the table, in place of `known`.
  std::shared_ptr<const TopicState> put(const std::shared_ptr<const log::Topic>& topic, const TopicState* known)
      REQUIRES(mutex_);
  // Have a topic in the table as the store has changed it. kNotFound where it is gone by now, even where another of
  // that name has been made.
  Status update(const std::shared_ptr<const log::Topic>& topic) EXCLUDES(mutex_);
  // Tell the store what its topics' configurations mean.
  void set_policies(const DynamicSettings& dynamic);

  log::Store& store_;
  const Settings& settings_;

  TopicTraffic traffic_;
  mutable Mutex mutex_;
  Random random_ GUARDED_BY(mutex_);
  std::shared_ptr<const TopicTable> table_ GUARDED_BY(mutex_);
};

}  // namespace millrace::broker
