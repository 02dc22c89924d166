#include "broker/settings.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

namespace millrace::broker {
namespace {

TEST(Settings, EveryDefaultIsWithinItsOwnBoundsAndReadsBack) {
  const Settings defaults;
  for (const SettingInfo& info : setting_infos()) {
    Settings settings;
    const auto value = setting_value(defaults, info.name);
    EXPECT_TRUE(set_setting(settings, info.name, value)) << info.name;
    EXPECT_EQ(setting_value(settings, info.name), value) << info.name;
    EXPECT_FALSE(info.documentation.empty()) << info.name;
  }
}

TEST(Settings, SizesMayCarryUnits) {
  Settings settings;
  ASSERT_TRUE(set_setting(settings, "log.segment.bytes", "64MB"));
  EXPECT_EQ(settings.segment_bytes, 64 << 20);
}

TEST(Settings, AnUnknownNameIsRefusedWithTheNearest) {
  Settings settings;
  const auto status = set_setting(settings, "log.segment.byte", "1");
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::kInvalidArgument);
  EXPECT_NE(status.error().hint.find("log.segment.bytes"), std::string::npos) << status.error().hint;
}

TEST(Settings, ValuesOutOfBoundsOrOfAnotherTypeAreRefused) {
  Settings settings;
  EXPECT_FALSE(set_setting(settings, "num.partitions", "0"));
  EXPECT_FALSE(set_setting(settings, "num.partitions", "many"));
  EXPECT_FALSE(set_setting(settings, "auto.create.topics.enable", "1"));
  EXPECT_EQ(settings.num_partitions, 1);
  EXPECT_TRUE(settings.auto_create_topics);
}

TEST(Settings, TheManualHasTheTableOfThisBuild) {
  std::ifstream manual(MILLRACE_SOURCE_DIR "/docs/manual/broker.md");
  ASSERT_TRUE(manual);
  std::stringstream text;
  text << manual.rdbuf();
  EXPECT_NE(text.str().find(settings_reference()), std::string::npos)
      << "the table in docs/manual/broker.md should be\n"
      << settings_reference();
}

}  // namespace
}  // namespace millrace::broker
