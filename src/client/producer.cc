#include "client/producer.h"

#include <fmt/core.h>

#include <array>
#include <map>

#include "client/internal/handle.h"

namespace millrace::client {

namespace {

// Delivery reports and errors wait in librdkafka until polled: serve them now and then while producing.
constexpr uint32_t kRecordsPerPoll = 512;
constexpr int kFullQueuePollMs = 50;

// Empty is not absent: librdkafka tells them apart by the pointer.
void* pointer_to(ByteView bytes) {
  static std::byte nothing{};
  return bytes.empty() ? &nothing : const_cast<std::byte*>(bytes.data());
}

}  // namespace

struct Producer::Impl {
  std::shared_ptr<Handle> handle;
  std::map<std::string, rd_kafka_topic_t*> topics;
  std::vector<DeliveryError> errors;
  size_t errors_since_flush = 0;
  uint32_t until_poll = kRecordsPerPoll;
  Millis delivery_timeout{0};

  Impl() = default;
  Impl(const Impl&) = delete;
  Impl& operator=(const Impl&) = delete;
  ~Impl() {
    if (!handle) return;
    rd_kafka_purge(handle->get(), RD_KAFKA_PURGE_F_QUEUE | RD_KAFKA_PURGE_F_INFLIGHT | RD_KAFKA_PURGE_F_NON_BLOCKING);
    for (const auto& [name, topic] : topics) rd_kafka_topic_destroy(topic);
  }

  // Only failures are reported (delivery.report.only.error).
  static void on_delivery(rd_kafka_t* /*handle*/, const rd_kafka_message_t* message, void* handle_pointer) {
    if (message->err == RD_KAFKA_RESP_ERR_NO_ERROR) return;
    auto* handle = static_cast<Handle*>(handle_pointer);
    auto* self = static_cast<Impl*>(handle->context());
    ++self->errors_since_flush;
    if (self->errors.size() >= kDeliveryErrorsMax) return;
    const std::string topic = rd_kafka_topic_name(message->rkt);
    const char* reason = rd_kafka_message_produce_errstr(message);
    self->errors.push_back({topic, PartitionId(message->partition),
                            to_error(message->err, fmt::format("record for {} not delivered", topic),
                                     handle->bootstrap(), reason != nullptr ? reason : "")});
  }
};

Producer::Producer(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Producer::~Producer() = default;

Result<std::unique_ptr<Producer>> Producer::create(const Options& options, const ProducerOptions& producer_options) {
  auto impl = std::make_unique<Impl>();
  impl->delivery_timeout = producer_options.delivery_timeout;
  const Settings settings = {
      {"enable.idempotence", producer_options.idempotent ? "true" : "false"},
      {"acks", producer_options.acks},
      {"compression.type", producer_options.compression},
      {"linger.ms", std::to_string(producer_options.linger.count())},
      {"batch.size", std::to_string(producer_options.batch_bytes_max)},
      {"batch.num.messages", "100000"},
      {"queue.buffering.max.messages", std::to_string(producer_options.queue_records_max)},
      {"queue.buffering.max.kbytes", std::to_string(std::max<uint64_t>(producer_options.queue_bytes_max >> 10, 1))},
      {"delivery.timeout.ms", std::to_string(producer_options.delivery_timeout.count())},
      {"delivery.report.only.error", "true"},
      {"retry.backoff.ms", "50"},
      {"partitioner", "murmur2_random"},
  };
  MILLRACE_ASSIGN_OR_RETURN(impl->handle, Handle::create(RD_KAFKA_PRODUCER, options, settings,
                                                         {.delivery = &Impl::on_delivery, .context = impl.get()}));
  return std::unique_ptr<Producer>(new Producer(std::move(impl)));
}

Result<Producer::Topic> Producer::topic(const std::string& name) {
  const auto known = impl_->topics.find(name);
  if (known != impl_->topics.end()) return Topic(known->second);
  rd_kafka_topic_t* topic = rd_kafka_topic_new(impl_->handle->get(), name.c_str(), nullptr);
  if (topic == nullptr)
    return tl::unexpected<Error>(
        to_error(rd_kafka_last_error(), fmt::format("cannot produce to \"{}\"", name), impl_->handle->bootstrap()));
  impl_->topics.emplace(name, topic);
  return Topic(topic);
}

Status Producer::produce(Topic topic, const OutRecord& record) {
  rd_kafka_t* handle = impl_->handle->get();
  if (--impl_->until_poll == 0) {
    impl_->until_poll = kRecordsPerPoll;
    rd_kafka_poll(handle, 0);
  }
  std::array<rd_kafka_vu_t, 7> fields{};
  size_t count = 0;
  const auto add = [&fields, &count](rd_kafka_vtype_t type) -> rd_kafka_vu_t& {
    fields[count].vtype = type;
    return fields[count++];
  };
  add(RD_KAFKA_VTYPE_RKT).u.rkt = static_cast<rd_kafka_topic_t*>(topic.handle_);
  add(RD_KAFKA_VTYPE_MSGFLAGS).u.i = RD_KAFKA_MSG_F_COPY;
  add(RD_KAFKA_VTYPE_PARTITION).u.i32 = record.partition ? record.partition->value() : RD_KAFKA_PARTITION_UA;
  if (record.key) {
    auto& key = add(RD_KAFKA_VTYPE_KEY).u.mem;
    key.ptr = pointer_to(*record.key);
    key.size = record.key->size();
  }
  if (record.value) {
    auto& value = add(RD_KAFKA_VTYPE_VALUE).u.mem;
    value.ptr = pointer_to(*record.value);
    value.size = record.value->size();
  }
  if (record.timestamp_ms >= 0) add(RD_KAFKA_VTYPE_TIMESTAMP).u.i64 = record.timestamp_ms;
  rd_kafka_headers_t* headers = nullptr;
  if (!record.headers.empty()) {
    headers = rd_kafka_headers_new(record.headers.size());
    for (const HeaderRef& header : record.headers)
      rd_kafka_header_add(headers, header.name.data(), static_cast<ssize_t>(header.name.size()),
                          header.value ? pointer_to(*header.value) : nullptr,
                          header.value ? static_cast<ssize_t>(header.value->size()) : 0);
    add(RD_KAFKA_VTYPE_HEADERS).u.headers = headers;
  }

  std::optional<std::chrono::steady_clock::time_point> deadline;
  while (true) {
    const ErrorPtr error(rd_kafka_produceva(handle, fields.data(), count));
    if (!error) return {};  // and the headers are librdkafka's now
    const bool full = rd_kafka_error_code(error.get()) == RD_KAFKA_RESP_ERR__QUEUE_FULL;
    if (full && !deadline) deadline = std::chrono::steady_clock::now() + impl_->delivery_timeout;
    if (full && std::chrono::steady_clock::now() < *deadline) {
      rd_kafka_poll(handle, kFullQueuePollMs);
      continue;
    }
    if (headers != nullptr) rd_kafka_headers_destroy(headers);
    const std::string what =
        fmt::format("cannot produce to {}", rd_kafka_topic_name(static_cast<rd_kafka_topic_t*>(topic.handle_)));
    if (full) return tl::unexpected<Error>(impl_->handle->no_answer(what));
    if (auto fatal = impl_->handle->fatal()) return tl::unexpected<Error>(std::move(*fatal));
    return to_status(rd_kafka_error_new(rd_kafka_error_code(error.get()), "%s", rd_kafka_error_string(error.get())),
                     what, impl_->handle->bootstrap());
  }
}

Status Producer::flush(Millis timeout) {
  rd_kafka_t* handle = impl_->handle->get();
  const rd_kafka_resp_err_t result = rd_kafka_flush(handle, to_ms(timeout));
  rd_kafka_poll(handle, 0);
  if (auto fatal = impl_->handle->fatal()) return tl::unexpected<Error>(std::move(*fatal));
  if (result != RD_KAFKA_RESP_ERR_NO_ERROR)
    return tl::unexpected<Error>(
        impl_->handle->no_answer(fmt::format("{} records not delivered yet", rd_kafka_outq_len(handle))));
  const size_t failed = std::exchange(impl_->errors_since_flush, 0);
  if (failed == 0) return {};
  Error error =
      impl_->errors.empty() ? Error{Errc::kInternal, "records not delivered", {}} : impl_->errors.back().error;
  error.message = fmt::format("{} records not delivered; the last: {}", failed, error.message);
  return tl::unexpected<Error>(std::move(error));
}

std::vector<DeliveryError> Producer::take_delivery_errors() { return std::exchange(impl_->errors, {}); }

size_t Producer::in_flight() const { return static_cast<size_t>(rd_kafka_outq_len(impl_->handle->get())); }

}  // namespace millrace::client
