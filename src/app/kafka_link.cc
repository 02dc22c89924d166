#include "app/kafka_link.h"

#include <fmt/core.h>
#include <netdb.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>

#include "base/byte_reader.h"
#include "wire/find_coordinator.h"
#include "wire/metadata.h"

namespace millrace::app {

namespace {

using SteadyTime = std::chrono::steady_clock::time_point;

constexpr int32_t kAnswerBytesMax = 256 << 20;

tl::unexpected<Error> unreachable(const std::string& address, std::string_view why) {
  return fail(Errc::kUnavailable, fmt::format("cannot reach a broker at {}: {}", address, why),
              "start one (millrace server), or name another with --bootstrap HOST:PORT");
}

// Wait until `fd` is ready for `events`; false when the deadline has passed.
bool wait_ready(int fd, short events, SteadyTime deadline) {
  while (true) {
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - std::chrono::steady_clock::now());
    if (left.count() <= 0) return false;
    pollfd waiting{fd, events, 0};
    const int ready = ::poll(&waiting, 1, static_cast<int>(left.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
  }
}

struct Addresses {
  addrinfo* list = nullptr;
  Addresses() = default;
  Addresses(const Addresses&) = delete;
  Addresses& operator=(const Addresses&) = delete;
  ~Addresses() {
    if (list != nullptr) ::freeaddrinfo(list);
  }
};

// A connected socket, or -1 with errno.
int connect_to(const addrinfo& address, SteadyTime deadline) {
  const int fd = ::socket(address.ai_family, address.ai_socktype | SOCK_NONBLOCK | SOCK_CLOEXEC, address.ai_protocol);
  if (fd < 0) return -1;
  int error = 0;
  if (::connect(fd, address.ai_addr, address.ai_addrlen) != 0) error = errno;
  if (error == EINPROGRESS) {
    socklen_t size = sizeof(error);
    if (!wait_ready(fd, POLLOUT, deadline))
      error = ETIMEDOUT;
    else if (::getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size) != 0)
      error = errno;
  }
  if (error == 0) return fd;
  ::close(fd);
  errno = error;
  return -1;
}

Errc errc_of(wire::ErrorCode code) {
  using enum wire::ErrorCode;
  static constexpr std::array kNotFound = {kUnknownTopicOrPartition, kUnknownTopicId, kGroupIdNotFound,
                                           kTransactionalIdNotFound};
  static constexpr std::array kConflict = {kNonEmptyGroup,          kUnknownMemberId,
                                           kIllegalGeneration,      kRebalanceInProgress,
                                           kGroupSubscribedToTopic, kInvalidProducerEpoch,
                                           kProducerFenced,         kInvalidTxnState,
                                           kConcurrentTransactions, kTransactionCoordinatorFenced};
  const auto is_one_of = [code](const auto& codes) { return std::ranges::find(codes, code) != codes.end(); };
  if (is_one_of(kNotFound)) return Errc::kNotFound;
  if (is_one_of(kConflict)) return Errc::kConflict;
  if (code == kTopicAlreadyExists) return Errc::kAlreadyExists;
  if (code == kRequestTimedOut) return Errc::kTimedOut;
  if (code == kKafkaStorageError || code == kUnknownServerError) return Errc::kIo;
  if (code == kTopicAuthorizationFailed || code == kGroupAuthorizationFailed || code == kClusterAuthorizationFailed ||
      code == kTransactionalIdAuthorizationFailed)
    return Errc::kPermissionDenied;
  return wire::is_retriable(code) ? Errc::kUnavailable : Errc::kInvalidArgument;
}

// For what the answer says of the brokers.
wire::MetadataRequest no_topics() {
  wire::MetadataRequest request;
  request.topics.emplace();
  request.allow_auto_topic_creation = false;
  return request;
}

}  // namespace

KafkaLink::Connection::~Connection() {
  if (fd >= 0) ::close(fd);
}

KafkaLink::~KafkaLink() = default;

Result<std::unique_ptr<KafkaLink>> KafkaLink::connect(const std::string& bootstrap, Millis timeout) {
  auto link = std::unique_ptr<KafkaLink>(new KafkaLink(timeout));
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<HostPort> places, parse_bootstrap(bootstrap));
  Error last;
  for (const HostPort& place : places) {
    auto opened = link->open(place);
    if (!opened) {
      last = std::move(opened.error());
      continue;
    }
    link->first_ = std::move(*opened);
    MILLRACE_ASSIGN_OR_RETURN(const auto metadata, link->ask(no_topics()));
    for (const auto& broker : metadata.brokers) link->brokers_.push_back({broker.node_id, broker.host, broker.port});
    link->cluster_id_ = metadata.cluster_id.value_or("");
    link->controller_ = metadata.controller_id;
    return link;
  }
  return tl::unexpected(std::move(last));
}

Result<std::unique_ptr<KafkaLink::Connection>> KafkaLink::open(const HostPort& place) {
  const std::string address = place.to_string();
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout_;
  Addresses found;
  addrinfo wanted{};
  wanted.ai_socktype = SOCK_STREAM;
  if (const int code = ::getaddrinfo(place.host.c_str(), std::to_string(place.port).c_str(), &wanted, &found.list);
      code != 0)
    return unreachable(address, ::gai_strerror(code));
  auto connection = std::make_unique<Connection>();
  connection->address = address;
  for (const addrinfo* one = found.list; one != nullptr && connection->fd < 0; one = one->ai_next)
    connection->fd = connect_to(*one, deadline);
  if (connection->fd < 0) return unreachable(address, std::strerror(errno));
  // A broker that does not know our version of this answers in version 0, with all that it does know.
  wire::ApiVersionsRequest request;
  request.client_software_name = "millrace-cli";
  request.client_software_version = MILLRACE_VERSION;
  constexpr int16_t kKnownByAll = 3;
  MILLRACE_ASSIGN_OR_RETURN(connection->versions, ask_in(*connection, request, kKnownByAll));
  MILLRACE_RETURN_IF_ERROR(
      to_status(connection->versions.error_code, fmt::format("{} does not say which requests it knows", address)));
  return connection;
}

Result<KafkaLink::Connection*> KafkaLink::connection_to(int32_t node) {
  if (brokers_.size() <= 1 || node < 0) return first_.get();
  if (const auto it = others_.find(node); it != others_.end()) return it->second.get();
  const auto broker = std::ranges::find(brokers_, node, &Node::id);
  if (broker == brokers_.end())
    return fail(Errc::kUnavailable, fmt::format("the cluster has no broker {} at the moment", node), "try again");
  MILLRACE_ASSIGN_OR_RETURN(auto opened, open(HostPort{broker->host, static_cast<uint16_t>(broker->port)}));
  return (others_[node] = std::move(opened)).get();
}

std::optional<int16_t> KafkaLink::common_version(const Connection& connection, wire::ApiKey key, int16_t min,
                                                 int16_t max) {
  for (const auto& api : connection.versions.api_keys) {
    if (api.api_key != static_cast<int16_t>(key)) continue;
    const int16_t version = std::min(max, api.max_version);
    if (version >= std::max(min, api.min_version)) return version;
  }
  return std::nullopt;
}

tl::unexpected<Error> KafkaLink::not_spoken(const Connection& connection, wire::ApiKey key) {
  return fail(Errc::kUnsupported,
              fmt::format("{} does not serve {}: it is of another version", connection.address, wire::api_name(key)),
              "use the cluster's own tools for this");
}

Result<Bytes> KafkaLink::exchange(Connection& connection, const wire::OutgoingFrame& frame, int32_t correlation_id) {
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout_;
  const auto lost = [&](std::string_view why) {
    return fail(Errc::kUnavailable, fmt::format("the connection to {} broke: {}", connection.address, why),
                "see the broker's log");
  };
  const auto late = [&] {
    return fail(Errc::kTimedOut, fmt::format("{} did not answer within {} ms", connection.address, timeout_.count()),
                "see the broker's log");
  };
  const Bytes bytes = frame.flatten();
  for (size_t sent = 0; sent < bytes.size();) {
    const ssize_t count = ::send(connection.fd, bytes.data() + sent, bytes.size() - sent, MSG_NOSIGNAL);
    if (count > 0) {
      sent += static_cast<size_t>(count);
    } else if (errno == EAGAIN) {
      if (!wait_ready(connection.fd, POLLOUT, deadline)) return late();
    } else if (errno != EINTR) {
      return lost(std::strerror(errno));
    }
  }
  const auto receive = [&](std::span<std::byte> out) -> Status {
    for (size_t got = 0; got < out.size();) {
      const ssize_t count = ::recv(connection.fd, out.data() + got, out.size() - got, 0);
      if (count > 0) {
        got += static_cast<size_t>(count);
      } else if (count == 0) {
        return lost("the broker closed it");
      } else if (errno == EAGAIN) {
        if (!wait_ready(connection.fd, POLLIN, deadline)) return late();
      } else if (errno != EINTR) {
        return lost(std::strerror(errno));
      }
    }
    return {};
  };
  std::array<std::byte, 4> prefix{};
  MILLRACE_RETURN_IF_ERROR(receive(prefix));
  const int32_t size = ByteReader(prefix).fixed<int32_t>().value_or(0);
  if (size < 4 || size > kAnswerBytesMax) return lost(fmt::format("an answer of {} bytes is no answer", size));
  Bytes answer(static_cast<size_t>(size));
  MILLRACE_RETURN_IF_ERROR(receive(answer));
  if (ByteReader(answer).fixed<int32_t>() != correlation_id) return lost("it answered another request");
  return answer;
}

Result<int32_t> KafkaLink::coordinator(CoordinatorKind kind, const std::string& key) {
  wire::FindCoordinatorRequest request;
  request.key_type = static_cast<int8_t>(kind);
  const bool takes_several = version<wire::FindCoordinatorRequest>().value_or(0) >= 4;
  if (takes_several)
    request.coordinator_keys = {key};
  else
    request.key = key;
  const std::string what = fmt::format("cannot find the coordinator of {}", key);
  // A cluster makes the internal topics when they are first asked for.
  constexpr Millis kPause{100};
  const SteadyTime deadline = std::chrono::steady_clock::now() + timeout_;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, ask(request));
    if (takes_several && answer.coordinators.empty()) return fail(Errc::kInternal, what + ": no answer for it");
    const auto code = takes_several ? answer.coordinators.front().error_code : answer.error_code;
    const auto& message = takes_several ? answer.coordinators.front().error_message : answer.error_message;
    if (code == wire::ErrorCode::kNone) return takes_several ? answer.coordinators.front().node_id : answer.node_id;
    if (!wire::is_retriable(code) || std::chrono::steady_clock::now() + kPause > deadline) {
      MILLRACE_RETURN_IF_ERROR(to_status(code, what, message));
    }
    ::poll(nullptr, 0, static_cast<int>(kPause.count()));
  }
}

Status to_status(wire::ErrorCode code, const std::string& what, const std::optional<std::string>& message) {
  if (code == wire::ErrorCode::kNone) return {};
  const std::string why = message && !message->empty() ? *message : std::string(wire::error_message(code));
  return fail(errc_of(code), fmt::format("{}: {}", what, why));
}

}  // namespace millrace::app
