#include "state/changelog.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "base/random.h"

namespace millrace::state {
namespace {

// A changelog partition in memory, and a worker that writes to it.
class Log {
 public:
  void append(const EncodedRecord& record) { records.push_back(record); }
  void append(const ChangelogGroup& group, size_t count) {
    for (size_t i = 0; i < count; ++i) {
      const auto record = group.record(i);
      records.push_back({{record.key.begin(), record.key.end()}, {record.value.begin(), record.value.end()}});
    }
  }
  void append(const ChangelogGroup& group) { append(group, group.size()); }
  Status feed(Restorer& restorer) const {
    for (const EncodedRecord& record : records) MILLRACE_RETURN_IF_ERROR(restorer.feed(record.key, record.value));
    return {};
  }
  Restored restore() const {
    Restorer restorer;
    const Status status = feed(restorer);
    EXPECT_TRUE(status) << status.error().message;
    return std::move(restorer).finish();
  }

  std::vector<EncodedRecord> records;
};

const StepId kStep{"card", 42};

ChangelogGroup group_of(Generation generation, std::string_view key, std::optional<std::string_view> value,
                        std::optional<int64_t> next_offset) {
  ChangelogGroup group(generation);
  PageSink& sink = group.sink(kStep);
  if (value)
    sink.put(as_byte_view(key), 0, as_byte_view(*value));
  else
    sink.erase(as_byte_view(key), 0);
  if (next_offset) group.close(Offset(*next_offset));
  return group;
}

std::string value_of(const Restored& restored, const std::string& key) {
  const auto found = restored.pages.find({kStep, key, 0});
  return found == restored.pages.end() ? "none" : std::string(as_text(found->second));
}

TEST(Changelog, EncodesAsDocumented) {
  EXPECT_EQ(as_text(encode(Open{7}).key), "__open");
  EXPECT_EQ(as_text(encode(Open{7}).value), std::string_view("\x01\0\0\0\x07", 5));
  EXPECT_EQ(as_text(encode(Commit{Offset(258), 7, 3}).value),
            std::string_view("\x01\0\0\0\x07\0\0\0\0\0\0\x01\x02\0\0\0\x03", 17));
  ChangelogGroup group(7);
  group.sink({"fit", 0x0102030405060708}).put(as_byte_view("k"), 300, as_byte_view("page"));
  group.sink({"fit", 1}).erase({}, 0);
  EXPECT_EQ(as_text(group.record(0).key), std::string_view("\x01\x03"
                                                           "fit\x01\x02\x03\x04\x05\x06\x07\x08\x01"
                                                           "k\xac\x02",
                                                           17));
  EXPECT_EQ(as_text(group.record(0).value), std::string_view("\0\0\0\x07\x01page", 9));
  EXPECT_EQ(as_text(group.record(1).value), std::string_view("\0\0\0\x07\0", 5));
}

TEST(Changelog, DecodesWhatItEncodes) {
  ChangelogGroup group(3);
  group.sink(kStep).put(as_byte_view("k"), 9, as_byte_view("v"));
  group.close(Offset(11));
  ASSERT_EQ(group.size(), 2u);
  const Bytes value{std::byte{'v'}};
  EXPECT_EQ(decode(group.record(0).key, group.record(0).value).value(), Entry(Change{3, {kStep, "k", 9}, value}));
  EXPECT_EQ(decode(group.record(1).key, group.record(1).value).value(), Entry(Commit{Offset(11), 3, 1}));
}

TEST(Changelog, CutAndFlippedRecordsAreErrorsOrOtherRecordsButNeverCrash) {
  const ChangelogGroup group = group_of(3, "key", "value", 5);
  for (size_t r = 0; r < group.size(); ++r) {
    const auto record = group.record(r);
    for (size_t cut = 0; cut < record.key.size(); ++cut) EXPECT_FALSE(decode(record.key.first(cut), record.value));
    for (size_t bit = 0; bit < 8 * record.key.size(); ++bit) {
      Bytes key(record.key.begin(), record.key.end());
      key[bit / 8] ^= std::byte(1 << (bit % 8));
      (void)decode(key, record.value);
    }
    for (size_t cut = 0; cut < 5; ++cut) EXPECT_FALSE(decode(record.key, record.value.first(cut)));
  }
  EXPECT_EQ(decode(as_byte_view("__open"), as_byte_view("\x02____")).error().code, Errc::kUnsupported);
}

TEST(Restorer, AppliesClosedGroupsOnly) {
  Log log;
  log.append(encode(Open{1}));
  log.append(group_of(1, "a", "1", 10));
  log.append(group_of(1, "b", "1", 20));
  log.append(group_of(1, "a", "2", std::nullopt));
  const Restored restored = log.restore();
  EXPECT_EQ(value_of(restored, "a"), "1");
  EXPECT_EQ(value_of(restored, "b"), "1");
  EXPECT_EQ(restored.next_offset, Offset(20));
}

TEST(Restorer, AnErasedPageIsGone) {
  Log log;
  log.append(group_of(1, "a", "1", 10));
  log.append(group_of(1, "a", std::nullopt, 20));
  EXPECT_TRUE(log.restore().pages.empty());
}

TEST(Restorer, NothingWrittenYetIsNoStateAndNoOffset) {
  Log log;
  log.append(encode(Open{4}));
  const Restored restored = log.restore();
  EXPECT_FALSE(restored.next_offset);
  EXPECT_TRUE(restored.pages.empty());
}

TEST(Restorer, ADeposedOwnerInterleavedWithItsSuccessorLeavesNoTrace) {
  Log log;
  log.append(encode(Open{5}));
  log.append(group_of(5, "a", "old", 10));
  const ChangelogGroup zombie = group_of(5, "a", "zombie", 99);
  log.append(zombie, 1);
  log.append(encode(Open{6}));
  const ChangelogGroup group = group_of(6, "b", "new", 12);
  log.append(group, 1);
  log.records.push_back({{zombie.record(1).key.begin(), zombie.record(1).key.end()},
                         {zombie.record(1).value.begin(), zombie.record(1).value.end()}});
  log.append(encode(Open{5}));
  log.append(zombie);
  log.append(encode(Commit{Offset(12), 6, 1}));
  Restorer restorer;
  ASSERT_TRUE(log.feed(restorer));
  EXPECT_EQ(restorer.generation(), 6);
  EXPECT_EQ(restorer.changes_dropped(), 2u);
  const Restored restored = std::move(restorer).finish();
  EXPECT_EQ(value_of(restored, "a"), "old");
  EXPECT_EQ(value_of(restored, "b"), "new");
  EXPECT_EQ(restored.next_offset, Offset(12));
}

TEST(Restorer, AGroupGivenUpInTheSameGenerationIsForgottenByTheNextOpen) {
  Log log;
  log.append(encode(Open{5}));
  log.append(group_of(5, "a", "given up", std::nullopt));
  log.append(encode(Open{5}));
  log.append(group_of(5, "b", "kept", 7));
  const Restored restored = log.restore();
  EXPECT_EQ(value_of(restored, "a"), "none");
  EXPECT_EQ(value_of(restored, "b"), "kept");
}

TEST(Restorer, ACommitThatMissesChangesIsCorruption) {
  Log log;
  log.append(group_of(1, "a", "1", std::nullopt));
  log.append(encode(Commit{Offset(3), 1, 2}));
  Restorer restorer;
  EXPECT_EQ(log.feed(restorer).error().code, Errc::kCorruption);
}

TEST(Restorer, RefusesStateOverItsBound) {
  Log log;
  for (int i = 0; i < 100; ++i) log.append(group_of(1, std::to_string(i), std::string(1000, 'x'), i));
  Restorer restorer(50'000);
  EXPECT_EQ(log.feed(restorer).error().code, Errc::kTooLarge);
}

// Workers one after another, each dying somewhere in a group and writing on as a zombie for a while; what each commit
// made true is the model. Cut the log at every record: restoring gives the state of the last commit before the cut.
TEST(Restorer, GivesTheLastCommittedStateForEveryCutOfARandomHistory) {
  const uint64_t seed = 99;
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  Log log;
  std::map<std::string, std::string> state;
  int64_t next_offset = -1;
  std::vector<std::pair<int64_t, std::map<std::string, std::string>>> expected;  // after record i
  const auto note = [&] {
    while (expected.size() < log.records.size()) expected.emplace_back(next_offset, state);
  };
  std::vector<EncodedRecord> zombie;
  for (Generation generation = 1; generation <= 30; ++generation) {
    log.append(encode(Open{generation}));
    note();
    const uint64_t groups = random.below(6);
    for (uint64_t g = 0; g <= groups; ++g) {
      ChangelogGroup group(generation);
      auto after = state;
      for (uint64_t c = random.below(4); c > 0; --c) {
        const std::string key(1, static_cast<char>('a' + random.below(5)));
        if (random.chance(0.2)) {
          group.sink(kStep).erase(as_byte_view(key), 0);
          after.erase(key);
        } else {
          const std::string value = std::to_string(random.below(100));
          group.sink(kStep).put(as_byte_view(key), 0, as_byte_view(value));
          after[key] = value;
        }
      }
      const int64_t offset = next_offset + static_cast<int64_t>(random.below(10)) + 1;
      group.close(Offset(offset));
      Log own;
      own.append(group);
      // The last group of a generation is torn: its rest comes later, among its successor's records.
      const size_t written = g == groups ? random.below(own.records.size()) : own.records.size();
      for (size_t i = 0; i < own.records.size(); ++i) {
        if (!zombie.empty() && random.chance(0.5)) {
          log.append(zombie.front());
          zombie.erase(zombie.begin());
          note();
        }
        if (i >= written) {
          zombie.push_back(own.records[i]);
          continue;
        }
        log.append(own.records[i]);
        if (i + 1 == own.records.size()) {
          state = after;
          next_offset = offset;
        }
        note();
      }
    }
  }
  for (size_t cut = 0; cut < log.records.size(); ++cut) {
    Restorer restorer;
    for (size_t i = 0; i <= cut; ++i) ASSERT_TRUE(restorer.feed(log.records[i].key, log.records[i].value));
    const Restored restored = std::move(restorer).finish();
    ASSERT_EQ(restored.next_offset ? restored.next_offset->value() : -1, expected[cut].first) << "cut after " << cut;
    std::map<std::string, std::string> pages;
    for (const auto& [id, value] : restored.pages) pages[id.key] = as_text(value);
    ASSERT_EQ(pages, expected[cut].second) << "cut after " << cut;
  }
}

}  // namespace
}  // namespace millrace::state
