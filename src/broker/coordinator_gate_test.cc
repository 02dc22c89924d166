#include "broker/internal/coordinator_gate.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "broker/internal/simulation_executor.h"

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

class CoordinatorGateTest : public testing::Test {
 protected:
  Task note(const std::string& what) {
    return [this, what] { done.push_back(what); };
  }
  void run_all() {
    while (executor.has_work()) executor.run_one();
  }

  SimulatedExecutor executor;
  CoordinatorGate gate{executor};
  std::vector<std::string> done;
};

TEST_F(CoordinatorGateTest, WhatComesWhileItIsShutRunsInItsOrderBeforeWhatComesLater) {
  gate.post([this] { gate.shut(); });
  gate.post(note("posted"));
  gate.post(note("behind it"));
  run_all();
  EXPECT_THAT(done, IsEmpty());
  gate.post(note("later"));
  gate.open();
  run_all();
  EXPECT_THAT(done, ElementsAre("posted", "behind it", "later"));
}

TEST_F(CoordinatorGateTest, WhatFallsDueWhileItIsShutRunsBehindAllThatCameMeanwhile) {
  gate.shut();
  gate.call_at(MonoTime{}, note("due"));
  executor.run_due(MonoTime{});
  run_all();
  gate.pass([this] { gate.shut(); });
  gate.pass(note("heartbeat"));
  gate.open();
  run_all();
  gate.pass(note("another, when it was shut again"));
  EXPECT_THAT(done, IsEmpty());
  gate.open();
  run_all();
  EXPECT_THAT(done, ElementsAre("heartbeat", "another, when it was shut again", "due"));
}

TEST_F(CoordinatorGateTest, ATaskThatShutsItAgainIsTheLast) {
  gate.shut();
  gate.pass([this] { gate.shut(); });
  gate.pass(note("behind"));
  gate.open();
  run_all();
  EXPECT_THAT(done, IsEmpty());
  gate.open();
  run_all();
  EXPECT_THAT(done, ElementsAre("behind"));
}

TEST_F(CoordinatorGateTest, WhatOnlyLooksGoesPastIt) {
  gate.shut();
  gate.post_past(note("look"));
  run_all();
  EXPECT_THAT(done, ElementsAre("look"));
}

TEST_F(CoordinatorGateTest, IsCrowdedUntilWhatWaitsHasRun) {
  gate.shut();
  for (size_t i = 0; i < CoordinatorGate::kHeldMax; ++i) {
    EXPECT_FALSE(gate.is_crowded());
    gate.pass(note("one of many"));
  }
  EXPECT_TRUE(gate.is_crowded());
  gate.open();
  run_all();
  EXPECT_FALSE(gate.is_crowded());
  EXPECT_THAT(done, SizeIs(CoordinatorGate::kHeldMax));
}

}  // namespace
}  // namespace millrace::broker
