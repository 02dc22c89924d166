#include "broker/internal/listener.h"

#include <fmt/core.h>

#include <boost/asio/ip/v6_only.hpp>
#include <chrono>
#include <utility>

#include "base/logging.h"

namespace millrace::broker {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

Result<std::unique_ptr<Listener>> Listener::open(const ListenerOptions& options, IoThread& thread) {
  std::unique_ptr<Listener> listener(new Listener(options, thread));
  listener->port_ = options.port;
  tcp::resolver resolver(thread.context());
  error_code error;
  const auto found = resolver.resolve(options.host, "", tcp::resolver::passive, error);
  if (error)
    return fail(Errc::kInvalidArgument, fmt::format("cannot listen on '{}': {}", options.host, error.message()),
                "use an address of this machine, 127.0.0.1 for local clients only or 0.0.0.0 for all");
  for (const auto& entry : found) {
    const auto status = listener->bind(entry.endpoint());
    // A name may resolve to an address family that this machine has switched off; one address is enough.
    if (!status && (status.error().code == Errc::kConflict || found.size() == 1))
      return fail(status.error().code, status.error().message, status.error().hint);
  }
  if (listener->acceptors_.empty())
    return fail(Errc::kInvalidArgument, fmt::format("none of the addresses of '{}' is this machine's", options.host));
  return listener;
}

Status Listener::bind(tcp::endpoint endpoint) {
  endpoint.port(port_);
  auto acceptor = std::make_unique<Acceptor>(thread_.context());
  error_code error;
  acceptor->open(endpoint.protocol(), error);
  // An address that an earlier run's closed connections still hold may be taken again.
  if (!error) acceptor->set_option(Acceptor::reuse_address(true), error);
  if (!error && endpoint.protocol() == tcp::v6()) acceptor->set_option(boost::asio::ip::v6_only(true), error);
  if (!error) acceptor->bind(endpoint, error);
  if (!error) acceptor->listen(asio::socket_base::max_listen_connections, error);
  if (error == asio::error::address_in_use)
    return fail(Errc::kConflict, fmt::format("port {} of {} is in use by another program", port_, options_.host),
                "stop that program, or listen on another port");
  if (error)
    return fail(Errc::kInvalidArgument,
                fmt::format("cannot listen on {}:{}: {}", options_.host, port_, error.message()));
  port_ = acceptor->local_endpoint().port();
  acceptors_.push_back(std::move(acceptor));
  return {};
}

void Listener::start(Callbacks callbacks) {
  callbacks_ = std::move(callbacks);
  for (const auto& acceptor : acceptors_) accept(*acceptor);
}

void Listener::accept(Acceptor& acceptor) {
  IoThread& home = callbacks_.next_thread();
  acceptor.async_accept(home.context(), [this, &acceptor, &home](const error_code& error, Socket socket) {
    if (error == asio::error::operation_aborted) return;
    if (!error) {
      callbacks_.on_connection(std::move(socket), home);
      return accept(acceptor);
    }
    // Out of file descriptors, most likely: whatever waits in the queue would fail again at once.
    if (callbacks_.notes->pass())
      log_warning("broker", "listener {}: cannot accept: {}", options_.name, error.message());
    constexpr std::chrono::milliseconds kPause{100};
    auto pause = std::make_shared<asio::steady_timer>(thread_.context(), kPause);
    pause->async_wait([this, &acceptor, pause](const error_code& stopped) {
      if (!stopped) accept(acceptor);
    });
  });
}

}  // namespace millrace::broker
