#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/demo_data.h"
#include "app/demo_feeder.h"
#include "app/server.h"
#include "app/shutdown.h"
#include "embed/local_broker.h"
#include "pipeline/lint.h"
#include "pipeline/run.h"

namespace millrace::app {
namespace {

struct DemoFlags {
  bool once = false;
  uint64_t events = 0;
  uint64_t per_s = 200;
  uint64_t seed = 1;
  std::string kafka = "127.0.0.1:9092";
  std::string http = "127.0.0.1:8080";
};

constexpr uint64_t kEventsOnce = 100'000;
constexpr int64_t kEventsMax = 100'000'000;

// The first `events` of each stream, as files that a user could have.
Status write_inputs(const env::TemporaryFolder& folder, const DemoFlags& flags, uint64_t events,
                    const std::stop_token& stop) {
  MILLRACE_ASSIGN_OR_RETURN(const auto orders, open_demo_orders(folder));
  std::ofstream csv(folder.path("orders.csv"));
  csv << kDemoOrdersHeader << '\n';
  std::string_view row;
  for (uint64_t i = 0; i < events && !stop.stop_requested(); ++i) {
    MILLRACE_ASSIGN_OR_RETURN(const bool more, orders->next(row));
    if (!more) break;
    csv << row << '\n';
  }
  CardWorld world({.seed = flags.seed, .start_us = kDemoCardsStartUs, .drift_after = events * 7 / 10});
  std::ofstream jsonl(folder.path("payments.jsonl"));
  for (uint64_t i = 0; i < events && !stop.stop_requested(); ++i) jsonl << world.next().to_json() << '\n';
  csv.close();
  jsonl.close();
  if (stop.stop_requested()) return fail(Errc::kCancelled, "stopped before the events were made");
  if (!csv || !jsonl) return fail(Errc::kIo, fmt::format("cannot write {}", folder.path()));
  return {};
}

Result<pipeline::PipelineStatus> run_one(std::string_view yaml, const std::string& name,
                                         const pipeline::FileBinding& input, const std::string& bootstrap,
                                         std::stop_token stop) {
  const env::SystemClock clock;
  env::PosixFileSystem files;
  auto linted = pipeline::lint(yaml, name);
  if (!linted.ok()) return tl::unexpected(linted.diagnostics.to_error());
  pipeline::RunOptions options;
  options.client.bootstrap = bootstrap;
  options.inputs = {input};
  MILLRACE_ASSIGN_OR_RETURN(auto report, pipeline::run(std::move(linted.plan), std::move(options), files, clock, stop));
  return std::move(report.pipelines.front());
}

// Both pipelines over `events` of each stream, as fast as they can, and the report.
Status run_once(const CommandLine& line, const DemoFlags& flags) {
  const StopOnSignal signal;
  const uint64_t events = flags.events > 0 ? flags.events : kEventsOnce;
  const auto start = std::chrono::steady_clock::now();
  MILLRACE_ASSIGN_OR_RETURN(const auto folder, env::TemporaryFolder::make("demo"));
  MILLRACE_RETURN_IF_ERROR(write_inputs(*folder, flags, events, signal.token()));
  MILLRACE_ASSIGN_OR_RETURN(const auto broker, embed::LocalBroker::start());
  pipeline::Report report;
  line.notes << "shop: order lines of a UK online shop\n";
  MILLRACE_ASSIGN_OR_RETURN(auto shop, run_one(demo_shop_yaml(), "shop.yaml", {"orders", folder->path("orders.csv")},
                                               broker->bootstrap(), signal.token()));
  line.notes << "cards: made-up card payments with fraud, which changes its ways at 70 %\n";
  MILLRACE_ASSIGN_OR_RETURN(auto cards,
                            run_one(demo_cards_yaml(), "cards.yaml", {"payments", folder->path("payments.jsonl")},
                                    broker->bootstrap(), signal.token()));
  report.pipelines.push_back(std::move(shop));
  report.pipelines.push_back(std::move(cards));
  report.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  line.out << (line.output == OutputFormat::kJson ? report.to_json() + "\n" : report.to_text());
  return {};
}

// The whole server with both pipelines and two live streams, until Ctrl-C.
Status run_live(const CommandLine& line, const DemoFlags& flags) {
  const ShutdownSignal shutdown;
  MILLRACE_ASSIGN_OR_RETURN(const auto folder, env::TemporaryFolder::make("demo"));
  ServerConfig config;
  config.data = folder->path("data");
  MILLRACE_ASSIGN_OR_RETURN(config.kafka_listen, HostPort::parse(flags.kafka));
  MILLRACE_ASSIGN_OR_RETURN(config.http_listen, HostPort::parse(flags.http));
  config.inline_pipelines = {{"shop.yaml", std::string(demo_shop_yaml())},
                             {"cards.yaml", std::string(demo_cards_yaml())}};
  MILLRACE_ASSIGN_OR_RETURN(const auto server, Server::start(config));
  MILLRACE_ASSIGN_OR_RETURN(const auto feeder,
                            DemoFeeder::start({.bootstrap = server->internal_address()}, *folder,
                                              {.events = flags.events, .per_s = flags.per_s, .seed = flags.seed}));
  line.out << "Millrace " << MILLRACE_VERSION << " demo: two streams, two pipelines, two models\n"
           << "Kafka:    " << server->kafka_address() << '\n'
           << "Console:  " << server->console_url() << '\n'
           << "Data:     " << config.data << " (gone when the demo ends)\n"
           << "Look:     millrace topic consume card.scored --follow --bootstrap " << server->kafka_address() << '\n'
           << "Ctrl-C ends it." << std::endl;
  shutdown.wait();
  exit_within(kStopLimit, 0);
  feeder->stop();
  server->stop();
  return {};
}

}  // namespace

void add_demo_commands(CLI::App& root, CommandLine& line) {
  auto flags = std::make_shared<DemoFlags>();
  auto* demo = root.add_subcommand(
      "demo", "everything live on two streams of events, offline: a shop's orders and card payments");
  demo->add_flag("--once", flags->once, "run a fixed number of events as fast as it goes, print the report, end");
  demo->add_option("--events", flags->events, "of each stream [100000 with --once, else without end]")
      ->check(CLI::Range(int64_t{1}, kEventsMax));
  demo->add_option("--rate", flags->per_s, "events a second of each stream [200]")->check(CLI::Range(1, 100'000));
  demo->add_option("--seed", flags->seed, "of the made-up payments [1]");
  demo->add_option("--kafka", flags->kafka, "where Kafka clients connect [127.0.0.1:9092]")->type_name("HOST:PORT");
  demo->add_option("--http", flags->http, "where the console listens [127.0.0.1:8080]")->type_name("HOST:PORT");
  demo->callback([&line, flags] {
    line.selected = [&line, flags] { return flags->once ? run_once(line, *flags) : run_live(line, *flags); };
  });
}

}  // namespace millrace::app
