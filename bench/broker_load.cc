// The same librdkafka client for every broker that is measured.
//   broker_load produce BOOTSTRAP TOPIC PARTITIONS RECORDS BYTES [NAME=VALUE...]  as fast as it takes them
//   broker_load consume BOOTSTRAP TOPIC PARTITIONS RECORDS                        as fast as it gives them
//   broker_load latency BOOTSTRAP TOPIC PARTITIONS RATE BYTES LINGER_MS SECONDS   how long a record takes, at a rate
// Prints one JSON object. acks=all, linger 5 ms, and librdkafka's settings as they are named; each record to the next
// partition in turn. The topic is there.

#include <librdkafka/rdkafka.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

namespace {

using Clock = std::chrono::steady_clock;

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "broker_load: %s\n", what);
  std::exit(1);
}

void configure(rd_kafka_conf_t* conf, const char* name, const char* value) {
  char why[512];
  if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) give_up(why);
}

rd_kafka_conf_t* configure(const std::vector<std::pair<const char*, const char*>>& settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  for (const auto& [name, value] : settings) configure(conf, name, value);
  return conf;
}

rd_kafka_t* start_client(rd_kafka_type_t type, rd_kafka_conf_t* conf) {
  char why[512];
  rd_kafka_t* client = rd_kafka_new(type, conf, why, sizeof why);
  if (client == nullptr) give_up(why);
  return client;
}

// Bytes that do not compress to nothing.
std::string noise(size_t bytes) {
  std::string value(bytes, ' ');
  uint32_t state = 1;
  for (char& c : value) c = static_cast<char>('!' + ((state = state * 1664525 + 1013904223) >> 24) % 90);
  return value;
}

// ── produce ──

std::atomic<int64_t> delivered{0};
std::atomic<int64_t> failed{0};

void count_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  (message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? delivered : failed)++;
}

void send(rd_kafka_t* producer, rd_kafka_topic_t* topic, int32_t partition, std::string& value) {
  while (rd_kafka_produce(topic, partition, RD_KAFKA_MSG_F_COPY, value.data(), value.size(), nullptr, 0, nullptr) !=
         0) {
    if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) give_up(rd_kafka_err2str(rd_kafka_last_error()));
    rd_kafka_poll(producer, 10);
  }
}

void finish(rd_kafka_t* producer, rd_kafka_topic_t* topic) {
  if (rd_kafka_flush(producer, 120'000) != RD_KAFKA_RESP_ERR_NO_ERROR || failed > 0)
    give_up("some records were not delivered");
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(producer);
}

void print(const char* what, int64_t records, int64_t bytes, std::chrono::duration<double> elapsed) {
  const double seconds = elapsed.count();
  std::printf("{\"what\":\"%s\",\"records\":%lld,\"seconds\":%.3f,\"records_per_s\":%.0f,\"mb_per_s\":%.1f}\n", what,
              static_cast<long long>(records), seconds, static_cast<double>(records) / seconds,
              static_cast<double>(bytes) / seconds / 1e6);
}

void produce(const char* bootstrap, const char* topic_name, int32_t partitions, int64_t records, size_t bytes,
             std::span<char*> settings) {
  rd_kafka_conf_t* conf = configure({{"bootstrap.servers", bootstrap},
                                     {"acks", "all"},
                                     {"linger.ms", "5"},
                                     {"queue.buffering.max.messages", "500000"},
                                     {"queue.buffering.max.kbytes", "1048576"}});
  for (const std::string_view setting : settings) {
    const size_t equals = setting.find('=');
    if (equals == std::string_view::npos) give_up("a setting is NAME=VALUE");
    configure(conf, std::string(setting.substr(0, equals)).c_str(), std::string(setting.substr(equals + 1)).c_str());
  }
  rd_kafka_conf_set_dr_msg_cb(conf, count_delivery);
  rd_kafka_t* producer = start_client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(producer, topic_name, nullptr);
  std::string value = noise(bytes);
  const auto start = Clock::now();
  for (int64_t i = 0; i < records; ++i) {
    send(producer, topic, static_cast<int32_t>(i % partitions), value);
    if (i % 1000 == 0) rd_kafka_poll(producer, 0);
  }
  finish(producer, topic);
  print("produce", delivered, delivered * static_cast<int64_t>(bytes), Clock::now() - start);
}

// ── consume ──

void consume(const char* bootstrap, const char* topic_name, int32_t partitions, int64_t records) {
  rd_kafka_t* consumer = start_client(RD_KAFKA_CONSUMER, configure({{"bootstrap.servers", bootstrap},
                                                                    {"queued.max.messages.kbytes", "262144"},
                                                                    {"queued.min.messages", "1000000"}}));
  rd_kafka_topic_t* topic = rd_kafka_topic_new(consumer, topic_name, nullptr);
  rd_kafka_queue_t* queue = rd_kafka_queue_new(consumer);
  const auto start = Clock::now();
  for (int32_t p = 0; p < partitions; ++p) rd_kafka_consume_start_queue(topic, p, RD_KAFKA_OFFSET_BEGINNING, queue);
  constexpr size_t kAtOnce = 10'000;
  std::vector<rd_kafka_message_t*> messages(kAtOnce);
  int64_t received = 0;
  int64_t bytes = 0;
  while (received < records) {
    const ssize_t count = rd_kafka_consume_batch_queue(queue, 1000, messages.data(), kAtOnce);
    if (count < 0) give_up("consume failed");
    for (ssize_t i = 0; i < count; ++i) {
      const rd_kafka_message_t& message = *messages[static_cast<size_t>(i)];
      if (message.err == RD_KAFKA_RESP_ERR_NO_ERROR) {
        ++received;
        bytes += static_cast<int64_t>(message.len);
      }
      rd_kafka_message_destroy(messages[static_cast<size_t>(i)]);
    }
    if (Clock::now() - start > std::chrono::seconds(120)) give_up("the records did not all come within 120 s");
  }
  print("consume", received, bytes, Clock::now() - start);
  for (int32_t p = 0; p < partitions; ++p) rd_kafka_consume_stop(topic, p);
  rd_kafka_queue_destroy(queue);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(consumer);
}

// ── latency ──

// Counted from when a record was due, so that a client that falls behind shows it. Only on the polling thread.
struct Published {
  Clock::time_point counted_from;
  std::vector<Clock::duration> took;
  int64_t failed = 0;
};

Clock::time_point due_of(const rd_kafka_message_t* message) {
  Clock::rep ticks;
  std::memcpy(&ticks, message->payload, sizeof ticks);
  return Clock::time_point(Clock::duration(ticks));
}

void note_published(rd_kafka_t*, const rd_kafka_message_t* message, void* opaque) {
  const auto now = Clock::now();
  auto& published = *static_cast<Published*>(opaque);
  if (message->err != RD_KAFKA_RESP_ERR_NO_ERROR) {
    ++published.failed;
    return;
  }
  const auto due = due_of(message);
  if (due >= published.counted_from) published.took.push_back(now - due);
}

double part_ms(std::vector<Clock::duration>& took, double part) {
  if (took.empty()) give_up("nothing was measured");
  const auto at = took.begin() + static_cast<ptrdiff_t>(static_cast<double>(took.size() - 1) * part);
  std::nth_element(took.begin(), at, took.end());
  return std::chrono::duration<double, std::milli>(*at).count();
}

void latency(const char* bootstrap, const char* topic_name, int32_t partitions, int64_t rate, size_t bytes,
             const char* linger_ms, int64_t seconds) {
  if (bytes < sizeof(Clock::rep)) give_up("a record must have room for its time");
  Published published;
  rd_kafka_conf_t* conf = configure({{"bootstrap.servers", bootstrap}, {"acks", "all"}, {"linger.ms", linger_ms}});
  rd_kafka_conf_set_dr_msg_cb(conf, note_published);
  rd_kafka_conf_set_opaque(conf, &published);
  rd_kafka_t* producer = start_client(RD_KAFKA_PRODUCER, conf);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(producer, topic_name, nullptr);
  std::string value = noise(bytes);

  constexpr int64_t kWarmUpSeconds = 2;
  const auto start = Clock::now();
  published.counted_from = start + std::chrono::seconds(kWarmUpSeconds);
  const int64_t records = rate * (kWarmUpSeconds + seconds);
  published.took.reserve(static_cast<size_t>(records));
  const std::chrono::duration<double> gap(1.0 / static_cast<double>(rate));
  for (int64_t i = 0; i < records; ++i) {
    const auto due = start + std::chrono::duration_cast<Clock::duration>(gap * static_cast<double>(i));
    // Asleep, not spinning: the broker is on the same cores.
    while (Clock::now() < due) {
      if (rd_kafka_poll(producer, 0) == 0) std::this_thread::sleep_until(due);
    }
    const Clock::rep ticks = due.time_since_epoch().count();
    std::memcpy(value.data(), &ticks, sizeof ticks);
    send(producer, topic, static_cast<int32_t>(i % partitions), value);
    rd_kafka_poll(producer, 0);
  }
  const std::chrono::duration<double> sent_within = Clock::now() - start;
  finish(producer, topic);
  if (published.failed > 0) give_up("some records were not delivered");
  std::printf("{\"what\":\"latency\",\"rate\":%.0f,\"p50_ms\":%.3f,\"p99_ms\":%.3f,\"p999_ms\":%.3f}\n",
              static_cast<double>(records) / sent_within.count(), part_ms(published.took, 0.5),
              part_ms(published.took, 0.99), part_ms(published.took, 0.999));
}

}  // namespace

int main(int argc, char** argv) {
  const std::string_view what = argc > 1 ? argv[1] : "";
  const auto number = [argv](int at) { return std::atoll(argv[at]); };
  if (what == "produce" && argc >= 7)
    produce(argv[2], argv[3], static_cast<int32_t>(number(4)), number(5), static_cast<size_t>(number(6)),
            std::span(argv + 7, argv + argc));
  else if (what == "consume" && argc == 6)
    consume(argv[2], argv[3], static_cast<int32_t>(number(4)), number(5));
  else if (what == "latency" && argc == 9)
    latency(argv[2], argv[3], static_cast<int32_t>(number(4)), number(5), static_cast<size_t>(number(6)), argv[7],
            number(8));
  else
    give_up(
        "usage: broker_load produce BOOTSTRAP TOPIC PARTITIONS RECORDS BYTES [NAME=VALUE...] | consume BOOTSTRAP TOPIC "
        "PARTITIONS RECORDS | latency BOOTSTRAP TOPIC PARTITIONS RATE BYTES LINGER_MS SECONDS");
  return 0;
}
