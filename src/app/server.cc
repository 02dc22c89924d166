#include "app/server.h"

#include <fmt/core.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cstdio>
#include <filesystem>
#include <random>

#include "app/data_folder.h"
#include "app/overview_source.h"
#include "app/pipeline_host.h"
#include "app/process_metrics.h"
#include "app/rebalance_route.h"
#include "base/check.h"
#include "base/logging.h"
#include "base/metrics.h"
#include "broker/broker.h"
#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "http/console_files.h"
#include "http/live_feed.h"
#include "http/metrics_route.h"
#include "http/server.h"
#include "http/sql_route.h"
#include "warehouse/warehouse.h"

namespace millrace::app {
namespace {

// The pipelines' own listener: loopback only, any free port, never advertised under another name.
constexpr const char* kInternalListener = "INTERNAL";
constexpr const char* kPublicListener = "PLAINTEXT";

Result<std::vector<broker::ListenerOptions>> listeners_of(const ServerConfig& config) {
  broker::ListenerOptions open{
      .name = kPublicListener, .host = config.kafka_listen.host, .port = config.kafka_listen.port};
  if (!config.kafka_advertise.empty()) {
    open.advertised_host = config.kafka_advertise;
    if (config.kafka_advertise.find(':') != std::string::npos) {
      MILLRACE_ASSIGN_OR_RETURN(const HostPort advertised, HostPort::parse(config.kafka_advertise));
      open.advertised_host = advertised.host;
      open.advertised_port = advertised.port;
    }
  }
  return std::vector<broker::ListenerOptions>{open, {.name = kInternalListener, .host = "127.0.0.1", .port = 0}};
}

std::string to_string(const broker::ListenerAddress& address) {
  return HostPort{address.host, address.port}.to_string();
}

Status make_data_folder(const ServerConfig& config) {
  std::error_code error;
  std::filesystem::create_directories(config.data + "/logs", error);
  if (error)
    return fail(error == std::errc::permission_denied ? Errc::kPermissionDenied : Errc::kIo,
                fmt::format("cannot make the data folder {}: {}", config.data, error.message()),
                "millrace server --data FOLDER");
  return {};
}

uint64_t random_seed() {
  std::random_device entropy;
  return (static_cast<uint64_t>(entropy()) << 32) | entropy();
}

// A partition that is written to holds a file open, a client a socket: take as many as the system allows us, and leave
// half of them to the log however many clients come.
void share_out_open_files(int64_t& connections_max) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return;
  const rlim_t before = std::exchange(limit.rlim_cur, limit.rlim_max);
  if (::setrlimit(RLIMIT_NOFILE, &limit) != 0) limit.rlim_cur = before;
  if (limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur / 2 >= static_cast<rlim_t>(connections_max)) return;
  connections_max = static_cast<int64_t>(limit.rlim_cur / 2);
  log_warning("server", "connections are limited to {}: the system allows this process {} open files (ulimit -n)",
              connections_max, limit.rlim_cur);
}

void add_tables(const warehouse::Warehouse& tables, http::Overview& overview) {
  for (const auto& table : tables.tables()) {
    http::TableRow& row = overview.tables.emplace_back();
    row.name = table.spec.name;
    row.topic = table.spec.topic;
    row.rows = table.rows_carried;
    row.rejected = table.rejected;
    row.lag = table.lag;
    if (!table.trouble.empty()) row.error = table.trouble;
  }
}

// The log has failed for good: nothing more can be acknowledged, and going on would promise what the disk does not
// keep.
void end_process(const Error& error) {
  log_error("server", "the log has failed, the process ends: {}{}{}", error.message,
            error.hint.empty() ? "" : "; try: ", error.hint);
  std::fflush(nullptr);
  ::_exit(1);
}

}  // namespace

struct Server::Impl {
  ServerConfig config;
  env::SystemClock clock;
  env::PosixFileSystem files;
  Metrics metrics;
  Metrics::Registration process_metrics;
  std::unique_ptr<http::Server> http;
  std::unique_ptr<http::MetricsRoute> metrics_route;
  std::unique_ptr<http::LiveFeed> live;
  std::unique_ptr<broker::Broker> broker;  // null with --bootstrap
  PipelineHost pipelines;
  std::unique_ptr<warehouse::Warehouse> warehouse;
  std::unique_ptr<OverviewSource> overviews;  // on the live feed's thread, once `ready`
  std::atomic<bool> ready{false};
  bool stopped = false;
  bool announced = false;  // server.json is ours

  Status start();
  void stop();

  Status start_http();
  Status start_broker();
  Status start_pipelines();
  std::string kafka_address() const;
  std::string internal_address() const;
};

std::string Server::Impl::kafka_address() const {
  return broker ? to_string(broker->address(kPublicListener)) : config.bootstrap;
}

std::string Server::Impl::internal_address() const {
  return broker ? to_string(broker->address(kInternalListener)) : config.bootstrap;
}

// Takes the port at once, so that one in use is known before anything else starts; until the rest runs, /readyz says
// 503.
Status Server::Impl::start_http() {
  http = std::make_unique<http::Server>(
      http::ServerOptions{.host = config.http_listen.host,
                          .port = config.http_listen.port,
                          .guard = {.allow_remote = config.http_allow_remote, .token = config.http_token}},
      metrics);
  http::add_console_files(*http);
  http->route("POST", "/v1/sql", [this](const http::Request& request, http::ResponderPtr responder) {
    if (!ready) return responder->send(http::Response::error(503, "unavailable", "the server is starting or stopping"));
    http::answer_sql(*warehouse, request, std::move(responder));
  });
  http->route("GET", "/v1/groups/*", [this](const http::Request& request, http::ResponderPtr responder) {
    if (!ready) return responder->send(http::Response::error(503, "unavailable", "the server is starting or stopping"));
    answer_rebalances(broker.get(), request, std::move(responder));
  });
  http->route("GET", "/healthz", [](const http::Request&, http::ResponderPtr responder) {
    responder->send({.content_type = "text/plain", .body = "ok\n"});
  });
  http->route("GET", "/readyz", [this](const http::Request&, http::ResponderPtr responder) {
    responder->send(
        {.status = ready ? 200 : 503, .content_type = "text/plain", .body = ready ? "ready\n" : "not ready\n"});
  });
  metrics_route = std::make_unique<http::MetricsRoute>(*http, metrics);
  process_metrics = show_process(metrics, clock);
  live = std::make_unique<http::LiveFeed>(*http, [this] { return ready ? overviews->sample() : http::Overview{}; });
  return http->start();
}

Status Server::Impl::start_broker() {
  if (!config.bootstrap.empty()) return {};
  MILLRACE_ASSIGN_OR_RETURN(auto listeners, listeners_of(config));
  MILLRACE_ASSIGN_OR_RETURN(broker, broker::Broker::start({.data_dir = config.data,
                                                           .listeners = std::move(listeners),
                                                           .settings = config.broker,
                                                           .on_fatal = [](const Error& error) { end_process(error); }},
                                                          files, clock, Random(random_seed()), metrics));
  return {};
}

Status Server::Impl::start_pipelines() {
  const client::Options connection{.bootstrap = internal_address()};
  MILLRACE_ASSIGN_OR_RETURN(warehouse, warehouse::Warehouse::open({.directory = config.data, .cluster = connection},
                                                                  clock, files, metrics, &pipelines));
  MILLRACE_RETURN_IF_ERROR(warehouse->start());
  // A restart after a crash goes on at once where its predecessor's members were.
  client::Options members = connection;
  Random random(random_seed());
  MILLRACE_ASSIGN_OR_RETURN(const std::string instance, instance_id(files, config.data, random));
  members.instance_id = "millrace-" + instance;
  pipelines.start(members, clock, *warehouse);
  return {};
}

Status Server::Impl::start() {
  // What can be refused without touching anything comes first: pipelines that do not read, a port in use.
  MILLRACE_RETURN_IF_ERROR(pipelines.load(files, config.pipelines));
  for (const auto& [name, yaml] : config.inline_pipelines) MILLRACE_RETURN_IF_ERROR(pipelines.load_text(yaml, name));
  MILLRACE_RETURN_IF_ERROR(start_http());
  MILLRACE_RETURN_IF_ERROR(make_data_folder(config));
  MILLRACE_RETURN_IF_ERROR(init_logging({.file = config.data + "/logs/millrace.log", .level = config.log_level}));
  share_out_open_files(config.broker.max_connections);
  MILLRACE_RETURN_IF_ERROR(start_broker());
  MILLRACE_RETURN_IF_ERROR(start_pipelines());
  overviews = std::make_unique<OverviewSource>(OverviewSource::Parts{
      .clock = clock,
      .kafka = kafka_address(),
      .connection = {.bootstrap = internal_address(), .client_id = "millrace-console"},
      .broker = broker.get(),
      .add_rest =
          [this](http::Overview& overview) {
            pipelines.add_to(overview);
            add_tables(*warehouse, overview);
          },
  });
  ready = true;
  return {};
}

void Server::Impl::stop() {
  if (std::exchange(stopped, true)) return;
  ready = false;
  // A start that is refused because another server runs must not make that one unknown.
  if (announced) remove_server_addresses(config.data);
  const auto start = clock.mono_now();
  const auto stop_room = [&](const char* name, auto&& stop_it) {
    stop_it();
    log_info("server", "{} stopped, {} ms into the stop", name,
             std::chrono::duration_cast<std::chrono::milliseconds>(clock.mono_now() - start).count());
  };
  stop_room("http", [this] {
    if (http) http->stop();
    if (metrics_route) metrics_route->stop();
    if (live) live->stop();
    overviews.reset();
  });
  stop_room("pipelines", [this] { pipelines.stop(); });
  stop_room("warehouse", [this] {
    if (warehouse) warehouse->stop();
  });
  stop_room("broker", [this] {
    if (broker) broker->stop();
  });
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { stop(); }

Result<std::unique_ptr<Server>> Server::start(const ServerConfig& config) {
  auto impl = std::make_unique<Impl>();
  impl->config = config;
  // Owned before it starts: whatever a failure leaves running is stopped with it.
  std::unique_ptr<Server> server(new Server(std::move(impl)));
  MILLRACE_RETURN_IF_ERROR(server->impl_->start());
  const Status announced =
      write_server_addresses(server->impl_->files, config.data,
                             {.pid = ::getpid(),
                              .kafka = server->internal_address(),
                              .http = HostPort{config.http_listen.host, server->impl_->http->port()}.to_string(),
                              .token = config.http_token});
  // Clients are served from a full disk; only the command line does not find the server by its data folder.
  if (!announced) log_warning("server", "commands need --bootstrap: {}", announced.error().message);
  server->impl_->announced = announced.has_value();
  return server;
}

std::string Server::kafka_address() const { return impl_->kafka_address(); }

std::string Server::internal_address() const { return impl_->internal_address(); }

std::string Server::console_url() const {
  return "http://" + HostPort{impl_->config.http_listen.host, impl_->http->port()}.to_string() + "/";
}

void Server::stop() { impl_->stop(); }

}  // namespace millrace::app
