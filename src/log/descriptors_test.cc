#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <functional>
#include <thread>
#include <utility>

#include "log/internal/log_testing.h"

// A process has only so many descriptors.
namespace millrace::log {
namespace {

using Strings = std::vector<std::string>;

class CountedFile final : public env::File {
 public:
  // `count` has this one already.
  CountedFile(std::unique_ptr<env::File> file, std::atomic<int>& count) : file_(std::move(file)), count_(count) {}
  ~CountedFile() override { --count_; }
  Result<size_t> read_at(uint64_t position, std::span<std::byte> out) const override {
    return file_->read_at(position, out);
  }
  using env::File::write_at;
  Status write_at(uint64_t position, std::span<const ByteView> pieces) override {
    return file_->write_at(position, pieces);
  }
  Status sync_data() override { return file_->sync_data(); }
  Status truncate(uint64_t size) override { return file_->truncate(size); }
  Status allocate(uint64_t position, uint64_t size) override { return file_->allocate(position, size); }
  Result<uint64_t> size() const override { return file_->size(); }
  const std::string& path() const override { return file_->path(); }

 private:
  const std::unique_ptr<env::File> file_;
  std::atomic<int>& count_;
};

// Counts the files that are open, and opens none of the write-ahead log's while it is told so.
class CountingFileSystem final : public env::FileSystem {
 public:
  std::atomic<int> open_now{0};
  std::atomic<int> open_most{0};
  // What happens while the next segment's file is about to be opened. For stores without threads.
  std::function<void()> before_segment;
  std::atomic<bool> none_left{false};
  std::atomic<int> refused{0};

  Result<std::unique_ptr<env::File>> open(const std::string& path, env::OpenMode mode) override {
    if (none_left && path.starts_with("/data/wal/")) {
      ++refused;
      return fail(Errc::kUnavailable, path + ": too many open files");
    }
    if (before_segment && path.ends_with(".log")) std::exchange(before_segment, nullptr)();
    MILLRACE_ASSIGN_OR_RETURN(auto file, disk_.open(path, mode));
    const int now = ++open_now;
    int most = open_most;
    while (most < now && !open_most.compare_exchange_weak(most, now)) {
    }
    return std::make_unique<CountedFile>(std::move(file), open_now);
  }
  Result<bool> exists(const std::string& path) override { return disk_.exists(path); }
  Result<std::vector<env::DirectoryEntry>> list(const std::string& path) override { return disk_.list(path); }
  Status make_directories(const std::string& path) override { return disk_.make_directories(path); }
  Status rename(const std::string& from, const std::string& to) override { return disk_.rename(from, to); }
  Status remove(const std::string& path) override { return disk_.remove(path); }
  Status remove_all(const std::string& path) override { return disk_.remove_all(path); }
  Status sync_directory(const std::string& path) override { return disk_.sync_directory(path); }
  Result<uint64_t> free_bytes(const std::string& path) override { return disk_.free_bytes(path); }
  Result<std::unique_ptr<env::FileLock>> lock(const std::string& path) override { return disk_.lock(path); }

 private:
  env::FaultFileSystem disk_;
};

class Descriptors : public testing::Test {
 protected:
  void open() {
    store = Store::open(options, files, clock, random).value();
    partition = make_topic("t");
  }
  std::shared_ptr<Partition> make_topic(const std::string& name) {
    return store->create_topic({.name = name, .id = Uuid::random(random), .partitions = 1, .config = {}})
        .value()
        ->partitions[0];
  }
  WalPosition append(const std::string& value) {
    Bytes batch = make_batch({.values = {value}});
    return partition->append(batch).value().position;
  }
  // Records of one key in so many segments, durable.
  void fill_segments(int count, size_t bytes = 4000) {
    for (int i = 0; i < count; ++i) {
      record::BatchBuilder builder({});
      builder.add(1000, as_byte_view("key"), as_byte_view(std::string(bytes, static_cast<char>('a' + i % 26))));
      Bytes batch = builder.finish().value();
      ASSERT_EQ(error_of(store->wait_durable(partition->append(batch).value().position)), "");
    }
    ASSERT_GE(partition->segment_count(), static_cast<size_t>(count));
  }
  // So that, with few files open, those of "t" are closed.
  void write_another_topic() {
    const auto another = make_topic("another");
    for (int i = 0; i < 4; ++i) {
      Bytes batch = make_batch({.values = {std::string(4000, 'x')}});
      ASSERT_EQ(error_of(store->wait_durable(another->append(batch).value().position)), "");
    }
  }

  StoreOptions options = TestStore::small_options();
  FakeClock clock;
  Random random{1};
  CountingFileSystem files;
  std::unique_ptr<Store> store;
  std::shared_ptr<Partition> partition;
};

TEST_F(Descriptors, WithoutOneForItsNextFileTheLogWaits) {
  options.tail_bytes = 1u << 20;
  open();
  const std::string value(options.wal_file_bytes, 'x');
  files.none_left = true;
  const WalPosition waiting = append(value);
  while (files.refused == 0) std::this_thread::yield();
  files.none_left = false;
  EXPECT_EQ(error_of(store->wait_durable(waiting)), "");
  EXPECT_EQ(read_all(*partition).value(), Strings{value + "@0"});

  files.refused = 0;
  files.none_left = true;
  append(value);
  while (files.refused == 0) std::this_thread::yield();
  EXPECT_EQ(store->close().error().code, Errc::kUnavailable) << "it does not wait for one";
}

TEST_F(Descriptors, ThousandsOfSegmentsAreReadWithFewFilesOpen) {
  options.single_threaded = true;
  options.open_files_max = 8;
  options.write_once_bytes = 1u << 20;
  open();
  constexpr int kSegments = 2000;
  for (int i = 1; i <= kSegments; ++i) {
    ASSERT_EQ(error_of(store->wait_durable(append(std::string(4000, 'v')))), "");
    if (i % 100 > 0) continue;
    EXPECT_GE(files.open_now, 100) << "what is not synced stays open";
    ASSERT_EQ(error_of(store->checkpoint()), "");
  }
  ASSERT_EQ(partition->segment_count(), static_cast<size_t>(kSegments));
  ASSERT_EQ(read_all(*partition)->size(), static_cast<size_t>(kSegments));
  files.open_most = 0;
  ASSERT_EQ(read_all(*partition)->size(), static_cast<size_t>(kSegments));
  // Beside them the write-ahead log's file, an index, and one that has just been opened.
  EXPECT_LE(files.open_most, 8 + 3);
  EXPECT_GE(files.open_now, 8) << "as many as may be";
}

TEST_F(Descriptors, ARangeStaysReadableWhenItsSegmentsFileIsClosed) {
  options.single_threaded = true;
  options.open_files_max = 1;
  open();
  fill_segments(3, 40'000);
  ASSERT_EQ(error_of(store->checkpoint()), "");
  Bytes bytes;
  std::optional<env::FileRange> range;
  ASSERT_EQ(error_of(partition->read_or_locate(Offset{0}, 1u << 20, true, bytes, range, Isolation::kReadUncommitted)),
            "");
  ASSERT_TRUE(range);
  write_another_topic();
  Bytes sent(range->bytes);
  EXPECT_EQ(range->file->read_at(range->position, sent).value(), range->bytes);
  EXPECT_EQ(records_in(sent).value(), Strings{std::string(40'000, 'a') + "@0"});
  const int before = files.open_now;
  range.reset();
  EXPECT_EQ(files.open_now, before - 1) << "nobody else had it";
}

TEST_F(Descriptors, AReaderWhoOpensAFileThatCompactionReplacesReadsOnInTheOldOne) {
  options.single_threaded = true;
  options.open_files_max = 1;
  open();
  store->set_policies([this](const TopicInfo&) {
    TopicPolicy policy;
    policy.segment_bytes = options.segment_bytes;
    policy.compacts = true;
    policy.min_cleanable_dirty_ratio = 0;
    return policy;
  });
  fill_segments(5);
  ASSERT_EQ(error_of(store->checkpoint()), "");
  write_another_topic();
  files.before_segment = [this] {
    EXPECT_EQ(error_of(store->tidy()), "");
    EXPECT_GE(store->statistics().compactions, 1U);
  };
  Bytes bytes;
  ASSERT_EQ(error_of(partition->read(Offset{1}, 1u << 20, true, bytes)), "");
  EXPECT_FALSE(files.before_segment) << "the file was open";
  EXPECT_EQ(records_in(bytes).value(), Strings{std::string(4000, 'b') + "@1"});
  EXPECT_LT(read_all(*partition)->size(), 5U);
}

TEST_F(Descriptors, AReaderOfADeletedTopicReadsNothingOfTheNextOne) {
  options.single_threaded = true;
  options.open_files_max = 1;
  open();
  fill_segments(3);
  ASSERT_EQ(error_of(store->checkpoint()), "");
  write_another_topic();
  const auto old = partition;
  files.before_segment = [this] {
    ASSERT_EQ(error_of(store->delete_topic("t")), "");
    partition = make_topic("t");
    fill_segments(3);
    ASSERT_EQ(error_of(store->checkpoint()), "");
  };
  Bytes bytes;
  EXPECT_EQ(old->read(Offset{0}, 1u << 20, true, bytes).error().code, Errc::kNotFound);
  EXPECT_FALSE(files.before_segment) << "the file was open";
  EXPECT_TRUE(bytes.empty());
}

}  // namespace
}  // namespace millrace::log
