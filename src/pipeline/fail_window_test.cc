#include "pipeline/internal/fail_window.h"

#include <gtest/gtest.h>

namespace millrace::pipeline {
namespace {

using std::chrono::seconds;

TEST(FailWindow, TripsOnlyAboveTheShareAndOnceThereIsEnoughToJudge) {
  FailWindow window(FailRatio{0.05, 60'000'000});
  const MonoTime start{};
  EXPECT_FALSE(window.add(start, 99, 99));
  EXPECT_FALSE(window.add(start, 1'881, 0));
  EXPECT_FALSE(window.add(start, 20, 1));  // 100 of 2,000: exactly the share
  EXPECT_TRUE(window.add(start, 10, 10));
}

TEST(FailWindow, ForgetsWhatIsOlderThanItsTime) {
  FailWindow window(FailRatio{0.05, 60'000'000});
  const MonoTime start{};
  EXPECT_TRUE(window.add(start, 1'000, 500));
  EXPECT_FALSE(window.add(start + seconds(61), 1'000, 0));
}

TEST(FailWindow, NeverTripsWithoutALimit) {
  FailWindow window(std::nullopt);
  EXPECT_FALSE(window.add({}, 1'000, 1'000));
}

}  // namespace
}  // namespace millrace::pipeline
