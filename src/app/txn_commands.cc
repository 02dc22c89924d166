#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>
#include <thread>

#include "app/command_line.h"
#include "app/connection.h"
#include "app/transactions.h"
#include "base/text.h"
#include "base/unix_time.h"
#include "columns/column.h"
#include "wire/init_producer_id.h"
#include "wire/write_txn_markers.h"

namespace millrace::app {
namespace {

struct TxnFlags {
  std::vector<std::string> states;
  std::vector<int64_t> producer_ids;
  std::string longer_than;
  std::string pattern;
  std::string id;
  std::string topic;
  std::vector<std::string> topics;
  int32_t partition = -1;
  int64_t start_offset = -1;
  bool execute = false;
};

Cell time_cell(int64_t ms) { return ms < 0 ? Cell() : Cell(columns::format_timestamp(us_from_ms(ms))); }

Result<int64_t> duration_ms(const std::string& text, int64_t otherwise) {
  if (text.empty()) return otherwise;
  MILLRACE_ASSIGN_OR_RETURN(const auto duration, parse_duration(text));
  return std::chrono::duration_cast<std::chrono::milliseconds>(duration).count();
}

Status list(const CommandLine& line, const TxnFlags& flags) {
  wire::ListTransactionsRequest filter;
  filter.state_filters = flags.states;
  filter.producer_id_filters = flags.producer_ids;
  MILLRACE_ASSIGN_OR_RETURN(filter.duration_filter, duration_ms(flags.longer_than, -1));
  // A broker counts from the start of the last transaction, over or not.
  if (filter.duration_filter >= 0 && filter.state_filters.empty())
    filter.state_filters = {"Ongoing", "PrepareCommit", "PrepareAbort"};
  if (!flags.pattern.empty()) filter.transactional_id_pattern = flags.pattern;
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto found, list_transactions(*link, filter));
  Listing listing{{"transactional_id", "state", "producer_id", "coordinator"}, {}, "no such transactional ids"};
  for (const auto& one : found)
    listing.rows.push_back({one.transactional_id, one.state, one.producer_id, int64_t{one.coordinator}});
  line.show(listing);
  return {};
}

// "orders[0] orders[1]"
std::string places_text(const TransactionState& state) {
  std::string text;
  for (const auto& topic : state.topics)
    for (const int32_t partition : topic.partitions)
      text += fmt::format("{}{}[{}]", text.empty() ? "" : " ", topic.topic, partition);
  return text;
}

Listing one_transaction(const TransactionState& state) {
  const bool is_open = state.transaction_state == "Ongoing" || state.transaction_state.starts_with("Prepare");
  return {{"transactional_id", "state", "producer_id", "epoch", "timeout_ms", "started", "open_ms", "partitions"},
          {{state.transactional_id, state.transaction_state, state.producer_id, int64_t{state.producer_epoch},
            int64_t{state.transaction_timeout_ms}, time_cell(state.transaction_start_time_ms),
            is_open ? Cell(now_ms() - state.transaction_start_time_ms) : Cell(), places_text(state)}},
          ""};
}

Status describe(const CommandLine& line, const TxnFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto state, describe_transaction(*link, flags.id));
  line.show(one_transaction(state));
  return {};
}

Listing producer_listing(std::span<const PartitionProducer> found, std::string empty_note) {
  Listing listing{{"topic", "partition", "producer_id", "epoch", "last_sequence", "last_write", "open_since_offset"},
                  {},
                  std::move(empty_note)};
  for (const auto& [place, producer] : found)
    listing.rows.push_back({place.topic, int64_t{place.partition}, producer.producer_id,
                            int64_t{producer.producer_epoch}, int64_t{producer.last_sequence},
                            time_cell(producer.last_timestamp),
                            producer.current_txn_start_offset < 0 ? Cell() : Cell(producer.current_txn_start_offset)});
  return listing;
}

Status producers(const CommandLine& line, const TxnFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  MILLRACE_ASSIGN_OR_RETURN(auto places, partitions_of(*link, {&flags.topic, 1}));
  if (flags.partition >= 0)
    std::erase_if(places, [&](const PartitionRef& place) { return place.partition != flags.partition; });
  MILLRACE_ASSIGN_OR_RETURN(const auto found, describe_producers(*link, places));
  line.show(producer_listing(found, fmt::format("{} knows no idempotent producers", flags.topic)));
  return {};
}

Status hanging(const CommandLine& line, const TxnFlags& flags) {
  constexpr int64_t kKafkasLongestTimeoutMs = 900'000;
  MILLRACE_ASSIGN_OR_RETURN(const int64_t longer_than, duration_ms(flags.longer_than, kKafkasLongestTimeoutMs));
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto places, partitions_of(*link, flags.topics));
  MILLRACE_ASSIGN_OR_RETURN(const auto found, find_hanging(*link, places, now_ms(), longer_than));
  line.show(producer_listing(found, "no transaction hangs"));
  if (!found.empty()) {
    const auto& [place, producer] = found.front();
    line.notes << fmt::format("end one: millrace txn abort --topic {} --partition {} --start-offset {} --execute\n",
                              place.topic, place.partition, producer.current_txn_start_offset);
  }
  return {};
}

// A transactional id's open transaction, by taking its next epoch as its producer would after a crash: the coordinator
// ends it everywhere, and the producer that has it is fenced.
Status abort_by_id(const CommandLine& line, KafkaLink& link, const TxnFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto state, describe_transaction(link, flags.id));
  line.show(one_transaction(state));
  if (state.transaction_state != "Ongoing") {
    line.notes << fmt::format("{} has no open transaction\n", flags.id);
    return {};
  }
  if (!flags.execute) {
    line.notes << "nothing aborted; --execute aborts the transaction and fences its producer\n";
    return {};
  }
  wire::InitProducerIdRequest request;
  request.transactional_id = flags.id;
  request.transaction_timeout_ms = state.transaction_timeout_ms;
  constexpr client::Millis kMarkersPause{20};
  const auto deadline = std::chrono::steady_clock::now() + kAnswerLimit;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const int32_t node, link.coordinator(CoordinatorKind::kTransaction, flags.id));
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(node, request));
    // Its markers are being written.
    const bool is_ending = answer.error_code == wire::ErrorCode::kConcurrentTransactions;
    if (is_ending && std::chrono::steady_clock::now() < deadline) {
      std::this_thread::sleep_for(kMarkersPause);
      continue;
    }
    MILLRACE_RETURN_IF_ERROR(to_status(answer.error_code, fmt::format("cannot abort {}", flags.id)));
    break;
  }
  line.notes << fmt::format("aborted the transaction of {}\n", flags.id);
  return {};
}

// One that hangs in a partition, by the marker that its coordinator no longer writes (KIP-664).
Status abort_in_partition(const CommandLine& line, KafkaLink& link, const TxnFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(auto places, partitions_of(link, {&flags.topic, 1}));
  std::erase_if(places, [&](const PartitionRef& place) { return place.partition != flags.partition; });
  MILLRACE_ASSIGN_OR_RETURN(const auto found, describe_producers(link, places));
  const auto one = std::ranges::find_if(found, [&](const PartitionProducer& producer) {
    return producer.producer.current_txn_start_offset == flags.start_offset;
  });
  if (one == found.end())
    return fail(Errc::kNotFound,
                fmt::format("no transaction of {}[{}] is open since offset {}", flags.topic, flags.partition,
                            flags.start_offset),
                fmt::format("millrace txn producers {} lists those that are", flags.topic));
  line.show(producer_listing({&*one, 1}, ""));
  if (!flags.execute) {
    line.notes << "nothing aborted; --execute aborts the transaction in this partition\n";
    return {};
  }
  wire::WriteTxnMarkersRequest request;
  auto& marker = request.markers.emplace_back();
  marker.producer_id = one->producer.producer_id;
  marker.producer_epoch = static_cast<int16_t>(one->producer.producer_epoch);
  marker.coordinator_epoch = std::max(one->producer.coordinator_epoch, 0);
  auto& topic = marker.topics.emplace_back();
  topic.name = flags.topic;
  topic.partition_indexes = {flags.partition};
  MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(one->place.leader, request));
  for (const auto& result : answer.markers)
    for (const auto& answered : result.topics)
      for (const auto& partition : answered.partitions)
        MILLRACE_RETURN_IF_ERROR(to_status(
            partition.error_code, fmt::format("cannot abort the transaction in {}[{}]", flags.topic, flags.partition)));
  line.notes << fmt::format("aborted the transaction of producer {} in {}[{}]\n", one->producer.producer_id,
                            flags.topic, flags.partition);
  return {};
}

Status abort(const CommandLine& line, const TxnFlags& flags) {
  const bool in_partition = !flags.topic.empty() && flags.partition >= 0 && flags.start_offset >= 0;
  if (flags.id.empty() != in_partition)
    return fail(Errc::kInvalidArgument,
                "what to abort: either a transactional id, or --topic, --partition and --start-offset together",
                "millrace txn list --state Ongoing, or millrace txn hanging");
  MILLRACE_ASSIGN_OR_RETURN(const auto link, connect_link(line));
  return in_partition ? abort_in_partition(line, *link, flags) : abort_by_id(line, *link, flags);
}

}  // namespace

void add_txn_commands(CLI::App& root, CommandLine& line) {
  auto* txn =
      root.add_subcommand("txn", "transactions: list, describe, producers of a partition, find and end hanging ones");
  txn->require_subcommand(1);
  const auto add = [&](const char* name, const char* description, auto run) {
    auto flags = std::make_shared<TxnFlags>();
    auto* command = txn->add_subcommand(name, description);
    command->callback([&line, flags, run] { line.selected = [&line, flags, run] { return run(line, *flags); }; });
    return std::pair(command, flags);
  };
  const auto [lister, listed] = add("list", "every transactional id, its state and coordinator", list);
  lister->add_option("--state", listed->states, "only in this state: Ongoing, CompleteCommit, …; may be repeated");
  lister->add_option("--producer-id", listed->producer_ids, "only of this producer; may be repeated");
  lister->add_option("--longer-than", listed->longer_than, "only transactions open for longer")->type_name("DURATION");
  lister->add_option("--pattern", listed->pattern, "only ids that this regular expression matches")->type_name("REGEX");

  const auto [describer, described] =
      add("describe", "where a transactional id stands, and the partitions of its open transaction", describe);
  describer->add_option("id", described->id, "the transactional id")->required();

  const auto [producing, produced] =
      add("producers", "the idempotent producers that a topic's partitions know, and what they have open", producers);
  producing->add_option("topic", produced->topic, "the topic's name")->required();
  producing->add_option("-p,--partition", produced->partition, "only this partition");

  const auto [hanger, hung] =
      add("hanging", "transactions that hold back readers though no coordinator will end them", hanging);
  hanger->add_option("topics", hung->topics, "only of these topics [all]");
  hanger->add_option("--longer-than", hung->longer_than, "only when nothing came for so long [15m]")
      ->type_name("DURATION");

  const auto [aborter, aborted] =
      add("abort", "show which open transaction would be aborted; with --execute abort it", abort);
  aborter->add_option("id", aborted->id, "its transactional id: its producer is fenced");
  aborter->add_option("--topic", aborted->topic, "or, of one that hangs, the topic");
  aborter->add_option("--partition", aborted->partition, "and the partition");
  aborter->add_option("--start-offset", aborted->start_offset, "and the offset since which it is open there");
  aborter->add_flag("--execute,--yes", aborted->execute, "really abort");
}

}  // namespace millrace::app
