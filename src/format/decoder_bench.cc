#include "format/decoder.h"

#include <benchmark/benchmark.h>
#include <fmt/core.h>

#include "base/fake_clock.h"
#include "format/encoder.h"

namespace {

using namespace millrace;
using namespace millrace::format;

constexpr int64_t kRows = 4'096;

columns::Schema payments() {
  return columns::Schema({{"tx", columns::kBigint},
                          {"customer", columns::kVarchar},
                          {"amount", columns::kDouble},
                          {"fraud", columns::kBigint},
                          {"at", columns::kTimestamp}});
}

std::vector<std::string> values(Format format) {
  std::vector<std::string> values;
  for (int64_t i = 0; i < kRows; ++i) {
    const std::string at = columns::format_timestamp(1'756'728'000'000'000 + i * 1'000'000);
    values.push_back(format == Format::kJson
                         ? fmt::format(R"({{"tx":{},"customer":"c{}","amount":{}.{:02},"fraud":0,"at":"{}"}})", i,
                                       i * 7919 % 4999, i % 300, i % 100, at)
                         : fmt::format("{},c{},{}.{:02},0,{}", i, i * 7919 % 4999, i % 300, i % 100, at));
  }
  return values;
}

std::vector<RecordView> records(const std::vector<std::string>& values) {
  std::vector<RecordView> records(values.size());
  for (size_t i = 0; i < values.size(); ++i) {
    records[i].key = "k";
    records[i].value = values[i];
    records[i].offset = Offset(static_cast<int64_t>(i));
  }
  return records;
}

void decode(benchmark::State& state, Format format) {
  FakeClock clock;
  DecoderOptions options;
  options.format = format;
  options.columns = payments();
  options.time = TimeColumn{"at", TimeFormat()};
  Decoder decoder = *Decoder::make(std::move(options), clock);
  const auto texts = values(format);
  const auto views = records(texts);
  for (auto _ : state) {
    const Decoded decoded = decoder.decode(views);
    if (decoded.batch.rows() != static_cast<size_t>(kRows)) state.SkipWithError("rows were rejected");
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}

// The same records, every one of them held to a schema; `whole` where it must see them as a whole.
void decode_with_schema(benchmark::State& state, bool whole) {
  FakeClock clock;
  DecoderOptions options;
  options.schema = *JsonSchema::parse(std::string(R"({"type": "object", "required": ["tx", "customer", "at"],
    "properties": {"tx": {"type": "integer", "minimum": 0},
                   "customer": {"type": "string", "pattern": "^c[0-9]+$"},
                   "amount": {"type": "number", "minimum": 0, "maximum": 10000},
                   "fraud": {"enum": [0, 1]},
                   "at": {"type": "string", "format": "date-time"}})") +
                                      (whole ? R"(, "maxProperties": 9})" : "}"));
  options.columns = options.schema->columns();
  options.time = TimeColumn{"at", TimeFormat()};
  Decoder decoder = *Decoder::make(std::move(options), clock);
  const auto texts = values(Format::kJson);
  const auto views = records(texts);
  for (auto _ : state) {
    const Decoded decoded = decoder.decode(views);
    if (decoded.batch.rows() != static_cast<size_t>(kRows)) state.SkipWithError("rows were rejected");
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}

void encode(benchmark::State& state, Format format) {
  FakeClock clock;
  DecoderOptions options;
  options.columns = payments();
  Decoder decoder = *Decoder::make(std::move(options), clock);
  const auto texts = values(Format::kJson);
  const Decoded decoded = decoder.decode(records(texts));
  const Encoder encoder = *Encoder::make(format, decoder.schema());
  std::string out;
  for (auto _ : state) {
    out.clear();
    for (size_t row = 0; row < decoded.batch.rows(); ++row) encoder.append_row(decoded.batch, row, out);
    benchmark::DoNotOptimize(out.data());
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}

BENCHMARK_CAPTURE(decode, json, Format::kJson);
BENCHMARK_CAPTURE(decode, csv, Format::kCsv);
BENCHMARK_CAPTURE(decode_with_schema, by_field, false);
BENCHMARK_CAPTURE(decode_with_schema, whole, true);
BENCHMARK_CAPTURE(encode, json, Format::kJson);
BENCHMARK_CAPTURE(encode, csv, Format::kCsv);

}  // namespace
