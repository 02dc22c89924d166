#include <gtest/gtest.h>

#include <atomic>
#include <filesystem>
#include <fstream>
#include <functional>

#include "env/posix_file_system.h"
#include "env/temporary_folder.h"
#include "log/internal/log_testing.h"

namespace millrace::log {
namespace {

using Strings = std::vector<std::string>;
using Fault = env::FaultFileSystem::Fault;

// A disk that fails while the store is in use.
class DiskFaultTest : public testing::Test, protected TestStore {
 protected:
  void SetUp() override {
    ASSERT_EQ(error_of(open()), "");
    make_topic("t");
    ASSERT_TRUE(append("t", {.values = {"before"}}));
    store->set_fatal_callback([this](const Error& error) {
      ++told_;
      said_ = error.message;
    });
  }
  // The store has ended, once, naming `file`; what was acknowledged is there after a start, and nothing else is
  // promised.
  void expect_ended(const std::string& file) {
    Bytes batch = make_batch({.values = {"after"}});
    EXPECT_EQ(partition("t")->append(batch).error().code, Errc::kUnavailable);
    EXPECT_EQ(read_all(*partition("t"))->front(), "before@0");
    EXPECT_FALSE(store->close());
    EXPECT_EQ(told_, 1);
    EXPECT_NE(said_.find(file), std::string::npos) << said_;
    files.set_read_only(false);
    crash(env::FaultFileSystem::Unsynced::kKept);
    ASSERT_EQ(error_of(open()), "");
    EXPECT_EQ(read_all(*partition("t"))->front(), "before@0");
  }

  std::atomic<int> told_ = 0;
  std::string said_;
};

TEST_F(DiskFaultTest, AWriteOfTheLogThatFailsEndsTheStore) {
  files.fail_write(1, Fault::kIo);
  EXPECT_EQ(append("t", {.values = {"lost"}}).error().code, Errc::kUnavailable);
  expect_ended("/data/wal/");
}

TEST_F(DiskFaultTest, ASyncOfTheLogThatFailsEndsTheStoreAndIsNotTriedAgain) {
  files.fail_sync(1);
  EXPECT_EQ(append("t", {.values = {"lost"}}).error().code, Errc::kUnavailable);
  expect_ended("/data/wal/");
}

TEST_F(DiskFaultTest, ASyncOfASegmentThatFailsEndsTheStore) {
  // The first sync of a checkpoint is a segment's: what came before is durable in the log already.
  files.fail_sync(1);
  EXPECT_FALSE(store->checkpoint());
  expect_ended("/data/topics/t-0/");
}

TEST_F(DiskFaultTest, ADiskThatBecomesReadOnlyEndsTheStore) {
  files.set_read_only(true);
  EXPECT_EQ(append("t", {.values = {"lost"}}).error().code, Errc::kUnavailable);
  expect_ended("/data/wal/");
}

TEST_F(DiskFaultTest, AnAppendWhoseDirectoryIsGoneIsNotTakenForOneToADeletedTopic) {
  Bytes batch = make_batch({.values = {std::string(3000, 'b')}});
  ASSERT_EQ(error_of(partition("t")->append(batch)), "");
  ASSERT_TRUE(files.remove_all("/data/topics/t-0"));
  EXPECT_EQ(partition("t")->append(batch).error().code, Errc::kIo);  // a new segment begins with it
}

TEST_F(DiskFaultTest, AReadThatFailsIsThatReadersAlone) {
  ASSERT_EQ(error_of(store->checkpoint()), "");
  make_topic("other");
  ASSERT_TRUE(append("other", {.values = {"whole"}}));
  files.fail_reads("/data/topics/t-0/");
  Bytes bytes;
  EXPECT_EQ(partition("t")->read(Offset{0}, 1000, true, bytes).error().code, Errc::kIo);
  EXPECT_FALSE(partition("t")->damage()) << "it may pass";
  EXPECT_EQ(read_all(*partition("other")).value(), Strings{"whole@0"});
  ASSERT_TRUE(append("t", {.values = {"after"}}));
  files.fail_reads("");
  EXPECT_EQ(read_all(*partition("t")).value(), (Strings{"before@0", "after@1"}));
  EXPECT_EQ(told_, 0);
}

TEST_F(DiskFaultTest, FilesThatCannotBeReadAtAStartQuarantineTheirPartition) {
  make_topic("other");
  ASSERT_TRUE(append("other", {.values = {"whole"}}));
  ASSERT_EQ(error_of(store->close()), "");
  files.fail_reads("/data/topics/t-0/");
  ASSERT_EQ(error_of(open()), "");
  ASSERT_TRUE(partition("t")->damage());
  EXPECT_EQ(read_all(*partition("other")).value(), Strings{"whole@0"});
  files.fail_reads("");
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"before@0"});
}

TEST_F(DiskFaultTest, AStartOnADiskThatIsReadOnlyIsRefused) {
  ASSERT_EQ(error_of(store->close()), "");
  store.reset();
  files.set_read_only(true);
  const auto opened = open();
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::kPermissionDenied);
  EXPECT_NE(opened.error().message.find("/data"), std::string::npos);
  files.set_read_only(false);
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"before@0"});
}

TEST_F(DiskFaultTest, AStartWithoutAPartOfTheFolderIsRefusedAndSaysWhatToDo) {
  ASSERT_EQ(error_of(store->close()), "");
  store.reset();
  for (const std::string part : {"/data/wal", "/data/checkpoint", "/data/topics"}) {
    SCOPED_TRACE(part);
    ASSERT_TRUE(files.rename(part, "/elsewhere"));
    const auto opened = open();
    ASSERT_FALSE(opened);
    EXPECT_NE(opened.error().message.find(part), std::string::npos) << opened.error().message;
    EXPECT_NE(opened.error().hint, "");
    ASSERT_TRUE(files.rename("/elsewhere", part));
  }
  ASSERT_EQ(error_of(open()), "");
  EXPECT_EQ(read_all(*partition("t")).value(), Strings{"before@0"});
}

TEST(DataFolder, AFileInItsPlaceIsRefusedWithAHint) {
  const auto folder = env::TemporaryFolder::make("data-folder").value();
  const std::string path = folder->path("file");
  std::ofstream(path) << "not a folder";
  env::PosixFileSystem files;
  FakeClock clock;
  Random random(1);
  for (const std::string& dir : {path, path + "/below"}) {
    StoreOptions options;
    options.dir = dir;
    const auto opened = Store::open(options, files, clock, random);
    ASSERT_FALSE(opened) << dir;
    EXPECT_NE(opened.error().message.find(path), std::string::npos) << opened.error().message;
    EXPECT_NE(opened.error().hint, "") << opened.error().message;
  }
}

}  // namespace
}  // namespace millrace::log
