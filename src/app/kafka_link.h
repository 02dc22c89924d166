#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/host_port.h"
#include "base/result.h"
#include "wire/api_versions.h"
#include "wire/error_code.h"
#include "wire/frame.h"

namespace millrace::app {

struct Node {
  int32_t id = -1;
  std::string host;
  int32_t port = 0;
};

enum class CoordinatorKind : int8_t { kGroup = 0, kTransaction = 1 };

// Kafka's requests one by one, over plain TCP, for commands that show all that a broker answers: what the client
// library has no call for (transactions, producers, log folders), or cuts short (a setting's documentation, the
// broker's own message about a refusal). Speaks the newest version that both sides know, to Millrace as to Apache
// Kafka. One thread.
class KafkaLink {
 public:
  using Millis = std::chrono::milliseconds;

  // Connects to the first of `bootstrap` (HOST:PORT, several separated by commas) that answers, and learns of the
  // cluster's brokers. kUnavailable, kTimedOut.
  static Result<std::unique_ptr<KafkaLink>> connect(const std::string& bootstrap, Millis timeout);
  ~KafkaLink();

  const std::vector<Node>& brokers() const { return brokers_; }
  const std::string& cluster_id() const { return cluster_id_; }
  // Whoever answers for the whole cluster.
  int32_t controller() const { return controller_; }
  // What the broker that was reached first said of itself.
  const wire::ApiVersionsResponse& versions() const { return first_->versions; }

  // Send to a broker and wait for its answer. kUnsupported: the broker does not know the request, or no version of it
  // that we do.
  template <typename Request>
  Result<typename Request::Response> ask(int32_t node, const Request& request) {
    MILLRACE_ASSIGN_OR_RETURN(Connection* const connection, connection_to(node));
    return ask(*connection, request);
  }
  // To any broker.
  template <typename Request>
  Result<typename Request::Response> ask(const Request& request) {
    return ask(*first_, request);
  }

  // The version in which a request would go to any broker; none where it does not know it.
  template <typename Request>
  std::optional<int16_t> version() const {
    return common_version(*first_, Request::kApiKey, Request::kMinVersion, Request::kMaxVersion);
  }

  // The broker that coordinates a group or a transactional id.
  Result<int32_t> coordinator(CoordinatorKind kind, const std::string& key);

 private:
  struct Connection {
    int fd = -1;
    std::string address;
    int32_t next_correlation_id = 1;
    wire::ApiVersionsResponse versions;

    Connection() = default;
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;
  };

  explicit KafkaLink(Millis timeout) : timeout_(timeout) {}

  Result<std::unique_ptr<Connection>> open(const HostPort& place);
  Result<Connection*> connection_to(int32_t node);
  static std::optional<int16_t> common_version(const Connection& connection, wire::ApiKey key, int16_t min,
                                               int16_t max);
  static tl::unexpected<Error> not_spoken(const Connection& connection, wire::ApiKey key);
  // The answer to a frame, without its length.
  Result<Bytes> exchange(Connection& connection, const wire::OutgoingFrame& frame, int32_t correlation_id);

  template <typename Request>
  Result<typename Request::Response> ask(Connection& connection, const Request& request) {
    const auto version = common_version(connection, Request::kApiKey, Request::kMinVersion, Request::kMaxVersion);
    if (!version) return not_spoken(connection, Request::kApiKey);
    return ask_in(connection, request, *version);
  }
  // The answer points into `answer_`: until the next one.
  template <typename Request>
  Result<typename Request::Response> ask_in(Connection& connection, const Request& request, int16_t version) {
    const int32_t correlation_id = connection.next_correlation_id++;
    MILLRACE_ASSIGN_OR_RETURN(const wire::OutgoingFrame frame,
                              wire::encode_request(request, correlation_id, "millrace-cli", version));
    MILLRACE_ASSIGN_OR_RETURN(answer_, exchange(connection, frame, correlation_id));
    ByteReader in(answer_);
    return wire::decode_response<typename Request::Response>(in, version);
  }

  const Millis timeout_;
  std::unique_ptr<Connection> first_;
  std::map<int32_t, std::unique_ptr<Connection>> others_;
  std::vector<Node> brokers_;
  std::string cluster_id_;
  int32_t controller_ = -1;
  Bytes answer_;
};

// A broker's refusal as an Error: "<what>: <its message, else the code's own>". Success where the code is none.
Status to_status(wire::ErrorCode code, const std::string& what, const std::optional<std::string>& message = {});

}  // namespace millrace::app
