#include "app/data_folder.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>

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
  ASSERT_TRUE(write_server_addresses(
      folder->path(), {.pid = ::getpid(), .kafka = "127.0.0.1:1", .http = "[::1]:2", .token = "secret"}));
  const auto found = running_server(folder->path());
  ASSERT_TRUE(found);
  EXPECT_EQ(found->pid, ::getpid());
  EXPECT_EQ(found->kafka, "127.0.0.1:1");
  EXPECT_EQ(found->http, "[::1]:2");
  EXPECT_EQ(found->token, "secret");
  remove_server_addresses(folder->path());
  EXPECT_FALSE(running_server(folder->path()));
}

TEST(DataFolder, DoesNotTakeAnotherProcessWithADeadServersNumberForIt) {
  const auto folder = *env::TemporaryFolder::make("data_folder");
  ASSERT_TRUE(write_server_addresses(folder->path(), {.pid = ::getpid(), .kafka = "k", .http = "h", .token = ""}));
  std::string text = read(folder->path("server.json"));
  const std::string_view key = "\"started_ticks\":";
  const size_t at = text.find(key);
  ASSERT_NE(at, std::string::npos) << text;
  text.insert(at + key.size(), "1");
  std::ofstream(folder->path("server.json"), std::ios::trunc) << text;
  EXPECT_FALSE(running_server(folder->path())) << text;
}

}  // namespace
}  // namespace millrace::app
