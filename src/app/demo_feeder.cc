#include "app/demo_feeder.h"

#include <condition_variable>
#include <functional>
#include <limits>
#include <mutex>

#include "base/logging.h"

namespace millrace::app {
namespace {

constexpr std::string_view kLogModule = "demo";
constexpr client::Millis kFlushLimit{10'000};
// Events are sent in ticks of this length: even to the eye, and cheap.
constexpr std::chrono::milliseconds kTick{20};

// Sends what `produce_next` produces, `per_s` times a second, until it says that there is no more, or enough was sent.
void feed(std::stop_token stop, const DemoFeedOptions& options, client::Producer& producer,
          const std::function<Result<bool>()>& produce_next) {
  const uint64_t events = options.events > 0 ? options.events : std::numeric_limits<uint64_t>::max();
  std::mutex mutex;
  std::condition_variable_any stopped;
  const auto start = std::chrono::steady_clock::now();
  uint64_t sent = 0;
  bool more = true;
  for (int64_t tick = 1; more && sent < events && !stop.stop_requested(); ++tick) {
    const uint64_t due = std::min(events, static_cast<uint64_t>(tick * kTick.count()) * options.per_s / 1000);
    while (more && sent < due) {
      const auto produced = produce_next();
      if (!produced) log_warning(kLogModule, "the feed ends: {}", produced.error().message);
      more = produced && *produced;
      ++sent;
    }
    std::unique_lock lock(mutex);
    stopped.wait_until(lock, stop, start + tick * kTick, [] { return false; });
  }
  if (const auto flushed = producer.flush(kFlushLimit); !flushed)
    log_warning(kLogModule, "{}", flushed.error().message);
}

}  // namespace

Result<std::unique_ptr<DemoFeeder>> DemoFeeder::start(const client::Options& client, const env::TemporaryFolder& folder,
                                                      const DemoFeedOptions& options) {
  MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<client::Producer> orders_producer, client::Producer::create(client));
  MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<client::Producer> cards_producer, client::Producer::create(client));
  MILLRACE_ASSIGN_OR_RETURN(const auto orders_topic, orders_producer->topic("shop.orders"));
  MILLRACE_ASSIGN_OR_RETURN(const auto cards_topic, cards_producer->topic("card.payments"));
  MILLRACE_ASSIGN_OR_RETURN(std::shared_ptr<format::FileReader> orders, open_demo_orders(folder));

  std::unique_ptr<DemoFeeder> feeder(new DemoFeeder());
  feeder->threads_.emplace_back([=](std::stop_token stop) {
    feed(stop, options, *orders_producer, [&]() -> Result<bool> {
      std::string_view row;
      MILLRACE_ASSIGN_OR_RETURN(const bool more, orders->next(row));
      if (!more) return false;
      MILLRACE_RETURN_IF_ERROR(
          orders_producer->produce(orders_topic, {.partition = PartitionId(0), .value = as_byte_view(row)}));
      return true;
    });
  });
  feeder->threads_.emplace_back([=](std::stop_token stop) {
    CardWorld world({.seed = options.seed, .start_us = kDemoCardsStartUs, .drift_after = options.drift_after});
    feed(stop, options, *cards_producer, [&]() -> Result<bool> {
      const Payment payment = world.next();
      MILLRACE_RETURN_IF_ERROR(cards_producer->produce(cards_topic, {.key = as_byte_view(payment.card_id),
                                                                     .value = as_byte_view(payment.to_json()),
                                                                     .timestamp_ms = payment.time_us / 1000}));
      return true;
    });
  });
  return feeder;
}

void DemoFeeder::stop() {
  for (auto& thread : threads_) thread.request_stop();
  threads_.clear();
}

}  // namespace millrace::app
