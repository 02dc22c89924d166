#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "app/card_world.h"
#include "app/demo_data.h"
#include "base/result.h"
#include "client/producer.h"

namespace millrace::app {

struct DemoFeedOptions {
  uint64_t events = 0;   // of each stream; 0: until stopped
  uint64_t per_s = 200;  // of each stream
  uint64_t seed = 1;
  uint64_t drift_after = 30'000;
};

// Feeds the demonstration's two topics at an even pace from two threads, until it is stopped or the events end.
class DemoFeeder {
 public:
  // `folder` must outlive the feeder.
  static Result<std::unique_ptr<DemoFeeder>> start(const client::Options& client, const env::TemporaryFolder& folder,
                                                   const DemoFeedOptions& options);
  ~DemoFeeder() { stop(); }
  DemoFeeder(const DemoFeeder&) = delete;
  DemoFeeder& operator=(const DemoFeeder&) = delete;

  // Idempotent.
  void stop();

 private:
  DemoFeeder() = default;
  std::vector<std::jthread> threads_;
};

}  // namespace millrace::app
