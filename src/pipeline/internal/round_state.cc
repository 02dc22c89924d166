#include "pipeline/internal/round_state.h"

#include <algorithm>

namespace millrace::pipeline {

bool RoundState::contribute(ContributionPtr contribution) {
  const int64_t boundary = contribution->boundary;
  if (behind_last_closed(boundary)) return false;
  if (contribution->makes_round) asked_.insert(boundary);
  const PartitionId partition = contribution->partition;
  const bool counts = cuts_[partition].emplace(boundary, std::move(contribution)).second;
  close_complete_rounds();
  return counts;
}

const ContributionPtr* RoundState::first_cut(int32_t partition, int64_t boundary) const {
  const auto cuts = cuts_.find(PartitionId(partition));
  if (cuts == cuts_.end()) return nullptr;
  const auto cut = cuts->second.lower_bound(boundary);
  return cut == cuts->second.end() ? nullptr : &cut->second;
}

void RoundState::close_complete_rounds() {
  while (!asked_.empty()) {
    const int64_t boundary = *asked_.begin();
    std::vector<ContributionPtr> parts;
    for (int32_t p = 0; p < partitions_; ++p) {
      const ContributionPtr* cut = first_cut(p, boundary);
      if (cut == nullptr) return;
      parts.push_back(*cut);
    }
    closed_.emplace(boundary, std::move(parts));
    close_until(boundary);
  }
}

// Cuts up to there are in rounds that closed, or of no use.
void RoundState::close_until(int64_t boundary) {
  if (behind_last_closed(boundary)) return;
  closed_until_ = boundary;
  asked_.erase(asked_.begin(), asked_.upper_bound(boundary));
  for (auto& [partition, cuts] : cuts_) cuts.erase(cuts.begin(), cuts.upper_bound(boundary));
}

bool RoundState::decide(int64_t boundary, RoundDecision decision) {
  if (!decisions_.empty() && boundary <= decisions_.rbegin()->first) return false;
  decisions_.emplace(boundary, decision);
  closed_.erase(closed_.begin(), closed_.upper_bound(boundary));
  close_until(boundary);
  close_complete_rounds();
  return true;
}

std::optional<RoundState::Due> RoundState::due() const {
  if (closed_.empty()) return std::nullopt;
  return Due{closed_.begin()->first, closed_.begin()->second};
}

std::optional<RoundDecision> RoundState::decided(int64_t boundary) const {
  const auto decision = decisions_.lower_bound(boundary);
  if (decision == decisions_.end()) return std::nullopt;
  return decision->second;
}

std::optional<int64_t> RoundState::pending() const {
  if (asked_.empty()) return std::nullopt;
  return *asked_.begin();
}

std::vector<PartitionId> RoundState::missing(int64_t boundary) const {
  std::vector<PartitionId> missing;
  for (int32_t p = 0; p < partitions_; ++p)
    if (!is_past(PartitionId(p), boundary)) missing.emplace_back(p);
  return missing;
}

bool RoundState::has(PartitionId partition, int64_t boundary, bool makes_round) const {
  if (behind_last_closed(boundary)) return true;
  const auto cuts = cuts_.find(partition);
  return cuts != cuts_.end() && cuts->second.contains(boundary) && (!makes_round || asked_.contains(boundary));
}

bool RoundState::is_past(PartitionId partition, int64_t boundary) const {
  return behind_last_closed(boundary) || first_cut(partition.value(), boundary) != nullptr;
}

bool RoundState::may_need(const Contribution& contribution) const {
  const auto is_it = [&](const ContributionPtr& other) { return other.get() == &contribution; };
  if (const auto cuts = cuts_.find(contribution.partition); cuts != cuts_.end())
    if (const auto cut = cuts->second.find(contribution.boundary); cut != cuts->second.end() && is_it(cut->second))
      return true;
  return std::ranges::any_of(closed_, [&](const auto& round) { return std::ranges::any_of(round.second, is_it); });
}

}  // namespace millrace::pipeline
