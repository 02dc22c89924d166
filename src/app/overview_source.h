#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "broker/broker.h"
#include "client/admin.h"
#include "client/partition_reader.h"
#include "http/overview.h"

namespace millrace::app {

// Gathers what the console's first page shows, by asking the broker as any client would: the same against a cluster.
// What only this process knows (its own broker's counters, its pipelines and tables) comes through the two functions.
// One thread at a time.
class OverviewSource {
 public:
  struct Parts {
    const Clock& clock;
    std::string kafka;                                       // HOST:PORT that users connect to
    client::Options connection;                              // how we do
    const broker::Broker* broker = nullptr;                  // null against a cluster
    std::function<void(http::Overview& overview)> add_rest;  // fills in pipelines, models, tables; may be empty
  };

  explicit OverviewSource(Parts parts) : parts_(std::move(parts)) {}

  // What cannot be had now is left out: a page with gaps is better than none.
  http::Overview sample();

 private:
  void add_topics(http::Overview& overview);
  void add_groups(http::Overview& overview);
  void add_events(http::Overview& overview);

  Parts parts_;
  std::unique_ptr<client::Admin> admin_;
  std::unique_ptr<client::PartitionReader> reader_;
  std::map<client::TopicPartition, Offset> ends_;  // as of the last sample
  std::vector<client::TopicPartition> advanced_;   // those that got records since the sample before
  std::deque<http::EventRow> events_;              // newest first
};

}  // namespace millrace::app
