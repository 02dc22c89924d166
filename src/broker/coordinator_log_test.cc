#include "broker/internal/coordinator_log.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "base/fake_clock.h"
#include "base/random.h"
#include "base/uuid.h"
#include "env/fault_file_system.h"
#include "log/store.h"

namespace millrace::broker {
namespace {

class CoordinatorLogTest : public testing::Test {
 protected:
  void SetUp() override {
    log::StoreOptions options;
    options.dir = "/data";
    options.single_threaded = true;
    // Each record is written into a segment's file of its own.
    options.segment_bytes = 100;
    options.tail_bytes = 0;
    auto opened = log::Store::open(options, files, clock, random);
    ASSERT_TRUE(opened) << opened.error().message;
    store = std::move(*opened);
    one = make_topic("one");
    two = make_topic("two");
  }
  std::shared_ptr<log::Partition> make_topic(const std::string& name) {
    return store->create_topic({.name = name, .id = Uuid::random(random), .partitions = 1, .config = {}})
        .value()
        ->partitions.at(0);
  }
  // A record for each.
  CoordinatorWrite to_both() const {
    CoordinatorWrite write(0);
    for (const auto& partition : {one, two}) write.add_record(partition, {.key = Bytes(8), .value = Bytes(80)});
    return write;
  }
  static constexpr Offset kOneRecord{1};
  log::Room none;

  FakeClock clock;
  Random random{1};
  env::FaultFileSystem files;
  std::unique_ptr<log::Store> store;
  std::shared_ptr<log::Partition> one;
  std::shared_ptr<log::Partition> two;
};

TEST_F(CoordinatorLogTest, WhatWasForADeletedTopicIsLeftOut) {
  CoordinatorWrite write = to_both();
  ASSERT_TRUE(store->delete_topic("two"));
  const auto written = write.append(*store, none);
  ASSERT_TRUE(written) << written.error().message;
  EXPECT_EQ(one->log_end_offset(), kOneRecord);
}

TEST_F(CoordinatorLogTest, NothingIsAppendedWhereATopicsFilesAreGone) {
  ASSERT_TRUE(to_both().append(*store, none));
  ASSERT_TRUE(files.remove_all("/data/topics/two-0"));
  EXPECT_FALSE(to_both().append(*store, none));
  EXPECT_EQ(one->log_end_offset(), kOneRecord);
  EXPECT_EQ(two->log_end_offset(), kOneRecord);
}

}  // namespace
}  // namespace millrace::broker
