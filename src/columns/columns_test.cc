#include <gtest/gtest.h>

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
