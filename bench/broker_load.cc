// The same librdkafka client for every broker that is measured: how fast does it take records, and give them back?
//   broker_load produce BOOTSTRAP TOPIC PARTITIONS RECORDS BYTES
//   broker_load consume BOOTSTRAP TOPIC PARTITIONS RECORDS
// Prints one JSON object. acks=all, no compression, linger 5 ms, each record to the next partition in turn.

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

namespace {

std::atomic<int64_t> delivered{0};
std::atomic<int64_t> failed{0};

void on_delivery(rd_kafka_t*, const rd_kafka_message_t* message, void*) {
  (message->err == RD_KAFKA_RESP_ERR_NO_ERROR ? delivered : failed)++;
}

[[noreturn]] void give_up(const char* what) {
  std::fprintf(stderr, "broker_load: %s\n", what);
  std::exit(1);
}

rd_kafka_conf_t* configure(const std::vector<std::pair<const char*, const char*>>& settings) {
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  char why[512];
  for (const auto& [name, value] : settings)
    if (rd_kafka_conf_set(conf, name, value, why, sizeof why) != RD_KAFKA_CONF_OK) give_up(why);
  return conf;
}

void print(const char* what, int64_t records, int64_t bytes, std::chrono::duration<double> elapsed) {
  const double seconds = elapsed.count();
  std::printf("{\"what\":\"%s\",\"records\":%lld,\"seconds\":%.3f,\"records_per_s\":%.0f,\"mb_per_s\":%.1f}\n", what,
              static_cast<long long>(records), seconds, static_cast<double>(records) / seconds,
              static_cast<double>(bytes) / seconds / 1e6);
}

void produce(const char* bootstrap, const char* topic_name, int32_t partitions, int64_t records, size_t bytes) {
  rd_kafka_conf_t* conf = configure({{"bootstrap.servers", bootstrap},
                                     {"acks", "all"},
                                     {"linger.ms", "5"},
                                     {"queue.buffering.max.messages", "500000"},
                                     {"queue.buffering.max.kbytes", "1048576"}});
  rd_kafka_conf_set_dr_msg_cb(conf, on_delivery);
  char why[512];
  rd_kafka_t* producer = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
  if (producer == nullptr) give_up(why);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(producer, topic_name, nullptr);
  // Bytes that do not compress to nothing, should a broker ever recompress.
  std::string value(bytes, ' ');
  uint32_t state = 1;
  for (char& c : value) c = static_cast<char>('!' + ((state = state * 1664525 + 1013904223) >> 24) % 90);

  const auto start = std::chrono::steady_clock::now();
  for (int64_t i = 0; i < records; ++i) {
    while (rd_kafka_produce(topic, static_cast<int32_t>(i % partitions), RD_KAFKA_MSG_F_COPY, value.data(),
                            value.size(), nullptr, 0, nullptr) != 0) {
      if (rd_kafka_last_error() != RD_KAFKA_RESP_ERR__QUEUE_FULL) give_up(rd_kafka_err2str(rd_kafka_last_error()));
      rd_kafka_poll(producer, 10);
    }
    if (i % 1000 == 0) rd_kafka_poll(producer, 0);
  }
  if (rd_kafka_flush(producer, 120'000) != RD_KAFKA_RESP_ERR_NO_ERROR || failed > 0)
    give_up("some records were not delivered");
  print("produce", delivered, delivered * static_cast<int64_t>(bytes), std::chrono::steady_clock::now() - start);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(producer);
}

void consume(const char* bootstrap, const char* topic_name, int32_t partitions, int64_t records) {
  rd_kafka_conf_t* conf = configure(
      {{"bootstrap.servers", bootstrap}, {"queued.max.messages.kbytes", "262144"}, {"queued.min.messages", "1000000"}});
  char why[512];
  rd_kafka_t* consumer = rd_kafka_new(RD_KAFKA_CONSUMER, conf, why, sizeof why);
  if (consumer == nullptr) give_up(why);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(consumer, topic_name, nullptr);
  rd_kafka_queue_t* queue = rd_kafka_queue_new(consumer);
  const auto start = std::chrono::steady_clock::now();
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
    if (std::chrono::steady_clock::now() - start > std::chrono::seconds(120))
      give_up("the records did not all come within 120 s");
  }
  print("consume", received, bytes, std::chrono::steady_clock::now() - start);
  for (int32_t p = 0; p < partitions; ++p) rd_kafka_consume_stop(topic, p);
  rd_kafka_queue_destroy(queue);
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(consumer);
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 7 && std::strcmp(argv[1], "produce") == 0)
    produce(argv[2], argv[3], std::atoi(argv[4]), std::atoll(argv[5]), static_cast<size_t>(std::atoll(argv[6])));
  else if (argc == 6 && std::strcmp(argv[1], "consume") == 0)
    consume(argv[2], argv[3], std::atoi(argv[4]), std::atoll(argv[5]));
  else
    give_up(
        "usage: broker_load produce BOOTSTRAP TOPIC PARTITIONS RECORDS BYTES | consume BOOTSTRAP TOPIC PARTITIONS "
        "RECORDS");
  return 0;
}
