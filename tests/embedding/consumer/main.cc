// A program that embeds Millrace, as its user would write it: a broker of its own with an ordinary Kafka client, and a
// pipeline with SQL that trains a learner of its own. It ends with 0 only where all came out as computed here.
#include <librdkafka/rdkafka.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <memory>
#include <span>
#include <string>

#include "millrace/broker.h"
#include "millrace/learner.h"
#include "millrace/pipeline.h"

namespace embed = millrace::embed;

namespace {

void expect(bool truth, const std::string& what) {
  if (truth) return;
  std::fprintf(stderr, "not so: %s\n", what.c_str());
  std::exit(1);
}

// The mean label so far, as if `prior_weight` labels of 0 had come before.
class ShrunkMean final : public embed::Learner {
 public:
  explicit ShrunkMean(double prior_weight) : prior_weight_(prior_weight) {}

  double predict(std::span<const double>) const override { return state_.sum / (prior_weight_ + state_.rows); }
  void learn(std::span<const double>, double label) override {
    state_.sum += label;
    state_.rows += 1;
  }
  std::unique_ptr<embed::Learner> clone() const override { return std::make_unique<ShrunkMean>(*this); }
  std::string save() const override { return {reinterpret_cast<const char*>(&state_), sizeof state_}; }
  embed::Status load(std::string_view state) override {
    if (state.size() != sizeof state_) return embed::Error{embed::Errc::kCorruption, "no state of a shrunk mean", ""};
    std::memcpy(&state_, state.data(), sizeof state_);
    return {};
  }

 private:
  struct State {
    double sum = 0;
    double rows = 0;
  };

  double prior_weight_;
  State state_;
};

embed::Status register_shrunk_mean() {
  return embed::register_algorithm({.name = "shrunk_mean",
                                    .title = "Shrunk mean",
                                    .doc = "The mean label so far, drawn towards 0.",
                                    .task = embed::Task::kRegression,
                                    .params = {{.name = "prior_weight",
                                                .doc = "labels of 0 before the first",
                                                .default_value = 1.0,
                                                .min = 0,
                                                .choices = {}}},
                                    .make = [](const embed::Params& params, size_t) {
                                      return std::make_unique<ShrunkMean>(std::get<double>(params.at("prior_weight")));
                                    }});
}

constexpr const char* kPipeline = R"(
pipeline: prices
sources:
  lots:
    topic: lots
    format: json
    columns: {size: double, price: double}
steps:
  - id: sold
    from: lots
    sql: SELECT * FROM lots WHERE price > 0
  - id: fit
    from: sold
    train:
      model: prices
      algorithm: shrunk_mean
      params: {prior_weight: 4}
      label: price
      features: [size]
      as: guess
sinks:
  - {id: guesses, from: fit, topic: guesses}
)";

rd_kafka_t* make_client(rd_kafka_type_t type, const std::string& bootstrap) {
  std::array<char, 256> error{};
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap.c_str(), error.data(), error.size());
  if (type == RD_KAFKA_CONSUMER) {
    rd_kafka_conf_set(conf, "group.id", "readers", error.data(), error.size());
    rd_kafka_conf_set(conf, "auto.offset.reset", "earliest", error.data(), error.size());
  }
  rd_kafka_t* client = rd_kafka_new(type, conf, error.data(), error.size());
  expect(client != nullptr, std::string("a client is made: ") + error.data());
  return client;
}

// Ten records in, the same ten out.
void produce_and_consume(const std::string& bootstrap) {
  const auto text = [](int i) { return "event " + std::to_string(i); };
  rd_kafka_t* producer = make_client(RD_KAFKA_PRODUCER, bootstrap);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(producer, "events", nullptr);
  for (int i = 0; i < 10; ++i) {
    std::string value = text(i);
    rd_kafka_produce(topic, RD_KAFKA_PARTITION_UA, RD_KAFKA_MSG_F_COPY, value.data(), value.size(), nullptr, 0,
                     nullptr);
  }
  expect(rd_kafka_flush(producer, 30'000) == RD_KAFKA_RESP_ERR_NO_ERROR, "everything is delivered");
  rd_kafka_topic_destroy(topic);
  rd_kafka_destroy(producer);

  rd_kafka_t* consumer = make_client(RD_KAFKA_CONSUMER, bootstrap);
  rd_kafka_topic_partition_list_t* topics = rd_kafka_topic_partition_list_new(1);
  rd_kafka_topic_partition_list_add(topics, "events", RD_KAFKA_PARTITION_UA);
  rd_kafka_subscribe(consumer, topics);
  rd_kafka_topic_partition_list_destroy(topics);
  for (int i = 0; i < 10; ++i) {
    rd_kafka_message_t* message = rd_kafka_consumer_poll(consumer, 30'000);
    expect(message != nullptr && message->err == RD_KAFKA_RESP_ERR_NO_ERROR, "a record comes");
    expect(std::string(static_cast<const char*>(message->payload), message->len) == text(i), "records come in order");
    rd_kafka_message_destroy(message);
  }
  rd_kafka_consumer_close(consumer);
  rd_kafka_destroy(consumer);
}

// A guess is made before its label is learned: the sum of the labels before, over prior weight and their number.
void train(const std::string& folder, const std::string& bootstrap) {
  constexpr int kLots = 8;
  const std::string input = folder + "/lots.jsonl";
  const std::string output = folder + "/guesses.csv";
  std::ofstream lots(input);
  for (int n = 0; n < kLots; ++n) {
    lots << "{\"size\": 1, \"price\": 0}\n";  // the SQL step leaves it out
    lots << "{\"size\": " << n << ", \"price\": " << 2 * n + 2 << "}\n";
  }
  lots.close();

  const auto pipeline = embed::Pipeline::parse(kPipeline, "prices.yaml").value();
  const embed::Report report =
      pipeline.run({.bootstrap = bootstrap, .inputs = {{"lots", input}}, .outputs = {{"guesses", output}}}).value();
  expect(report.records_in == 2 * kLots && report.rows_out == kLots, "16 records in, 8 rows out:\n" + report.text);
  expect(report.json.find("\"prices\"") != std::string::npos, "the report has the model:\n" + report.json);

  std::ifstream guesses(output);
  std::string line;
  std::getline(guesses, line);
  expect(line == "size,price,guess", "the header is the columns': " + line);
  double sum = 0;
  for (int n = 0; n < kLots; ++n) {
    double size = 0, price = 0, guess = 0;
    expect(std::getline(guesses, line) && std::sscanf(line.c_str(), "%lf,%lf,%lf", &size, &price, &guess) == 3,
           "a row has three numbers: " + line);
    expect(size == n && price == 2 * n + 2 && guess == sum / (4 + n), "the guess is the shrunk mean: " + line);
    sum += price;
  }
}

}  // namespace

int main(int, char** arguments) {
  const std::string folder = arguments[1];
  expect(embed::Pipeline::parse(kPipeline).error().message.find("shrunk_mean") != std::string::npos,
         "an algorithm is unknown before it is registered");
  register_shrunk_mean().value();
  expect(register_shrunk_mean().error().code == embed::Errc::kAlreadyExists, "a name is registered once");

  embed::Broker broker = embed::Broker::start({.data_dir = folder + "/data"}).value();
  expect(embed::Broker::start({.data_dir = folder + "/data"}).error().code == embed::Errc::kConflict,
         "a folder has one broker");
  produce_and_consume(broker.bootstrap());
  train(folder, broker.bootstrap());
  return 0;
}
