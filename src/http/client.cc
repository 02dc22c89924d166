#include "http/client.h"

#include <fmt/core.h>

#include <boost/asio.hpp>
#include <boost/beast/core.hpp>
#include <boost/beast/http.hpp>

#include "base/host_port.h"

namespace millrace::http {
namespace {

namespace asio = boost::asio;
namespace beast = boost::beast;
namespace bhttp = boost::beast::http;

// As large as the server's own bound on an answer.
constexpr uint64_t kAnswerBytesMax = 512ull << 20;

tl::unexpected<Error> failed(const std::string& address, const boost::system::error_code& error) {
  if (error == beast::error::timeout) return fail(Errc::kTimedOut, fmt::format("no answer from {} in time", address));
  return fail(Errc::kUnavailable, fmt::format("cannot reach {}: {}", address, error.message()), "millrace server");
}

}  // namespace

Result<Response> call(const std::string& address, const std::string& method, const std::string& target,
                      const std::string& body, const std::string& token, std::chrono::milliseconds timeout) {
  MILLRACE_ASSIGN_OR_RETURN(const HostPort place, HostPort::parse(address));
  asio::io_context io;
  beast::tcp_stream stream(io);
  boost::system::error_code error;
  const auto endpoints = asio::ip::tcp::resolver(io).resolve(place.host, std::to_string(place.port), error);
  if (error) return failed(address, error);

  bhttp::request<bhttp::string_body> request(bhttp::string_to_verb(method), target, 11);
  request.set(bhttp::field::host, address);
  request.set(bhttp::field::connection, "close");
  if (!token.empty()) request.set(bhttp::field::authorization, "Bearer " + token);
  request.body() = body;
  request.prepare_payload();

  beast::flat_buffer buffer;
  bhttp::response_parser<bhttp::string_body> parser;
  parser.body_limit(kAnswerBytesMax);
  // Asynchronous, because only those operations know time limits; run() returns when the chain ends.
  stream.expires_after(timeout);
  stream.async_connect(endpoints, [&](boost::system::error_code connected, const auto&) {
    if ((error = connected)) return;
    bhttp::async_write(stream, request, [&](boost::system::error_code written, size_t) {
      if ((error = written)) return;
      bhttp::async_read(stream, buffer, parser, [&](boost::system::error_code read, size_t) { error = read; });
    });
  });
  io.run();
  if (error) return failed(address, error);

  Response response;
  response.status = static_cast<int>(parser.get().result_int());
  response.content_type = std::string(parser.get()[bhttp::field::content_type]);
  response.body = std::move(parser.get().body());
  return response;
}

}  // namespace millrace::http
