#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <utility>

#include "log/internal/log_testing.h"

// A process has only so many descriptors.
namespace millrace::log {
namespace {

using Strings = std::vector<std::string>;

class CountedFile final : public env::File {
 public:
  CountedFile(std::unique_ptr<env::File> file, std::atomic<int>& count) : file_(std::move(file)), count_(count) {
    ++count_;
  }
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
  std::atomic<bool> none_left{false};
  std::atomic<int> refused{0};

  Result<std::unique_ptr<env::File>> open(const std::string& path, env::OpenMode mode) override {
    if (none_left && path.starts_with("/data/wal/")) {
      ++refused;
      return fail(Errc::kUnavailable, path + ": too many open files");
    }
    MILLRACE_ASSIGN_OR_RETURN(auto file, disk_.open(path, mode));
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
    partition = store->create_topic({.name = "t", .id = Uuid::random(random), .partitions = 1, .config = {}})
                    .value()
                    ->partitions[0];
  }
  WalPosition append(const std::string& value) {
    Bytes batch = make_batch({.values = {value}});
    return partition->append(batch).value().position;
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

}  // namespace
}  // namespace millrace::log
