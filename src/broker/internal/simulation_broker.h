#pragma once

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/fake_clock.h"
#include "base/random.h"
#include "broker/internal/core.h"
#include "broker/internal/dispatch.h"
#include "broker/internal/request_metrics.h"
#include "broker/internal/simulation_executor.h"
#include "env/fault_file_system.h"
#include "log/store.h"
#include "record/records.h"

namespace millrace::broker {

// The topic that the simulation's producers write to, and how many partitions it has.
inline constexpr const char* kSimulatedTopic = "t";
inline constexpr int32_t kSimulatedPartitions = 3;

// A broker's process as the simulation runs it: everything behind the network, over the real log, without a thread.
class SimulatedBroker {
 public:
  // Starts from what `files` hold. All outlive it.
  static Result<std::unique_ptr<SimulatedBroker>> start(const Settings& settings, env::FaultFileSystem& files,
                                                        const Clock& clock, Random random, Worker& worker) {
    std::unique_ptr<SimulatedBroker> broker(new SimulatedBroker(settings, files, clock, random));
    MILLRACE_RETURN_IF_ERROR(broker->open(files, worker));
    return broker;
  }

  ~SimulatedBroker() {
    if (!store_) return;
    store_->set_advance_observer({});
    // It posts to the executors, whose tasks may hold room in its buffer: it ends before them, and is there until then.
    static_cast<void>(store_->close());
  }

  // A frame has come over connection `number`.
  void handle(ByteView frame, uint64_t number, const std::shared_ptr<ReplySink>& sink) {
    auto copy = std::make_shared<Frame>(frame.size(), nullptr);
    std::copy(frame.begin(), frame.end(), copy->data());
    network_.run([&] {
      dispatcher_->handle({.frame = std::move(copy),
                           .client_host = "/127.0.0.1",
                           .listener = 0,
                           .connection = number,
                           .client = &client_,
                           .reply = Reply(sink, network_, 0)});
    });
  }
  void closed(uint64_t number) {
    network_.run([&] { dispatcher_->closed(number); });
  }
  void next_waits(uint64_t number) {
    network_.run([&] { dispatcher_->next_waits(number); });
  }

  // Network threads are one, coordinators have another.
  SimulatedExecutor& network() { return network_; }
  SimulatedExecutor& coordinators() { return coordinators_; }
  log::Store& store() { return *store_; }
  const GroupService& groups() const { return *groups_; }
  const TransactionService& transactions() const { return *transactions_; }
  // What a coordinator has decided waits for room in the log: the other may not know of it yet.
  bool decision_waits() const { return !gate_.is_open(); }
  // A topic that is there to be deleted.
  Status make_ballast() {
    constexpr size_t kBytes = 20'000;
    if (topics_->snapshot()->find(kBallast) != nullptr) return {};
    // Without a thread nobody may wait for room in the log's buffer.
    MILLRACE_RETURN_IF_ERROR(store_->commit_group());
    MILLRACE_RETURN_IF_ERROR(make_topic(kBallast, 1, {}));
    record::BatchBuilder builder(record::BatchOptions{});
    builder.add(0, std::nullopt, Bytes(kBytes));
    Bytes batch = builder.finish().value();
    const auto& partition = *topics_->snapshot()->find(kBallast)->partition(0);
    return partition->append(batch, {.when_full = log::WhenFull::kRefuse}).map([](const auto&) {});
  }
  Status drop_ballast() { return topics_->remove(kBallast); }

  const std::shared_ptr<log::Partition>& partition(int32_t index) const {
    return *topics_->snapshot()->find(kSimulatedTopic)->partition(index);
  }

 private:
  SimulatedBroker(const Settings& settings, env::FaultFileSystem& files, const Clock& clock, Random random)
      : settings_(settings),
        clock_(clock),
        random_(random),
        notes_(clock),
        purgatory_(settings.parked_fetch_bytes_max),
        fetch_sessions_({.sessions_max = 10}, random_.fork()),
        producer_ids_(files, kFolder),
        dynamic_configs_(files, kFolder),
        quotas_(files, kFolder, clock) {}

  static constexpr const char* kFolder = "/data";
  static constexpr const char* kBallast = "ballast";

  Status open(env::FaultFileSystem& files, Worker& worker) {
    log::StoreOptions options;
    options.dir = kFolder;
    options.segment_bytes = 8192;
    options.index_interval_bytes = 512;
    // A quarter of it is the reserve of a full disk, enough for 16 syncs.
    options.wal_file_bytes = 256u << 10;
    // Some lives keep what is new in memory, others write most batches into their segments, and some of these only
    // there.
    options.tail_bytes = files.operations() % 2 == 0 ? 1024 : 80;
    options.write_once_bytes = 80;
    // In some lives what comes between two syncs is more than the log's buffer holds, even that of the coordinators.
    if (files.operations() % 3 == 0) options.wal_buffer_bytes = 1024;
    options.single_threaded = true;
    MILLRACE_ASSIGN_OR_RETURN(store_, log::Store::open(options, files, clock_, random_));
    topics_.emplace(*store_, settings_, DynamicSettings{}, random_.fork());
    MILLRACE_RETURN_IF_ERROR(make_topics());
    groups_.emplace(*store_, *topics_, settings_, clock_, random_.fork());
    MILLRACE_RETURN_IF_ERROR(groups_->load(gate_));
    transactions_.emplace(*store_, *topics_, *groups_, producer_ids_, settings_, clock_);
    MILLRACE_RETURN_IF_ERROR(transactions_->load(gate_));
    store_->set_advance_observer(
        [this](std::span<const std::shared_ptr<log::Partition>> partitions) { purgatory_.advanced(partitions); });
    core_.emplace(Core{.settings = settings_,
                       .advertised = advertised_,
                       .clock = clock_,
                       .store = *store_,
                       .topics = *topics_,
                       .purgatory = purgatory_,
                       .fetch_sessions = fetch_sessions_,
                       .groups = *groups_,
                       .transactions = *transactions_,
                       .producer_ids = producer_ids_,
                       .dynamic_configs = dynamic_configs_,
                       .quotas = quotas_,
                       .worker = worker,
                       .notes = notes_});
    dispatcher_.emplace(*core_, requests_);
    // More than one life of the process needs: no handler leaves that to the worker, whose thread would make runs
    // differ.
    return producer_ids_.refill_if_empty();
  }

  // Small segments, so that they roll, and those of the coordinators are compacted.
  Status make_topics() {
    const std::map<std::string, std::string> kept = {{"segment.bytes", "4096"}};
    const std::map<std::string, std::string> compacted = {{"segment.bytes", "4096"},
                                                          {"cleanup.policy", "compact"},
                                                          {"min.cleanable.dirty.ratio", "0.1"},
                                                          {"delete.retention.ms", "60000"}};
    MILLRACE_RETURN_IF_ERROR(make_topic(kSimulatedTopic, kSimulatedPartitions, kept));
    MILLRACE_RETURN_IF_ERROR(make_topic(std::string(kOffsetsTopic), 2, compacted));
    return make_topic(std::string(kTransactionsTopic), 2, compacted);
  }
  Status make_topic(const std::string& name, int32_t partitions, std::map<std::string, std::string> config) {
    if (topics_->snapshot()->find(name) != nullptr) return {};
    return topics_->create(name, partitions, std::move(config)).map([](const auto&) {});
  }

  const Settings& settings_;
  const Clock& clock_;
  Random random_;
  std::unique_ptr<log::Store> store_;
  RequestMetrics requests_;
  SimulatedExecutor network_;
  SimulatedExecutor coordinators_;
  CoordinatorGate gate_{coordinators_};
  RateLimit notes_;
  Purgatory purgatory_;
  FetchSessions fetch_sessions_;
  std::optional<Topics> topics_;
  std::optional<GroupService> groups_;
  ProducerIds producer_ids_;
  std::optional<TransactionService> transactions_;
  DynamicConfigs dynamic_configs_;
  ClientQuotas quotas_;
  const std::vector<ListenerAddress> advertised_ = {{.host = "127.0.0.1", .port = 9092}};
  std::optional<Core> core_;
  std::optional<Dispatcher> dispatcher_;
  ClientTraits client_{.works_on = true};  // every simulated client does
};

}  // namespace millrace::broker
