#include "broker/internal/strand.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

#include "base/fake_clock.h"

namespace millrace::broker {
namespace {

using namespace std::chrono_literals;

class StrandTest : public testing::Test {
 protected:
  StrandTest() {
    home_.start();
    other_.start();
  }
  ~StrandTest() override {
    home_.stop();
    other_.stop();
  }

  // Returns when `task` has run on `where`.
  static void on(IoThread& where, Task task) {
    std::promise<void> done;
    where.post([&] {
      task();
      done.set_value();
    });
    done.get_future().get();
  }

  void advance(std::chrono::milliseconds by) {
    clock_.advance(by);
    on(home_, [this] { home_.run_timers(); });
  }

  FakeClock clock_;
  IoThread home_{clock_};
  IoThread other_{clock_};
  Strand strand_{home_, clock_};
};

TEST_F(StrandTest, ATaskRunsAtOnceOnTheNetworkThreadThatPostsIt) {
  bool ran = false;
  on(other_, [&] {
    strand_.post([&] {
      ran = true;
      EXPECT_TRUE(other_.is_current());
      EXPECT_TRUE(strand_.is_current());
    });
    EXPECT_TRUE(ran);
    EXPECT_FALSE(strand_.is_current());
  });
}

TEST_F(StrandTest, ATaskOfAnotherThreadRunsOnTheHomeThread) {
  std::promise<bool> at_home;
  strand_.post([&] { at_home.set_value(home_.is_current() && strand_.is_current()); });
  EXPECT_TRUE(at_home.get_future().get());
}

TEST_F(StrandTest, WhatIsPostedDuringATaskRunsAfterItInItsOrder) {
  std::promise<void> begun;
  std::promise<void> go_on;
  std::vector<int> order;
  std::promise<void> finished;
  home_.post([&] {
    strand_.post([&] {
      begun.set_value();
      go_on.get_future().get();
      order.push_back(0);
    });
    finished.set_value();
  });
  begun.get_future().get();
  on(other_, [&] {
    for (int i = 1; i <= 3; ++i) strand_.post([&order, i] { order.push_back(i); });
    EXPECT_FALSE(strand_.is_current());
  });
  go_on.set_value();
  finished.get_future().get();
  EXPECT_EQ(order, (std::vector<int>{0, 1, 2, 3}));
}

TEST_F(StrandTest, ATaskThatPostsLetsItsThreadDoOtherWorkFirst) {
  std::vector<int> order;
  std::promise<void> finished;
  on(home_, [&] {
    strand_.post([&] {
      strand_.post([&] {
        order.push_back(2);
        finished.set_value();
      });
      EXPECT_TRUE(order.empty());
    });
    order.push_back(1);
  });
  finished.get_future().get();
  EXPECT_EQ(order, (std::vector<int>{1, 2}));
}

TEST_F(StrandTest, AThreadThatRunsTheTasksOfOthersStillComesToItsOwnWork) {
  constexpr int kOfOthers = 1000;
  std::promise<void> begun;
  std::promise<void> go_on;
  int ran = 0;
  int ran_before_own_work = 0;
  std::promise<void> own_work;
  std::promise<void> finished;
  home_.post([&] {
    home_.post([&] {
      ran_before_own_work = ran;
      own_work.set_value();
    });
    strand_.post([&] {
      begun.set_value();
      go_on.get_future().get();
    });
  });
  begun.get_future().get();
  on(other_, [&] {
    for (int i = 0; i < kOfOthers; ++i) {
      strand_.post([&] {
        if (++ran == kOfOthers) finished.set_value();
      });
    }
  });
  go_on.set_value();
  own_work.get_future().get();
  finished.get_future().get();
  EXPECT_LT(ran_before_own_work, kOfOthers);
}

TEST_F(StrandTest, TasksOfTwoThreadsNeverRunAtTheSameTime) {
  constexpr int kEach = 20'000;
  int count = 0;  // unguarded: the strand is its guard
  std::promise<void> first;
  std::promise<void> second;
  for (auto [thread, done] : {std::pair{&home_, &first}, std::pair{&other_, &second}}) {
    thread->post([&, done] {
      for (int i = 0; i < kEach; ++i) strand_.post([&] { ++count; });
      done->set_value();
    });
  }
  first.get_future().get();
  second.get_future().get();
  std::promise<int> counted;
  strand_.post([&] { counted.set_value(count); });
  EXPECT_EQ(counted.get_future().get(), 2 * kEach);
}

TEST_F(StrandTest, TimersRunInTheStrandWhenTheyAreDueAndNotWhenCancelled) {
  std::vector<int> fired;
  const auto start = clock_.mono_now();
  on(other_, [&] {
    strand_.post([&] {
      const auto note = [&](int which) {
        return [&, which] {
          EXPECT_TRUE(strand_.is_current());
          fired.push_back(which);
        };
      };
      strand_.call_at(start + 20ms, note(20));
      strand_.call_at(start + 10ms, note(10));
      strand_.cancel(strand_.call_at(start + 5ms, note(5)));
      strand_.call_at(start + 30ms, note(30));
    });
  });
  advance(9ms);
  EXPECT_EQ(fired, (std::vector<int>{}));
  advance(1ms);
  EXPECT_EQ(fired, (std::vector<int>{10}));
  advance(10ms);
  EXPECT_EQ(fired, (std::vector<int>{10, 20}));
  advance(100ms);
  EXPECT_EQ(fired, (std::vector<int>{10, 20, 30}));
}

}  // namespace
}  // namespace millrace::broker
