#include "broker/internal/fetch_sessions.h"

#include <gmock/gmock.h>

#include <limits>

namespace millrace::broker {
namespace {

using testing::ElementsAre;
using wire::ErrorCode;
using namespace std::chrono_literals;

FetchKey key(const std::string& topic, int32_t partition) {
  return {.topic = topic, .topic_id = {}, .partition = partition};
}
FetchWish wish(int32_t partition, int64_t offset = 0, const std::string& topic = "t") {
  return {.key = key(topic, partition), .current_leader_epoch = 3, .fetch_offset = offset, .bytes_max = 1000};
}
FetchFinding nothing_new(int64_t high_watermark = 5) {
  return {.high_watermark = high_watermark, .log_start_offset = 0};
}
FetchFinding records(int64_t high_watermark) {
  return {.has_records = true, .high_watermark = high_watermark, .log_start_offset = 0};
}

class FetchSessionsTest : public testing::Test {
 protected:
  FetchSessionsTest() : sessions({.sessions_max = 2, .partitions_max = 100}, Random(1)) {}

  // A full fetch of these partitions, without records. The session's id.
  int32_t open(int32_t partitions) {
    FetchOpening opening{.epoch = 0};
    for (int32_t i = 0; i < partitions; ++i) opening.wishes.push_back(wish(i));
    const auto plan = sessions.begin(opening, now).value();
    return sessions.finish(plan, std::vector<FetchFinding>(plan.wishes.size(), nothing_new()), now).session_id;
  }
  tl::expected<FetchPlan, ErrorCode> next(int32_t id, int32_t epoch, std::vector<FetchWish> wishes = {},
                                          std::vector<FetchKey> forgotten = {}) {
    return sessions.begin({.session_id = id,
                           .epoch = epoch,
                           .by_topic_id = false,
                           .wishes = std::move(wishes),
                           .forgotten = std::move(forgotten)},
                          now);
  }
  ErrorCode error_of(int32_t id, int32_t epoch) {
    const auto plan = next(id, epoch);
    return plan ? ErrorCode::kNone : plan.error();
  }
  static std::vector<int32_t> partitions(const FetchPlan& plan) {
    std::vector<int32_t> all;
    for (const FetchWish& wish : plan.wishes) all.push_back(wish.key.partition);
    return all;
  }

  FetchSessions sessions;
  MonoTime now{};
};

TEST_F(FetchSessionsTest, AFullFetchShowsEverythingAndOpensASession) {
  const auto plan = sessions.begin({.epoch = 0, .wishes = {wish(1), wish(0)}}, now).value();
  EXPECT_THAT(partitions(plan), ElementsAre(1, 0));
  const auto verdict = sessions.finish(plan, std::vector{nothing_new(), nothing_new()}, now);
  EXPECT_NE(verdict.session_id, 0);
  EXPECT_THAT(verdict.shown, ElementsAre(true, true));
  EXPECT_EQ(sessions.size(), 1u);
}

TEST_F(FetchSessionsTest, WithoutASessionNothingIsKept) {
  const auto plan = sessions.begin({.epoch = -1, .wishes = {wish(0)}}, now).value();
  const auto verdict = sessions.finish(plan, std::vector{nothing_new()}, now);
  EXPECT_EQ(verdict.session_id, 0);
  EXPECT_THAT(verdict.shown, ElementsAre(true));
  EXPECT_EQ(sessions.size(), 0u);
}

TEST_F(FetchSessionsTest, AnIncrementalFetchReadsWhatTheSessionKnows) {
  const int32_t id = open(3);
  const auto plan = next(id, 1, {wish(1, 7), wish(9, 8)}, {key("t", 0), key("t", 77)}).value();
  EXPECT_THAT(plan.wishes, ElementsAre(wish(1, 7), wish(2), wish(9, 8)));
}

TEST_F(FetchSessionsTest, AnIncrementalAnswerShowsOnlyNews) {
  const int32_t id = open(5);
  const auto plan = next(id, 1).value();
  FetchFinding moved = nothing_new();
  moved.log_start_offset = 2;
  FetchFinding failed = nothing_new();
  failed.error = ErrorCode::kOffsetOutOfRange;
  const auto verdict =
      sessions.finish(plan, std::vector{nothing_new(), records(5), nothing_new(6), moved, failed}, now);
  EXPECT_EQ(verdict.session_id, id);
  EXPECT_THAT(verdict.shown, ElementsAre(false, true, true, true, true));
}

TEST_F(FetchSessionsTest, WhatWasToldIsNotToldAgainButTheEndOfAnErrorIs) {
  const int32_t id = open(2);
  FetchFinding failed = nothing_new();
  failed.error = ErrorCode::kKafkaStorageError;
  sessions.finish(next(id, 1).value(), std::vector{nothing_new(6), failed}, now);
  const auto verdict = sessions.finish(next(id, 2).value(), std::vector{nothing_new(6), nothing_new()}, now);
  EXPECT_THAT(verdict.shown, ElementsAre(false, true));
}

TEST_F(FetchSessionsTest, PartitionsThatGaveRecordsGoToTheEndOfTheLine) {
  const int32_t id = open(3);
  sessions.finish(next(id, 1).value(), std::vector{records(6), nothing_new(), nothing_new()}, now);
  const auto plan = next(id, 2).value();
  EXPECT_THAT(partitions(plan), ElementsAre(1, 2, 0));
  sessions.finish(plan, std::vector{records(6), records(6), nothing_new()}, now);
  EXPECT_THAT(partitions(next(id, 3).value()), ElementsAre(0, 1, 2));
}

TEST_F(FetchSessionsTest, TheFirstFetchCountsForTheLine) {
  const auto plan = sessions.begin({.epoch = 0, .wishes = {wish(0), wish(1), wish(2)}}, now).value();
  const auto verdict = sessions.finish(plan, std::vector{records(6), nothing_new(), nothing_new()}, now);
  EXPECT_THAT(partitions(next(verdict.session_id, 1).value()), ElementsAre(1, 2, 0));
}

TEST_F(FetchSessionsTest, EpochsFollowEachOther) {
  const int32_t id = open(1);
  EXPECT_EQ(error_of(id, 2), ErrorCode::kInvalidFetchSessionEpoch);
  EXPECT_EQ(error_of(id, 1), ErrorCode::kNone);
  EXPECT_EQ(error_of(id, 1), ErrorCode::kInvalidFetchSessionEpoch);
  EXPECT_EQ(error_of(id, 2), ErrorCode::kNone);
}

TEST_F(FetchSessionsTest, AFetchThatWasOvertakenIsToldSo) {
  const int32_t id = open(1);
  const auto slow = next(id, 1).value();
  const auto fast = next(id, 2).value();
  EXPECT_EQ(sessions.finish(fast, std::vector{nothing_new()}, now).error, ErrorCode::kNone);
  EXPECT_EQ(sessions.finish(slow, std::vector{nothing_new()}, now).error, ErrorCode::kInvalidFetchSessionEpoch);
}

TEST_F(FetchSessionsTest, ASessionEndsByAFullFetchThatNamesItOrWhenNothingIsLeftInIt) {
  const int32_t first = open(1);
  ASSERT_TRUE(sessions.begin({.session_id = first, .epoch = -1}, now));
  EXPECT_EQ(error_of(first, 1), ErrorCode::kFetchSessionIdNotFound);
  const int32_t second = open(1);
  const auto plan = next(second, 1, {}, {key("t", 0)}).value();
  EXPECT_EQ(sessions.finish(plan, {}, now).session_id, 0);
  EXPECT_EQ(error_of(second, 2), ErrorCode::kFetchSessionIdNotFound);
  EXPECT_EQ(sessions.size(), 0u);
}

TEST_F(FetchSessionsTest, ASessionMayBeginWithNothing) {
  const int32_t id = open(0);
  EXPECT_NE(id, 0);
  EXPECT_THAT(partitions(next(id, 1, {wish(4)}).value()), ElementsAre(4));
  const int32_t left_empty = open(0);
  EXPECT_TRUE(next(left_empty, 1));
  EXPECT_EQ(error_of(left_empty, 2), ErrorCode::kFetchSessionIdNotFound);
}

TEST_F(FetchSessionsTest, WhatTheLastRequestBothNamesAndForgetsIsReadOnce) {
  const int32_t id = open(1);
  EXPECT_THAT(partitions(next(id, 1, {wish(0)}, {key("t", 0)}).value()), ElementsAre(0));
  EXPECT_EQ(error_of(id, 2), ErrorCode::kFetchSessionIdNotFound);
}

TEST_F(FetchSessionsTest, OfAPartitionNamedTwiceTheLastCounts) {
  const auto plan =
      sessions.begin({.epoch = -1, .wishes = {wish(1, 5), wish(0, 6), wish(1, 7), wish(2, 8)}}, now).value();
  EXPECT_THAT(plan.wishes, ElementsAre(wish(1, 7), wish(0, 6), wish(2, 8)));
}

TEST_F(FetchSessionsTest, NamesAndIdsDoNotMix) {
  const int32_t id = open(1);
  const auto mixed = sessions.begin({.session_id = id, .epoch = 1, .by_topic_id = true}, now);
  ASSERT_FALSE(mixed);
  EXPECT_EQ(mixed.error(), ErrorCode::kFetchSessionTopicIdError);
  EXPECT_EQ(error_of(id, 1), ErrorCode::kNone);
}

TEST_F(FetchSessionsTest, YoungSessionsKeepTheirPlaces) {
  const int32_t one = open(2);
  open(2);
  EXPECT_EQ(open(50), 0);
  EXPECT_EQ(error_of(one, 1), ErrorCode::kNone);
}

TEST_F(FetchSessionsTest, WhoIsSilentForLongMakesRoom) {
  const int32_t silent = open(9);
  const int32_t busy = open(1);
  now += 100s;
  ASSERT_EQ(error_of(busy, 1), ErrorCode::kNone);
  now += 21s;
  EXPECT_NE(open(1), 0);
  EXPECT_EQ(error_of(silent, 1), ErrorCode::kFetchSessionIdNotFound);
  EXPECT_EQ(error_of(busy, 2), ErrorCode::kNone);
}

TEST_F(FetchSessionsTest, TheSmallestOfTheOldMakesRoomForWhoIsNotSmaller) {
  const int32_t large = open(9);
  const int32_t small = open(3);
  now += 100s;
  ASSERT_EQ(error_of(large, 1), ErrorCode::kNone);
  ASSERT_EQ(error_of(small, 1), ErrorCode::kNone);
  now += 21s;
  EXPECT_EQ(open(2), 0);
  EXPECT_NE(open(3), 0);
  EXPECT_EQ(error_of(small, 2), ErrorCode::kFetchSessionIdNotFound);
  EXPECT_EQ(error_of(large, 2), ErrorCode::kNone);
}

TEST_F(FetchSessionsTest, AllSessionsTogetherRememberABoundedNumberOfPartitions) {
  EXPECT_EQ(open(101), 0);
  const int32_t id = open(60);
  EXPECT_NE(id, 0);
  EXPECT_EQ(open(60), 0);
  std::vector<FetchWish> more;
  for (int32_t i = 60; i < 101; ++i) more.push_back(wish(i));
  const auto grown = next(id, 1, more);
  ASSERT_FALSE(grown);
  EXPECT_EQ(grown.error(), ErrorCode::kFetchSessionIdNotFound);
  EXPECT_NE(open(60), 0);
}

TEST(FetchSessions, WithoutSlotsThereAreNone) {
  FetchSessions sessions({.sessions_max = 0}, Random(1));
  const auto plan = sessions.begin({.epoch = 0, .wishes = {wish(0)}}, {}).value();
  const auto verdict = sessions.finish(plan, std::vector{nothing_new()}, {});
  EXPECT_EQ(verdict.session_id, 0);
  EXPECT_THAT(verdict.shown, ElementsAre(true));
}

// Random sessions against what they should know: a client that takes every answer up sees each partition's state.
TEST(FetchSessions, ClientsThatTakeUpEveryAnswerMissNothing) {
  for (uint64_t seed = 1; seed <= 50; ++seed) {
    SCOPED_TRACE(seed);
    Random random(seed);
    FetchSessions sessions({}, random.fork());
    std::map<int32_t, int64_t> wanted;  // partition: position
    std::map<int32_t, int64_t> told;    // partition: high watermark
    std::vector<int64_t> high_watermarks(12, 0);
    FetchOpening request{.epoch = 0};
    for (int32_t i = 0; i < 4; ++i) {
      wanted[i] = 0;
      request.wishes.push_back(wish(i));
    }
    for (int32_t epoch = 1; epoch < 60; ++epoch) {
      auto plan = sessions.begin(request, {});
      ASSERT_TRUE(plan);
      ASSERT_EQ(plan->wishes.size(), wanted.size());
      std::vector<FetchFinding> findings;
      for (const FetchWish& wished : plan->wishes) {
        ASSERT_TRUE(wanted.contains(wished.key.partition));
        EXPECT_EQ(wished.fetch_offset, wanted[wished.key.partition]);
        findings.push_back(nothing_new(high_watermarks[static_cast<size_t>(wished.key.partition)]));
      }
      const auto verdict = sessions.finish(*plan, findings, {});
      ASSERT_EQ(verdict.error, ErrorCode::kNone);
      for (size_t i = 0; i < findings.size(); ++i)
        if (verdict.shown[i]) told[plan->wishes[i].key.partition] = findings[i].high_watermark;
      for (const FetchWish& wished : plan->wishes)
        EXPECT_EQ(told[wished.key.partition], high_watermarks[static_cast<size_t>(wished.key.partition)]);

      high_watermarks[random.below(high_watermarks.size())] += 1;
      request = {.session_id = verdict.session_id, .epoch = epoch};
      const auto partition = static_cast<int32_t>(random.below(high_watermarks.size()));
      if (wanted.size() > 2 && wanted.contains(partition) && random.chance(0.5)) {
        request.forgotten.push_back(key("t", partition));
        wanted.erase(partition);
        told.erase(partition);
      } else {
        wanted[partition] = epoch;
        request.wishes.push_back(wish(partition, epoch));
      }
    }
  }
}

}  // namespace
}  // namespace millrace::broker
