#pragma once

#include <chrono>
#include <map>
#include <string>

#include "base/result.h"

namespace millrace::client {

using Millis = std::chrono::milliseconds;

// How to reach a cluster: our own broker, or Apache Kafka. The same for admin, producers and consumers.
struct Options {
  std::string bootstrap;  // HOST:PORT, several separated by commas
  std::string client_id = "millrace";
  // librdkafka's own settings, by its names (security.protocol, sasl.*, ssl.*, ...); they win over everything else
  // here.
  std::map<std::string, std::string> extra;
};

// The fate of an Error of this module, which its code decides:
//   kUnavailable, kTimedOut   may succeed when tried again with the same object
//   kConflict                 fenced, or fatal: close this object and make a new one
//   others                    trying again changes nothing
bool is_retriable(const Error& error);
bool is_fatal(const Error& error);

}  // namespace millrace::client
