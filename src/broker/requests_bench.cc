#include <arpa/inet.h>
#include <benchmark/benchmark.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <memory>
#include <string>

#include "base/byte_reader.h"
#include "base/check.h"
#include "broker/broker.h"
#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "env/temporary_folder.h"
#include "record/records.h"
#include "wire/create_topics.h"
#include "wire/fetch.h"
#include "wire/frame.h"
#include "wire/produce.h"

// A broker's whole way of a request, one at a time: from a socket through session, handler and log to the answer on the
// socket. The client does as little as a client can. Each case runs with two fixed numbers of requests, so that
// bench/instructions.py can count what one more costs.
namespace millrace::broker {
namespace {

constexpr int16_t kFetchByName = 12;

// A blocking connection that sends frames made before and looks at nothing in the answers.
class Connection {
 public:
  explicit Connection(uint16_t port) : socket_(::socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    MILLRACE_CHECK(::connect(socket_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0);
  }
  ~Connection() { ::close(socket_); }
  Connection(const Connection&) = delete;
  Connection& operator=(const Connection&) = delete;

  // The answer without its length; valid until the next call.
  ByteView call(ByteView frame) {
    MILLRACE_CHECK(::send(socket_, frame.data(), frame.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(frame.size()));
    std::array<std::byte, 4> size;
    receive(size);
    answer_.resize(ByteReader(size).fixed<uint32_t>().value());
    receive(answer_);
    return answer_;
  }
  template <typename Request>
  typename Request::Response call(const Request& request, int16_t version = Request::kMaxVersion) {
    ByteReader in(call(frame_of(request, version)));
    return wire::decode_response<typename Request::Response>(in, version).value();
  }
  template <typename Request>
  static Bytes frame_of(const Request& request, int16_t version = Request::kMaxVersion) {
    return wire::encode_request(request, 1, "bench", version)->flatten();
  }

 private:
  void receive(std::span<std::byte> into) {
    MILLRACE_CHECK(::recv(socket_, into.data(), into.size(), MSG_WAITALL) == static_cast<ssize_t>(into.size()));
  }

  int socket_;
  Bytes answer_;
};

// A broker on files, with a topic "t".
class Bench {
 public:
  explicit Bench(int32_t partitions) {
    BrokerOptions options;
    options.data_dir = folder_->path("data");
    options.listeners = {{.name = "B", .host = "127.0.0.1", .port = 0, .advertised_host = {}, .advertised_port = 0}};
    options.settings.num_network_threads = 1;
    broker_ = Broker::start(options, files_, clock_, Random(1), metrics_).value();
    connection = std::make_unique<Connection>(broker_->address("B").port);
    wire::CreateTopicsRequest request;
    auto& topic = request.topics.emplace_back();
    topic.name = "t";
    topic.num_partitions = partitions;
    topic.replication_factor = 1;
    MILLRACE_CHECK(connection->call(request).topics.at(0).error_code == wire::ErrorCode::kNone);
  }

 private:
  std::unique_ptr<env::TemporaryFolder> folder_ = env::TemporaryFolder::make("bench").value();
  env::PosixFileSystem files_;
  env::SystemClock clock_;
  Metrics metrics_;
  std::unique_ptr<Broker> broker_;

 public:
  std::unique_ptr<Connection> connection;  // last: it ends first
};

Bytes batch_of(int64_t records) {
  record::BatchBuilder builder({});
  const std::string value(100, 'v');
  for (int64_t i = 0; i < records; ++i) builder.add(1'767'225'600'000 + i, std::nullopt, as_byte_view(value));
  return builder.finish().value();
}

wire::ProduceRequest produce_request(int32_t partitions, ByteView batch) {
  wire::ProduceRequest request;
  request.acks = -1;
  request.timeout_ms = 30'000;
  auto& topic = request.topic_data.emplace_back();
  topic.name = "t";
  for (int32_t i = 0; i < partitions; ++i) {
    auto& part = topic.partition_data.emplace_back();
    part.index = i;
    part.records = batch;
  }
  return request;
}

void repeat(benchmark::State& state, Connection& connection, ByteView frame, int64_t records) {
  for (auto _ : state) benchmark::DoNotOptimize(connection.call(frame).data());
  state.counters["records"] = static_cast<double>(records);
}

// Partitions, records to each.
void produce(benchmark::State& state) {
  const auto partitions = static_cast<int32_t>(state.range(0));
  Bench bench(partitions);
  const Bytes batch = batch_of(state.range(1));
  const auto request = produce_request(partitions, batch);
  const auto answer = bench.connection->call(request);
  MILLRACE_CHECK(answer.responses.at(0).partition_responses.at(0).error_code == wire::ErrorCode::kNone);
  const Bytes frame = Connection::frame_of(request);
  repeat(state, *bench.connection, frame, partitions * state.range(1));
}

wire::FetchRequest fetch_request(int32_t partitions, int64_t offset) {
  wire::FetchRequest request;
  request.min_bytes = 1;
  request.max_bytes = 50 << 20;
  auto& topic = request.topics.emplace_back();
  topic.topic = "t";
  for (int32_t i = 0; i < partitions; ++i) {
    auto& part = topic.partitions.emplace_back();
    part.partition = i;
    part.fetch_offset = offset;
    part.partition_max_bytes = 50 << 20;
  }
  return request;
}

// Batches, records in each: all of them in one answer.
void fetch(benchmark::State& state) {
  Bench bench(1);
  const Bytes batch = batch_of(state.range(1));
  const Bytes one = Connection::frame_of(produce_request(1, batch));
  for (int64_t i = 0; i < state.range(0); ++i) bench.connection->call(one);
  const auto request = fetch_request(1, 0);
  const auto answer = bench.connection->call(request, kFetchByName);
  MILLRACE_CHECK(answer.responses.at(0).partitions.at(0).records->size() ==
                 batch.size() * static_cast<size_t>(state.range(0)));
  repeat(state, *bench.connection, Connection::frame_of(request, kFetchByName), state.range(0) * state.range(1));
}

// A consumer of so many partitions in which there is nothing new.
void fetch_nothing(benchmark::State& state) {
  const auto partitions = static_cast<int32_t>(state.range(0));
  Bench bench(partitions);
  repeat(state, *bench.connection, Connection::frame_of(fetch_request(partitions, 0), kFetchByName), 0);
}

const bool registered = [] {
  for (const int64_t requests : {50, 250}) {
    const auto add = [&](const char* name, benchmark::internal::Function* function, std::vector<int64_t> args) {
      benchmark::RegisterBenchmark(name, function)
          ->Args(args)
          ->Iterations(requests)
          ->Unit(benchmark::kMicrosecond)
          ->UseRealTime();
    };
    add("produce", produce, {1, 1});
    add("produce", produce, {1, 1000});
    add("produce", produce, {16, 100});
    add("fetch", fetch, {1, 1});
    add("fetch", fetch, {1000, 10});
    add("fetch", fetch, {10, 1000});
    add("fetch_nothing", fetch_nothing, {100});
  }
  return true;
}();

}  // namespace
}  // namespace millrace::broker
