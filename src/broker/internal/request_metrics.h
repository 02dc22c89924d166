#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <memory>
#include <string_view>

#include "base/metrics.h"
#include "wire/api.h"
#include "wire/error_code.h"

namespace millrace::broker {

// Counts requests, how long they take and what they end with, by API. Of an API that is not served nothing is counted.
// What is called for each request takes a few atomic additions: no lock, no allocation. Thread-safe.
class RequestMetrics {
 public:
  // For the APIs that find_api() knows.
  RequestMetrics();

  void begun(wire::ApiKey key);
  // The handler of a request has returned to its connection's thread.
  void handled(wire::ApiKey key, std::chrono::nanoseconds took);
  // A request is done: since it was begun.
  void answered(wire::ApiKey key, std::chrono::nanoseconds took);
  // An answer holds this error.
  void failed(wire::ApiKey key, wire::ErrorCode error);
  // A connection was given up for what came over it.
  void rejected() { rejected_.add(); }
  // A client over its quota is held back.
  void throttled() { throttled_.add(); }

  // APIs that were never asked for are left out.
  void collect(Exposition& out) const;

 private:
  // Kafka's keys end at 92 as of 4.3, its error codes at 133; errors beyond are counted as the unknown one.
  static constexpr size_t kKeysMax = 128;
  static constexpr size_t kErrorsMax = 160;

  struct Api {
    std::string_view name;
    Counter begun;
    DurationHistogram handler;
    DurationHistogram total;
    std::array<Counter, kErrorsMax> errors;  // by code + 1: the unknown error is -1
  };
  Api* find(wire::ApiKey key) const;

  std::array<std::unique_ptr<Api>, kKeysMax> apis_;
  Counter rejected_;
  Counter throttled_;
};

}  // namespace millrace::broker
