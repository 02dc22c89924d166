#include <benchmark/benchmark.h>

#include <string>
#include <vector>

#include "base/random.h"
#include "features/internal/plan.h"
#include "features/keyed_windows.h"

namespace millrace::features {
namespace {

using columns::Batch;
using columns::Column;

constexpr int64_t kDayUs = 86'400'000'000;
constexpr size_t kBatchRows = 4096;

columns::SchemaPtr schema_with(columns::Type amount) {
  return std::make_shared<const columns::Schema>(
      std::vector<columns::Field>{{"customer", columns::kBigint}, {"amount", amount}});
}

// Payments of `keys` customers in event time, about `per_day` a day each.
std::vector<Batch> make_payments(const columns::SchemaPtr& schema, uint64_t keys, double per_day, size_t batches) {
  Random random(1);
  std::vector<Batch> payments;
  double now_us = 1.5e15;
  const double step_us = static_cast<double>(kDayUs) / (per_day * static_cast<double>(keys));
  int64_t offset = 0;
  for (size_t b = 0; b < batches; ++b) {
    std::vector<Column> columns;
    for (const columns::Field& field : schema->fields()) columns.emplace_back(field.type);
    std::vector<columns::RowId> ids;
    for (size_t i = 0; i < kBatchRows; ++i) {
      now_us += step_us * 2 * random.uniform();
      columns[0].append_int64(static_cast<int64_t>(random.below(keys)));
      const auto cents = static_cast<int64_t>(random.below(50'000));
      if (schema->field(1).type.kind == columns::Kind::kDouble)
        columns[1].append_double(static_cast<double>(cents) / 100);
      else
        columns[1].append_int64(cents);
      ids.push_back({PartitionId(0), Offset(offset++), static_cast<int64_t>(now_us)});
    }
    payments.emplace_back(schema, share(std::move(columns)), std::move(ids));
  }
  return payments;
}

FeatureSpec fraud_spec() {
  FeatureSpec spec;
  spec.keys = {"customer"};
  spec.windows = {{"1d", kDayUs}, {"7d", 7 * kDayUs}, {"30d", 30 * kDayUs}};
  spec.aggregates = {{{"n", Function::kCount, "", "", {}}, {}},
                     {{"sum", Function::kSum, "amount", "", {}}, {}},
                     {{"mean", Function::kAvg, "amount", "", 0.0}, {}}};
  return spec;
}

class CountingSink final : public state::PageSink {
 public:
  void put(ByteView, uint64_t, ByteView value) override { bytes += value.size(); }
  void erase(ByteView, uint64_t) override {}
  size_t bytes = 0;
};

void run(benchmark::State& state, columns::Type amount, uint64_t keys, double per_day, bool commit) {
  const auto schema = schema_with(amount);
  const std::vector<Batch> payments = make_payments(schema, keys, per_day, 200);
  CountingSink sink;
  size_t kept_bytes = 0;
  size_t rows = 0;
  for (auto _ : state) {
    auto windows = KeyedWindows::create(fraud_spec(), schema).value();
    for (const Batch& batch : payments) {
      std::vector<int64_t> watermarks;
      watermarks.reserve(batch.rows());
      for (const columns::RowId& id : batch.row_ids()) watermarks.push_back(id.event_time_us);
      benchmark::DoNotOptimize(windows->process(batch, watermarks));
      windows->expire(watermarks.back(), 64);
      rows += batch.rows();
      if (commit) windows->collect(sink);
    }
    kept_bytes = windows->bytes();
  }
  state.SetItemsProcessed(static_cast<int64_t>(rows));
  state.counters["state_MB"] = static_cast<double>(kept_bytes) / 1e6;
  if (commit) state.counters["changelog_B_per_row"] = static_cast<double>(sink.bytes) / static_cast<double>(rows);
}

// The fraud job: a partition has about 1,250 of 5,000 customers.
void fraud_decimal(benchmark::State& state) { run(state, {columns::Kind::kDecimal, 12, 2}, 1'250, 2, false); }
void fraud_double(benchmark::State& state) { run(state, columns::kDouble, 1'250, 2, false); }
// A commit every 4,096 rows, so that most keys are dirty.
void fraud_decimal_committed(benchmark::State& state) { run(state, {columns::Kind::kDecimal, 12, 2}, 1'250, 2, true); }
void many_keys_decimal(benchmark::State& state) { run(state, {columns::Kind::kDecimal, 12, 2}, 100'000, 2, false); }
void one_hot_key_double(benchmark::State& state) { run(state, columns::kDouble, 1, 30'000, false); }

BENCHMARK(fraud_decimal)->Unit(benchmark::kMillisecond);
BENCHMARK(fraud_double)->Unit(benchmark::kMillisecond);
BENCHMARK(fraud_decimal_committed)->Unit(benchmark::kMillisecond);
BENCHMARK(many_keys_decimal)->Unit(benchmark::kMillisecond);
BENCHMARK(one_hot_key_double)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace::features
