#include <benchmark/benchmark.h>

#include <string>

#include "base/metrics.h"

// What metrics cost: an addition and an observation, by one thread and by two at once, and writing 10,000 partitions.
namespace millrace {
namespace {

void BM_CounterAdd(benchmark::State& state) {
  static Metrics metrics;
  Counter& counter = metrics.counter("millrace_bench_total", "x");
  for (auto _ : state) counter.add(100);
}
BENCHMARK(BM_CounterAdd)->Threads(1)->Threads(2);

void BM_HistogramObserve(benchmark::State& state) {
  static Metrics metrics;
  DurationHistogram& histogram = metrics.histogram("millrace_bench_seconds", "x");
  int64_t ns = 1;
  for (auto _ : state) {
    histogram.observe(std::chrono::nanoseconds(ns));
    ns = (ns * 7 + 1) & 0xfffffff;
  }
}
BENCHMARK(BM_HistogramObserve)->Threads(1)->Threads(2);

void BM_Exposition(benchmark::State& state) {
  size_t bytes = 0;
  for (auto _ : state) {
    Exposition out;
    for (const char* name : {"millrace_a", "millrace_b", "millrace_c", "millrace_d"}) {
      auto& family = out.family(name, "Help.", Exposition::Type::kGauge);
      for (int64_t i = 0; i < state.range(0); ++i)
        family.add({{"topic", "a-topic-of-a-usual-length"}, {"partition", std::to_string(i)}}, i * 1'000'003);
    }
    bytes = out.text().size();
  }
  state.counters["bytes"] = static_cast<double>(bytes);
}
BENCHMARK(BM_Exposition)->Arg(10'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace millrace
