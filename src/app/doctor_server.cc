#include <fmt/core.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <optional>
#include <sstream>
#include <thread>

#include "app/connection.h"
#include "app/data_folder.h"
#include "app/doctor.h"
#include "app/doctor_metrics.h"
#include "app/transactions.h"
#include "base/host_port.h"
#include "base/unix_time.h"
#include "columns/column.h"
#include "env/system_clock.h"
#include "http/client.h"
#include "wire/describe_log_dirs.h"
#include "wire/list_offsets.h"
#include "wire/metadata.h"

// `millrace doctor --server`: what an experienced operator would look at first.
namespace millrace::app {
namespace {

using client::Millis;
using log::Severity;

constexpr int64_t kLowRoomBytes = 1ll << 30;
constexpr double kLowRoomShare = 0.1;
constexpr Millis kWatched{1'000};        // how long groups are watched
constexpr int64_t kFutureMs = 60'000;    // clocks that differ by less are fine
constexpr int64_t kHangingMs = 900'000;  // the longest timeout of a transaction, unless the broker was told otherwise
constexpr uint64_t kFewFiles = 4096;

class ServerExamination {
 public:
  ServerExamination(const CommandLine& line, std::string http) : line_(line), http_(std::move(http)) {}

  Result<Diagnosis> run() {
    if (!http_.empty()) MILLRACE_RETURN_IF_ERROR(HostPort::parse(http_));
    const auto options = connection(line_);
    diagnosis_.subject = "server " + options.bootstrap;
    const auto start = std::chrono::steady_clock::now();
    MILLRACE_ASSIGN_OR_RETURN(link_, connect_link(line_));
    MILLRACE_ASSIGN_OR_RETURN(admin_, connect_admin(line_));
    const auto took = std::chrono::duration_cast<Millis>(std::chrono::steady_clock::now() - start);
    if (took > Millis(1'000))
      add(Severity::kWarning, options.bootstrap, fmt::format("took {} ms to answer", took.count()),
          "see whether its machine or its disk is busy");
    add(Severity::kNote, options.bootstrap,
        fmt::format("answers: cluster {}, {} broker{}, {} kinds of requests", link_->cluster_id(),
                    link_->brokers().size(), link_->brokers().size() == 1 ? "" : "s",
                    link_->versions().api_keys.size()),
        "");
    // What one check cannot be told must not keep the others from being made.
    attempt("partitions", check_partitions());
    attempt("disks", check_disks());
    attempt("timestamps", check_timestamps());
    attempt("transactions", check_transactions());
    attempt("consumer groups", check_groups());
    attempt("dead letters", check_dead_letters());
    check_process();
    return std::move(diagnosis_);
  }

 private:
  void add(Severity severity, std::string where, std::string what, std::string advice) {
    diagnosis_.findings.push_back({severity, std::move(where), std::move(what), std::move(advice)});
  }

  void attempt(const std::string& what, const Status& outcome) {
    if (!outcome)
      add(Severity::kWarning, what, "could not be checked: " + outcome.error().message, outcome.error().hint);
  }

  // Every partition has a leader that serves it.
  Status check_partitions() {
    wire::MetadataRequest request;
    request.topics.reset();
    request.allow_auto_topic_creation = false;
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, link_->ask(request));
    for (const auto& topic : answer.topics) {
      const std::string name = topic.name.value_or("");
      if (topic.error_code != wire::ErrorCode::kNone)
        add(Severity::kDamage, "topic " + name, wire::error_message(topic.error_code), "see the broker's log");
      for (const auto& partition : topic.partitions) {
        const std::string where = fmt::format("{}[{}]", name, partition.partition_index);
        if (partition.leader_id < 0) {
          add(Severity::kDamage, where, "has no leader: nobody can read or write it", "see the broker's log");
          continue;
        }
        if (partition.isr_nodes.size() < partition.replica_nodes.size())
          add(Severity::kWarning, where,
              fmt::format("{} of {} replicas are in sync", partition.isr_nodes.size(), partition.replica_nodes.size()),
              "see which broker is down or slow");
        places_.push_back({name, partition.partition_index, partition.leader_id});
      }
    }
    // One that damage was found in is refused, the rest is served.
    return for_each_offset(-1, [this](const PartitionRef& place, const auto& partition) {
      const std::string where = fmt::format("{}[{}]", place.topic, place.partition);
      if (partition.error_code == wire::ErrorCode::kKafkaStorageError)
        add(Severity::kDamage, where, "is quarantined: its log is damaged",
            "the server's log names file and byte; stop it and run millrace doctor");
      else if (partition.error_code != wire::ErrorCode::kNone)
        add(Severity::kDamage, where, wire::error_message(partition.error_code), "see the broker's log");
    });
  }

  template <typename Visit>
  Status for_each_offset(int64_t timestamp, const Visit& visit) {
    std::map<int32_t, wire::ListOffsetsRequest> requests;
    for (const auto& place : places_) {
      auto& request = requests[place.leader];
      request.replica_id = -1;
      if (request.topics.empty() || request.topics.back().name != place.topic)
        request.topics.emplace_back().name = place.topic;
      auto& partition = request.topics.back().partitions.emplace_back();
      partition.partition_index = place.partition;
      partition.timestamp = timestamp;
    }
    for (const auto& [leader, request] : requests) {
      MILLRACE_ASSIGN_OR_RETURN(const auto answer, link_->ask(leader, request));
      for (const auto& topic : answer.topics)
        for (const auto& partition : topic.partitions)
          visit(PartitionRef{topic.name, partition.partition_index, leader}, partition);
    }
    return {};
  }

  Status check_disks() {
    wire::DescribeLogDirsRequest request;
    request.topics.reset();
    for (const Node& node : link_->brokers()) {
      MILLRACE_ASSIGN_OR_RETURN(const auto answer, link_->ask(node.id, request));
      for (const auto& folder : answer.results) {
        const std::string where = fmt::format("broker {}, {}", node.id, folder.log_dir);
        if (folder.error_code != wire::ErrorCode::kNone)
          add(Severity::kDamage, where, wire::error_message(folder.error_code), "see the disk and the broker's log");
        if (folder.usable_bytes >= 0) check_room(where, folder.usable_bytes, folder.total_bytes);
      }
    }
    return {};
  }

  // `total` is negative where the broker does not say.
  void check_room(const std::string& where, int64_t usable, int64_t total) {
    const bool is_critical = usable < kLowRoomBytes;
    const bool is_low =
        is_critical || (total > 0 && static_cast<double>(usable) < kLowRoomShare * static_cast<double>(total));
    add(is_critical ? Severity::kDamage
        : is_low    ? Severity::kWarning
                    : Severity::kNote,
        where, fmt::format("{:.1f} GB are free", static_cast<double>(usable) / 1e9),
        is_low ? "lower retention.ms or retention.bytes, delete topics, or enlarge the disk" : "");
  }

  // A record from the future is never old enough for retention, and holds back event time.
  Status check_timestamps() {
    constexpr int64_t kOfTheLargest = -3;
    const int64_t now = now_ms();
    return for_each_offset(kOfTheLargest, [&](const PartitionRef& place, const auto& partition) {
      if (partition.error_code != wire::ErrorCode::kNone || partition.timestamp <= now + kFutureMs) return;
      add(Severity::kWarning, fmt::format("{}[{}]", place.topic, place.partition),
          fmt::format("its newest record is stamped {}, {} s from now",
                      columns::format_timestamp(us_from_ms(partition.timestamp)), (partition.timestamp - now) / 1000),
          "compare the clocks of its producers, of the broker and of this machine");
    });
  }

  Status check_transactions() {
    MILLRACE_ASSIGN_OR_RETURN(const auto hanging, find_hanging(*link_, places_, now_ms(), kHangingMs));
    for (const auto& [place, producer] : hanging)
      add(Severity::kDamage, fmt::format("{}[{}]", place.topic, place.partition),
          fmt::format("a transaction of producer {} hangs since offset {}: read_committed consumers stop there",
                      producer.producer_id, producer.current_txn_start_offset),
          fmt::format("millrace txn abort --topic {} --partition {} --start-offset {} --execute", place.topic,
                      place.partition, producer.current_txn_start_offset));
    wire::ListTransactionsRequest filter;
    filter.state_filters = {"Ongoing"};
    MILLRACE_ASSIGN_OR_RETURN(const auto ongoing, list_transactions(*link_, filter));
    for (const auto& one : ongoing) {
      const auto state = describe_transaction(*link_, one.transactional_id);
      if (!state || state->transaction_state != "Ongoing") continue;  // over meanwhile
      const int64_t open_ms = now_ms() - state->transaction_start_time_ms;
      if (open_ms > 2 * int64_t{state->transaction_timeout_ms})
        add(Severity::kDamage, "transactional id " + one.transactional_id,
            fmt::format("its transaction is open for {} s, its timeout is {} s", open_ms / 1000,
                        state->transaction_timeout_ms / 1000),
            fmt::format("millrace txn abort {} --execute", one.transactional_id));
    }
    return {};
  }

  struct Watched {
    client::GroupDescription group;
    int64_t lag = 0;
  };

  Result<std::map<std::string, Watched>> describe_groups() {
    std::map<std::string, Watched> found;
    MILLRACE_ASSIGN_OR_RETURN(const auto groups, admin_->list_groups(kAnswerLimit));
    for (const auto& group : groups) {
      auto described = admin_->describe_group(group.name, kAnswerLimit);
      if (!described) continue;  // gone meanwhile
      Watched& one = found[group.name];
      for (const auto& partition : described->offsets) one.lag += partition.lag();
      one.group = std::move(*described);
    }
    return found;
  }

  Status check_groups() {
    MILLRACE_ASSIGN_OR_RETURN(const auto before, describe_groups());
    diagnosis_.overview.columns = {"group", "state", "members", "partitions", "lag", "lag_change"};
    if (before.empty()) return {};
    std::this_thread::sleep_for(kWatched);
    MILLRACE_ASSIGN_OR_RETURN(const auto after, describe_groups());
    for (const auto& [name, now] : after) {
      const auto earlier = before.find(name);
      if (earlier == before.end()) continue;
      const int64_t change = now.lag - earlier->second.lag;
      const auto members = static_cast<int64_t>(now.group.members.size());
      diagnosis_.overview.rows.push_back(
          {name, now.group.state, members, static_cast<int64_t>(now.group.offsets.size()), now.lag, change});
      const auto is_rebalancing = [](const client::GroupDescription& group) {
        return group.state.ends_with("Rebalance");
      };
      if (is_rebalancing(now.group) && is_rebalancing(earlier->second.group))
        add(Severity::kWarning, "group " + name, fmt::format("is in {} for a second at least", now.group.state),
            "see what began it: millrace group rebalances " + name);
      if (members == 0 && change > 0)
        add(Severity::kWarning, "group " + name, fmt::format("has no members, and its lag of {} grows", now.lag),
            "start its consumers, or delete the group");
      for (const auto& partition : now.group.offsets)
        if (partition.committed > partition.end)
          add(Severity::kDamage, "group " + name,
              fmt::format("committed offset {} of {}[{}], which ends at {}: records were lost, or the topic is another",
                          partition.committed.value(), partition.source.topic, partition.source.partition.value(),
                          partition.end.value()),
              fmt::format("millrace group reset-offsets {} --topic {} --to-latest --execute", name,
                          partition.source.topic));
    }
    return {};
  }

  Status check_dead_letters() {
    std::map<std::string, int64_t> counts;
    std::vector<client::TopicPartition> sources;
    for (const auto& place : places_)
      if (place.topic.ends_with(".dlq")) sources.push_back({place.topic, PartitionId(place.partition)});
    if (sources.empty()) return {};
    MILLRACE_ASSIGN_OR_RETURN(const auto offsets, admin_->offsets(sources, kAnswerLimit));
    for (const auto& one : offsets)
      if (one.range) counts[one.source.topic] += one.range->end - one.range->begin;
    for (const auto& [topic, letters] : counts)
      if (letters > 0)
        add(Severity::kWarning, "topic " + topic, fmt::format("{} dead letters", letters),
            fmt::format("their headers say why: millrace topic consume {} --from -10 --json", topic));
    return {};
  }

  // What the operating system says of the server that runs on the data folder, and what a server's metrics say.
  void check_process() {
    std::optional<ServerAddresses> server;
    if (line_.bootstrap.empty()) server = running_server(line_.data);
    if (server) check_open_files(*server);
    const std::string http = !http_.empty() ? http_ : server ? server->http : std::string();
    if (http.empty())
      return add(Severity::kNote, diagnosis_.subject,
                 "its version and its clock are not known: only Millrace tells them",
                 "name its HTTP address: --http HOST:PORT");
    const char* token = std::getenv("MILLRACE_HTTP_TOKEN");
    check_metrics(http, server && server->http == http ? server->token : token != nullptr ? token : "");
  }

  void check_metrics(const std::string& http, const std::string& token) {
    const env::SystemClock clock;
    Scrape scrape{.server = http, .text = {}, .asked = clock.wall_now(), .answered = {}};
    auto answer = http::call(http, "GET", "/metrics", "", token, kAnswerLimit);
    scrape.answered = clock.wall_now();
    if (!answer)
      return add(Severity::kWarning, http, "does not show its metrics: " + answer.error().message,
                 "see whether that is the server's HTTP address");
    if (answer->status != 200)
      return add(Severity::kWarning, http, fmt::format("does not show its metrics: HTTP status {}", answer->status),
                 answer->status == 401 ? "set MILLRACE_HTTP_TOKEN to the server's http.token" : "see the server's log");
    scrape.text = std::move(answer->body);
    for (auto& finding : examine_metrics(scrape, MILLRACE_VERSION)) diagnosis_.findings.push_back(std::move(finding));
  }

  void check_open_files(const ServerAddresses& server) {
    const std::string process = fmt::format("/proc/{}", server.pid);
    std::ifstream limits(process + "/limits");
    uint64_t limit = 0;
    for (std::string text; std::getline(limits, text);)
      if (constexpr std::string_view kName = "Max open files"; text.starts_with(kName))
        std::istringstream(text.substr(kName.size())) >> limit;
    uint64_t open = 0;
    std::error_code error;
    for (auto entry = std::filesystem::directory_iterator(process + "/fd", error);
         !error && entry != std::filesystem::directory_iterator(); entry.increment(error))
      ++open;
    if (limit == 0) return;
    const bool is_near = open * 5 > limit * 4;
    add(is_near             ? Severity::kDamage
        : limit < kFewFiles ? Severity::kWarning
                            : Severity::kNote,
        fmt::format("process {}", server.pid), fmt::format("{} of {} files are open", open, limit),
        is_near || limit < kFewFiles ? "raise the limit before the server starts: ulimit -n 65536, or LimitNOFILE="
                                     : "");
  }

  const CommandLine& line_;
  const std::string http_;
  Diagnosis diagnosis_;
  std::unique_ptr<KafkaLink> link_;
  std::unique_ptr<client::Admin> admin_;
  std::vector<PartitionRef> places_;
};

}  // namespace

Result<Diagnosis> examine_server(const CommandLine& line, const std::string& http) {
  return ServerExamination(line, http).run();
}

}  // namespace millrace::app
