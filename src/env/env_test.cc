#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <string>

#include "base/aligned_buffer.h"
#include "env/fault_file_system.h"
#include "env/posix_file_system.h"
#include "env/temporary_folder.h"

namespace millrace::env {
namespace {

// Behaviour that the real and the fake file system share.
class FileSystemTest : public testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    if (GetParam()) {
      std::string pattern = (std::filesystem::temp_directory_path() / "env_test.XXXXXX").string();
      ASSERT_NE(::mkdtemp(pattern.data()), nullptr);
      root_ = pattern;
      files_ = std::make_unique<PosixFileSystem>();
    } else {
      root_ = "/disk";
      files_ = std::make_unique<FaultFileSystem>();
      ASSERT_TRUE(files_->make_directories(root_));
    }
  }
  void TearDown() override {
    if (GetParam()) std::filesystem::remove_all(root_);
  }

  std::string path(const std::string& name) const { return join_path(root_, name); }
  Bytes read(const std::string& name) { return read_file(*files_, path(name), 1 << 20).value(); }

  std::string root_;
  std::unique_ptr<FileSystem> files_;
};

INSTANTIATE_TEST_SUITE_P(RealAndFake, FileSystemTest, testing::Bool(),
                         [](const auto& info) { return info.param ? "Real" : "Fake"; });

TEST_P(FileSystemTest, ReadsBackPiecesWrittenAtAPosition) {
  const auto file = files_->open(path("f"), OpenMode::kCreate).value();
  const std::array<ByteView, 4> pieces{as_byte_view("ab"), as_byte_view(""), as_byte_view("cde"), as_byte_view("f")};
  ASSERT_TRUE(file->write_at(2, pieces));
  EXPECT_EQ(file->size().value(), 8U);
  std::array<std::byte, 5> out{};
  EXPECT_EQ(file->read_at(3, out).value(), 5U);
  EXPECT_EQ(as_text(out), "bcdef");
  EXPECT_EQ(file->read_at(7, out).value(), 1U);
  EXPECT_EQ(file->read_at(100, out).value(), 0U);
}

TEST_P(FileSystemTest, SendsToASocketWhatItTakes) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, ends.data()), 0);
  const auto file = files_->open(path("f"), OpenMode::kCreate).value();
  Bytes content(3 << 20);
  for (size_t i = 0; i < content.size(); ++i) content[i] = static_cast<std::byte>(i * 31 + i / 256);
  ASSERT_TRUE(file->write_at(0, content));

  constexpr uint64_t kFrom = 1001;
  uint64_t at = kFrom;
  Bytes received;
  bool was_full = false;
  while (received.size() < content.size() - kFrom) {
    const auto sent = file->send_to(ends[0], at, content.size() - at + 1'000'000);
    if (at < content.size()) {
      ASSERT_TRUE(sent) << sent.error().message;
      at += *sent;
      if (*sent > 0) continue;
      was_full = true;
    }
    Bytes some(100'000);
    const ssize_t got = ::recv(ends[1], some.data(), some.size(), 0);
    ASSERT_GT(got, 0);
    received.insert(received.end(), some.begin(), some.begin() + got);
  }
  EXPECT_TRUE(was_full);
  EXPECT_TRUE(std::ranges::equal(received, ByteView(content).subspan(kFrom)));
  EXPECT_EQ(file->send_to(ends[0], content.size(), 10).error().code, Errc::kCorruption);

  signal(SIGPIPE, SIG_IGN);
  ::close(ends[1]);
  EXPECT_EQ(file->send_to(ends[0], 0, 10).error().code, Errc::kUnavailable);
  ::close(ends[0]);
}

TEST_P(FileSystemTest, WritesMorePiecesThanOneSystemCallTakes) {
  const auto file = files_->open(path("f"), OpenMode::kCreate).value();
  const std::string letters = "abcdefghij";
  std::vector<ByteView> pieces;
  std::string expected;
  for (size_t i = 0; i < 1000; ++i) {
    const std::string_view piece = std::string_view(letters).substr(0, i % 11);
    pieces.push_back(as_byte_view(piece));
    expected += piece;
  }
  ASSERT_TRUE(file->write_at(0, pieces));
  EXPECT_EQ(as_text(read("f")), expected);
}

TEST_P(FileSystemTest, AllocatesTruncatesAndCreatesAnew) {
  const auto file = files_->open(path("f"), OpenMode::kCreateEmpty).value();
  ASSERT_TRUE(file->allocate(0, 4096));
  EXPECT_EQ(file->size().value(), 4096U);
  ASSERT_TRUE(file->truncate(3));
  EXPECT_EQ(read("f"), Bytes(3));
  ASSERT_TRUE(file->sync_data());
  EXPECT_EQ(files_->open(path("f"), OpenMode::kCreateEmpty).value()->size().value(), 0U);
}

TEST_P(FileSystemTest, WritesWholeBlocksPastTheCache) {
  AlignedBuffer blocks;
  blocks.resize(3 * kDirectBlockBytes);
  ASSERT_TRUE(files_->open(path("f"), OpenMode::kCreateEmpty).value()->write_at(0, blocks.padded()));
  const auto file = files_->open(path("f"), OpenMode::kDirect).value();
  std::ranges::fill(blocks.bytes(), std::byte{7});
  ASSERT_TRUE(file->write_at(kDirectBlockBytes, blocks.padded().first(kDirectBlockBytes)));
  ASSERT_TRUE(file->sync_data());
  Bytes expected(3 * kDirectBlockBytes);
  std::fill_n(expected.begin() + kDirectBlockBytes, kDirectBlockBytes, std::byte{7});
  EXPECT_EQ(read("f"), expected);
  EXPECT_EQ(files_->open(path("none"), OpenMode::kDirect).error().code, Errc::kNotFound);
}

// As on a file system that opens files so and then takes no such write.
TEST(PosixFileSystem, ADirectWriteThatIsRefusedGoesThroughTheCache) {
  const auto folder = TemporaryFolder::make("env_test").value();
  PosixFileSystem files;
  const std::string path = folder->path("f");
  ASSERT_TRUE(files.open(path, OpenMode::kCreate));
  const auto file = files.open(path, OpenMode::kDirect).value();
  ASSERT_TRUE(file->write_at(3, as_byte_view("not a block")));
  ASSERT_TRUE(file->sync_data());
  EXPECT_EQ(as_text(read_file(files, path, 100).value()).substr(3), "not a block");
}

TEST_P(FileSystemTest, NamesMissingFilesAndDirectories) {
  const auto opened = files_->open(path("none"), OpenMode::kRead);
  ASSERT_FALSE(opened);
  EXPECT_EQ(opened.error().code, Errc::kNotFound);
  EXPECT_NE(opened.error().message.find(path("none")), std::string::npos);
  EXPECT_EQ(files_->open(path("no/file"), OpenMode::kCreate).error().code, Errc::kNotFound);
  EXPECT_EQ(files_->list(path("none")).error().code, Errc::kNotFound);
  EXPECT_EQ(files_->remove(path("none")).error().code, Errc::kNotFound);
  EXPECT_FALSE(files_->exists(path("none")).value());
  EXPECT_TRUE(files_->remove_all(path("none")));
}

TEST_P(FileSystemTest, MovesAndRemovesDirectoriesWithWhatTheyHold) {
  ASSERT_TRUE(files_->make_directories(path("a/b")));
  ASSERT_TRUE(files_->make_directories(path("a/b")));
  ASSERT_TRUE(write_file_atomically(*files_, path("a/b/f"), as_byte_view("x")));
  ASSERT_TRUE(files_->rename(path("a"), path("c")));
  EXPECT_EQ(as_text(read("c/b/f")), "x");
  const auto entries = files_->list(path("c")).value();
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].name, "b");
  EXPECT_TRUE(entries[0].is_directory);
  EXPECT_FALSE(files_->remove(path("c")));
  ASSERT_TRUE(files_->remove_all(path("c")));
  EXPECT_FALSE(files_->exists(path("c")).value());
}

TEST_P(FileSystemTest, GivesALockToOneHolderAtATime) {
  auto first = files_->lock(path("LOCK"));
  ASSERT_TRUE(first);
  EXPECT_EQ(files_->lock(path("LOCK")).error().code, Errc::kConflict);
  first->reset();
  EXPECT_TRUE(files_->lock(path("LOCK")));
}

TEST_P(FileSystemTest, EmptiesAFileThatWasThere) {
  for (const OpenMode mode : {OpenMode::kCreateEmpty, OpenMode::kCreatePrivate}) {
    ASSERT_TRUE(write_file_atomically(*files_, path("f"), as_byte_view("12345")));
    ASSERT_TRUE(files_->open(path("f"), mode).value()->write_at(0, as_byte_view("new")));
    EXPECT_EQ(as_text(read("f")), "new");
  }
}

TEST(PosixFileSystem, KeepsAPrivateFileToItsOwnerEvenWhereOneWasLeftOpenToAll) {
  const auto folder = *TemporaryFolder::make("env");
  PosixFileSystem files;
  const std::string path = folder->path("f");
  const auto others_may = [&](const std::string& file) {
    const auto granted = std::filesystem::status(file).permissions();
    return (granted & (std::filesystem::perms::group_all | std::filesystem::perms::others_all)) !=
           std::filesystem::perms::none;
  };
  ASSERT_TRUE(write_file_atomically(files, path + ".tmp", as_byte_view("what a crash left behind")));
  ASSERT_TRUE(write_file_atomically(files, path, as_byte_view("open")));
  EXPECT_TRUE(others_may(path));
  ASSERT_TRUE(write_file_atomically(files, path, as_byte_view("secret"), Readers::kOwner));
  EXPECT_FALSE(others_may(path));
  ASSERT_TRUE(write_file_atomically(files, path, as_byte_view("open again")));
  EXPECT_TRUE(others_may(path));
}

TEST_P(FileSystemTest, RefusesToReadMoreThanAllowed) {
  ASSERT_TRUE(write_file_atomically(*files_, path("f"), as_byte_view("12345")));
  EXPECT_EQ(read_file(*files_, path("f"), 4).error().code, Errc::kTooLarge);
  EXPECT_TRUE(read_file(*files_, path("f"), 5));
}

class CrashTest : public testing::Test {
 protected:
  void SetUp() override {
    ASSERT_TRUE(files_.make_directories("/d"));
    ASSERT_TRUE(files_.sync_directory("/"));
  }
  std::unique_ptr<File> make(const std::string& path, std::string_view text) {
    auto file = files_.open(path, OpenMode::kCreate).value();
    EXPECT_TRUE(file->write_at(0, as_byte_view(text)));
    return file;
  }

  FaultFileSystem files_;
  Random random_{1};
};

TEST_F(CrashTest, ForgetsWhatWasNotSynced) {
  const auto file = make("/d/f", "old");
  ASSERT_TRUE(file->sync_data());
  ASSERT_TRUE(files_.sync_directory("/d"));
  ASSERT_TRUE(file->write_at(0, as_byte_view("new, longer")));
  const auto unnamed = make("/d/g", "synced, but not its name");
  ASSERT_TRUE(unnamed->sync_data());
  files_.crash(FaultFileSystem::Unsynced::kDropped, random_);
  EXPECT_EQ(as_text(files_.content("/d/f")), "old");
  EXPECT_FALSE(files_.exists("/d/g").value());
  EXPECT_EQ(file->sync_data().error().code, Errc::kIo);
}

TEST_F(CrashTest, RestoresNamesThatWereChangedWithoutADirectorySync) {
  ASSERT_TRUE(make("/d/a", "a")->sync_data());
  ASSERT_TRUE(make("/d/b", "b")->sync_data());
  ASSERT_TRUE(files_.sync_directory("/d"));
  ASSERT_TRUE(files_.rename("/d/a", "/d/b"));
  files_.crash(FaultFileSystem::Unsynced::kDropped, random_);
  EXPECT_EQ(as_text(files_.content("/d/a")), "a");
  EXPECT_EQ(as_text(files_.content("/d/b")), "b");
}

TEST_F(CrashTest, KeepsEverythingWhereOnlyTheProcessDied) {
  make("/d/f", "unsynced");
  files_.crash(FaultFileSystem::Unsynced::kKept, random_);
  EXPECT_EQ(as_text(files_.content("/d/f")), "unsynced");
}

TEST_F(CrashTest, TearsWritesAtSectors) {
  bool torn = false;
  for (uint64_t seed = 0; seed < 50 && !torn; ++seed) {
    FaultFileSystem files;
    Random random(seed);
    const auto file = files.open("/f", OpenMode::kCreate).value();
    ASSERT_TRUE(file->sync_data());
    ASSERT_TRUE(files.sync_directory("/"));
    const std::string text(2048, 'x');
    ASSERT_TRUE(file->write_at(0, as_byte_view(text)));
    files.crash(FaultFileSystem::Unsynced::kRandom, random);
    const Bytes content = files.content("/f");
    EXPECT_EQ(content.size() % 512, 0U);
    torn = !content.empty() && as_text(content) != text;
  }
  EXPECT_TRUE(torn);
}

TEST_F(CrashTest, FailsFromTheChosenOperationOn) {
  const auto file = make("/d/f", "1");
  files_.power_off_after(1);
  EXPECT_TRUE(file->write_at(0, as_byte_view("2")));
  EXPECT_FALSE(file->write_at(0, as_byte_view("3")));
  EXPECT_FALSE(file->sync_data());
  files_.crash(FaultFileSystem::Unsynced::kKept, random_);
  EXPECT_EQ(as_text(files_.content("/d/f")), "2");
}

TEST_F(CrashTest, FailsTheChosenWriteHalfwayAndTheChosenSync) {
  const auto file = make("/d/f", "");
  files_.fail_write(2, FaultFileSystem::Fault::kOutOfSpace);
  EXPECT_TRUE(file->write_at(0, as_byte_view("aaaa")));
  EXPECT_EQ(file->write_at(4, as_byte_view("bbbb")).error().code, Errc::kOutOfSpace);
  EXPECT_EQ(as_text(files_.content("/d/f")), "aaaabb");
  EXPECT_TRUE(file->write_at(4, as_byte_view("bbbb")));
  files_.fail_sync(1);
  EXPECT_EQ(file->sync_data().error().code, Errc::kIo);
  EXPECT_TRUE(file->sync_data());
}

TEST_F(CrashTest, CountsReservedSpaceAgainstTheCapacity) {
  files_.set_capacity(100);
  const auto file = files_.open("/d/f", OpenMode::kCreate).value();
  ASSERT_TRUE(file->allocate(0, 90));
  EXPECT_TRUE(file->write_at(0, as_byte_view(std::string(90, 'x'))));
  EXPECT_EQ(file->write_at(90, as_byte_view(std::string(11, 'x'))).error().code, Errc::kOutOfSpace);
  EXPECT_EQ(files_.free_bytes("/d").value(), 10U);
  ASSERT_TRUE(files_.remove("/d/f"));
  EXPECT_EQ(files_.free_bytes("/d").value(), 100U);
}

}  // namespace
}  // namespace millrace::env
