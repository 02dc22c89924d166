#include "features/tumbling.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <tuple>

#include "base/random.h"
#include "features/internal/plan.h"

namespace millrace::features {
namespace {

using columns::Batch;
using columns::Column;
using columns::Field;
using columns::RowId;
using columns::Schema;
using columns::SchemaPtr;

constexpr columns::Type kMoney{columns::Kind::kDecimal, 12, 2};

SchemaPtr test_schema() {
  return std::make_shared<const Schema>(
      std::vector<Field>{{"country", columns::kVarchar}, {"year", columns::kBigint}, {"amount", kMoney}});
}

struct Row {
  std::optional<std::string> country;
  int64_t year = 0;
  std::optional<int64_t> amount;
  int64_t time_us = 0;
  int64_t watermark_us = INT64_MIN;
};

Batch to_batch(std::span<const Row> rows, size_t first_offset) {
  const SchemaPtr schema = test_schema();
  std::vector<Column> columns;
  for (const Field& field : schema->fields()) columns.emplace_back(field.type);
  std::vector<RowId> ids;
  for (const Row& row : rows) {
    row.country ? columns[0].append_text_copy(*row.country) : columns[0].append_null();
    columns[1].append_int64(row.year);
    row.amount ? columns[2].append_int64(*row.amount) : columns[2].append_null();
    ids.push_back({PartitionId(3), Offset(static_cast<int64_t>(first_offset++)), row.time_us});
  }
  return Batch(schema, share(std::move(columns)), std::move(ids));
}

std::vector<int64_t> watermarks_of(std::span<const Row> rows) {
  std::vector<int64_t> watermarks;
  for (const Row& row : rows) watermarks.push_back(row.watermark_us);
  return watermarks;
}

TumblingSpec test_spec(Gaps gaps = Gaps::kNone) {
  TumblingSpec spec;
  spec.by = {"country", "year"};
  spec.size_us = 100;
  spec.gaps = gaps;
  spec.aggregates = {{"n", Function::kCount, "", "", {}},           {"paid", Function::kCount, "amount", "", {}},
                     {"revenue", Function::kSum, "amount", "", {}}, {"mean", Function::kAvg, "amount", "", {}},
                     {"most", Function::kMax, "amount", "", {}},    {"sd", Function::kStddevPop, "amount", "", {}}};
  return spec;
}

std::unique_ptr<TumblingAggregate> make(const TumblingSpec& spec) {
  auto aggregate = TumblingAggregate::create(spec, test_schema());
  EXPECT_TRUE(aggregate) << (aggregate ? "" : aggregate.error().message);
  return std::move(aggregate).value();
}

class MemorySink final : public state::PageSink {
 public:
  void put(ByteView key, uint64_t page, ByteView value) override {
    pages[{std::string(as_text(key)), page}] = as_text(value);
  }
  void erase(ByteView key, uint64_t page) override { EXPECT_EQ(pages.erase({std::string(as_text(key)), page}), 1u); }
  std::map<std::pair<std::string, uint64_t>, std::string> pages;
};

std::vector<std::string> print(const Batch& batch) {
  std::vector<std::string> lines;
  for (size_t row = 0; row < batch.rows(); ++row) {
    std::string line = std::to_string(batch.row_id(row).offset.value());
    for (size_t c = 0; c < batch.schema().size(); ++c) {
      line += "|";
      if (batch.column(c).is_null(row)) line += "NULL";
      batch.column(c).append_text(row, line);
    }
    lines.push_back(line);
  }
  return lines;
}

std::vector<Row> make_stream(uint64_t seed, size_t count) {
  Random random(seed);
  std::vector<Row> rows;
  int64_t now = -500;
  int64_t newest = INT64_MIN;
  for (size_t i = 0; i < count; ++i) {
    now += static_cast<int64_t>(random.below(20));
    if (random.chance(0.01)) now += 700;
    Row row;
    row.time_us = now - static_cast<int64_t>(random.below(150));
    row.watermark_us = newest == INT64_MIN ? INT64_MIN : newest - 50;
    newest = std::max(newest, row.time_us);
    if (!random.chance(0.1)) row.country = std::string(random.below(3), 'x');
    row.year = 2010 + static_cast<int64_t>(random.below(2));
    if (!random.chance(0.1)) row.amount = static_cast<int64_t>(random.below(10'000)) - 1'000;
    rows.push_back(row);
  }
  return rows;
}

// Cuts the stream into random batches; now and then saves everything, throws it away and restores it.
std::vector<std::string> run(const TumblingSpec& spec, std::span<const Row> rows, uint64_t cut_seed, bool restarts) {
  Random random(cut_seed);
  auto aggregate = make(spec);
  MemorySink sink;
  std::vector<std::string> lines;
  for (size_t begin = 0; begin < rows.size();) {
    const size_t count = std::min<size_t>(1 + random.below(50), rows.size() - begin);
    const auto part = rows.subspan(begin, count);
    const auto out = aggregate->process(to_batch(part, begin), watermarks_of(part));
    EXPECT_TRUE(out);
    EXPECT_EQ(out->taken + out->dropped + out->rejected.size(), count);
    for (std::string& line : print(out->batch)) lines.push_back(std::move(line));
    begin += count;
    if (!restarts || !random.chance(0.4)) continue;
    aggregate->collect(sink);
    aggregate = make(spec);
    for (const auto& [place, value] : sink.pages)
      EXPECT_TRUE(aggregate->restore(as_byte_view(place.first), place.second, as_byte_view(value)));
  }
  const auto out = aggregate->finish(PartitionId(3), Offset(static_cast<int64_t>(rows.size())));
  EXPECT_TRUE(out);
  for (std::string& line : print(out->batch)) lines.push_back(std::move(line));
  aggregate->collect(sink);
  if (restarts && spec.gaps == Gaps::kNone) {
    EXPECT_TRUE(sink.pages.empty());
  }
  return lines;
}

TEST(TumblingAggregate, EqualsTheDefinitionComputedOverTheWholeInput) {
  for (uint64_t seed = 1; seed <= 4; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    const std::vector<Row> rows = make_stream(seed, 1'500);
    // count, values, sum, max of each window
    std::map<std::tuple<int64_t, std::optional<std::string>, int64_t>, std::tuple<int64_t, int64_t, int64_t, int64_t>>
        model;
    for (const Row& row : rows) {
      const int64_t window = row.time_us / 100 - (row.time_us % 100 < 0 ? 1 : 0);
      if (row.watermark_us != INT64_MIN && (window + 1) * 100 <= row.watermark_us) continue;  // closed
      auto [place, added] = model.try_emplace({window, row.country, row.year}, 0, 0, 0, INT64_MIN);
      auto& [n, paid, sum, most] = place->second;
      ++n;
      if (!row.amount) continue;
      ++paid;
      sum += *row.amount;
      most = std::max(most, *row.amount);
    }
    auto aggregate = make(test_spec());
    std::vector<Batch> batches;
    batches.push_back(aggregate->process(to_batch(rows, 0), watermarks_of(rows)).value().batch);
    batches.push_back(aggregate->finish(PartitionId(3), Offset(9999)).value().batch);
    EXPECT_EQ(aggregate->open_windows(), 0u);
    int64_t last_start = INT64_MIN;
    for (const Batch& batch : batches)
      for (size_t row = 0; row < batch.rows(); ++row) {
        const int64_t start = batch.find("window_start")->int64s()[row];
        EXPECT_GE(start, last_start);
        last_start = start;
        EXPECT_EQ(batch.find("window_end")->int64s()[row], start + 100);
        EXPECT_EQ(batch.row_id(row).event_time_us, start + 100);
        std::optional<std::string> country;
        if (batch.column(0).is_valid(row)) country = batch.column(0).texts()[row];
        const auto found = model.find({start / 100, country, batch.column(1).int64s()[row]});
        ASSERT_NE(found, model.end());
        const auto [n, paid, sum, most] = found->second;
        EXPECT_EQ(batch.find("n")->int64s()[row], n);
        EXPECT_EQ(batch.find("paid")->int64s()[row], paid);
        EXPECT_EQ(batch.find("revenue")->int64s()[row], sum);
        ASSERT_EQ(batch.find("most")->is_valid(row), paid > 0);
        if (paid > 0) {
          EXPECT_EQ(batch.find("most")->int64s()[row], most);
          EXPECT_DOUBLE_EQ(batch.find("mean")->doubles()[row],
                           static_cast<double>(sum) / 100 / static_cast<double>(paid));
        }
        model.erase(found);
      }
    EXPECT_TRUE(model.empty());
  }
}

TEST(TumblingAggregate, DoesNotDependOnBatchesNorOnSavingAndRestoringInBetween) {
  for (const Gaps gaps : {Gaps::kNone, Gaps::kZero})
    for (uint64_t seed = 11; seed <= 14; ++seed) {
      SCOPED_TRACE("seed " + std::to_string(seed));
      const std::vector<Row> rows = make_stream(seed, 800);
      const auto whole = run(test_spec(gaps), rows, 1, false);
      EXPECT_EQ(run(test_spec(gaps), rows, 2, false), whole);
      EXPECT_EQ(run(test_spec(gaps), rows, 3, true), whole);
    }
}

TEST(TumblingAggregate, FillsGapsWithZeroWhenAsked) {
  auto aggregate = make(test_spec(Gaps::kZero));
  const Row rows[] = {{.country = "UK", .year = 2010, .amount = 500, .time_us = 50},
                      {.country = "UK", .year = 2010, .amount = 700, .time_us = 350, .watermark_us = 50}};
  ASSERT_EQ(aggregate->process(to_batch(rows, 0), watermarks_of(rows)).value().batch.rows(), 0u);
  const Batch closed = aggregate->advance(400, PartitionId(3), Offset(2)).value().batch;
  ASSERT_EQ(closed.rows(), 4u);
  const auto n = closed.find("n")->int64s();
  EXPECT_EQ(std::vector<int64_t>(n.begin(), n.end()), (std::vector<int64_t>{1, 0, 0, 1}));
  EXPECT_EQ(closed.find("revenue")->int64s()[1], 0);
  EXPECT_TRUE(closed.find("mean")->is_null(1));
  EXPECT_EQ(closed.find("window_start")->int64s()[2], 200);
  EXPECT_EQ(aggregate->advance(600, PartitionId(3), Offset(2)).value().batch.rows(), 2u);
}

TEST(TumblingAggregate, DoesNotFillAnEra) {
  auto aggregate = make(test_spec(Gaps::kZero));
  const Row rows[] = {{.country = "UK", .time_us = 50},
                      {.country = "UK", .time_us = 100'000'000, .watermark_us = 50},
                      {.country = "UK", .time_us = 100'000'001, .watermark_us = 100'000'000}};
  EXPECT_EQ(aggregate->process(to_batch(rows, 0), watermarks_of(rows)).value().batch.rows(), 1u);
}

// Rows that move the watermark may be filtered out before they come here, so that it is ahead of all that came.
TEST(TumblingAggregate, FillsGapsAlikeWhereverTheWatermarkIsAdvanced) {
  const std::vector<Row> rows = {{.country = "UK", .time_us = 50},
                                 {.country = "UK", .time_us = 60, .watermark_us = 550},  // late
                                 {.country = "UK", .time_us = 650, .watermark_us = 560},
                                 {.country = "UK", .time_us = 850, .watermark_us = 760}};
  const auto counts = [](const std::vector<Batch>& batches) {
    std::vector<std::pair<int64_t, int64_t>> counts;
    for (const Batch& batch : batches)
      for (size_t row = 0; row < batch.rows(); ++row)
        counts.emplace_back(batch.find("window_start")->int64s()[row], batch.find("n")->int64s()[row]);
    return counts;
  };
  auto whole = make(test_spec(Gaps::kZero));
  std::vector<Batch> at_once = {whole->process(to_batch(rows, 0), watermarks_of(rows)).value().batch};
  auto stepwise = make(test_spec(Gaps::kZero));
  std::vector<Batch> in_steps;
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::span<const Row> one(&rows[i], 1);
    if (i > 0)
      in_steps.push_back(
          stepwise->advance(rows[i].watermark_us, PartitionId(3), Offset(static_cast<int64_t>(i))).value().batch);
    in_steps.push_back(stepwise->process(to_batch(one, i), watermarks_of(one)).value().batch);
  }
  const std::vector<std::pair<int64_t, int64_t>> expected = {{0, 1},   {100, 0}, {200, 0}, {300, 0},
                                                             {400, 0}, {500, 0}, {600, 1}};
  EXPECT_EQ(counts(at_once), expected);
  EXPECT_EQ(counts(in_steps), expected);
}

TEST(TumblingAggregate, RejectsTimesThatNoWindowHolds) {
  const Row rows[] = {{.country = "UK", .time_us = INT64_MAX},
                      {.country = "UK", .time_us = INT64_MIN},
                      {.country = "UK", .time_us = 3'000'000'000'000'000'000},  // nanoseconds taken for microseconds
                      {.country = "UK", .time_us = 50}};
  auto aggregate = make(test_spec(Gaps::kZero));
  const Aggregated taken = aggregate->process(to_batch(rows, 0), watermarks_of(rows)).value();
  EXPECT_EQ(taken.taken, 1u);
  ASSERT_EQ(taken.rejected.size(), 3u);
  EXPECT_NE(taken.rejected[2].error.message.find("too far"), std::string::npos);
  MemorySink sink;
  aggregate->collect(sink);
  auto restored = make(test_spec(Gaps::kZero));
  for (const auto& [place, value] : sink.pages)
    ASSERT_TRUE(restored->restore(as_byte_view(place.first), place.second, as_byte_view(value)));
  EXPECT_EQ(restored->open_windows(), 1u);
}

TEST(TumblingAggregate, SignaturesTellDefinitionsApart) {
  const auto signature = [](std::vector<Aggregate> aggregates) {
    TumblingSpec spec = test_spec();
    spec.aggregates = std::move(aggregates);
    return make(spec)->signature();
  };
  const uint64_t sums = signature({{"total", Function::kSum, "amount", "", {}}});
  EXPECT_EQ(signature({{"renamed", Function::kAvg, "amount", "", 7.0}}), sums) << "of the same totals";
  EXPECT_NE(signature({{"total", Function::kSum, "amount", "", {}}, {"most", Function::kMax, "amount", "", {}}}), sums)
      << "a window that is open does not know its maximum";
  EXPECT_NE(signature({{"total", Function::kSum, "year", "", {}}}), sums);
  TumblingSpec spec = test_spec();
  const uint64_t before = make(spec)->signature();
  spec.size_us = 200;
  EXPECT_NE(make(spec)->signature(), before);
}

TEST(TumblingAggregate, DropsOrRejectsRowsOfClosedWindowsOnly) {
  const Row rows[] = {{.country = "UK", .time_us = 50},
                      {.country = "UK", .time_us = 210, .watermark_us = 50},
                      {.country = "UK", .time_us = 60, .watermark_us = 210},    // its window has closed
                      {.country = "UK", .time_us = 205, .watermark_us = 210}};  // late, but its window is open
  TumblingSpec spec = test_spec();
  const Aggregated dropped = make(spec)->process(to_batch(rows, 0), watermarks_of(rows)).value();
  EXPECT_EQ(dropped.taken, 3u);
  EXPECT_EQ(dropped.dropped, 1u);
  EXPECT_TRUE(dropped.rejected.empty());
  ASSERT_EQ(dropped.batch.rows(), 1u);
  EXPECT_EQ(dropped.batch.row_id(0).offset, Offset(2)) << "the row whose watermark closed it";
  spec.late = LateForWindow::kReject;
  const Aggregated rejected = make(spec)->process(to_batch(rows, 0), watermarks_of(rows)).value();
  ASSERT_EQ(rejected.rejected.size(), 1u);
  EXPECT_EQ(rejected.rejected[0].row, 2u);
  EXPECT_NE(rejected.rejected[0].error.message.find("late"), std::string::npos);
}

TEST(TumblingAggregate, GroupsEverythingTogetherWithoutBy) {
  TumblingSpec spec = test_spec();
  spec.by.clear();
  auto aggregate = make(spec);
  const Row rows[] = {{.country = "UK", .time_us = 50}, {.country = "FR", .time_us = 60}};
  ASSERT_TRUE(aggregate->process(to_batch(rows, 0), watermarks_of(rows)));
  const Batch closed = aggregate->finish(PartitionId(3), Offset(2)).value().batch;
  ASSERT_EQ(closed.rows(), 1u);
  EXPECT_EQ(closed.find("n")->int64s()[0], 2);
}

TEST(TumblingAggregate, RefusesDamagedPages) {
  auto aggregate = make(test_spec());
  const Row rows[] = {{.country = "UK", .amount = 5, .time_us = 50}};
  ASSERT_TRUE(aggregate->process(to_batch(rows, 0), watermarks_of(rows)));
  MemorySink sink;
  aggregate->collect(sink);
  ASSERT_EQ(sink.pages.size(), 1u);
  const auto& [place, value] = *sink.pages.begin();
  for (size_t cut = 0; cut < value.size(); ++cut)
    EXPECT_FALSE(make(test_spec())->restore(as_byte_view(place.first), place.second, as_byte_view(value).first(cut)));
  for (size_t cut = 0; cut < place.first.size() - 10; ++cut)
    EXPECT_FALSE(make(test_spec())->restore(as_byte_view(place.first).first(cut), place.second, as_byte_view(value)));
}

}  // namespace
}  // namespace millrace::features
