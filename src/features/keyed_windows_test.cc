#include "features/keyed_windows.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
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
using columns::Type;

constexpr Type kMoney{columns::Kind::kDecimal, 12, 2};

SchemaPtr test_schema() {
  return std::make_shared<const Schema>(std::vector<Field>{{"card", columns::kVarchar},
                                                           {"amount", kMoney},
                                                           {"score", columns::kDouble},
                                                           {"n", columns::kBigint},
                                                           {"declined", columns::kBoolean},
                                                           {"country", columns::kVarchar}});
}

struct Row {
  std::optional<std::string> card;
  std::optional<int64_t> amount;
  std::optional<double> score;
  std::optional<int64_t> n;
  std::optional<bool> declined;
  std::optional<std::string> country;
  int64_t time_us = 0;
  int64_t offset = 0;
  int64_t watermark_us = INT64_MIN;
};

Batch to_batch(const SchemaPtr& schema, std::span<const Row> rows) {
  std::vector<Column> columns;
  for (const Field& field : schema->fields()) columns.emplace_back(field.type);
  std::vector<RowId> ids;
  for (const Row& row : rows) {
    row.card ? columns[0].append_text_copy(*row.card) : columns[0].append_null();
    row.amount ? columns[1].append_int64(*row.amount) : columns[1].append_null();
    row.score ? columns[2].append_double(*row.score) : columns[2].append_null();
    row.n ? columns[3].append_int64(*row.n) : columns[3].append_null();
    row.declined ? columns[4].append_boolean(*row.declined) : columns[4].append_null();
    row.country ? columns[5].append_text_copy(*row.country) : columns[5].append_null();
    ids.push_back({PartitionId(0), Offset(row.offset), row.time_us});
  }
  return Batch(schema, share(std::move(columns)), std::move(ids));
}

std::vector<int64_t> watermarks_of(std::span<const Row> rows) {
  std::vector<int64_t> watermarks;
  for (const Row& row : rows) watermarks.push_back(row.watermark_us);
  return watermarks;
}

FeatureSpec test_spec() {
  FeatureSpec spec;
  spec.keys = {"card"};
  spec.windows = {{"10", 10}, {"100", 100}, {"1k", 1000}};
  spec.aggregates = {
      {{"rows", Function::kCount, "", "", {}}, {}},
      {{"declined", Function::kCount, "", "declined", {}}, {{"50", 50}}},
      {{"seen", Function::kCount, "country", "", {}}, {}},
      {{"spent", Function::kSum, "amount", "", {}}, {}},
      {{"mean", Function::kAvg, "amount", "", 0.0}, {}},
      {{"lost", Function::kSum, "amount", "declined", {}}, {}},
      {{"low", Function::kMin, "amount", "", {}}, {}},
      {{"high", Function::kMax, "score", "", -1.5}, {}},
      {{"total", Function::kSum, "score", "", {}}, {}},
      {{"sd", Function::kStddev, "score", "", {}}, {}},
      {{"sdp", Function::kStddevPop, "n", "", {}}, {}},
      {{"var", Function::kVar, "amount", "declined", {}}, {}},
  };
  spec.last = {{"last_country", "country"}, {"last_amount", "amount"}, {"last_score", "score"}};
  spec.lateness_us = 100;
  spec.forget_us = 5000;
  return spec;
}

// Everything a row's features may be, as the definition has it: NULL is nullopt.
using Values = std::vector<std::optional<double>>;

double scale_of(const Type& type) {
  return type.kind == columns::Kind::kDecimal ? static_cast<double>(columns::power_of_ten(type.scale)) : 1;
}

std::optional<double> input_value(const Row& row, const std::string& column) {
  if (column == "amount" && row.amount) return static_cast<double>(*row.amount) / 100;
  if (column == "score" && row.score && std::isfinite(*row.score)) return row.score;
  if (column == "n" && row.n) return static_cast<double>(*row.n);
  if (column == "country" && row.country) return 1;
  return std::nullopt;
}

std::optional<double> naive(const Aggregate& aggregate, const std::vector<const Row*>& rows) {
  std::vector<long double> values;
  for (const Row* row : rows) {
    if (!aggregate.where.empty() && !row->declined.value_or(false)) continue;
    if (aggregate.column.empty())
      values.push_back(1);
    else if (const auto value = input_value(*row, aggregate.column))
      values.push_back(*value);
  }
  const auto n = static_cast<long double>(values.size());
  long double sum = 0;
  for (const long double v : values) sum += v;
  long double squares = 0;
  for (const long double v : values) squares += (v - sum / n) * (v - sum / n);
  const bool sample = aggregate.function == Function::kStddev || aggregate.function == Function::kVar;
  switch (aggregate.function) {
    case Function::kCount:
      return static_cast<double>(n);
    case Function::kSum:
      return static_cast<double>(sum);
    default:
      break;
  }
  if (values.empty() || (sample && values.size() < 2)) return aggregate.default_value;
  switch (aggregate.function) {
    case Function::kCount:
    case Function::kSum:
    case Function::kAvg:
      return static_cast<double>(sum / n);
    case Function::kMin:
      return static_cast<double>(*std::min_element(values.begin(), values.end()));
    case Function::kMax:
      return static_cast<double>(*std::max_element(values.begin(), values.end()));
    case Function::kStddev:
      return static_cast<double>(std::sqrt(squares / (n - 1)));
    case Function::kStddevPop:
      return static_cast<double>(std::sqrt(squares / n));
    case Function::kVar:
      return static_cast<double>(squares / (n - 1));
    case Function::kVarPop:
      return static_cast<double>(squares / n);
  }
  return std::nullopt;
}

// The definition, applied to all rows that arrived before row `index`, in time quadratic in the input.
struct Expected {
  Values features;
  std::optional<std::string> last_country;
  std::optional<int64_t> last_amount;
};

Expected naive_features(const FeatureSpec& spec, std::span<const Row> rows, size_t index) {
  const Row& row = rows[index];
  const int64_t keep = 1000 + spec.lateness_us;
  const int64_t horizon = row.watermark_us == INT64_MIN ? INT64_MIN : row.watermark_us - keep;
  const int64_t forget = row.watermark_us == INT64_MIN ? INT64_MIN : row.watermark_us - spec.forget_us;
  const auto place = [](const Row& r) { return std::pair(r.time_us, r.offset); };
  std::vector<const Row*> earlier;  // in (time, offset), then arrival
  const Row* newest_below = nullptr;
  if (row.card)
    for (const Row& other : rows.first(index)) {
      if (other.card != row.card) continue;
      if (other.time_us <= horizon) {
        if (newest_below == nullptr || place(*newest_below) <= place(other)) newest_below = &other;
        continue;
      }
      if (place(other) <= place(row)) earlier.push_back(&other);
    }
  std::sort(earlier.begin(), earlier.end(), [](const Row* a, const Row* b) {
    return std::tuple(a->time_us, a->offset, a) < std::tuple(b->time_us, b->offset, b);
  });
  const Row* last = earlier.empty() ? nullptr : earlier.back();
  if (last == nullptr && newest_below != nullptr && newest_below->time_us > forget &&
      place(*newest_below) <= place(row))
    last = newest_below;
  if (spec.asof == Asof::kAfterEvent && row.card) earlier.push_back(&row);

  Expected expected;
  for (const WindowedAggregate& windowed : spec.aggregates)
    for (const Window& window : windowed.windows.empty() ? spec.windows : windowed.windows) {
      std::vector<const Row*> inside;
      for (const Row* other : earlier)
        if (other->time_us > row.time_us - window.length_us) inside.push_back(other);
      expected.features.push_back(naive(windowed.aggregate, inside));
    }
  if (last != nullptr) {
    expected.last_country = last->country;
    expected.last_amount = last->amount;
  }
  return expected;
}

struct StreamShape {
  uint64_t seed = 1;
  size_t rows = 400;
  uint64_t keys = 5;
  int64_t step_us = 8;    // event time advances by up to this much a row
  int64_t jitter_us = 0;  // and goes back by up to this much
  double much_later = 0;  // how often a row is up to 2500 us late
  double special = 0.1;   // how often a value is NULL, NaN or infinite
};

std::vector<Row> make_stream(const StreamShape& shape) {
  Random random(shape.seed);
  std::vector<Row> rows;
  int64_t now = 1'000'000;
  int64_t newest = INT64_MIN;
  for (size_t i = 0; i < shape.rows; ++i) {
    now += static_cast<int64_t>(random.below(static_cast<uint64_t>(shape.step_us) + 1));
    if (random.chance(0.01)) now += 3000;
    Row row;
    row.time_us = now - static_cast<int64_t>(random.below(static_cast<uint64_t>(shape.jitter_us) + 1));
    if (random.chance(shape.much_later)) row.time_us = now - static_cast<int64_t>(random.below(2500));
    row.offset = static_cast<int64_t>(i) * 2;
    row.watermark_us = newest == INT64_MIN ? INT64_MIN : newest - 20;
    newest = std::max(newest, row.time_us);
    if (!random.chance(0.02)) row.card = "card-" + std::to_string(random.below(shape.keys));
    if (!random.chance(shape.special)) row.amount = static_cast<int64_t>(random.below(100'000)) - 20'000;
    if (!random.chance(shape.special)) row.score = (random.uniform() - 0.3) * std::pow(10, random.below(9));
    if (random.chance(shape.special / 2)) row.score = random.chance(0.5) ? NAN : INFINITY;
    if (!random.chance(shape.special)) row.n = random.chance(0.5) ? 7 : static_cast<int64_t>(random.below(10));
    if (!random.chance(shape.special)) row.declined = random.chance(0.3);
    if (!random.chance(shape.special)) row.country = std::string(1, static_cast<char>('A' + random.below(20)));
    rows.push_back(std::move(row));
  }
  return rows;
}

// What a changelog would hold.
class MemorySink final : public state::PageSink {
 public:
  void put(ByteView key, uint64_t page, ByteView value) override {
    EXPECT_LE(value.size(), state::kPageBytesMax);
    pages[{std::string(as_text(key)), page}] = as_text(value);
    ++puts;
  }
  void erase(ByteView key, uint64_t page) override {
    EXPECT_EQ(pages.erase({std::string(as_text(key)), page}), 1u) << "a tombstone for a page never written";
  }
  std::map<std::pair<std::string, uint64_t>, std::string> pages;
  size_t puts = 0;
};

std::unique_ptr<KeyedWindows> make(const FeatureSpec& spec) {
  auto windows = KeyedWindows::create(spec, test_schema());
  EXPECT_TRUE(windows) << (windows ? "" : windows.error().message);
  return std::move(windows).value();
}

std::unique_ptr<KeyedWindows> restored(const FeatureSpec& spec, const MemorySink& sink) {
  auto windows = make(spec);
  for (const auto& [place, value] : sink.pages) {
    const Status status = windows->restore(as_byte_view(place.first), place.second, as_byte_view(value));
    EXPECT_TRUE(status) << status.error().message;
  }
  return windows;
}

void expect_as_defined(const FeatureSpec& spec, std::span<const Row> rows, size_t index, const Batch& out,
                       size_t out_row) {
  const Expected expected = naive_features(spec, rows, index);
  const size_t first = test_schema()->size();
  for (size_t f = 0; f < expected.features.size(); ++f) {
    const Column& column = out.column(first + f);
    const std::string name = out.schema().field(first + f).name;
    ASSERT_EQ(column.is_valid(out_row), expected.features[f].has_value()) << name << " of row " << index;
    if (!expected.features[f].has_value()) continue;
    const double want = expected.features[f].value_or(NAN);
    const double got = column.as_double(out_row);
    if (column.type().kind == columns::Kind::kDouble) {
      ASSERT_NEAR(got, want, 1e-9 * std::abs(want) + 1e-9) << name << " of row " << index;
    } else {
      ASSERT_EQ(std::llround(got * scale_of(column.type())), std::llround(want * scale_of(column.type())))
          << name << " of row " << index;
    }
  }
  const Column& country = *out.find("last_country");
  ASSERT_EQ(country.is_valid(out_row), expected.last_country.has_value()) << "last_country of row " << index;
  if (expected.last_country) {
    ASSERT_EQ(country.texts()[out_row], *expected.last_country) << "row " << index;
  }
  const Column& amount = *out.find("last_amount");
  ASSERT_EQ(amount.is_valid(out_row), expected.last_amount.has_value()) << "last_amount of row " << index;
  if (expected.last_amount) {
    ASSERT_EQ(amount.int64s()[out_row], *expected.last_amount) << "row " << index;
  }
}

void expect_stream_as_defined(const FeatureSpec& spec, const StreamShape& shape) {
  SCOPED_TRACE("seed " + std::to_string(shape.seed));
  const std::vector<Row> rows = make_stream(shape);
  auto windows = make(spec);
  MemorySink sink;
  Random random(shape.seed + 1);
  for (size_t begin = 0; begin < rows.size();) {
    const size_t count = std::min<size_t>(1 + random.below(60), rows.size() - begin);
    const auto part = std::span(rows).subspan(begin, count);
    const auto processed = windows->process(to_batch(test_schema(), part), watermarks_of(part));
    ASSERT_TRUE(processed) << processed.error().message;
    ASSERT_TRUE(processed->rejected.empty());
    for (size_t i = 0; i < count; ++i) {
      expect_as_defined(spec, rows, begin + i, processed->batch, i);
      if (testing::Test::HasFatalFailure()) return;
    }
    windows->expire(part.back().watermark_us, 3);
    if (random.chance(0.3)) windows->collect(sink);
    begin += count;
  }
}

TEST(KeyedWindows, EqualTheDefinitionOnOrderedStreams) {
  for (uint64_t seed = 1; seed <= 5; ++seed) expect_stream_as_defined(test_spec(), {.seed = seed});
}

TEST(KeyedWindows, EqualTheDefinitionWithTiesAndRowsOutOfOrder) {
  for (uint64_t seed = 11; seed <= 16; ++seed) {
    expect_stream_as_defined(test_spec(), {.seed = seed, .step_us = 1});
    expect_stream_as_defined(test_spec(), {.seed = seed, .jitter_us = 50});
    expect_stream_as_defined(test_spec(), {.seed = seed, .jitter_us = 10, .much_later = 0.2});
  }
}

TEST(KeyedWindows, EqualTheDefinitionForHotKeysWithTiles) {
  expect_stream_as_defined(test_spec(), {.seed = 21, .rows = 2500, .keys = 1, .step_us = 1});
  expect_stream_as_defined(test_spec(), {.seed = 22, .rows = 1500, .keys = 1, .step_us = 1, .jitter_us = 200});
}

TEST(KeyedWindows, EqualTheDefinitionAfterTheEvent) {
  FeatureSpec spec = test_spec();
  spec.asof = Asof::kAfterEvent;
  for (uint64_t seed = 31; seed <= 34; ++seed)
    expect_stream_as_defined(spec, {.seed = seed, .jitter_us = 30, .much_later = 0.05});
}

// Every value of a batch as text, and doubles by their bits.
std::string print(const Batch& batch, size_t row) {
  std::string text;
  for (size_t c = 0; c < batch.schema().size(); ++c) {
    const Column& column = batch.column(c);
    text += "|";
    if (column.is_null(row)) text += "NULL";
    if (column.type().kind == columns::Kind::kDouble && column.is_valid(row))
      text += std::to_string(std::bit_cast<uint64_t>(column.doubles()[row]));
    else
      column.append_text(row, text);
  }
  return text;
}

TEST(KeyedWindows, DoNotDependOnBatchesNorOnSavingAndRestoringInBetween) {
  for (const StreamShape& shape : {StreamShape{.seed = 41, .jitter_us = 30, .much_later = 0.1},
                                   StreamShape{.seed = 42, .rows = 3000, .keys = 2, .step_us = 1, .jitter_us = 5}}) {
    SCOPED_TRACE("seed " + std::to_string(shape.seed));
    const std::vector<Row> rows = make_stream(shape);
    const auto whole = make(test_spec())->process(to_batch(test_schema(), rows), watermarks_of(rows));
    ASSERT_TRUE(whole);
    auto windows = make(test_spec());
    MemorySink sink;
    Random random(shape.seed);
    size_t restarts = 0;
    for (size_t begin = 0; begin < rows.size();) {
      const size_t count = std::min<size_t>(1 + random.below(40), rows.size() - begin);
      const auto part = std::span(rows).subspan(begin, count);
      const auto processed = windows->process(to_batch(test_schema(), part), watermarks_of(part));
      ASSERT_TRUE(processed);
      for (size_t i = 0; i < count; ++i)
        ASSERT_EQ(print(processed->batch, i), print(whole->batch, begin + i)) << "row " << begin + i;
      begin += count;
      if (random.chance(0.5)) windows->expire(part.back().watermark_us, random.below(5));
      if (!random.chance(0.5)) continue;
      windows->collect(sink);
      if (!random.chance(0.6)) continue;
      const size_t keys = windows->keys();
      const size_t kept = windows->rows_kept();
      windows = restored(test_spec(), sink);
      ++restarts;
      EXPECT_LE(windows->keys(), keys);  // a key without rows needs no pages
      EXPECT_GE(windows->rows_kept(), kept);
    }
    EXPECT_GT(restarts, 2u);
  }
}

TEST(KeyedWindows, LetGoOfWhatNoWindowReaches) {
  auto windows = make(test_spec());
  const std::vector<Row> rows = make_stream({.seed = 51, .rows = 2000, .keys = 50});
  MemorySink sink;
  ASSERT_TRUE(windows->process(to_batch(test_schema(), rows), watermarks_of(rows)));
  windows->collect(sink);
  EXPECT_GT(windows->keys(), 40u);
  windows->expire(rows.back().time_us + 100'000, 1000);
  windows->collect(sink);
  EXPECT_EQ(windows->rows_kept(), 0u);
  EXPECT_EQ(windows->keys(), 0u);
  EXPECT_TRUE(sink.pages.empty());
}

TEST(KeyedWindows, AHotKeyWritesOnlyThePagesItTouched) {
  auto windows = make(test_spec());
  std::vector<Row> rows = make_stream({.seed = 52, .rows = 5000, .keys = 1, .step_us = 0});
  for (Row& row : rows) row.watermark_us = INT64_MIN;
  MemorySink sink;
  ASSERT_TRUE(windows->process(to_batch(test_schema(), rows), watermarks_of(rows)));
  windows->collect(sink);
  const size_t pages = sink.pages.size();
  EXPECT_GT(pages, 50u);
  sink.puts = 0;
  const Row more[] = {rows.back()};
  ASSERT_TRUE(windows->process(to_batch(test_schema(), more), watermarks_of(more)));
  windows->collect(sink);
  EXPECT_LE(sink.puts, 2u);
  windows->collect(sink);
  EXPECT_LE(sink.puts, 2u);
}

TEST(KeyedWindows, RefuseLateRowsWhenAskedTo) {
  FeatureSpec spec = test_spec();
  spec.late = LateRows::kReject;
  auto windows = make(spec);
  Row early{.card = "a", .time_us = 1000, .offset = 1, .watermark_us = 900};
  Row late{.card = "a", .time_us = 950, .offset = 2, .watermark_us = 1000};
  Row next{.card = "a", .time_us = 1001, .offset = 3, .watermark_us = 1000};
  const Row rows[] = {early, late, next};
  const auto processed = windows->process(to_batch(test_schema(), rows), watermarks_of(rows));
  ASSERT_TRUE(processed);
  EXPECT_EQ(processed->late_rows, 1u);
  ASSERT_EQ(processed->rejected.size(), 1u);
  EXPECT_EQ(processed->rejected[0].row, 1u);
  EXPECT_NE(processed->rejected[0].error.message.find("late"), std::string::npos);
  ASSERT_EQ(processed->batch.rows(), 2u);
  EXPECT_EQ(processed->batch.find("rows_100")->int64s()[1], 1);
}

TEST(KeyedWindows, ScoreLateRowsAsOfTheirTimeAndRememberThem) {
  for (const LateRows mode : {LateRows::kScore, LateRows::kUpdate}) {
    FeatureSpec spec = test_spec();
    spec.late = mode;
    auto windows = make(spec);
    const Row rows[] = {{.card = "a", .time_us = 1000, .offset = 1, .watermark_us = 900},
                        {.card = "a", .time_us = 1050, .offset = 2, .watermark_us = 1000},
                        {.card = "a", .time_us = 1001, .offset = 3, .watermark_us = 1050},
                        {.card = "a", .time_us = 1060, .offset = 4, .watermark_us = 1050}};
    const auto processed = windows->process(to_batch(test_schema(), rows), watermarks_of(rows));
    ASSERT_TRUE(processed);
    EXPECT_EQ(processed->late_rows, 1u);
    EXPECT_EQ(processed->batch.find("rows_100")->int64s()[2], 1);
    EXPECT_EQ(processed->batch.find("rows_100")->int64s()[3], 3);
  }
}

TEST(KeyedWindows, ASumThatDoesNotFitIsNull) {
  auto windows = make(test_spec());
  const int64_t most = 999'999'999'999'999'999;
  std::vector<Row> rows;
  for (int i = 0; i < 14; ++i)
    rows.push_back({.card = "a", .amount = i < 12 ? most : -most, .time_us = 1000, .offset = i});
  const auto processed = windows->process(to_batch(test_schema(), rows), watermarks_of(rows));
  ASSERT_TRUE(processed);
  const Column& sums = *processed->batch.find("spent_10");
  EXPECT_EQ(sums.int64s()[1], most);
  for (size_t i = 2; i < 14; ++i) EXPECT_TRUE(sums.is_null(i)) << i;
  EXPECT_NEAR(processed->batch.find("mean_10")->doubles()[13], static_cast<double>(most) / 100 * 11 / 13, 10);
}

TEST(KeyedWindows, EqualValuesDeviateByExactlyNothing) {
  auto windows = make(test_spec());
  std::vector<Row> rows;
  for (int i = 0; i < 500; ++i) rows.push_back({.card = "a", .score = 0.1, .time_us = 1000, .offset = i});
  const auto processed = windows->process(to_batch(test_schema(), rows), watermarks_of(rows));
  ASSERT_TRUE(processed);
  EXPECT_TRUE(processed->batch.find("sd_10")->is_null(1));
  for (size_t i = 2; i < 500; ++i) ASSERT_EQ(processed->batch.find("sd_10")->doubles()[i], 0.0);
}

TEST(KeyedWindows, RefuseTextsTooLongToKeep) {
  auto windows = make(test_spec());
  const Row rows[] = {{.card = std::string(40'000, 'x'), .time_us = 1},
                      {.card = "a", .country = std::string(2'000, 'x'), .time_us = 1},
                      {.card = "a", .time_us = 1}};
  const auto processed = windows->process(to_batch(test_schema(), rows), watermarks_of(rows));
  ASSERT_TRUE(processed);
  ASSERT_EQ(processed->rejected.size(), 2u);
  EXPECT_EQ(processed->rejected[0].row, 0u);
  EXPECT_EQ(processed->rejected[1].error.code, Errc::kTooLarge);
  EXPECT_EQ(processed->batch.rows(), 1u);
}

TEST(KeyedWindows, NameWhatDoesNotFitTheInput) {
  const auto error_of = [](const FeatureSpec& spec) {
    const auto windows = KeyedWindows::create(spec, test_schema());
    EXPECT_FALSE(windows);
    return windows ? Error{} : windows.error();
  };
  FeatureSpec spec = test_spec();
  spec.aggregates[3].aggregate.column = "amuont";
  EXPECT_EQ(error_of(spec).hint, "did you mean amount?");
  spec = test_spec();
  spec.aggregates[3].aggregate.column = "country";
  EXPECT_NE(error_of(spec).message.find("varchar"), std::string::npos);
  spec = test_spec();
  spec.keys = {"crad"};
  EXPECT_EQ(error_of(spec).code, Errc::kInvalidArgument);
  spec = test_spec();
  spec.last[0].name = "amount";
  EXPECT_EQ(error_of(spec).code, Errc::kInvalidArgument);
  EXPECT_EQ(parse_function("quantile").error().code, Errc::kNotBuiltYet);
  EXPECT_EQ(parse_function("summ").error().hint, "did you mean sum?");
  EXPECT_EQ(parse_function("Mean").value(), Function::kAvg);
}

TEST(KeyedWindows, PagesOfAnyBytesAreRefusedOrTaken) {
  auto windows = make(test_spec());
  const std::vector<Row> rows = make_stream({.seed = 61, .rows = 60, .keys = 1});
  MemorySink sink;
  ASSERT_TRUE(windows->process(to_batch(test_schema(), rows), watermarks_of(rows)));
  windows->collect(sink);
  const std::string page = sink.pages.begin()->second;
  for (size_t cut = 0; cut < page.size(); ++cut)
    EXPECT_FALSE(make(test_spec())->restore(as_byte_view("k"), 0, as_byte_view(page).first(cut))) << cut;
  Random random(62);
  for (int i = 0; i < 2'000; ++i) {
    std::string broken = page;
    broken[random.below(broken.size())] = static_cast<char>(random.below(256));
    (void)make(test_spec())->restore(as_byte_view("k"), random.below(3), as_byte_view(broken));
  }
}

TEST(KeyedWindows, SignaturesTellDefinitionsApart) {
  std::set<uint64_t> signatures = {make(test_spec())->signature()};
  FeatureSpec spec = test_spec();
  spec.aggregates[0].aggregate.default_value = 7;  // says nothing about the state
  EXPECT_FALSE(signatures.insert(make(spec)->signature()).second);
  spec = test_spec();
  spec.keys = {"country"};
  EXPECT_TRUE(signatures.insert(make(spec)->signature()).second);
  spec = test_spec();
  spec.windows.push_back({"2k", 2000});
  EXPECT_TRUE(signatures.insert(make(spec)->signature()).second);
  spec = test_spec();
  spec.last.pop_back();
  EXPECT_TRUE(signatures.insert(make(spec)->signature()).second);
}

TEST(KeyedWindows, RefuseAKeyColumnTwice) {
  FeatureSpec spec = test_spec();
  spec.keys = {"card", "country", "card"};
  const auto refused = KeyedWindows::create(spec, test_schema());
  ASSERT_FALSE(refused);
  EXPECT_EQ(refused.error().code, Errc::kInvalidArgument);
  EXPECT_NE(refused.error().message.find("card"), std::string::npos);
}

}  // namespace
}  // namespace millrace::features
