#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <set>
#include <string_view>
#include <utility>

#include "broker/internal/client_quotas.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/quota_names.h"
#include "broker/internal/refusal.h"
#include "broker/internal/shortened.h"

// Client quotas: byte rates by client id. There are no users and no quotas by address here.
namespace millrace::broker {
namespace {

using wire::ErrorCode;

// Doubles are exact up to here.
constexpr double kByteRateMax = 9'007'199'254'740'992.0;

using Entity = std::vector<wire::AlterClientQuotasRequest::EntityData>;

std::optional<Refusal> check_entity(const Entity& entity) {
  for (const auto& part : entity) {
    if (part.entity_type == "user" || part.entity_type == "ip")
      return Refusal{ErrorCode::kUnsupportedVersion,
                     fmt::format("quotas by {} are not built yet: client-id alone has quotas", part.entity_type)};
    if (part.entity_type != kClientIdEntity)
      return Refusal{ErrorCode::kInvalidRequest,
                     fmt::format("'{}' is no kind of entity that has quotas", shortened(part.entity_type))};
    if (part.entity_name && part.entity_name->empty())
      return Refusal{ErrorCode::kInvalidRequest, "a client-id that has quotas is not empty"};
  }
  if (entity.size() != 1)
    return Refusal{ErrorCode::kInvalidRequest, "an entity is one client-id, or the default of all"};
  return std::nullopt;
}

std::optional<Refusal> apply(const wire::AlterClientQuotasRequest::OpData& op, ByteRates& rates) {
  if (op.key == "request_percentage" || op.key == "controller_mutation_rate")
    return Refusal{ErrorCode::kUnsupportedVersion, fmt::format("{} is not built yet", op.key)};
  if (op.key != kProducerByteRate && op.key != kConsumerByteRate)
    return Refusal{ErrorCode::kInvalidRequest, fmt::format("there is no quota '{}': there are {} and {}",
                                                           shortened(op.key), kProducerByteRate, kConsumerByteRate)};
  auto& rate = op.key == kProducerByteRate ? rates.produce : rates.fetch;
  if (op.remove) {
    rate.reset();
    return std::nullopt;
  }
  if (!(op.value >= 1 && op.value <= kByteRateMax) || op.value != std::floor(op.value))
    return Refusal{ErrorCode::kInvalidRequest,
                   fmt::format("{} is a whole number of bytes a second, 1 or more", op.key)};
  rate = static_cast<int64_t>(op.value);
  return std::nullopt;
}

std::optional<Refusal> apply(const wire::AlterClientQuotasRequest::EntryData& entry, QuotaTable& table) {
  if (auto refusal = check_entity(entry.entity)) return refusal;
  const auto& client_id = entry.entity.front().entity_name;
  const auto found = table.find(client_id);
  ByteRates rates = found == table.end() ? ByteRates{} : found->second;
  std::set<std::string_view> seen;
  for (const auto& op : entry.ops) {
    if (!seen.insert(op.key).second)
      return Refusal{ErrorCode::kInvalidRequest, fmt::format("{} is there twice", shortened(op.key))};
    if (auto refusal = apply(op, rates)) return refusal;
  }
  if (rates.empty()) {
    table.erase(client_id);
  } else if (found == table.end() && table.size() >= ClientQuotas::kEntitiesMax) {
    return Refusal{ErrorCode::kPolicyViolation, fmt::format("{} client ids have quotas: no more", table.size())};
  } else {
    table.insert_or_assign(client_id, rates);
  }
  return std::nullopt;
}

void alter(Core& core, Request& request, const wire::AlterClientQuotasRequest& message) {
  wire::AlterClientQuotasResponse response;
  QuotaTable table = core.quotas.table();
  const QuotaTable before = table;
  for (const auto& entry : message.entries) {
    auto& answer = response.entries.emplace_back();
    answer.error_message.reset();
    for (const auto& part : entry.entity) answer.entity.push_back({part.entity_type, part.entity_name});
    const auto refusal = apply(entry, table);
    if (!refusal) continue;
    answer.error_code = refusal->error;
    answer.error_message = refusal->message;
  }
  if (!message.validate_only && table != before) {
    if (const Status set = core.quotas.set(table); !set) {
      for (auto& answer : response.entries) {
        if (answer.error_code != ErrorCode::kNone) continue;
        answer.error_code = to_wire(set.error().code);
        answer.error_message = set.error().message;
      }
    }
  }
  respond(request, response);
}

// How a component of DescribeClientQuotas matches.
constexpr int8_t kExact = 0;
constexpr int8_t kDefault = 1;
constexpr int8_t kAny = 2;

std::optional<Refusal> check_components(const wire::DescribeClientQuotasRequest& message) {
  std::set<std::string_view> seen;
  for (const auto& component : message.components) {
    const std::string& type = component.entity_type;
    if (type != kClientIdEntity && type != "user" && type != "ip")
      return Refusal{ErrorCode::kUnsupportedVersion,
                     fmt::format("'{}' is no kind of entity that has quotas", shortened(type))};
    if (!seen.insert(type).second) return Refusal{ErrorCode::kInvalidRequest, fmt::format("'{}' is there twice", type)};
    if (component.match_type < 0 || component.match_type > kAny)
      return Refusal{ErrorCode::kInvalidRequest, fmt::format("match type {} is unknown", component.match_type)};
    if (component.match.has_value() != (component.match_type == kExact))
      return Refusal{ErrorCode::kInvalidRequest, "a name is there for an exact match, and for no other"};
  }
  return std::nullopt;
}

// Every entity here is a client id alone: whoever asks for users or addresses finds none.
bool matches(const wire::DescribeClientQuotasRequest& message, const std::optional<std::string>& client_id) {
  if (message.strict && message.components.empty()) return false;
  return std::ranges::all_of(message.components, [&](const auto& component) {
    if (component.entity_type != kClientIdEntity) return false;
    if (component.match_type == kExact) return client_id.has_value() && client_id == component.match;
    return component.match_type != kDefault || !client_id.has_value();
  });
}

}  // namespace

void handle_describe_client_quotas(Core& core, Request request, wire::DescribeClientQuotasRequest message) {
  wire::DescribeClientQuotasResponse response;
  response.error_message.reset();
  if (const auto refusal = check_components(message)) {
    response.error_code = refusal->error;
    response.error_message = refusal->message;
    response.entries.reset();
    return respond(request, response);
  }
  response.entries.emplace();
  for (const auto& [client_id, rates] : core.quotas.table()) {
    if (!matches(message, client_id)) continue;
    auto& entry = response.entries->emplace_back();
    entry.entity.push_back({std::string(kClientIdEntity), client_id});
    if (rates.produce) entry.values.push_back({std::string(kProducerByteRate), static_cast<double>(*rates.produce)});
    if (rates.fetch) entry.values.push_back({std::string(kConsumerByteRate), static_cast<double>(*rates.fetch)});
  }
  respond(request, response);
}

void handle_alter_client_quotas(Core& core, Request request, wire::AlterClientQuotasRequest message) {
  core.worker.post(
      [&core, request = std::move(request), message = std::move(message)]() mutable { alter(core, request, message); });
}

}  // namespace millrace::broker
