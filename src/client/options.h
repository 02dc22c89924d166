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
  // Not empty: consumers join their groups as this static member (group.instance.id), so that the process that comes
  // after a crash takes its predecessor's place at once instead of after the session timeout. At most one consumer of a
  // group may have it at a time: a second one fences the first.
  std::string instance_id;
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
