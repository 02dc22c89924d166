#include "client/internal/handle.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <limits>

#include "base/host_port.h"
#include "base/logging.h"

namespace millrace::client {

namespace {

constexpr int kLogLinesPerWindow = 20;
constexpr int64_t kLogWindowSeconds = 10;
// syslog's scale, which librdkafka uses.
constexpr int kSyslogCritical = 2;
constexpr int kSyslogWarning = 4;
constexpr int kSyslogInfo = 6;

Errc errc_of(rd_kafka_resp_err_t code) {
  switch (code) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR__NOENT:  // "no leaders found", of partitions that are being made
    case RD_KAFKA_RESP_ERR__DESTROY:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_NOT_CONTROLLER:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH:  // the leader is another since the metadata was read, or has restarted
    case RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_REBALANCE_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_UNSTABLE_OFFSET_COMMIT:
      return Errc::kUnavailable;
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
      return Errc::kTimedOut;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_ID:
    case RD_KAFKA_RESP_ERR_GROUP_ID_NOT_FOUND:
      return Errc::kNotFound;
    case RD_KAFKA_RESP_ERR_TOPIC_ALREADY_EXISTS:
      return Errc::kAlreadyExists;
    case RD_KAFKA_RESP_ERR__FATAL:
    case RD_KAFKA_RESP_ERR__FENCED:
    case RD_KAFKA_RESP_ERR__ASSIGNMENT_LOST:
    case RD_KAFKA_RESP_ERR_ILLEGAL_GENERATION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_MEMBER_ID:
    case RD_KAFKA_RESP_ERR_FENCED_INSTANCE_ID:
    case RD_KAFKA_RESP_ERR_FENCED_MEMBER_EPOCH:
    case RD_KAFKA_RESP_ERR_STALE_MEMBER_EPOCH:
    case RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH:
    case RD_KAFKA_RESP_ERR_PRODUCER_FENCED:
    case RD_KAFKA_RESP_ERR_NON_EMPTY_GROUP:
      return Errc::kConflict;
    case RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE:
    case RD_KAFKA_RESP_ERR_RECORD_LIST_TOO_LARGE:
      return Errc::kTooLarge;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_TRANSACTIONAL_ID_AUTHORIZATION_FAILED:
      return Errc::kPermissionDenied;
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
    case RD_KAFKA_RESP_ERR_INVALID_PARTITIONS:
    case RD_KAFKA_RESP_ERR_INVALID_REPLICATION_FACTOR:
    case RD_KAFKA_RESP_ERR_INVALID_CONFIG:
    case RD_KAFKA_RESP_ERR_INVALID_REQUEST:
    case RD_KAFKA_RESP_ERR_INVALID_GROUP_ID:
    case RD_KAFKA_RESP_ERR_INVALID_RECORD:
    case RD_KAFKA_RESP_ERR_INVALID_TIMESTAMP:
    case RD_KAFKA_RESP_ERR_INCONSISTENT_GROUP_PROTOCOL:
    case RD_KAFKA_RESP_ERR_POLICY_VIOLATION:
      return Errc::kInvalidArgument;
    case RD_KAFKA_RESP_ERR__UNSUPPORTED_FEATURE:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_VERSION:
      return Errc::kUnsupported;
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
      return Errc::kIo;
    case RD_KAFKA_RESP_ERR__BAD_MSG:
    case RD_KAFKA_RESP_ERR__BAD_COMPRESSION:
    case RD_KAFKA_RESP_ERR_INVALID_MSG:
      return Errc::kCorruption;
    default:  // several hundred codes, most of which a client of ours never sees
      return Errc::kInternal;
  }
}

Error unreachable(std::string_view what, std::string_view bootstrap) {
  return {Errc::kUnavailable, fmt::format("{}: no broker answers at {}", what, bootstrap),
          "start one with `millrace server`, or give the address of one that runs"};
}

}  // namespace

bool is_retriable(const Error& error) { return error.code == Errc::kUnavailable || error.code == Errc::kTimedOut; }
bool is_fatal(const Error& error) { return error.code == Errc::kConflict; }

Error to_error(rd_kafka_resp_err_t code, std::string_view what, std::string_view bootstrap, std::string_view detail) {
  if (code == RD_KAFKA_RESP_ERR__TRANSPORT || code == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN ||
      code == RD_KAFKA_RESP_ERR__RESOLVE)
    return unreachable(what, bootstrap);
  const std::string_view reason = detail.empty() ? std::string_view(rd_kafka_err2str(code)) : detail;
  return {errc_of(code), fmt::format("{}: {}", what, reason), {}};
}

Status to_status(rd_kafka_error_t* error, std::string_view what, std::string_view bootstrap) {
  if (error == nullptr) return {};
  const ErrorPtr owned(error);
  return tl::unexpected<Error>(to_error(rd_kafka_error_code(error), what, bootstrap, rd_kafka_error_string(error)));
}

int to_ms(Millis timeout) {
  return static_cast<int>(std::clamp<int64_t>(timeout.count(), 0, std::numeric_limits<int>::max()));
}

Result<std::shared_ptr<Handle>> Handle::create(rd_kafka_type_t type, const Options& options, Settings settings,
                                               const HandleCallbacks& callbacks) {
  // librdkafka would take 9092 for a port that is not there.
  if (!options.extra.contains("bootstrap.servers")) MILLRACE_RETURN_IF_ERROR(parse_bootstrap(options.bootstrap));
  settings.insert({{"bootstrap.servers", options.bootstrap},
                   {"client.id", options.client_id},
                   {"reconnect.backoff.ms", "50"},
                   {"reconnect.backoff.max.ms", "1000"},
                   {"log.connection.close", "false"},
                   {"socket.nagle.disable", "true"},
                   {"enable.metrics.push", "false"}});
  for (const auto& [name, value] : options.extra) settings[name] = value;

  std::array<char, 512> why{};
  rd_kafka_conf_t* conf = rd_kafka_conf_new();
  for (const auto& [name, value] : settings) {
    if (rd_kafka_conf_set(conf, name.c_str(), value.c_str(), why.data(), why.size()) != RD_KAFKA_CONF_OK) {
      rd_kafka_conf_destroy(conf);
      return fail(Errc::kInvalidArgument, fmt::format("client setting {}={}: {}", name, value, why.data()));
    }
  }
  auto self = std::shared_ptr<Handle>(new Handle(settings["bootstrap.servers"]));
  self->callbacks_ = callbacks;
  rd_kafka_conf_set_opaque(conf, self.get());
  rd_kafka_conf_set_error_cb(conf, &Handle::on_error);
  rd_kafka_conf_set_log_cb(conf, &Handle::on_log);
  if (callbacks.rebalance != nullptr) rd_kafka_conf_set_rebalance_cb(conf, callbacks.rebalance);
  if (callbacks.delivery != nullptr) rd_kafka_conf_set_dr_msg_cb(conf, callbacks.delivery);

  self->handle_ = rd_kafka_new(type, conf, why.data(), why.size());
  if (self->handle_ == nullptr) {
    rd_kafka_conf_destroy(conf);
    return fail(Errc::kInvalidArgument, fmt::format("cannot make a client of {}: {}", self->bootstrap_, why.data()));
  }
  return self;
}

Handle::~Handle() {
  // Consumers were closed, or are given up: never wait for the group here.
  if (handle_ != nullptr) rd_kafka_destroy_flags(handle_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void Handle::on_error(rd_kafka_t* handle, int code, const char* reason, void* self_pointer) {
  auto* self = static_cast<Handle*>(self_pointer);
  const auto error = static_cast<rd_kafka_resp_err_t>(code);
  if (error == RD_KAFKA_RESP_ERR__FATAL) return;  // fatal() asks for it
  if (error == RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) self->all_down_ = true;
  Error trouble = to_error(error, rd_kafka_name(handle), self->bootstrap_, reason);
  const MutexLock lock(self->mutex_);
  self->trouble_ = std::move(trouble);
}

void Handle::on_log(const rd_kafka_t* handle, int level, const char* facility, const char* text) {
  static_cast<Handle*>(rd_kafka_opaque(handle))->log(level, facility, text);
}

void Handle::log(int level, std::string_view facility, std::string_view text) {
  {
    const int64_t now_s =
        std::chrono::duration_cast<std::chrono::seconds>(std::chrono::steady_clock::now().time_since_epoch()).count();
    const MutexLock lock(mutex_);
    if (now_s - log_window_s_ >= kLogWindowSeconds) {
      log_window_s_ = now_s;
      lines_in_window_ = 0;
    }
    if (++lines_in_window_ > kLogLinesPerWindow) return;
  }
  // Connections that fail are errors to librdkafka, but it tries again, and callers hear of it as an Error.
  const bool connection = facility == "FAIL" || facility == "ERROR" || facility == "CONNECT" || facility == "COORD";
  if (level <= kSyslogCritical || (level <= kSyslogWarning && !connection))
    log_warning("client", "{}: {}", facility, text);
  else if (level <= kSyslogInfo)
    log_info("client", "{}: {}", facility, text);
  else
    log_debug("client", "{}: {}", facility, text);
}

std::optional<Error> Handle::take_trouble() {
  const MutexLock lock(mutex_);
  return std::exchange(trouble_, std::nullopt);
}

std::optional<Error> Handle::fatal() const {
  std::array<char, 512> why{};
  const rd_kafka_resp_err_t code = rd_kafka_fatal_error(handle_, why.data(), why.size());
  if (code == RD_KAFKA_RESP_ERR_NO_ERROR) return std::nullopt;
  return Error{Errc::kConflict, fmt::format("this client can go no further: {}", why.data()),
               "close it and make a new one"};
}

Error Handle::no_answer(std::string_view what) const {
  if (all_down_) return unreachable(what, bootstrap_);
  return {Errc::kTimedOut, fmt::format("{}: {} did not answer in time", what, bootstrap_), {}};
}

}  // namespace millrace::client
