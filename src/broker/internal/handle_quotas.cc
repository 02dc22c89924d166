#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include "broker/internal/handlers.h"
#include "broker/internal/shortened.h"

// Client quotas: none are set, and none can be yet.
namespace millrace::broker {
namespace {

using wire::ErrorCode;

constexpr std::array<std::string_view, 3> kEntityTypes = {"user", "client-id", "ip"};

void refuse(wire::DescribeClientQuotasResponse& response, ErrorCode error, std::string why) {
  response.error_code = error;
  response.error_message = std::move(why);
  response.entries.reset();
}

}  // namespace

void handle_describe_client_quotas(Core&, Request request, wire::DescribeClientQuotasRequest message) {
  constexpr int8_t kAny = 2;
  wire::DescribeClientQuotasResponse response;
  response.error_message.reset();
  response.entries.emplace();
  std::set<std::string> seen;
  for (const auto& component : message.components) {
    if (std::ranges::find(kEntityTypes, component.entity_type) == kEntityTypes.end())
      refuse(response, ErrorCode::kUnsupportedVersion,
             fmt::format("'{}' is no kind of entity that has quotas", shortened(component.entity_type)));
    else if (!seen.insert(component.entity_type).second)
      refuse(response, ErrorCode::kInvalidRequest,
             fmt::format("'{}' is there twice", shortened(component.entity_type)));
    else if (component.match_type < 0 || component.match_type > kAny)
      refuse(response, ErrorCode::kInvalidRequest, fmt::format("match type {} is unknown", component.match_type));
  }
  respond(request, response);
}

void handle_alter_client_quotas(Core&, Request request, wire::AlterClientQuotasRequest message) {
  wire::AlterClientQuotasResponse response;
  for (const auto& entry : message.entries) {
    auto& refused = response.entries.emplace_back();
    refused.error_code = ErrorCode::kUnsupportedVersion;
    refused.error_message = "client quotas are not built yet";
    for (const auto& entity : entry.entity) refused.entity.push_back({entity.entity_type, entity.entity_name});
  }
  respond(request, response);
}

}  // namespace millrace::broker
