#include "pipeline/status.h"

namespace millrace::pipeline {
namespace {

template <typename Pick>
std::vector<const learn::Metrics*> pick(const std::vector<PartitionMetrics>& partitions, Pick member) {
  std::vector<const learn::Metrics*> parts;
  for (const PartitionMetrics& partition : partitions) parts.push_back(&(partition.*member));
  return parts;
}

}  // namespace

learn::MetricsReport ModelStatus::learner() const {
  if (partitions.empty()) return {};
  return learn::Metrics::total(pick(partitions, &PartitionMetrics::learner));
}
learn::MetricsReport ModelStatus::live() const {
  if (partitions.empty()) return {};
  return learn::Metrics::total(pick(partitions, &PartitionMetrics::live));
}
learn::MetricsReport ModelStatus::learner_window() const {
  if (partitions.empty()) return {};
  return learn::Metrics::window(pick(partitions, &PartitionMetrics::learner));
}
learn::MetricsReport ModelStatus::live_window() const {
  if (partitions.empty()) return {};
  return learn::Metrics::window(pick(partitions, &PartitionMetrics::live));
}

}  // namespace millrace::pipeline
