#include "broker/internal/request_metrics.h"

#include "wire/messages.h"

namespace millrace::broker {

RequestMetrics::RequestMetrics() {
  for (const wire::ApiRange& known : wire::supported_apis()) {
    const auto key = static_cast<size_t>(known.key);
    if (key >= kKeysMax) continue;
    apis_[key] = std::make_unique<Api>();
    apis_[key]->name = known.name;
  }
}

RequestMetrics::Api* RequestMetrics::find(wire::ApiKey key) const {
  const auto index = static_cast<size_t>(key);  // a negative key is beyond all
  return index < kKeysMax ? apis_[index].get() : nullptr;
}

void RequestMetrics::begun(wire::ApiKey key) {
  if (Api* api = find(key)) api->begun.add();
}

void RequestMetrics::handled(wire::ApiKey key, std::chrono::nanoseconds took) {
  if (Api* api = find(key)) api->handler.observe(took);
}

void RequestMetrics::answered(wire::ApiKey key, std::chrono::nanoseconds took) {
  if (Api* api = find(key)) api->total.observe(took);
}

void RequestMetrics::failed(wire::ApiKey key, wire::ErrorCode error) {
  Api* api = find(key);
  if (api == nullptr) return;
  const auto index = static_cast<size_t>(static_cast<int>(error) + 1);
  api->errors[index < kErrorsMax ? index : 0].add();
}

void RequestMetrics::collect(Exposition& out) const {
  using enum Exposition::Type;
  auto& begun = out.family("millrace_broker_requests_total", "Requests begun.", kCounter);
  auto& errors =
      out.family("millrace_broker_request_errors_total", "Errors in answers, those of each partition.", kCounter);
  auto& total =
      out.family("millrace_broker_request_seconds",
                 "From a request's start to its answer's turn to be sent, waits for others included.", kHistogram);
  auto& handler =
      out.family("millrace_broker_request_handler_seconds",
                 "What a request took of its connection's thread before anything it waits for.", kHistogram);
  for (const auto& api : apis_) {
    if (api == nullptr || api->begun.value() == 0) continue;
    const Exposition::Label label{"api", api->name};
    begun.add({label}, api->begun.value());
    total.add({label}, api->total.snapshot());
    handler.add({label}, api->handler.snapshot());
    for (size_t i = 0; i < kErrorsMax; ++i) {
      const auto code = static_cast<wire::ErrorCode>(static_cast<int>(i) - 1);
      if (const uint64_t count = api->errors[i].value(); count > 0)
        errors.add({label, {"error", wire::error_name(code)}}, count);
    }
  }
  out.family("millrace_broker_requests_rejected_total", "Connections closed for what came over them: no sound request.",
             kCounter)
      .add({}, rejected_.value());
  out.family("millrace_broker_throttled_requests_total", "Requests of clients that were over their quota.", kCounter)
      .add({}, throttled_.value());
}

}  // namespace millrace::broker
