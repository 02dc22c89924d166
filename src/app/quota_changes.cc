#include "app/quota_changes.h"

#include <fmt/core.h>

#include "base/text.h"
#include "wire/alter_client_quotas.h"
#include "wire/describe_client_quotas.h"

namespace millrace::app {
namespace {

// A number, or a size such as 10MB.
Result<double> parse_quota(const ConfigChange& change) {
  if (const auto number = parse_double(*change.value)) return *number;
  if (const auto size = parse_size(*change.value)) return static_cast<double>(*size);
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is no value for {}", *change.value, change.name),
              "a number, as producer_byte_rate=10MB");
}

}  // namespace

Result<Listing> list_quotas(KafkaLink& link) {
  MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(wire::DescribeClientQuotasRequest{}));
  MILLRACE_RETURN_IF_ERROR(to_status(answer.error_code, "cannot list the quotas", answer.error_message));
  Listing listing{{"client", "user", "address", "quota", "value"}, {}, "no client has a quota"};
  if (!answer.entries) return listing;
  for (const auto& entry : *answer.entries) {
    const auto name_of = [&](std::string_view type) -> Cell {
      for (const auto& part : entry.entity)
        if (part.entity_type == type) return part.entity_name.value_or("(all others)");
      return {};
    };
    for (const auto& value : entry.values)
      listing.rows.push_back({name_of("client-id"), name_of("user"), name_of("ip"), value.key, value.value});
  }
  return listing;
}

Status change_quotas(KafkaLink& link, const std::optional<std::string>& client_id,
                     std::span<const ConfigChange> changes, bool dry_run) {
  wire::AlterClientQuotasRequest request;
  request.validate_only = dry_run;
  auto& entry = request.entries.emplace_back();
  entry.entity.push_back({"client-id", client_id});
  for (const ConfigChange& change : changes) {
    auto& op = entry.ops.emplace_back();
    op.key = change.name;
    op.remove = !change.value.has_value();
    if (change.value) {
      MILLRACE_ASSIGN_OR_RETURN(op.value, parse_quota(change));
    }
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(link.controller(), request));
  for (const auto& one : answer.entries)
    MILLRACE_RETURN_IF_ERROR(to_status(one.error_code, "the quotas cannot be changed", one.error_message));
  return {};
}

}  // namespace millrace::app
