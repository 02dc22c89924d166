#include "app/output.h"

#include <gtest/gtest.h>

#include <sstream>

namespace millrace::app {
namespace {

const Listing kListing{
    {"topic", "records"},
    {{std::string("orders"), int64_t{12}}, {std::string("中文, \"x\""), std::monostate{}}},
    "no topics yet",
};

std::string rendered(const Listing& listing, OutputFormat format) {
  std::ostringstream out, notes;
  print(listing, format, out, notes);
  return out.str();
}

TEST(Output, TableAlignsNumbersRightAndCountsWideCharactersAsTwo) {
  EXPECT_EQ(rendered(kListing, OutputFormat::kTable),
            "TOPIC      RECORDS\n"
            "orders          12\n"
            "中文, \"x\"\n");
}

TEST(Output, JsonKeepsNumbersAndNulls) {
  EXPECT_EQ(rendered(kListing, OutputFormat::kJson),
            "[{\"topic\":\"orders\",\"records\":12},{\"topic\":\"中文, \\\"x\\\"\",\"records\":null}]\n");
}

TEST(Output, CsvQuotesAsRfc4180Says) {
  EXPECT_EQ(rendered(kListing, OutputFormat::kCsv), "topic,records\r\norders,12\r\n\"中文, \"\"x\"\"\",\r\n");
}

TEST(Output, YamlQuotesEveryText) {
  EXPECT_EQ(rendered(kListing, OutputFormat::kYaml),
            "- topic: \"orders\"\n  records: 12\n- topic: \"中文, \\\"x\\\"\"\n  records: null\n");
}

TEST(Output, AnEmptyTableSaysHowToFillItOnStderr) {
  std::ostringstream out, notes;
  print({{"topic"}, {}, "no topics yet"}, OutputFormat::kTable, out, notes);
  EXPECT_EQ(out.str(), "");
  EXPECT_EQ(notes.str(), "no topics yet\n");
}

TEST(Output, ControlCharactersInDataDoNotReachTheTerminal) {
  EXPECT_EQ(rendered({{"v"}, {{std::string("a\x1b[31m\n")}}, ""}, OutputFormat::kTable), "V\na\\x1b[31m\\n\n");
}

}  // namespace
}  // namespace millrace::app
