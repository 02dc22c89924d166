#include "http/server.h"

#include <fmt/core.h>

#include <atomic>
#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>
#include <deque>
#include <set>
#include <thread>
#include <vector>

#include "base/check.h"
#include "base/logging.h"
#include "base/text.h"
#include "http/internal/router.h"
#include "http/internal/url.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;
using Tcp = asio::ip::tcp;
using ErrorCode = boost::system::error_code;

constexpr size_t kHeaderBytesMax = 32 << 10;

Request to_request(bhttp::request<bhttp::string_body>&& message) {
  Request request;
  request.method = std::string(message.method_string());
  const std::string_view target(message.target().data(), message.target().size());
  const size_t question = target.find('?');
  request.path = internal::decode_percent(target.substr(0, question));
  if (question != std::string_view::npos) request.query = internal::parse_query(target.substr(question + 1));
  for (const auto& field : message) request.headers[to_lower(field.name_string())] = std::string(field.value());
  request.body = std::move(message.body());
  return request;
}

class Session;

// Everything a session needs from its server; sessions keep it alive.
struct Shared {
  asio::io_context io{1};
  ServerOptions options;
  internal::Router router;
  Counter& requests;
  Counter& refused;
  Counter& accepts_failed;
  std::atomic<size_t> connections{0};
  std::atomic<bool> stopping{false};
  std::set<Session*> sessions;  // on the server's thread alone

  Shared(ServerOptions given, Metrics& metrics)
      : options(std::move(given)),
        requests(metrics.counter("millrace_http_requests_total", "HTTP requests served.")),
        refused(
            metrics.counter("millrace_http_refused_total", "HTTP requests refused for their Host, Origin or token.")),
        accepts_failed(metrics.counter("millrace_http_accepts_failed_total",
                                       "HTTP connections that the system would not open, most likely for want of file "
                                       "descriptors.")) {}
};

// One connection. Runs on the server's thread; other threads reach it through Reply, which posts.
class Session : public std::enable_shared_from_this<Session> {
 public:
  Session(Tcp::socket socket, std::shared_ptr<Shared> shared) : stream_(std::move(socket)), shared_(std::move(shared)) {
    ++shared_->connections;
  }
  ~Session() { --shared_->connections; }
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;

  // Once, after the constructor.
  void begin() {
    shared_->sessions.insert(this);
    read();
  }
  void respond(Response response);
  void begin_stream();
  // `counted` gives back the text's bytes when it is written.
  void queue_event(std::string text, std::shared_ptr<std::atomic<size_t>> counted);
  void close();
  const ServerOptions& options() const { return shared_->options; }

 private:
  void read();
  void on_read(ErrorCode error);
  void write_next_event();
  void wait_for_hangup();
  void watch(std::function<void()> gone);

  beast::tcp_stream stream_;
  std::shared_ptr<Shared> shared_;
  beast::flat_buffer buffer_;
  std::optional<bhttp::request_parser<bhttp::string_body>> parser_;
  bhttp::response<bhttp::string_body> response_;
  bool keep_alive_ = true;
  bool is_head_ = false;
  bool is_streaming_ = false;
  // An event stream's texts not yet written; the front one is being written.
  struct Event {
    std::string text;
    std::shared_ptr<std::atomic<size_t>> counted;  // null for the head
  };
  std::deque<Event> events_;
  std::function<void()> on_closed_;
  std::function<void()> on_gone_;  // while the answer to a request that asked for it is awaited

  friend class Reply;
};

// What a handler holds. Shared by the handler's copies; the last one to go without an answer answers for it.
class Reply final : public Responder, public EventSink, public std::enable_shared_from_this<Reply> {
 public:
  explicit Reply(std::shared_ptr<Session> session) : session_(std::move(session)), shared_(session_->shared_) {}
  ~Reply() override {
    if (answered_.exchange(true)) return;
    try {
      post([](Session& session) {
        session.respond(Response::error(500, "internal", "the server has no answer to this request"));
      });
    } catch (const std::exception&) {
      // No memory to say so: the client's own timeout ends it.
    }
  }

  void send(Response response) override {
    MILLRACE_CHECK(!answered_.exchange(true), "a request was answered twice");
    post([response = std::move(response)](Session& session) mutable { session.respond(std::move(response)); });
  }

  std::shared_ptr<EventSink> stream() override {
    MILLRACE_CHECK(!answered_.exchange(true), "a request was answered twice");
    post([self = weak_from_this()](Session& session) {
      session.on_closed_ = [self] {
        if (const auto reply = self.lock()) reply->open_ = false;
      };
      session.begin_stream();
    });
    return shared_from_this();
  }

  void on_gone(std::function<void()> gone) override {
    post([gone = std::move(gone)](Session& session) mutable { session.watch(std::move(gone)); });
  }

  bool send(std::string_view event, uint64_t id, std::string_view data) override {
    std::string text = fmt::format("event: {}\nid: {}\ndata: {}\n\n", event, id, data);
    const size_t bytes = text.size();
    if (!open_) return false;
    if (queued_bytes_->fetch_add(bytes) >= session_->options().stream_bytes_max) {
      open_ = false;
      post([](Session& session) { session.close(); });
      return false;
    }
    post([text = std::move(text), counted = queued_bytes_](Session& session) mutable {
      session.queue_event(std::move(text), std::move(counted));
    });
    return true;
  }
  bool is_open() const override { return open_; }

 private:
  template <typename Function>
  void post(Function function) {
    if (shared_->stopping) return;
    asio::post(shared_->io, [session = session_, function = std::move(function)]() mutable { function(*session); });
  }

  std::shared_ptr<Session> session_;
  std::shared_ptr<Shared> shared_;
  std::atomic<bool> answered_{false};
  std::atomic<bool> open_{true};
  // Sent and not yet written, wherever they wait: a client that reads too slowly is let go.
  const std::shared_ptr<std::atomic<size_t>> queued_bytes_ = std::make_shared<std::atomic<size_t>>(0);
};

void Session::read() {
  parser_.emplace();
  parser_->body_limit(shared_->options.body_bytes_max);
  parser_->header_limit(kHeaderBytesMax);
  stream_.expires_after(shared_->options.idle_timeout);
  bhttp::async_read(stream_, buffer_, *parser_,
                    [self = shared_from_this()](ErrorCode error, size_t) { self->on_read(error); });
}

void Session::on_read(ErrorCode error) {
  if (error == bhttp::error::body_limit) {
    keep_alive_ = false;
    return respond(Response::error(413, "too_large", "the request's body is over the limit"));
  }
  if (error == bhttp::error::end_of_stream || error == asio::error::operation_aborted || error == beast::error::timeout)
    return close();
  if (error) {
    keep_alive_ = false;
    return respond(Response::error(400, "bad_request", "not an HTTP/1.1 request: " + error.message()));
  }
  keep_alive_ = parser_->get().keep_alive();
  is_head_ = parser_->get().method() == bhttp::verb::head;
  stream_.expires_never();
  Request request = to_request(parser_->release());
  if (is_head_) request.method = "GET";
  shared_->requests.add();
  if (auto refusal = refuse(request, shared_->options.guard)) {
    shared_->refused.add();
    return respond(std::move(*refusal));
  }
  const auto found = shared_->router.find(request.method, request.path);
  if (!found)
    return respond(Response::error(found.error() == 405 ? 405 : 404,
                                   found.error() == 405 ? "method_not_allowed" : "not_found",
                                   fmt::format("nothing answers {} {}", request.method, request.path)));
  (**found)(request, std::make_shared<Reply>(shared_from_this()));
}

void Session::respond(Response response) {
  on_gone_ = nullptr;
  response_ = {};
  response_.version(11);
  response_.result(static_cast<unsigned>(response.status));
  response_.set(bhttp::field::content_type, response.content_type);
  response_.set("X-Content-Type-Options", "nosniff");
  for (const auto& [name, value] : response.headers) response_.set(name, value);
  response_.keep_alive(keep_alive_);
  response_.body() = std::move(response.body);
  response_.prepare_payload();
  if (is_head_) response_.body().clear();
  stream_.expires_after(shared_->options.idle_timeout);
  bhttp::async_write(stream_, response_, [self = shared_from_this()](ErrorCode error, size_t) {
    if (error || !self->keep_alive_) return self->close();
    self->read();
  });
}

void Session::begin_stream() {
  // An event that another thread queued may have come first: it waits behind the head.
  is_streaming_ = true;
  events_.push_front(
      {"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\nX-Content-Type-Options: "
       "nosniff\r\n"
       "Connection: close\r\n\r\nretry: 1000\n\n",
       nullptr});
  write_next_event();
  wait_for_hangup();
}

// A stream's client sends nothing more: reading ends when it hangs up.
void Session::wait_for_hangup() {
  stream_.async_read_some(buffer_.prepare(512), [self = shared_from_this()](ErrorCode error, size_t) {
    if (error) return self->close();
    self->wait_for_hangup();
  });
}

// Until the answer nothing is read: a socket that turns readable brings the end, or the client's next request, which
// can wait.
void Session::watch(std::function<void()> gone) {
  on_gone_ = std::move(gone);
  stream_.socket().async_wait(Tcp::socket::wait_read, [self = shared_from_this()](ErrorCode error) {
    if (!self->on_gone_) return;
    ErrorCode ignored;
    if (error || self->stream_.socket().available(ignored) == 0) self->close();
  });
}

void Session::queue_event(std::string text, std::shared_ptr<std::atomic<size_t>> counted) {
  if (!stream_.socket().is_open()) return;
  events_.push_back({std::move(text), std::move(counted)});
  if (is_streaming_ && events_.size() == 1) write_next_event();
}

void Session::write_next_event() {
  stream_.expires_after(shared_->options.idle_timeout);
  asio::async_write(stream_, asio::buffer(events_.front().text), [self = shared_from_this()](ErrorCode error, size_t) {
    if (error) return self->close();
    self->stream_.expires_never();
    if (const Event& written = self->events_.front(); written.counted) *written.counted -= written.text.size();
    self->events_.pop_front();
    if (!self->events_.empty()) self->write_next_event();
  });
}

void Session::close() {
  shared_->sessions.erase(this);
  if (auto notify = std::exchange(on_closed_, nullptr)) notify();
  if (auto notify = std::exchange(on_gone_, nullptr)) notify();
  ErrorCode ignored;
  (void)stream_.socket().shutdown(Tcp::socket::shutdown_both, ignored);
  (void)stream_.socket().close(ignored);
}

Status check_exposure(const ServerOptions& options, const asio::ip::address& address) {
  if (address.is_loopback()) return {};
  if (!options.guard.allow_remote || options.guard.token.empty())
    return fail(
        Errc::kInvalidArgument,
        fmt::format("{} can be reached from other machines: that needs http.allow_remote and http.token", options.host),
        "listen on 127.0.0.1, or set both");
  return {};
}

}  // namespace

struct Server::Impl {
  explicit Impl(std::shared_ptr<Shared> given) : shared(std::move(given)), pause(shared->io) {}

  const std::shared_ptr<Shared> shared;
  std::optional<Tcp::acceptor> acceptor;
  asio::steady_timer pause;  // before the next try to accept, after one that failed
  std::jthread thread;
  uint16_t port = 0;

  void accept();
  void accept_later(ErrorCode why);
};

void Server::Impl::accept() {
  acceptor->async_accept([this](ErrorCode error, Tcp::socket socket) {
    if (!acceptor->is_open()) return;
    if (error) return accept_later(error);
    if (shared->connections < shared->options.connections_max)
      std::make_shared<Session>(std::move(socket), shared)->begin();
    accept();
  });
}

// Out of file descriptors, most likely: whatever waits in the queue would fail again at once.
void Server::Impl::accept_later(ErrorCode why) {
  constexpr std::chrono::milliseconds kPause{100};
  shared->accepts_failed.add();
  log_debug("http", "cannot accept a connection: {}", why.message());
  pause.expires_after(kPause);
  pause.async_wait([this](ErrorCode stopped) {
    if (!stopped && acceptor->is_open()) accept();
  });
}

Server::Server(ServerOptions options, Metrics& metrics)
    : impl_(std::make_unique<Impl>(std::make_shared<Shared>(std::move(options), metrics))) {}

Server::~Server() { stop(); }

void Server::route(const std::string& method, const std::string& path, Handler handler) {
  impl_->shared->router.add(method, path, std::move(handler));
}

Status Server::start() {
  Shared& shared = *impl_->shared;
  ErrorCode error;
  const auto found = Tcp::resolver(shared.io).resolve(shared.options.host, std::to_string(shared.options.port), error);
  if (error || found.empty())
    return fail(Errc::kInvalidArgument, fmt::format("cannot listen on {}: {}", shared.options.host, error.message()));
  const Tcp::endpoint endpoint = found.begin()->endpoint();
  MILLRACE_RETURN_IF_ERROR(check_exposure(shared.options, endpoint.address()));

  auto& acceptor = impl_->acceptor.emplace(shared.io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(asio::socket_base::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error)
    return fail(error == asio::error::address_in_use ? Errc::kConflict : Errc::kIo,
                fmt::format("cannot listen on {}:{}: {}", shared.options.host, shared.options.port, error.message()),
                "choose another port with --http HOST:PORT");
  impl_->port = acceptor.local_endpoint().port();
  impl_->accept();
  impl_->thread = std::jthread([keep = impl_->shared] { keep->io.run(); });
  return {};
}

void Server::stop() {
  if (!impl_->thread.joinable()) return;
  Shared& shared = *impl_->shared;
  shared.stopping = true;
  // With the acceptor and every session closed nothing is left to wait for, and the thread's run() returns.
  asio::post(shared.io, [this, &shared] {
    ErrorCode ignored;
    impl_->acceptor->close(ignored);
    impl_->pause.cancel();
    const std::set<Session*> open = shared.sessions;
    for (Session* session : open) session->close();
  });
  impl_->thread.join();
  impl_->acceptor.reset();
}

uint16_t Server::port() const { return impl_->port; }

const ServerOptions& Server::options() const { return impl_->shared->options; }

}  // namespace millrace::http
