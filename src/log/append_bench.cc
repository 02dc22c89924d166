#include <benchmark/benchmark.h>
#include <stdlib.h>

#include <atomic>
#include <filesystem>
#include <string>
#include <thread>

#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "log/store.h"
#include "record/records.h"

namespace millrace::log {
namespace {

// Appends of `records` records of `value_bytes`, spread over `partitions`, `per_partition` of them on their way at a
// time, each answered when it is durable.
struct Load {
  int32_t partitions = 1;
  int records = 1;
  size_t value_bytes = 100;
  int64_t per_partition = 5;
};

void run(benchmark::State& state, const Load& load, StoreOptions options) {
  std::string directory = (std::filesystem::temp_directory_path() / "append_bench.XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) return state.SkipWithError("no temporary directory");
  env::PosixFileSystem files;
  env::SystemClock clock;
  Random random(1);
  options.dir = directory;
  {
    auto store = Store::open(options, files, clock, random).value();
    const auto topic =
        store->create_topic({.name = "bench", .id = Uuid::random(random), .partitions = load.partitions, .config = {}})
            .value();
    record::BatchBuilder builder({});
    const std::string value(load.value_bytes, 'v');
    for (int i = 0; i < load.records; ++i) builder.add(1000 + i, std::nullopt, as_byte_view(value));
    Bytes batch = builder.finish().value();
    const int64_t window = load.per_partition * load.partitions;
    std::atomic<int64_t> in_flight{0};
    size_t next = 0;
    for (auto _ : state) {
      for (int64_t now = in_flight.load(); now >= window; now = in_flight.load()) in_flight.wait(now);
      ++in_flight;
      const auto appended = topic->partitions[next++ % topic->partitions.size()]->append(batch);
      store->when_durable(appended->position, [&](const Status&) {
        --in_flight;
        in_flight.notify_one();
      });
    }
    for (int64_t now = in_flight.load(); now > 0; now = in_flight.load()) in_flight.wait(now);
    state.counters["records/s"] =
        benchmark::Counter(static_cast<double>(state.iterations() * load.records), benchmark::Counter::kIsRate);
    state.counters["syncs"] = static_cast<double>(store->statistics().wal_syncs);
    state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(batch.size()));
  }
  std::filesystem::remove_all(directory);
}

// The arguments: partitions, records a batch, tail bytes.
void append(benchmark::State& state) {
  StoreOptions options;
  options.tail_bytes = static_cast<uint64_t>(state.range(2));
  run(state, {.partitions = static_cast<int32_t>(state.range(0)), .records = static_cast<int>(state.range(1))},
      options);
}
BENCHMARK(append)
    ->ArgNames({"partitions", "records", "tail"})
    ->ArgsProduct({{1, 16, 64}, {1, 10, 100}, {0, 64 << 10}})
    ->UseRealTime();

// Batches of one record of so many bytes, written twice or once. The time has the checkpoints in it that come
// meanwhile.
void append_large(benchmark::State& state) {
  StoreOptions options;
  options.write_once_bytes = state.range(2) != 0 ? 1u << 18 : 1u << 30;
  run(state,
      {.partitions = static_cast<int32_t>(state.range(0)),
       .value_bytes = static_cast<size_t>(state.range(1)),
       .per_partition = 2},
      options);
}
BENCHMARK(append_large)
    ->ArgNames({"partitions", "bytes", "once"})
    ->ArgsProduct({{1, 16}, {1 << 18, 1 << 20, 10 << 20}, {0, 1}})
    ->UseRealTime();

// Reading what was just appended, in fetches of `bytes`.
void read_recent(benchmark::State& state) {
  std::string directory = (std::filesystem::temp_directory_path() / "append_bench.XXXXXX").string();
  if (::mkdtemp(directory.data()) == nullptr) return state.SkipWithError("no temporary directory");
  env::PosixFileSystem files;
  env::SystemClock clock;
  Random random(1);
  StoreOptions options;
  options.dir = directory;
  {
    auto store = Store::open(options, files, clock, random).value();
    const auto topic = store->create_topic({.name = "bench", .id = Uuid::random(random), .config = {}}).value();
    record::BatchBuilder builder({});
    const std::string value(100, 'v');
    for (int i = 0; i < 10; ++i) builder.add(1000 + i, std::nullopt, as_byte_view(value));
    Bytes batch = builder.finish().value();
    WalPosition last{0};
    for (int i = 0; i < 50'000; ++i) last = topic->partitions[0]->append(batch)->position;
    static_cast<void>(store->wait_durable(last));
    Offset from{0};
    Bytes out;
    for (auto _ : state) {
      out.clear();
      const auto info = topic->partitions[0]->read(from, static_cast<size_t>(state.range(0)), true, out);
      from = from + static_cast<int64_t>(info->bytes / batch.size() * 10);
      if (from >= topic->partitions[0]->high_watermark()) from = Offset{0};
      state.SetBytesProcessed(state.bytes_processed() + static_cast<int64_t>(info->bytes));
    }
  }
  std::filesystem::remove_all(directory);
}
BENCHMARK(read_recent)->ArgName("bytes")->Arg(1)->Arg(64 << 10)->Arg(1 << 20);

}  // namespace
}  // namespace millrace::log
