#include "broker/broker.h"

#include <fmt/core.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"
#include "base/logging.h"
#include "broker/internal/broker_metrics.h"
#include "broker/internal/core.h"
#include "broker/internal/dispatch.h"
#include "broker/internal/rebalance_history.h"
#include "broker/internal/server.h"
#include "broker/internal/strand.h"
#include "env/process_stats.h"

namespace millrace::broker {
namespace {

// A quarter of the files that this process may have open: the others are for clients, and for what is written to.
size_t open_files_max(size_t wanted) {
  const auto process = env::process_stats();
  return process ? std::min<uint64_t>(wanted, process->open_files_max / 4) : wanted;
}

log::StoreOptions store_options(const BrokerOptions& options) {
  const Settings& settings = options.settings;
  log::StoreOptions store;
  store.dir = options.data_dir;
  store.segment_bytes = static_cast<uint64_t>(settings.segment_bytes);
  store.index_interval_bytes = static_cast<uint32_t>(settings.index_interval_bytes);
  store.checkpoint_bytes = static_cast<uint64_t>(settings.wal_checkpoint_bytes);
  store.checkpoint_interval = std::chrono::milliseconds(settings.wal_checkpoint_ms);
  store.retention_check_interval = std::chrono::milliseconds(settings.retention_check_interval_ms);
  store.cleaner_enabled = settings.cleaner_enabled;
  store.cleaner_backoff = std::chrono::milliseconds(settings.cleaner_backoff_ms);
  store.cleaner_map_bytes = static_cast<uint64_t>(settings.cleaner_map_bytes);
  store.cleaner_bytes_per_s = static_cast<uint64_t>(settings.cleaner_bytes_per_s);
  store.open_files_max = open_files_max(store.open_files_max);
  return store;
}

Status check_listeners(const std::vector<ListenerOptions>& listeners) {
  if (listeners.empty()) return fail(Errc::kInvalidArgument, "a broker needs at least one listener");
  std::set<std::string> names;
  for (const ListenerOptions& listener : listeners)
    if (!names.insert(listener.name).second)
      return fail(Errc::kInvalidArgument, fmt::format("two listeners are named '{}'", listener.name));
  return {};
}

}  // namespace

// Members stand in the order in which they are made; stop() ends their threads, so that destruction in the reverse
// order meets none running.
struct Broker::Impl {
  Impl(BrokerOptions given, env::FileSystem& files, Clock& the_clock, Random the_random, Metrics& the_metrics)
      : options(std::move(given)),
        clock(the_clock),
        random(the_random),
        metrics(the_metrics),
        notes(the_clock),
        purgatory(options.settings.parked_fetch_bytes_max),
        fetch_sessions({.sessions_max = static_cast<size_t>(options.settings.fetch_sessions_max)}, random.fork()),
        server(options.settings, the_clock, requests),
        coordination(server.thread(0), the_clock),
        gate(coordination),
        producer_ids(files, options.data_dir),
        dynamic_configs(files, options.data_dir),
        quotas(files, options.data_dir, the_clock) {}

  ~Impl() { stop(); }

  Status listen() {
    MILLRACE_RETURN_IF_ERROR(server.listen(options.listeners));
    for (size_t i = 0; i < options.listeners.size(); ++i) {
      const ListenerOptions& listener = options.listeners[i];
      advertised.push_back({.host = listener.advertised_host.empty() ? listener.host : listener.advertised_host,
                            .port = listener.advertised_port == 0 ? server.port(i) : listener.advertised_port});
      ports.push_back(server.port(i));
    }
    return {};
  }

  Status open(env::FileSystem& files) {
    MILLRACE_ASSIGN_OR_RETURN(store, log::Store::open(store_options(options), files, clock, random));
    store->set_fatal_callback([this](const Error& error) {
      if (options.on_fatal) return options.on_fatal(error);
      log_error("broker", "the log has failed, nothing more can be acknowledged: {}", error.message);
    });
    MILLRACE_ASSIGN_OR_RETURN(DynamicSettings dynamic, dynamic_configs.read());
    MILLRACE_RETURN_IF_ERROR(quotas.load());
    topics.emplace(*store, options.settings, std::move(dynamic), random.fork());
    groups.emplace(*store, *topics, options.settings, clock, random.fork());
    history.emplace(*topics, clock, worker, notes);
    groups->set_rebalance_observer([this](std::vector<coord::Rebalance> ended) { history->add(std::move(ended)); });
    MILLRACE_RETURN_IF_ERROR(groups->load(gate));
    transactions.emplace(*store, *topics, *groups, producer_ids, options.settings, clock);
    MILLRACE_RETURN_IF_ERROR(transactions->load(gate));
    store->set_advance_observer(
        [this](std::span<const std::shared_ptr<log::Partition>> partitions) { purgatory.advanced(partitions); });
    return {};
  }

  void serve() {
    core.emplace(Core{.settings = options.settings,
                      .advertised = advertised,
                      .clock = clock,
                      .store = *store,
                      .topics = *topics,
                      .purgatory = purgatory,
                      .fetch_sessions = fetch_sessions,
                      .groups = *groups,
                      .transactions = *transactions,
                      .producer_ids = producer_ids,
                      .dynamic_configs = dynamic_configs,
                      .quotas = quotas,
                      .worker = worker,
                      .notes = notes});
    dispatcher.emplace(*core, requests);
    server.start(*dispatcher);
    shown.emplace(*core, server, requests, metrics);
  }

  // First those who ask, then those who do, then the log, whose callbacks post to network threads that no longer run.
  void stop() {
    if (std::exchange(stopped, true)) return;
    shown.reset();
    server.stop();
    worker.stop();
    if (!store) return;
    store->set_advance_observer({});
    if (const auto closed = store->close(); !closed)
      log_error("broker", "closing the log failed: {}", closed.error().message);
  }

  const BrokerOptions options;
  Clock& clock;
  Random random;
  Metrics& metrics;
  RateLimit notes;
  Purgatory purgatory;
  FetchSessions fetch_sessions;
  std::unique_ptr<log::Store> store;
  std::optional<Topics> topics;
  std::optional<RebalanceHistory> history;
  std::optional<GroupService> groups;
  std::optional<TransactionService> transactions;
  RequestMetrics requests;
  Server server;
  Strand coordination;  // of groups and transactions
  CoordinatorGate gate;
  ProducerIds producer_ids;
  DynamicConfigs dynamic_configs;
  ClientQuotas quotas;
  Worker worker;
  std::vector<ListenerAddress> advertised;
  std::vector<uint16_t> ports;
  std::optional<Core> core;
  std::optional<Dispatcher> dispatcher;
  std::optional<BrokerMetrics> shown;
  bool stopped = false;
};

Result<std::unique_ptr<Broker>> Broker::start(BrokerOptions options, env::FileSystem& files, Clock& clock,
                                              Random random, Metrics& metrics) {
  MILLRACE_RETURN_IF_ERROR(check_listeners(options.listeners));
  auto impl = std::make_unique<Impl>(std::move(options), files, clock, random, metrics);
  MILLRACE_RETURN_IF_ERROR(impl->listen());
  MILLRACE_RETURN_IF_ERROR(impl->open(files));
  impl->serve();
  return std::unique_ptr<Broker>(new Broker(std::move(impl)));
}

Broker::Broker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Broker::~Broker() = default;

void Broker::stop() { impl_->stop(); }

ListenerAddress Broker::address(std::string_view listener) const {
  for (size_t i = 0; i < impl_->options.listeners.size(); ++i) {
    const ListenerOptions& options = impl_->options.listeners[i];
    if (options.name != listener) continue;
    // Who listens everywhere is reached by the loopback address.
    const bool any = options.host == "0.0.0.0" || options.host == "::" || options.host.empty();
    return {.host = any ? "127.0.0.1" : options.host, .port = impl_->ports[i]};
  }
  MILLRACE_CHECK(false, "address() of a listener that is not in the options");
}

const Uuid& Broker::cluster_id() const { return impl_->store->cluster_id(); }

BrokerStats Broker::stats() const {
  return {.connections = impl_->server.connections(),
          .queued_request_bytes = impl_->server.queued_request_bytes(),
          .groups = impl_->groups->group_count(),
          .topics = impl_->topics->stats()};
}

void Broker::rebalances(std::string group, size_t count_max,
                        std::function<void(Result<std::vector<std::string>>)> done) {
  impl_->worker.post([history = &*impl_->history, group = std::move(group), count_max, done = std::move(done)] {
    done(history->last_of(group, count_max));
  });
}

void Broker::clock_moved() { impl_->server.clock_moved(); }

}  // namespace millrace::broker
