#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "broker/internal/simulation_broker.h"
#include "wire/error_code.h"

namespace millrace::broker {

// What the broker has told the members of the simulation's consumer group, and what must hold for it.
class SimulatedGroup {
 public:
  explicit SimulatedGroup(std::string name) : name_(std::move(name)) {}
  const std::string& name() const { return name_; }
  // The last in which somebody was told its assignment: no start forgets it.
  int32_t generation() const { return generation_; }
  // The last that somebody was told to be in: what names an earlier one comes too late.
  int32_t begun() const { return begun_; }
  // Which coordinator serves the group, as a number.
  int coordinator() const { return coordinator_; }

  // --- What members do

  // A commit for `partitions` is sent; its number is its position, so later ones are greater.
  int new_commit(const std::vector<int32_t>& partitions) {
    commits_.push_back({partitions, true});
    return static_cast<int>(commits_.size()) - 1;
  }

  // A leader says what the members of its generation get.
  void divided(int32_t generation, const std::vector<int32_t>& share) { shares_[generation].insert(share); }

  // --- What the broker lets out

  // `at_least`: generation() when the request was sent. Answers to others may overtake this one, and that it was given
  // by a coordinator which is no more.
  void joined(int32_t generation, int32_t at_least, bool by_this_coordinator) {
    EXPECT_GE(generation, at_least) << "a generation goes back";
    if (by_this_coordinator) begun_ = std::max(begun_, generation);
    ++joins_;
  }
  void assigned(int32_t generation, const std::string& owner, const std::vector<int32_t>& partitions) {
    generation_ = std::max(generation_, generation);
    EXPECT_TRUE(shares_[generation].contains(partitions))
        << owner << " is told what no leader of generation " << generation << " has said";
    for (const int32_t partition : partitions) {
      const auto [place, is_new] = owners_.try_emplace({generation, partition}, owner);
      EXPECT_EQ(place->second, owner) << "two own partition " << partition << " in generation " << generation;
    }
  }
  void committed(int number, wire::ErrorCode error) {
    Commit& commit = commits_[static_cast<size_t>(number)];
    // Where the log failed in the middle nobody knows whether it is kept.
    if (error == wire::ErrorCode::kNotCoordinator) return;
    commit.is_open = false;
    if (error != wire::ErrorCode::kNone) return;
    ++accepted_;
    for (const int32_t partition : commit.partitions) positions_[partition] = number;
  }
  // OffsetFetch told it.
  void position_told(int32_t partition, int64_t position) const {
    EXPECT_TRUE(may_be_at(partition, position))
        << "partition " << partition << " is told to be at " << position << ", was committed at " << at(partition);
  }

  // --- The coordinator goes and comes

  // Those that were told of a generation which is not recorded yet will hear that it is not.
  void lost() {
    begun_ = generation_;
    ++coordinator_;
  }
  // A broker has started, so nothing is on its way to it. Its coordinator may come later.
  void started() {
    lost();
    on_the_way_from_ = commits_.size();
  }
  // A coordinator has been built from the log.
  void built(const SimulatedBroker& broker) {
    const auto& coordinator = broker.groups().coordinator();
    for (int32_t partition = 0; partition < kSimulatedPartitions; ++partition) {
      const auto* found = coordinator.committed_offset(name_, kSimulatedTopic, PartitionId{partition});
      const int64_t position = found == nullptr ? -1 : found->offset.value();
      EXPECT_TRUE(may_be_at(partition, position))
          << "after a start partition " << partition << " is at " << position << ", was committed at " << at(partition);
      if (position >= 0) positions_[partition] = position;
    }
    for (size_t i = 0; i < on_the_way_from_; ++i) commits_[i].is_open = false;
    const auto group = coordinator.describe(name_);
    EXPECT_GE(group ? group->generation : -1, generation_) << "a start forgets a generation";
  }

  int64_t joins() const { return joins_; }
  int64_t accepted() const { return accepted_; }

 private:
  struct Commit {
    std::vector<int32_t> partitions;
    bool is_open;  // nothing is known of its end
  };

  int64_t at(int32_t partition) const {
    const auto found = positions_.find(partition);
    return found == positions_.end() ? -1 : found->second;
  }
  // At what was told last, or at something whose answer may be on its way.
  bool may_be_at(int32_t partition, int64_t position) const {
    if (position == at(partition)) return true;
    if (position < 0 || position >= static_cast<int64_t>(commits_.size())) return false;
    const Commit& commit = commits_[static_cast<size_t>(position)];
    return commit.is_open && std::ranges::find(commit.partitions, partition) != commit.partitions.end();
  }

  const std::string name_;
  std::vector<Commit> commits_;
  std::map<int32_t, int64_t> positions_;
  std::map<std::pair<int32_t, int32_t>, std::string> owners_;  // by generation and partition
  std::map<int32_t, std::set<std::vector<int32_t>>> shares_;   // by generation
  int32_t generation_ = -1;
  int32_t begun_ = -1;
  int coordinator_ = 0;
  size_t on_the_way_from_ = 0;  // commits before were sent to a broker that is no more
  int64_t joins_ = 0;
  int64_t accepted_ = 0;
};

}  // namespace millrace::broker
