#pragma once

#include <atomic>
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "broker/internal/rate_limit.h"
#include "broker/internal/topics.h"
#include "broker/internal/worker.h"
#include "coord/effects.h"

namespace millrace::broker {

// A rebalance as one JSON object; docs/manual/broker.md says what is in it. What consumers of Kafka's own protocol held
// is read from their assignments, so that the partitions that moved can be named.
std::string rebalance_json(const coord::Rebalance& rebalance);

// What happened in consumer groups, kept in the topic __millrace_rebalances (key: the group): for people who want to
// know why a group stood still. Nothing depends on it, so what cannot be written is dropped. Thread-safe.
class RebalanceHistory {
 public:
  // All must outlive the worker's thread.
  RebalanceHistory(Topics& topics, const Clock& clock, Worker& worker, RateLimit& notes)
      : topics_(topics), clock_(clock), worker_(worker), notes_(notes) {}

  // Have these written, soon. The topic is made with the first.
  void add(std::vector<coord::Rebalance> rebalances);

  // The last `count_max` of a group, newest first, as JSON objects. Reads files.
  Result<std::vector<std::string>> last_of(std::string_view group, size_t count_max) const;

 private:
  // Rebalances that wait to be written.
  static constexpr size_t kWaitingMax = 1000;

  Status write(const std::vector<coord::Rebalance>& rebalances);

  Topics& topics_;
  const Clock& clock_;
  Worker& worker_;
  RateLimit& notes_;
  std::atomic<size_t> waiting_{0};
};

}  // namespace millrace::broker
