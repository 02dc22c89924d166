#include "sql/batch_query.h"

#include <benchmark/benchmark.h>

namespace {

using namespace millrace;
using columns::Column;

columns::Batch payments(size_t rows) {
  const auto schema =
      std::make_shared<const columns::Schema>(std::vector<columns::Field>{{"tx", columns::kBigint},
                                                                          {"customer", columns::kVarchar},
                                                                          {"amount", columns::kDouble},
                                                                          {"at", columns::kTimestamp}});
  std::vector<std::shared_ptr<Column>> columns;
  for (const auto& field : schema->fields()) columns.push_back(std::make_shared<Column>(field.type));
  for (size_t i = 0; i < rows; ++i) {
    columns[0]->append_int64(static_cast<int64_t>(i));
    columns[1]->append_text_copy("customer number " + std::to_string(i * 7919 % 4999));
    columns[2]->append_double(static_cast<double>(i % 300) + 0.25);
    columns[3]->append_int64(static_cast<int64_t>(i) * 1'000'000);
  }
  return columns::Batch(schema, {columns.begin(), columns.end()}, std::vector<columns::RowId>(rows));
}

void run(benchmark::State& state, const char* sql) {
  const columns::Batch batch = payments(static_cast<size_t>(state.range(0)));
  const auto database = *sql::Database::open({});
  const auto query = *sql::BatchQuery::make(database, {"tx", batch.schema_ptr(), sql});
  for (auto _ : state) {
    const auto output = query->run(batch);
    if (!output) return state.SkipWithError(output.error().message.c_str());
    benchmark::DoNotOptimize(output->batch.rows());
  }
  state.SetItemsProcessed(state.iterations() * state.range(0));
}

BENCHMARK_CAPTURE(run, pass_on, "SELECT * FROM tx")->Arg(100)->Arg(4'096);
BENCHMARK_CAPTURE(run, filter, "SELECT * FROM tx WHERE amount > 0")->Arg(100)->Arg(4'096);
BENCHMARK_CAPTURE(run, numbers, "SELECT *, amount * 2 + 1 AS twice, tx % 7 AS day FROM tx WHERE amount > 0")
    ->Arg(100)
    ->Arg(4'096);
BENCHMARK_CAPTURE(run, text, "SELECT * REPLACE (upper(customer) AS customer) FROM tx WHERE amount > 0")
    ->Arg(100)
    ->Arg(4'096);
BENCHMARK_CAPTURE(run, everything_in_sql, "WITH t AS (FROM tx) SELECT *, amount * 2 AS twice FROM t")
    ->Arg(100)
    ->Arg(4'096);

}  // namespace
