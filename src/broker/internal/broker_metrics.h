#pragma once

#include "base/metrics.h"
#include "broker/internal/core.h"
#include "broker/internal/request_metrics.h"
#include "broker/internal/server.h"

namespace millrace::broker {

// Writes what the broker knows of itself when it is asked: docs/manual/broker.md has the list. What it costs grows with
// what there is, but the series of single partitions and groups are bounded; beyond that there are sums.
class BrokerMetrics {
 public:
  // So many partitions have series of their own, by topic and number; the others are only in their topics' sums.
  // SurveyLimits has the same of groups and their partitions.
  static constexpr size_t kPartitionsShownMax = 10'000;

  // All must outlive this. Ends with its destruction, which waits for a reader.
  BrokerMetrics(Core& core, const Server& server, const RequestMetrics& requests, Metrics& metrics);

 private:
  void collect(Exposition& out) const;
  void collect_topics(Exposition& out) const;
  void collect_partitions(Exposition& out) const;
  void collect_fetches(Exposition& out) const;
  void collect_log(Exposition& out) const;
  void collect_coordinators(Exposition& out) const;

  Core& core_;
  const Server& server_;
  const RequestMetrics& requests_;
  Metrics::Registration registration_;
};

}  // namespace millrace::broker
