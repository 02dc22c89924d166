#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "broker/internal/drop_repeats.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/topic_configs_shown.h"
#include "log/topic_name.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;
using Asked = wire::DescribeConfigsRequest::DescribeConfigsResource;
using Described = wire::DescribeConfigsResponse::DescribeConfigsResult;
using Line = wire::DescribeConfigsResponse::DescribeConfigsResourceResult;

Line to_line(const ShownConfig& config, const wire::DescribeConfigsRequest& message) {
  Line line;
  line.name = config.name;
  line.value = config.value();
  line.read_only = config.read_only;
  line.config_source = static_cast<int8_t>(config.source());
  line.config_type = static_cast<int8_t>(config.kind);
  line.documentation.reset();
  if (message.include_documentation) line.documentation = config.documentation;
  if (!message.include_synonyms) return line;
  for (const ConfigSynonym& synonym : config.synonyms)
    line.synonyms.push_back({synonym.name, synonym.value, static_cast<int8_t>(synonym.source)});
  return line;
}

// What clients are told to connect to: part of the server's configuration, not of the broker's settings.
ShownConfig advertised_listeners(const Core& core) {
  std::string value;
  for (const ListenerAddress& address : core.advertised) {
    const bool ipv6 = address.host.find(':') != std::string::npos;
    value += fmt::format("{}PLAINTEXT://{}{}{}:{}", value.empty() ? "" : ",", ipv6 ? "[" : "", address.host,
                         ipv6 ? "]" : "", address.port);
  }
  return {.name = "advertised.listeners",
          .kind = ConfigKind::kString,
          .read_only = true,
          .documentation = "The addresses that clients are told to use.",
          .synonyms = {{"advertised.listeners", std::move(value), ConfigSource::kBrokerFile}}};
}

Described describe(const Core& core, const Asked& asked, const wire::DescribeConfigsRequest& message) {
  Described result;
  result.resource_type = asked.resource_type;
  result.resource_name = asked.resource_name;
  result.error_message.reset();
  const auto refuse = [&](ErrorCode error, std::string text) {
    result.error_code = error;
    result.error_message = std::move(text);
    return result;
  };
  std::vector<ShownConfig> shown;
  if (asked.resource_type == kTopicResource) {
    if (const auto valid = log::check_topic_name(asked.resource_name); !valid)
      return refuse(ErrorCode::kInvalidTopicException, valid.error().message);
    const auto topic = core.topics.snapshot()->find(asked.resource_name);
    if (!topic) return refuse(ErrorCode::kUnknownTopicOrPartition, "there is no such topic");
    shown = shown_topic_configs(topic->topic->info.config, core.topics.snapshot()->defaults());
  } else if (asked.resource_type == kBrokerResource) {
    if (!asked.resource_name.empty() && asked.resource_name != fmt::format("{}", core.node_id()))
      return refuse(ErrorCode::kInvalidRequest, fmt::format("the only broker has id {}", core.node_id()));
    const auto topics = core.topics.snapshot();
    if (asked.resource_name.empty()) {
      shown = shown_cluster_configs(topics->defaults());
    } else {
      shown = shown_broker_configs(topics->defaults());
      shown.push_back(advertised_listeners(core));
    }
  } else {
    return refuse(
        ErrorCode::kInvalidRequest,
        fmt::format("only topics and brokers have configurations here, not resources of type {}", asked.resource_type));
  }
  const bool asks_for_some = asked.configuration_keys && !asked.configuration_keys->empty();
  for (const ShownConfig& config : shown) {
    if (asks_for_some && std::ranges::count(*asked.configuration_keys, config.name) == 0) continue;
    result.configs.push_back(to_line(config, message));
  }
  return result;
}

}  // namespace

void handle_describe_configs(Core& core, Request request, wire::DescribeConfigsRequest message) {
  drop_repeats(message.resources,
               [](const Asked& asked) { return std::pair(asked.resource_type, asked.resource_name); });
  wire::DescribeConfigsResponse response;
  for (const Asked& asked : message.resources) response.results.push_back(describe(core, asked, message));
  respond(request, response);
}

}  // namespace millrace::broker
