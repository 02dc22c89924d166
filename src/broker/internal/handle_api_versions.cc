#include "broker/internal/cluster_features.h"
#include "broker/internal/handlers.h"
#include "wire/api_versions.h"
#include "wire/messages.h"

namespace millrace::broker {
namespace {

void add_features(wire::ApiVersionsResponse& response, int16_t version) {
  // Clients of version 3 cannot read a lowest level of 0.
  constexpr int16_t kLevelZeroFrom = 4;
  response.supported_features.push_back({std::string(kTransactionVersion),
                                         static_cast<int16_t>(version >= kLevelZeroFrom ? 0 : 1),
                                         kTransactionVersionLevel});
  response.finalized_features_epoch = 0;
  response.finalized_features.push_back(
      {std::string(kTransactionVersion), kTransactionVersionLevel, kTransactionVersionLevel});
}

}  // namespace

// A client that asks in a version that we do not know gets version 0, which all can read, with the range that it may
// use.
void handle_api_versions(Request request, bool supported) {
  wire::ApiVersionsResponse response;
  if (!supported) {
    request.header.api_version = 0;
    response.error_code = wire::ErrorCode::kUnsupportedVersion;
    const wire::ApiRange* self = wire::find_api(static_cast<int16_t>(wire::ApiKey::kApiVersions));
    response.api_keys.push_back({static_cast<int16_t>(self->key), self->min, self->max});
    return respond(request, response);
  }
  const auto message = wire::ApiVersionsRequest::decode(request.body, request.header.api_version);
  if (!message) return request.reply.give_up("malformed ApiVersionsRequest: " + message.error().message);
  for (const wire::ApiRange& api : wire::supported_apis()) {
    if (is_served(api.key)) response.api_keys.push_back({static_cast<int16_t>(api.key), api.min, api.max});
  }
  add_features(response, request.header.api_version);
  respond(request, response);
}

}  // namespace millrace::broker
