#include "app/rebalance_route.h"

#include <string_view>
#include <utility>

#include "base/json_writer.h"
#include "base/text.h"

namespace millrace::app {
namespace {

constexpr std::string_view kBefore = "/v1/groups/";
constexpr std::string_view kBehind = "/rebalances";
constexpr int64_t kLastDefault = 20;
constexpr int64_t kLastMax = 1000;

http::Response response_of(const Result<std::vector<std::string>>& rebalances) {
  if (!rebalances) return http::Response::error(500, "internal", rebalances.error().message, rebalances.error().hint);
  http::Response response;
  JsonWriter json(response.body);
  json.begin_array();
  for (const std::string& rebalance : *rebalances) json.raw(rebalance);
  json.end_array();
  return response;
}

}  // namespace

void answer_rebalances(broker::Broker* broker, const http::Request& request, http::ResponderPtr responder) {
  std::string_view group = request.path;
  if (!group.starts_with(kBefore) || !group.ends_with(kBehind) || group.size() <= kBefore.size() + kBehind.size())
    return responder->send(http::Response::error(404, "not_found", "there is nothing at " + request.path,
                                                 "GET /v1/groups/GROUP/rebalances"));
  group.remove_prefix(kBefore.size());
  group.remove_suffix(kBehind.size());
  if (broker == nullptr)
    return responder->send(http::Response::error(404, "not_found", "this server has no broker of its own",
                                                 "ask the server that has, or read the topic __millrace_rebalances"));
  int64_t last = kLastDefault;
  if (const auto asked = request.query.find("last"); asked != request.query.end()) {
    const auto number = parse_int64(asked->second);
    if (!number || *number < 1 || *number > kLastMax)
      return responder->send(
          http::Response::error(400, "invalid_argument", "last is a number from 1 to 1000", "?last=20"));
    last = *number;
  }
  broker->rebalances(std::string(group), static_cast<size_t>(last),
                     [responder = std::move(responder)](const Result<std::vector<std::string>>& rebalances) {
                       responder->send(response_of(rebalances));
                     });
}

}  // namespace millrace::app
