#include "app/data_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>

#include "base/uuid.h"
#include "env/fault_file_system.h"
#include "env/posix_file_system.h"
#include "env/temporary_folder.h"

namespace millrace::app {
namespace {

std::string read(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

TEST(DataFolder, FindsTheServerThatWroteItsAddresses) {
  const auto folder = *env::TemporaryFolder::make("data_folder");
  EXPECT_FALSE(running_server(folder->path()));
  env::PosixFileSystem files;
  ASSERT_TRUE(write_server_addresses(
      files, folder->path(), {.pid = ::getpid(), .kafka = "127.0.0.1:1", .http = "[::1]:2", .token = "secret"}));
  const auto found = running_server(folder->path());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, ::getpid());
  EXPECT_EQ(found->kafka, "127.0.0.1:1");
  EXPECT_EQ(found->http, "[::1]:2");
  EXPECT_EQ(found->token, "secret");
  using std::filesystem::perms;
  EXPECT_EQ(std::filesystem::status(folder->path("server.json")).permissions(), perms::owner_read | perms::owner_write);
  remove_server_addresses(folder->path());
  EXPECT_FALSE(running_server(folder->path()));
}

TEST(DataFolder, DoesNotTakeAnotherProcessWithADeadServersNumberForIt) {
  const auto folder = *env::TemporaryFolder::make("data_folder");
  env::PosixFileSystem files;
  ASSERT_TRUE(
      write_server_addresses(files, folder->path(), {.pid = ::getpid(), .kafka = "k", .http = "h", .token = ""}));
  std::string text = read(folder->path("server.json"));
  const std::string_view key = "\"started_ticks\":";
  const size_t at = text.find(key);
  ASSERT_NE(at, std::string::npos) << text;
  text.insert(at + key.size(), "1");
  std::ofstream(folder->path("server.json"), std::ios::trunc) << text;
  EXPECT_FALSE(running_server(folder->path())) << text;
}

TEST(DataFolder, KeepsItsInstanceThroughACrash) {
  env::FaultFileSystem files;
  Random random(1);
  ASSERT_TRUE(files.make_directories("/data"));
  ASSERT_TRUE(files.sync_directory("/"));
  const auto made = instance_id(files, "/data", random);
  ASSERT_TRUE(made) << made.error().message;
  files.crash(env::FaultFileSystem::Unsynced::kDropped, random);
  const auto found = instance_id(files, "/data", random);
  ASSERT_TRUE(found) << found.error().message;
  EXPECT_EQ(*found, *made);
}

TEST(DataFolder, MakesAnInstanceAnewWhereTheFileHoldsNone) {
  env::FaultFileSystem files;
  Random random(1);
  ASSERT_TRUE(files.make_directories("/data"));
  ASSERT_TRUE(env::write_file_atomically(files, "/data/instance", as_byte_view("none\n")));
  const auto made = instance_id(files, "/data", random);
  ASSERT_TRUE(made) << made.error().message;
  EXPECT_TRUE(Uuid::parse(*made)) << *made;
  EXPECT_EQ(instance_id(files, "/data", random).value(), *made);
}

}  // namespace
}  // namespace millrace::app
