#include "env/process_stats.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <thread>

namespace millrace::env {
namespace {

TEST(ProcessStats, FollowWhatTheProcessTakes) {
  const auto before = process_stats();
  ASSERT_TRUE(before) << before.error().message;
  EXPECT_GT(before->resident_bytes, 0u);
  EXPECT_GE(before->virtual_bytes, before->resident_bytes);
  EXPECT_GE(before->threads, 1u);
  EXPECT_GT(before->open_files_max, before->open_files);

  const int file = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(file, 0);
  EXPECT_EQ(process_stats()->open_files, before->open_files + 1);
  ::close(file);
  EXPECT_EQ(process_stats()->open_files, before->open_files);
  EXPECT_GE(process_stats()->cpu_s, before->cpu_s);
}

}  // namespace
}  // namespace millrace::env
