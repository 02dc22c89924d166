#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <set>

#include "log/internal/log_testing.h"
#include "log/internal/wal_format.h"

namespace millrace::log {
namespace {

using Unsynced = env::FaultFileSystem::Unsynced;
using Strings = std::vector<std::string>;

std::string stored_name(const Partition& partition) {
  return partition.topic() + "-" + std::to_string(partition.id().value());
}

// What a correct store may hold, kept as plainly as possible.
struct Model {
  struct Log {
    Strings records;     // in order, of all appends that were tried and may have happened
    size_t durable = 0;  // how many of them were acknowledged
    // Where the log may begin: the last start that was acknowledged, and the last that was tried.
    Offset start{0};
    Offset tried_start{0};
  };
  std::map<std::string, Log> logs;  // of the live topics' partitions
  // Topics whose creation, or deletion, was tried and not acknowledged.
  std::set<std::string> maybe_created;
  std::set<std::string> maybe_deleted;

  // Everything acknowledged is there, in order; nothing is there that was not tried; nothing is torn.
  static void check(const Log& log, const Partition& partition) {
    const Offset start = partition.log_start_offset();
    ASSERT_GE(start, log.start) << stored_name(partition);
    ASSERT_LE(start, log.tried_start) << stored_name(partition);
    const auto stored = read_all(partition, start);
    ASSERT_TRUE(stored) << stored.error().message;
    const auto end = static_cast<size_t>(partition.high_watermark().value());
    ASSERT_GE(end, log.durable) << stored_name(partition);
    ASSERT_LE(end, log.records.size()) << stored_name(partition);
    // The batch that holds the start comes whole.
    ASSERT_LE(stored->size(), end) << stored_name(partition);
    const size_t first = end - stored->size();
    ASSERT_LE(first, static_cast<size_t>(start.value())) << stored_name(partition);
    for (size_t i = 0; i < stored->size(); ++i) {
      ASSERT_EQ((*stored)[i], log.records[first + i] + "@" + std::to_string(first + i)) << stored_name(partition);
    }
  }
};

// Random operations on a store and its model.
class Workload : public TestStore {
 public:
  explicit Workload(uint64_t seed) {
    random = Random(seed);
    options.checkpoint_bytes = 1u << 30;
    options.segment_bytes = 2500;
    options.wal_file_bytes = 16u << 10;
    options.tail_bytes = 200;
    options.write_once_bytes = 350;
  }

  void step() {
    const uint64_t dice = random.below(100);
    if (dice < 8 || model.logs.empty()) {
      create();
    } else if (dice < 10) {
      remove();
    } else if (dice < 16) {
      static_cast<void>(store->checkpoint());
    } else if (dice < 26) {
      append_pair();
    } else if (dice < 33) {
      advance_start();
    } else if (dice < 35) {
      grow();
    } else {
      append_one();
    }
  }

  // The store as reopened against the model, which then takes over what is there.
  void check_and_adopt() {
    std::map<std::string, Model::Log> found;
    for (const auto& topic : store->topics()) {
      const std::string& name = topic->info.name;
      for (const auto& partition : topic->partitions) {
        const auto it = model.logs.find(stored_name(*partition));
        if (it == model.logs.end()) {
          ASSERT_TRUE(model.maybe_created.contains(name)) << name;
          ASSERT_EQ(partition->high_watermark(), Offset{0});
          found[stored_name(*partition)] = {};
          continue;
        }
        ASSERT_NO_FATAL_FAILURE(Model::check(it->second, *partition));
        Model::Log& log = found[stored_name(*partition)];
        log.records = it->second.records;
        log.records.resize(static_cast<size_t>(partition->high_watermark().value()));
        log.durable = log.records.size();
        log.start = log.tried_start = partition->log_start_offset();
      }
    }
    for (const auto& [name, log] : model.logs) {
      ASSERT_TRUE(found.contains(name) || model.maybe_deleted.contains(name.substr(0, name.size() - 2)))
          << name << " is gone";
    }
    model.logs = std::move(found);
    model.maybe_created.clear();
    model.maybe_deleted.clear();
    check_pairs();
  }

  Model model;

 private:
  // Every pair was appended to two partitions at once: it is in both, or in none, or its topic is gone.
  void check_pairs() {
    std::map<std::string, int> seen;
    for (const auto& [name, log] : model.logs) {
      for (const std::string& record : log.records) {
        if (record.starts_with("pair")) ++seen[record.substr(0, record.find('.'))];
      }
    }
    for (const auto& [pair, count] : seen) ASSERT_EQ(count, 2) << pair;
  }

  void create() {
    const std::string name = "topic" + std::to_string(random.below(4));
    if (store->find_topic(name) != nullptr) return;
    const auto made = store->create_topic({.name = name, .id = Uuid::random(random), .partitions = 2, .config = {}});
    if (!made) {
      model.maybe_created.insert(name);
      return;
    }
    for (const auto& partition : (*made)->partitions) model.logs[stored_name(*partition)] = {};
  }

  void remove() {
    const auto topics = store->topics();
    const std::string name = topics[random.below(topics.size())]->info.name;
    const bool done = store->delete_topic(name).has_value();
    if (!done) {
      model.maybe_deleted.insert(name);
      return;
    }
    std::erase_if(model.logs, [&](const auto& entry) { return entry.first.starts_with(name + "-"); });
  }

  std::shared_ptr<Partition> any_partition() {
    const auto topics = store->topics();
    const auto& partitions = topics[random.below(topics.size())]->partitions;
    return partitions[random.below(partitions.size())];
  }

  void grow() {
    const auto topics = store->topics();
    const TopicInfo& info = topics[random.below(topics.size())]->info;
    if (info.partitions == 4) return;
    const auto grown = store->add_partitions(info.name, info.partitions + 1);
    if (!grown) {
      model.maybe_created.insert(info.name);
      return;
    }
    model.logs[stored_name(*(*grown)->partitions.back())] = {};
  }

  void advance_start() {
    const auto partition = any_partition();
    Model::Log& log = model.logs[stored_name(*partition)];
    const Offset end = partition->high_watermark();
    const Offset from = partition->log_start_offset();
    const Offset to = random.chance(0.3) ? end : from + static_cast<int64_t>(random.below(1 + uint64_t(end - from)));
    const auto position = partition->advance_log_start(to);
    if (!position) return;
    log.tried_start = std::max(log.tried_start, to);
    if (random.chance(0.5) && store->wait_durable(*position)) log.start = log.tried_start;
  }
  BatchSpec any_batch(const std::string& prefix) {
    BatchSpec batch;
    const uint64_t count = 1 + random.below(4);
    for (uint64_t i = 0; i < count; ++i) {
      batch.values.push_back(prefix + std::to_string(++values_) + std::string(random.below(200), 'x'));
    }
    return batch;
  }

  void append_one() {
    const auto partition = any_partition();
    const BatchSpec batch = any_batch("v");
    Bytes bytes = make_batch(batch);
    Model::Log& log = model.logs[stored_name(*partition)];
    const auto appended = partition->append(bytes);
    if (!appended) return;
    log.records.insert(log.records.end(), batch.values.begin(), batch.values.end());
    // Not every append is waited for: groups of several come about.
    if (random.chance(0.5) && store->wait_durable(appended->position)) log.durable = log.records.size();
  }

  void append_pair() {
    const auto topics = store->topics();
    const auto& topic = topics[random.below(topics.size())];
    // "pair7." in both, with something behind it that differs in size.
    const std::string pair = "pair" + std::to_string(++values_) + ".";
    const Strings values{pair, pair + std::string(random.below(900), 'y')};
    Bytes first = make_batch({.values = {values[0]}});
    Bytes second = make_batch({.values = {values[1]}});
    const std::vector<Store::Item> items{{topic->partitions[0], first, {}}, {topic->partitions[1], second, {}}};
    const auto results = store->append_all(items);
    if (!results[0]) return;
    for (size_t i = 0; i < 2; ++i) model.logs[stored_name(*topic->partitions[i])].records.push_back(values[i]);
    if (!store->wait_durable(results[0]->position)) return;
    for (size_t i = 0; i < 2; ++i) {
      Model::Log& log = model.logs[stored_name(*topic->partitions[i])];
      log.durable = log.records.size();
    }
  }

  uint64_t values_ = 0;
};

// The power goes after every single operation of a workload that has all kinds of them, one after another.
TEST(Recovery, KeepsItsPromisesWhereverThePowerGoes) {
  constexpr int kSteps = 60;
  uint64_t operations = 0;
  {
    Workload dry(42);
    ASSERT_EQ(error_of(dry.open()), "");
    for (int i = 0; i < kSteps; ++i) dry.step();
    ASSERT_EQ(error_of(dry.store->close()), "");
    operations = dry.files.operations();
  }
  ASSERT_GT(operations, 200U);
  for (const Unsynced unsynced : {Unsynced::kDropped, Unsynced::kRandom, Unsynced::kKept}) {
    for (uint64_t at = 0; at < operations; ++at) {
      SCOPED_TRACE(testing::Message() << "power off after " << at << ", unsynced " << static_cast<int>(unsynced));
      Workload work(42);
      work.files.power_off_after(at);
      if (work.open()) {
        for (int i = 0; i < kSteps; ++i) work.step();
      }
      work.crash(unsynced);
      ASSERT_EQ(error_of(work.open()), "");
      ASSERT_NO_FATAL_FAILURE(work.check_and_adopt());
      // And it goes on from there, over another stop.
      for (int i = 0; i < 5; ++i) work.step();
      ASSERT_EQ(error_of(work.store->close()), "");
      ASSERT_EQ(error_of(work.open()), "");
      ASSERT_NO_FATAL_FAILURE(work.check_and_adopt());
    }
  }
}

// The power goes while recovering from the power having gone.
TEST(Recovery, SurvivesCrashesDuringRecovery) {
  for (uint64_t at = 0; at < 60; ++at) {
    SCOPED_TRACE(testing::Message() << "power off after " << at << " operations of recovery");
    Workload work(7);
    ASSERT_EQ(error_of(work.open()), "");
    for (int i = 0; i < 80; ++i) work.step();
    work.crash(Unsynced::kRandom);
    work.files.power_off_after(at);
    static_cast<void>(work.open());
    work.crash(Unsynced::kRandom);
    ASSERT_EQ(error_of(work.open()), "");
    ASSERT_NO_FATAL_FAILURE(work.check_and_adopt());
  }
}

TEST(Recovery, RandomOperationsAndCrashesAgreeWithAModel) {
  for (uint64_t seed = 1; seed <= 30; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Workload work(seed);
    // Every other world leaves what a stop could checkpoint to the next start.
    if (seed % 2 == 0) work.options.closing_checkpoint_bytes = 0;
    ASSERT_EQ(error_of(work.open()), "");
    for (int round = 0; round < 6; ++round) {
      const uint64_t steps = work.random.below(60);
      for (uint64_t i = 0; i < steps; ++i) work.step();
      const uint64_t how = work.random.below(4);
      if (how == 3) {
        ASSERT_EQ(error_of(work.store->close()), "");
      } else {
        work.crash(static_cast<Unsynced>(how));
      }
      ASSERT_EQ(error_of(work.open()), "");
      ASSERT_NO_FATAL_FAILURE(work.check_and_adopt());
    }
  }
}

// A small log: five appends, each its own frame, the store killed.
class DamageTest : public testing::Test, protected TestStore {
 protected:
  static constexpr int kAppends = 5;

  void SetUp() override {
    options.wal_file_bytes = 32u << 10;
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
    for (int i = 0; i < kAppends; ++i) {
      ASSERT_TRUE(append("t", {.values = {"value " + std::to_string(i)}}));
      expected_.push_back("value " + std::to_string(i) + "@" + std::to_string(i));
    }
    crash(Unsynced::kKept);
    path_ = list_wal_files(files, "/data/wal")->begin()->second;
    good_ = files.content(path_);
  }
  // The topic's creation and the appends: a block each.
  static constexpr uint64_t kFramesEnd = (kAppends + 1) * kWalBlockBytes;

  Strings expected_;
  std::string path_;
  Bytes good_;
};

TEST_F(DamageTest, ATruncatedLogKeepsEveryWholeFrame) {
  for (uint64_t size = 0; size < kFramesEnd + 100; size += (size % kWalBlockBytes < 200 ? 1 : 97)) {
    SCOPED_TRACE(testing::Message() << "cut to " << size);
    env::FaultFileSystem& disk = files;
    Bytes cut = good_;
    cut.resize(std::min<uint64_t>(size, cut.size()));
    uint64_t entries = 0;
    disk.set_content(path_, cut);
    const auto end = read_wal(disk, "/data/wal", 0, [&](const WalEntry&) -> Status {
      ++entries;
      return {};
    });
    ASSERT_TRUE(end);
    // A frame is whole as soon as its entries are there; the zeros behind may be missing.
    EXPECT_LE(*end, padded_frame_bytes(size));
    EXPECT_GE(entries, std::min<uint64_t>(size / kWalBlockBytes, kAppends + 1));
  }
}

TEST_F(DamageTest, EveryFlippedByteIsCutOffAtTheEndOrReportedBefore) {
  const uint64_t last_frame = kAppends * kWalBlockBytes;
  for (uint64_t at = 0; at < kFramesEnd; at += (at % kWalBlockBytes < 150 ? 1 : 211)) {
    SCOPED_TRACE(testing::Message() << "flipped byte " << at);
    Bytes bad = good_;
    bad[at] ^= std::byte{0x41};
    files.set_content(path_, bad);
    uint64_t entries = 0;
    const auto end = read_wal(files, "/data/wal", 0, [&](const WalEntry&) -> Status {
      ++entries;
      return {};
    });
    if (end) {
      // Either the padding was hit, or the last frame, which may have been torn.
      EXPECT_GE(entries, static_cast<uint64_t>(at < last_frame ? kAppends + 1 : kAppends));
    } else {
      EXPECT_EQ(end.error().code, Errc::kCorruption);
      EXPECT_LT(at, last_frame);
      EXPECT_NE(end.error().message.find(path_), std::string::npos);
      EXPECT_NE(end.error().message.find("byte " + std::to_string(at / kWalBlockBytes * kWalBlockBytes)),
                std::string::npos)
          << end.error().message;
    }
  }
}

TEST_F(DamageTest, DamageInTheMiddleStopsTheStartAndChangesNothing) {
  Bytes bad = good_;
  bad[2 * kWalBlockBytes + 40] ^= std::byte{1};
  files.set_content(path_, bad);
  const auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::kCorruption);
  EXPECT_NE(opened.error().message.find("byte 8192"), std::string::npos) << opened.error().message;
  files.set_content(path_, good_);
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), expected_);
}

TEST_F(DamageTest, AMissingFileOfTheLogIsReported) {
  ASSERT_TRUE(files.remove(path_));
  EXPECT_EQ(open().error().code, Errc::kCorruption);
}

TEST_F(DamageTest, ADamagedOrMissingCheckpointIsReported) {
  const Bytes good = files.content("/data/checkpoint");
  for (size_t at = 0; at < good.size(); ++at) {
    Bytes bad = good;
    bad[at] ^= std::byte{0x20};
    files.set_content("/data/checkpoint", bad);
    ASSERT_FALSE(open()) << at;
  }
  ASSERT_TRUE(files.remove("/data/checkpoint"));
  EXPECT_EQ(open().error().code, Errc::kCorruption);
}

class SegmentDamageTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override {
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
    for (int i = 0; i < 100; ++i) {
      const std::string value = std::to_string(i) + std::string(100, '.');
      ASSERT_TRUE(append("t", {.values = {value}, .timestamp_ms = 1000 + i}));
      expected_.push_back(value + "@" + std::to_string(i));
    }
    ASSERT_EQ(error_of(store->close()), "");
  }
  std::vector<std::string> files_ending(const std::string& suffix) {
    std::vector<std::string> found;
    const auto entries = files.list("/data/topics/t-0").value();
    for (const auto& entry : entries) {
      if (entry.name.ends_with(suffix)) found.push_back("/data/topics/t-0/" + entry.name);
    }
    std::ranges::sort(found);
    return found;
  }
  void expect_all() {
    ASSERT_EQ(error_of(open()), "");
    EXPECT_EQ(read_all(*partition("t")).value(), expected_);
    for (int i = 0; i < 100; i += 9) {
      EXPECT_EQ(partition("t")->offset_for_time(1000 + i).value()->offset, Offset{i});
      EXPECT_EQ(read_all(*partition("t"), Offset{i})->front(), expected_[static_cast<size_t>(i)]);
    }
    EXPECT_EQ(partition("t")->offset_of_max_timestamp().value()->offset, Offset{99});
  }

  Strings expected_;
};

TEST_F(SegmentDamageTest, MissingIndexesAreBuiltAnew) {
  ASSERT_GT(files_ending(".log").size(), 2U);
  std::map<std::string, Bytes> good;
  for (const char* suffix : {".index", ".timeindex"}) {
    for (const std::string& path : files_ending(suffix)) {
      good[path] = files.content(path);
      ASSERT_TRUE(files.remove(path));
    }
  }
  expect_all();
  // They are the same again, but for the active segment's time index, whose last entry is made when it is closed.
  ASSERT_EQ(error_of(store->checkpoint()), "");
  for (const auto& [path, content] : good) EXPECT_EQ(files.content(path), content) << path;
}

TEST_F(SegmentDamageTest, CutAndScrambledIndexesAreBuiltAnew) {
  for (const char* suffix : {".index", ".timeindex"}) {
    for (const std::string& path : files_ending(suffix)) {
      Bytes content = files.content(path);
      content.resize(content.size() / 2 + 3, std::byte{0xff});
      files.set_content(path, content);
    }
  }
  expect_all();
}

TEST_F(SegmentDamageTest, BytesBehindTheCheckpointAreCutOff) {
  const std::string path = files_ending(".log").back();
  Bytes longer = files.content(path);
  longer.resize(longer.size() + 77, std::byte{0x33});
  files.set_content(path, longer);
  expect_all();
  ASSERT_TRUE(append("t", {.values = {"next"}}));
  expected_.push_back("next@100");
  EXPECT_EQ(read_all(*partition("t")).value(), expected_);
}

}  // namespace
}  // namespace millrace::log
