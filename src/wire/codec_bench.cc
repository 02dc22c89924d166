// What the hot path costs: a produce request of many partitions in, a fetch response of many partitions out.
#include <benchmark/benchmark.h>

#include "wire/fetch.h"
#include "wire/frame.h"
#include "wire/produce.h"

namespace millrace::wire {
namespace {

constexpr int16_t kProduceVersion = 11;
constexpr int16_t kFetchVersion = 12;
const Bytes kBatch(16'384);

Bytes produce_request(int64_t partitions) {
  ProduceRequest request{.acks = -1, .timeout_ms = 30'000};
  auto& topic = request.topic_data.emplace_back();
  topic.name = "payments";
  for (int32_t i = 0; i < partitions; ++i) topic.partition_data.push_back({i, ByteView(kBatch)});
  Bytes bytes;
  ByteWriter out(bytes);
  benchmark::DoNotOptimize(request.encode(out, kProduceVersion));
  return bytes;
}

void decode_produce(benchmark::State& state) {
  const Bytes bytes = produce_request(state.range(0));
  for (auto _ : state) {
    ByteReader in(bytes);
    benchmark::DoNotOptimize(ProduceRequest::decode(in, kProduceVersion));
  }
  state.SetBytesProcessed(state.iterations() * static_cast<int64_t>(bytes.size()));
}
BENCHMARK(decode_produce)->Arg(1)->Arg(16);

void encode_fetch(benchmark::State& state) {
  FetchResponse response;
  auto& topic = response.responses.emplace_back();
  topic.topic = "payments";
  for (int32_t i = 0; i < state.range(0); ++i) {
    auto& partition = topic.partitions.emplace_back();
    partition.partition_index = i;
    partition.records = ByteView(kBatch);
  }
  int64_t bytes = 0;
  for (auto _ : state) {
    const auto frame = encode_response(response, 1, kFetchVersion);
    bytes += static_cast<int64_t>(frame->size());
  }
  state.SetBytesProcessed(bytes);
}
BENCHMARK(encode_fetch)->Arg(1)->Arg(16);

}  // namespace
}  // namespace millrace::wire
