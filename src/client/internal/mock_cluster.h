#pragma once

#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include <string>

#include "client/options.h"

namespace millrace::client {

// librdkafka's own mock of a cluster, in this process, on a free loopback port: a broker that none of our code wrote.
class MockCluster {
 public:
  MockCluster() {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "2", nullptr, 0);
    host_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nullptr, 0);
    cluster_ = rd_kafka_mock_cluster_new(host_, 1);
    rd_kafka_mock_group_initial_rebalance_delay_ms(cluster_, 0);
  }
  ~MockCluster() {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(host_);
  }
  MockCluster(const MockCluster&) = delete;
  MockCluster& operator=(const MockCluster&) = delete;

  void create_topic(const std::string& name, int partitions) {
    ASSERT_EQ(rd_kafka_mock_topic_create(cluster_, name.c_str(), partitions, 1), RD_KAFKA_RESP_ERR_NO_ERROR);
  }
  void fail_topic(const std::string& name, rd_kafka_resp_err_t code) {
    rd_kafka_mock_topic_set_error(cluster_, name.c_str(), code);
  }
  // The next request of this API (Kafka's number) is answered with the error.
  void fail_next_request(int16_t api, rd_kafka_resp_err_t code) {
    rd_kafka_mock_push_request_errors(cluster_, api, 1, code);
  }
  Options options() const { return {.bootstrap = rd_kafka_mock_cluster_bootstraps(cluster_)}; }

 private:
  rd_kafka_t* host_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

}  // namespace millrace::client
