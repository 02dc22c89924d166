#include <algorithm>
#include <array>
#include <string_view>

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

// As Kafka asks of the names and versions of clients' software: letters, digits, '-' and '.', the latter two only
// inside.
bool is_software_name(std::string_view name) {
  const auto is_alphanumeric = [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
  };
  if (name.empty() || !is_alphanumeric(name.front()) || !is_alphanumeric(name.back())) return false;
  return std::ranges::all_of(name, [&](char c) { return is_alphanumeric(c) || c == '-' || c == '.'; });
}

// Clients that take in and process records while a heartbeat waits for its answer. Others do neither (kafkajs), or
// send nothing else over that connection meanwhile (sarama): only those that are known to are made to wait.
bool works_on_during_heartbeats(std::string_view software_name) {
  constexpr std::array<std::string_view, 4> kNames{"apache-kafka-java", "librdkafka", "kafka-python", "kgo"};
  return std::ranges::count(kNames, software_name) != 0 || software_name.starts_with("confluent-kafka-");
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
  constexpr int16_t kSoftwareFrom = 3;
  if (request.header.api_version >= kSoftwareFrom &&
      !(is_software_name(message->client_software_name) && is_software_name(message->client_software_version))) {
    response.error_code = wire::ErrorCode::kInvalidRequest;
    return respond(request, response);
  }
  request.client->works_on = works_on_during_heartbeats(message->client_software_name);
  for (const wire::ApiRange& api : wire::supported_apis()) {
    if (is_served(api.key)) response.api_keys.push_back({static_cast<int16_t>(api.key), api.min, api.max});
  }
  add_features(response, request.header.api_version);
  respond(request, response);
}

}  // namespace millrace::broker
