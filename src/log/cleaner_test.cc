#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <map>
#include <random>
#include <set>
#include <thread>

#include "log/internal/log_testing.h"
#include "log/internal/offset_map.h"
#include "record/marker.h"
#include "record/rewrite.h"

namespace millrace::log {
namespace {

using testing::ElementsAre;

constexpr int64_t kDeleteRetentionMs = 60'000;

TopicPolicy compacted(const TopicInfo&) {
  TopicPolicy policy;
  policy.segment_bytes = 2048;
  policy.index_interval_bytes = 200;
  policy.compacts = true;
  policy.min_cleanable_dirty_ratio = 0;
  policy.delete_retention_ms = kDeleteRetentionMs;
  return policy;
}

// A compacted topic, everything that was ever written to it, and what a reader must make of it.
class Compacted {
 public:
  explicit Compacted(uint64_t seed) : random(seed) {
    disk.options.cleaner_map_bytes = 0;                         // the least there can be
    disk.options.cleaner_backoff = std::chrono::hours(10'000);  // only when the test says so
  }

  Status open() {
    MILLRACE_RETURN_IF_ERROR(disk.open());
    disk.store->set_policies(compacted);
    if (disk.store->find_topic("t") == nullptr) disk.make_topic("t");
    for (const auto& [producer, offsets] : open_transactions)
      disk.partition("t")->admit(ProducerId{producer}, ProducerEpoch{0});
    return {};
  }
  std::shared_ptr<Partition> log() const { return disk.partition("t"); }
  int64_t now_ms() const { return to_unix_ms(disk.clock.wall_now()); }

  struct Pair {
    std::string key;
    std::optional<std::string> value;
  };
  Status append(const std::vector<Pair>& pairs, const record::BatchOptions& options = {}) {
    record::BatchBuilder builder(options);
    for (const Pair& pair : pairs) {
      const std::optional<ByteView> value = pair.value ? std::optional(as_byte_view(*pair.value)) : std::nullopt;
      builder.add(now_ms(), as_byte_view(pair.key), value);
    }
    Bytes batch = builder.finish().value();
    MILLRACE_ASSIGN_OR_RETURN(const Appended appended, log()->append(batch));
    MILLRACE_RETURN_IF_ERROR(disk.store->wait_durable(appended.position));
    for (size_t i = 0; i < pairs.size(); ++i) {
      written[appended.base_offset.value() + static_cast<int64_t>(i)] = pairs[i];
    }
    if (options.transactional) {
      auto& open = open_transactions[options.producer_id.value()];
      for (size_t i = 0; i < pairs.size(); ++i) open.push_back(appended.base_offset.value() + static_cast<int64_t>(i));
    }
    return {};
  }
  Status append_in_transaction(int64_t producer, const std::vector<Pair>& pairs) {
    log()->admit(ProducerId{producer}, ProducerEpoch{0});
    record::BatchOptions options;
    options.producer_id = ProducerId{producer};
    options.producer_epoch = ProducerEpoch{0};
    options.base_sequence = sequences[producer];
    options.transactional = true;
    MILLRACE_RETURN_IF_ERROR(append(pairs, options));
    sequences[producer] += static_cast<int32_t>(pairs.size());
    return {};
  }
  Status end_transaction(int64_t producer, record::MarkerType type) {
    Bytes marker = record::marker_batch({.producer_id = ProducerId{producer},
                                         .producer_epoch = ProducerEpoch{0},
                                         .type = type,
                                         .timestamp_ms = now_ms()});
    MILLRACE_ASSIGN_OR_RETURN(const Appended appended, log()->append(marker));
    MILLRACE_RETURN_IF_ERROR(disk.store->wait_durable(appended.position));
    if (type == record::MarkerType::kAbort)
      aborted.insert(open_transactions[producer].begin(), open_transactions[producer].end());
    open_transactions.erase(producer);
    return {};
  }
  // The last value of each key, as the log's order has it, of all that was not aborted.
  std::map<std::string, std::string> expected() const {
    std::map<std::string, std::string> values;
    for (const auto& [offset, pair] : written) {
      if (aborted.contains(offset)) continue;
      if (pair.value) {
        values[pair.key] = *pair.value;
      } else {
        values.erase(pair.key);
      }
    }
    return values;
  }

  struct Reading {
    std::map<std::string, std::string> values;
    size_t records = 0;
    size_t tombstones = 0;
    size_t markers = 0;
    Offset end{0};
  };
  // Read everything decided as a read_committed client does. Every record must be as it was written.
  Result<Reading> read(Isolation isolation = Isolation::kReadCommitted) const {
    Reading reading;
    Offset from = log()->log_start_offset();
    std::set<int64_t> skipping;
    while (true) {
      Bytes bytes;
      MILLRACE_ASSIGN_OR_RETURN(const ReadInfo info, log()->read(from, 700, true, bytes, isolation));
      if (info.bytes == 0) break;
      const auto ended = log()->aborted_transactions(from, info.last_stable_offset);
      record::BatchReader batches(bytes);
      while (true) {
        MILLRACE_ASSIGN_OR_RETURN(const auto batch, batches.next());
        if (!batch) break;
        if (!batch->checksum_matches()) return fail(Errc::kCorruption, "a checksum does not match");
        from = batch->last_offset() + 1;
        if (batch->is_control()) {
          ++reading.markers;
          if (record::marker_type(*batch).value() == record::MarkerType::kAbort)
            skipping.erase(batch->producer_id().value());
          continue;
        }
        for (const AbortedTransaction& one : ended)
          if (one.first_offset <= batch->last_offset() && one.last_offset >= batch->base_offset())
            skipping.insert(one.producer_id.value());
        const bool skipped = batch->is_transactional() && skipping.contains(batch->producer_id().value());
        MILLRACE_RETURN_IF_ERROR(note_records(*batch, skipped, reading));
      }
    }
    reading.end = from;
    return reading;
  }

  TestStore disk;
  Random random;
  std::map<int64_t, Pair> written;
  std::map<int64_t, std::vector<int64_t>> open_transactions;  // offsets, by producer
  std::set<int64_t> aborted;                                  // offsets
  std::map<int64_t, int32_t> sequences;

 private:
  Status note_records(const record::BatchView& batch, bool skipped, Reading& reading) const {
    MILLRACE_ASSIGN_OR_RETURN(auto records, record::RecordReader::open(batch, 1u << 20));
    record::Record record;
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const bool more, records.next(record));
      if (!more) return {};
      const Pair& original = written.at(record.offset.value());
      if (as_text(*record.key) != original.key || record.value.has_value() != original.value.has_value() ||
          (record.value && as_text(*record.value) != *original.value))
        return fail(Errc::kCorruption, "offset " + std::to_string(record.offset.value()) + " is another record now");
      ++reading.records;
      reading.tombstones += record.value ? 0 : 1;
      if (skipped) continue;
      if (original.value) {
        reading.values[original.key] = *original.value;
      } else {
        reading.values.erase(original.key);
      }
    }
  }
};

void write_some(Compacted& topic, int batches) {
  for (int i = 0; i < batches; ++i) {
    ASSERT_EQ(error_of(topic.append({{"k" + std::to_string(i % 7), "v" + std::to_string(i) + std::string(80, '.')}})),
              "");
  }
}

TEST(OffsetMap, KeepsTheLastOffsetOfEachKeyWithinItsMemory) {
  OffsetMap map(0, Random(1));
  int64_t kept = 0;
  while (map.put(as_byte_view(std::to_string(kept)), Offset{kept})) ++kept;
  EXPECT_GT(kept, 10);
  EXPECT_TRUE(map.put(as_byte_view("3"), Offset{1000})) << "a key that is there needs no room";
  EXPECT_EQ(map.find(as_byte_view("3")), Offset{1000});
  EXPECT_EQ(map.find(as_byte_view("4")), Offset{4});
  EXPECT_EQ(map.find(as_byte_view("another")), std::nullopt);
  OffsetMap large(1u << 20, Random(1));
  for (int64_t i = 0; i < 20'000; ++i) ASSERT_TRUE(large.put(as_byte_view(std::to_string(i)), Offset{i}));
  for (int64_t i = 0; i < 20'000; ++i) ASSERT_EQ(large.find(as_byte_view(std::to_string(i))), Offset{i});
}

TEST(Cleaner, AClosedSegmentDoesNotWaitForTheNextCheckpoint) {
  Compacted topic(1);
  topic.disk.options.cleaner_backoff = std::chrono::milliseconds(0);
  ASSERT_EQ(error_of(topic.open()), "");
  write_some(topic, 100);
  // The clock stands still, so no checkpoint becomes due by itself.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
  while (topic.read()->records >= 60) {
    ASSERT_LT(std::chrono::steady_clock::now(), deadline);
    std::this_thread::yield();
  }
  EXPECT_EQ(topic.read()->values, topic.expected());
}

TEST(Cleaner, AnIdleTopicIsCompactedOnceItsSegmentsTimeHasCome) {
  Compacted topic(1);
  ASSERT_EQ(error_of(topic.open()), "");
  topic.disk.store->set_policies([](const TopicInfo& info) {
    TopicPolicy policy = compacted(info);
    policy.segment_ms = 60'000;
    return policy;
  });
  for (const char* value : {"a", "b", "c"}) ASSERT_EQ(error_of(topic.append({{"key", value}})), "");
  topic.disk.clock.advance(std::chrono::seconds(59));
  ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
  EXPECT_EQ(topic.read()->records, 3u);
  topic.disk.clock.advance(std::chrono::seconds(1));
  ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
  EXPECT_EQ(topic.read()->records, 1u);
  EXPECT_EQ(topic.read()->values, topic.expected());
}

TEST(Cleaner, TheLastRecordOfEachKeyStaysAtItsOffset) {
  Compacted topic(1);
  ASSERT_EQ(error_of(topic.open()), "");
  write_some(topic, 100);
  ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
  const uint64_t before = topic.log()->size_bytes();
  ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
  EXPECT_LT(topic.log()->size_bytes(), before / 2);
  const auto statistics = topic.disk.store->statistics();
  EXPECT_EQ(statistics.compactions, 1u);
  EXPECT_EQ(statistics.compaction_failures, 0u);
  EXPECT_EQ(statistics.compaction_removed_bytes, before - topic.log()->size_bytes());
  EXPECT_LE(statistics.compaction_removed_bytes, statistics.compacted_bytes);
  const auto reading = topic.read();
  ASSERT_TRUE(reading) << error_of(reading);
  EXPECT_EQ(reading->values, topic.expected());
  EXPECT_EQ(reading->end, Offset{100});
  EXPECT_EQ(topic.log()->log_start_offset(), Offset{0});
  EXPECT_LT(reading->records, 40u);
  topic.disk.crash();
  // The indexes did not wait for a checkpoint.
  EXPECT_FALSE(topic.disk.files.content("/data/topics/t-0/00000000000000000000.timeindex").empty());
  EXPECT_TRUE(topic.disk.files.exists("/data/topics/t-0/00000000000000000000.index").value());
  ASSERT_EQ(error_of(topic.open()), "");
  EXPECT_EQ(topic.read()->values, topic.expected());
  EXPECT_EQ(topic.read()->records, reading->records);
}

TEST(Cleaner, WhatACheckpointDoesNotKnowAsClosedIsLeftAlone) {
  Compacted topic(1);
  ASSERT_EQ(error_of(topic.open()), "");
  write_some(topic, 100);
  ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
  EXPECT_EQ(topic.read()->records, 100u);
}

TEST(Cleaner, NothingIsBegunWithoutRoomForIt) {
  Compacted topic(1);
  ASSERT_EQ(error_of(topic.open()), "");
  write_some(topic, 100);
  ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
  topic.disk.leave_room(topic.disk.options.wal_file_bytes);
  const auto refused = topic.disk.store->tidy();
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kOutOfSpace);
  EXPECT_NE(refused.error().message.find("/data/topics/t-0"), std::string::npos) << refused.error().message;
  EXPECT_EQ(topic.read()->records, 100u);
  topic.disk.give_room();
  ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
  EXPECT_LT(topic.read()->records, 40u);
}

// Whatever operation of a compaction the disk refuses: either it has changed nothing, or the store ends and a start
// brings the files in order.
TEST(Cleaner, ADiskThatFailsInTheMiddleEndsTheStoreOrChangesNothing) {
  uint64_t operations = 0;
  for (uint64_t at = 0; at == 0 || at < operations; ++at) {
    SCOPED_TRACE(testing::Message() << "the disk fails after " << at << " operations");
    Compacted topic(1);
    ASSERT_EQ(error_of(topic.open()), "");
    write_some(topic, 100);
    ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
    std::atomic<int> told = 0;
    topic.disk.store->set_fatal_callback([&](const Error&) { ++told; });
    if (at == 0) {
      const uint64_t before = topic.disk.files.operations();
      ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
      operations = topic.disk.files.operations() - before;
      ASSERT_GT(operations, 10u);
      continue;
    }
    topic.disk.files.power_off_after(at);
    const auto done = topic.disk.store->tidy();
    const bool still_served = told == 0;
    if (!done && still_served) {
      const auto entries = topic.disk.files.list("/data/topics/t-0").value();
      for (const auto& entry : entries) EXPECT_FALSE(entry.name.ends_with(".swap")) << entry.name;
    }
    ASSERT_LE(told, 1);
    const auto reading = topic.read();
    ASSERT_TRUE(reading) << error_of(reading);
    EXPECT_EQ(reading->values, topic.expected());
    topic.disk.crash(env::FaultFileSystem::Unsynced::kKept);
    ASSERT_EQ(error_of(topic.open()), "");
    EXPECT_FALSE(topic.log()->damage());
    EXPECT_EQ(topic.read()->values, topic.expected());
  }
}

TEST(Cleaner, ADiskThatIsFullInTheMiddleLeavesNothingBehind) {
  int refused = 0;
  for (uint64_t nth = 1;; ++nth) {
    SCOPED_TRACE(testing::Message() << "write " << nth << " finds no room");
    Compacted topic(1);
    ASSERT_EQ(error_of(topic.open()), "");
    // For the group's transaction index, which is written last.
    ASSERT_EQ(error_of(topic.append_in_transaction(7, {{"k1", "aborted"}})), "");
    ASSERT_EQ(error_of(topic.end_transaction(7, record::MarkerType::kAbort)), "");
    write_some(topic, 100);
    ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
    topic.disk.files.fail_write(nth, env::FaultFileSystem::Fault::kOutOfSpace);
    const auto done = topic.disk.store->tidy();
    if (done) break;
    ++refused;
    EXPECT_EQ(done.error().code, Errc::kOutOfSpace) << done.error().message;
    const auto entries = topic.disk.files.list("/data/topics/t-0").value();
    for (const auto& entry : entries) EXPECT_FALSE(entry.name.ends_with(".cleaned")) << entry.name;
    EXPECT_EQ(topic.read()->values, topic.expected());
    // What was done before is known to the next checkpoint, and can be compacted with the rest.
    ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
    ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
    EXPECT_EQ(topic.read()->values, topic.expected());
    EXPECT_LT(topic.read()->records, 60u);
  }
  EXPECT_GT(refused, 1);
}

TEST(Cleaner, TimesAreNotLookedUpInBatchesThatCompactionHasEmptied) {
  Compacted topic(1);
  ASSERT_EQ(error_of(topic.open()), "");
  // The newest time of all is that of a batch of which nothing stays but its header, at the end of its segment.
  while (topic.log()->size_bytes() < 1700) ASSERT_EQ(error_of(topic.append({{"k0", std::string(80, '.')}})), "");
  topic.disk.clock.advance(std::chrono::seconds(10));
  const int64_t late_ms = topic.now_ms();
  const Offset emptied = topic.log()->log_end_offset();
  ASSERT_EQ(error_of(topic.append({{"k1", "late"}})), "");
  topic.disk.clock.advance(std::chrono::seconds(-5));
  ASSERT_EQ(error_of(topic.append({{"k1", std::string(400, '.')}})), "");
  write_some(topic, 100);
  ASSERT_EQ(topic.log()->offset_for_time(late_ms).value()->offset, emptied);
  ASSERT_EQ(topic.log()->offset_of_max_timestamp().value()->offset, emptied);
  ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
  ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
  EXPECT_EQ(topic.log()->offset_for_time(late_ms).value(), std::nullopt);
  const auto greatest = topic.log()->offset_of_max_timestamp().value();
  ASSERT_TRUE(greatest);
  EXPECT_EQ(greatest->timestamp_ms, late_ms - 5000);
  EXPECT_GT(greatest->offset, emptied);
}

TEST(Cleaner, TombstonesStayAsLongAsTheyMustAndThenGo) {
  Compacted topic(1);
  ASSERT_EQ(error_of(topic.open()), "");
  ASSERT_EQ(error_of(topic.append({{"gone", "v"}, {"stays", "v"}})), "");
  ASSERT_EQ(error_of(topic.append({{"gone", std::nullopt}})), "");
  const auto compact = [&] {
    write_some(topic, 40);
    ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
    ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
    ASSERT_EQ(topic.read()->values, topic.expected());
  };
  compact();
  EXPECT_EQ(topic.read()->tombstones, 1u);
  topic.disk.clock.advance(std::chrono::milliseconds(kDeleteRetentionMs - 1000));
  compact();
  EXPECT_EQ(topic.read()->tombstones, 1u);
  topic.disk.clock.advance(std::chrono::milliseconds(2000));
  compact();
  EXPECT_EQ(topic.read()->tombstones, 0u);
}

TEST(Cleaner, AbortedRecordsGoAndTheirMarkersFollowLater) {
  Compacted topic(1);
  ASSERT_EQ(error_of(topic.open()), "");
  ASSERT_EQ(error_of(topic.append({{"k0", "kept"}, {"other", "kept"}})), "");
  ASSERT_EQ(error_of(topic.append_in_transaction(7, {{"other", "aborted"}})), "");
  ASSERT_EQ(error_of(topic.end_transaction(7, record::MarkerType::kAbort)), "");
  const auto compact = [&] {
    write_some(topic, 40);
    ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
    ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
    ASSERT_EQ(topic.read()->values, topic.expected());
  };
  compact();
  EXPECT_EQ(topic.read()->markers, 1u) << "for those who have read the records already";
  compact();
  EXPECT_EQ(topic.read()->markers, 1u);
  topic.disk.clock.advance(std::chrono::milliseconds(kDeleteRetentionMs + 1));
  compact();
  EXPECT_EQ(topic.read()->markers, 0u);
  EXPECT_TRUE(topic.log()->aborted_transactions(Offset{0}, topic.log()->high_watermark()).empty());
  topic.disk.crash();
  ASSERT_EQ(error_of(topic.open()), "");
  EXPECT_EQ(topic.read()->values, topic.expected());
}

TEST(Cleaner, NothingBehindAnOpenTransactionIsCompacted) {
  Compacted topic(1);
  ASSERT_EQ(error_of(topic.open()), "");
  ASSERT_EQ(error_of(topic.append_in_transaction(7, {{"k", "open"}})), "");
  write_some(topic, 60);
  ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
  ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
  EXPECT_EQ(topic.read(Isolation::kReadUncommitted)->records, 61u);
}

TEST(Cleaner, RandomLifeMatchesAMap) {
  const uint64_t seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  for (uint64_t round = 0; round < 20; ++round) {
    Compacted topic(seed + round);
    Random& random = topic.random;
    topic.disk.options.cleaner_map_bytes = random.chance(0.5) ? 0 : 1u << 20;
    ASSERT_EQ(error_of(topic.open()), "");
    const auto pairs = [&] {
      std::vector<Compacted::Pair> made;
      for (uint64_t n = 1 + random.below(4); n > 0; --n) {
        Compacted::Pair pair{"k" + std::to_string(random.below(100)), std::nullopt};
        if (random.chance(0.8)) pair.value = std::string(random.below(60), 'v') + std::to_string(random.below(1000));
        made.push_back(std::move(pair));
      }
      return made;
    };
    for (int step = 0; step < 400; ++step) {
      const auto producer = static_cast<int64_t>(1 + random.below(3));
      const uint64_t what = random.below(100);
      if (what < 55) {
        const auto codec = static_cast<record::Codec>(random.below(record::kCodecs));
        ASSERT_EQ(error_of(topic.append(pairs(), {.codec = codec})), "");
      } else if (what < 70) {
        ASSERT_EQ(error_of(topic.append_in_transaction(producer, pairs())), "");
      } else if (what < 80 && topic.open_transactions.contains(producer)) {
        const auto type = random.chance(0.5) ? record::MarkerType::kCommit : record::MarkerType::kAbort;
        ASSERT_EQ(error_of(topic.end_transaction(producer, type)), "");
      } else if (what < 86) {
        ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
      } else if (what < 94) {
        ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
      } else if (what < 97) {
        topic.disk.clock.advance(std::chrono::milliseconds(random.below(kDeleteRetentionMs)));
      } else if (what < 99) {
        topic.disk.crash();
        ASSERT_EQ(error_of(topic.open()), "");
      }
      if (!topic.open_transactions.empty()) continue;
      const auto reading = topic.read();
      ASSERT_TRUE(reading) << error_of(reading) << " at step " << step << " of round " << round;
      ASSERT_EQ(reading->values, topic.expected()) << "at step " << step << " of round " << round;
      ASSERT_EQ(reading->end, topic.log()->high_watermark());
    }
  }
}

TEST(Cleaner, ACrashAtAnyStepLosesNothing) {
  for (uint64_t operations = 0;; ++operations) {
    SCOPED_TRACE("the power goes after " + std::to_string(operations) + " operations");
    Compacted topic(3);
    ASSERT_EQ(error_of(topic.open()), "");
    ASSERT_EQ(error_of(topic.append_in_transaction(7, {{"k1", "aborted"}})), "");
    ASSERT_EQ(error_of(topic.end_transaction(7, record::MarkerType::kAbort)), "");
    write_some(topic, 60);
    ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
    ASSERT_EQ(error_of(topic.disk.store->tidy()), "");  // so that the next joins small segments
    write_some(topic, 30);
    ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
    topic.disk.files.power_off_after(operations);
    const bool done = topic.disk.store->tidy().has_value();
    topic.disk.crash(topic.random.chance(0.5) ? env::FaultFileSystem::Unsynced::kDropped
                                              : env::FaultFileSystem::Unsynced::kRandom);
    ASSERT_EQ(error_of(topic.open()), "");
    const auto reading = topic.read();
    ASSERT_TRUE(reading) << error_of(reading);
    ASSERT_EQ(reading->values, topic.expected());
    ASSERT_EQ(reading->end, Offset{92});
    // And it goes on from there.
    write_some(topic, 30);
    ASSERT_EQ(error_of(topic.disk.store->checkpoint()), "");
    ASSERT_EQ(error_of(topic.disk.store->tidy()), "");
    ASSERT_EQ(topic.read()->values, topic.expected());
    if (done) break;
  }
}

// The keys of all records, in reads of a few batches each.
Result<std::set<std::string>> keys_in(const Partition& log) {
  std::set<std::string> keys;
  for (Offset from{0};;) {
    Bytes bytes;
    MILLRACE_ASSIGN_OR_RETURN(const ReadInfo info, log.read(from, 700, true, bytes));
    if (info.bytes == 0) return keys;
    record::BatchReader batches(bytes);
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const auto batch, batches.next());
      if (!batch) break;
      if (!batch->checksum_matches() || batch->last_offset() < from) return fail(Errc::kCorruption, "a wrong batch");
      from = batch->last_offset() + 1;
      MILLRACE_ASSIGN_OR_RETURN(auto records, record::RecordReader::open(*batch, 1u << 20));
      record::Record record;
      while (true) {
        MILLRACE_ASSIGN_OR_RETURN(const bool more, records.next(record));
        if (!more) break;
        keys.emplace(as_text(*record.key));
      }
    }
  }
}

void read_beside_compaction(size_t open_files_max) {
  Compacted topic(5);
  topic.disk.options.open_files_max = open_files_max;
  ASSERT_EQ(error_of(topic.open()), "");
  write_some(topic, 20);
  std::atomic<bool> ends{false};
  const auto read_until_the_end = [&, log = topic.log()](std::string& wrong) {
    while (!ends) {
      const auto keys = keys_in(*log);
      if (!keys) {
        wrong = error_of(keys);
      } else if (keys->size() != 7) {
        wrong = "only " + std::to_string(keys->size()) + " keys";
      }
    }
  };
  std::array<std::string, 2> wrong;
  std::thread one([&] { read_until_the_end(wrong[0]); });
  std::thread another([&] { read_until_the_end(wrong[1]); });
  for (int i = 0; i < 40; ++i) {
    write_some(topic, 40);
    EXPECT_EQ(error_of(topic.disk.store->checkpoint()), "");
    EXPECT_EQ(error_of(topic.disk.store->tidy()), "");
  }
  ends = true;
  one.join();
  another.join();
  EXPECT_EQ(wrong[0], "");
  EXPECT_EQ(wrong[1], "");
  EXPECT_EQ(topic.read()->values, topic.expected());
}

TEST(Cleaner, ReadersSeeEveryKeyWhileItWorks) { read_beside_compaction(StoreOptions().open_files_max); }

TEST(Cleaner, ReadersSeeEveryKeyWhileFilesAreClosedUnderThem) { read_beside_compaction(1); }

}  // namespace
}  // namespace millrace::log
