#include <gtest/gtest.h>

#include <cstdio>
#include <ctime>

#include <cmath>

#include "columns/batch.h"

namespace millrace::columns {
namespace {

std::string text_of(const Column& column, size_t row) {
  std::string out;
  column.append_text(row, out);
  return out;
}

TEST(Type, ReadsSynonymsAndWritesOneName) {
  EXPECT_EQ(Type::parse("INTEGER")->to_string(), "bigint");
  EXPECT_EQ(Type::parse("decimal(12, 2)")->to_string(), "decimal(12,2)");
  EXPECT_EQ(Type::parse(" text ")->to_string(), "varchar");
}

TEST(Type, RefusesUnknownOnesWithTheNearestName) {
  EXPECT_EQ(Type::parse("timestmp").error().hint, "did you mean timestamp?");
  for (const char* bad : {"", "decimal(19,2)", "decimal(2,3)", "decimal(2", "bigint(3)", "decimal(1,1,1)"})
    EXPECT_FALSE(Type::parse(bad).has_value()) << bad;
}

TEST(Column, HoldsNullsApartFromZeros) {
  Column column(kBigint);
  for (int i = 0; i < 130; ++i) i % 3 == 0 ? column.append_null() : column.append_int64(0);
  EXPECT_EQ(column.null_count(), 44u);
  for (size_t i = 0; i < 130; ++i) EXPECT_EQ(column.is_null(i), i % 3 == 0) << i;
  EXPECT_TRUE(std::isnan(column.as_double(0)));
  EXPECT_EQ(column.as_double(1), 0.0);
}

TEST(Column, WritesValuesAsUsersSeeThem) {
  Column money(Type{Kind::kDecimal, 12, 2});
  money.append_int64(-5);
  money.append_int64(123456);
  EXPECT_EQ(text_of(money, 0), "-0.05");
  EXPECT_EQ(text_of(money, 1), "1234.56");
  EXPECT_EQ(money.as_double(1), 1234.56);

  Column time(kTimestamp);
  time.append_int64(1'767'225'600'250'000);
  time.append_int64(-1);
  EXPECT_EQ(text_of(time, 0), "2026-01-01T00:00:00.25Z");
  EXPECT_EQ(text_of(time, 1), "1969-12-31T23:59:59.999999Z");

  Column number(kDouble);
  number.append_double(0.1);
  EXPECT_EQ(text_of(number, 0), "0.1");
}

TEST(Column, WritesEveryTimeAsTheCalendarHasIt) {
  EXPECT_EQ(format_timestamp(0), "1970-01-01T00:00:00Z");
  EXPECT_EQ(format_timestamp(-1), "1969-12-31T23:59:59.999999Z");
  EXPECT_EQ(format_timestamp(951'782'400'000'000), "2000-02-29T00:00:00Z");
  EXPECT_EQ(format_timestamp(4'107'542'400'500'000), "2100-03-01T00:00:00.5Z");
  EXPECT_EQ(format_timestamp(-62'167'219'200'000'000), "0000-01-01T00:00:00Z");
  EXPECT_EQ(format_timestamp(253'402'300'799'000'000), "9999-12-31T23:59:59Z");
  // Against the C library's calendar, a day and some at a time.
  for (int64_t second = -62'000'000'000; second < 253'000'000'000; second += 86'400 * 97 + 3'599) {
    const auto time = static_cast<std::time_t>(second);
    std::tm parts{};
    ::gmtime_r(&time, &parts);
    char text[32];
    std::snprintf(text, sizeof(text), "%04d-%02d-%02dT%02d:%02d:%02dZ", parts.tm_year + 1900, parts.tm_mon + 1,
                  parts.tm_mday, parts.tm_hour, parts.tm_min, parts.tm_sec);
    ASSERT_EQ(format_timestamp(second * 1'000'000), text);
  }
}

TEST(Column, GatherPicksRowsOfEveryType) {
  for (const Type type : {kBoolean, kBigint, kDouble, kTimestamp, kVarchar, Type{Kind::kDecimal, 9, 2}}) {
    Column column(type);
    for (int64_t i = 0; i < 200; ++i) {
      if (i % 3 == 0)
        column.append_null();
      else if (type == kBoolean)
        column.append_boolean(i % 2 == 0);
      else if (type == kDouble)
        column.append_double(static_cast<double>(i));
      else if (type == kVarchar)
        column.append_text_copy(std::to_string(i));
      else
        column.append_int64(i);
    }
    const std::vector<uint32_t> rows{199, 0, 64, 65, 64, 3, 100};
    const ColumnPtr picked = column.gather(rows);
    ASSERT_EQ(picked->size(), rows.size());
    EXPECT_EQ(picked->null_count(), 2u);
    for (size_t i = 0; i < rows.size(); ++i) {
      std::string expected, got;
      column.append_text(rows[i], expected);
      picked->append_text(i, got);
      EXPECT_EQ(got, expected);
      EXPECT_EQ(picked->is_null(i), column.is_null(rows[i]));
    }
    EXPECT_EQ(column.gather(std::vector<uint32_t>{})->size(), 0u);
  }
}

TEST(Column, GatheredTextOutlivesItsSource) {
  ColumnPtr gathered;
  {
    Column names(kVarchar);
    names.append_text_copy("a");
    names.append_null();
    names.append_text_copy(std::string(100'000, 'x'));
    const uint32_t rows[] = {2, 1, 0, 2};
    gathered = names.gather(rows);
  }
  EXPECT_EQ(gathered->size(), 4u);
  EXPECT_EQ(gathered->texts()[0].size(), 100'000u);
  EXPECT_TRUE(gathered->is_null(1));
  EXPECT_EQ(gathered->texts()[2], "a");
}

TEST(Batch, GatherKeepsRowIdentity) {
  auto numbers = std::make_shared<Column>(kBigint);
  std::vector<RowId> ids;
  for (int64_t i = 0; i < 4; ++i) {
    numbers->append_int64(i * 10);
    ids.push_back({PartitionId(1), Offset(100 + i), i});
  }
  const Batch batch(std::make_shared<const Schema>(std::vector<Field>{{"n", kBigint}}), {numbers}, ids);
  const uint32_t rows[] = {3, 1};
  const Batch picked = batch.gather(rows);
  ASSERT_EQ(picked.rows(), 2u);
  EXPECT_EQ(picked.row_id(0).offset, Offset(103));
  EXPECT_EQ(picked.find("n")->int64s()[1], 10);
  EXPECT_EQ(picked.find("absent"), nullptr);
}

}  // namespace
}  // namespace millrace::columns
