#include <fmt/core.h>

#include <algorithm>
#include <utility>

#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/topic_configs_shown.h"
#include "broker/internal/topic_names.h"

namespace millrace::broker {
namespace {

using wire::ErrorCode;
using Asked = wire::DescribeConfigsRequest::DescribeConfigsResource;
using Described = wire::DescribeConfigsResponse::DescribeConfigsResult;
using Line = wire::DescribeConfigsResponse::DescribeConfigsResourceResult;

constexpr int8_t kTopic = 2;
constexpr int8_t kBroker = 4;

Line to_line(const ShownConfig& config, bool read_only, const wire::DescribeConfigsRequest& message) {
  Line line;
  line.name = config.name;
  line.value = config.value;
  line.read_only = read_only;
  line.config_source = static_cast<int8_t>(config.source);
  line.config_type = static_cast<int8_t>(config.kind);
  line.documentation.reset();
  if (message.include_documentation) line.documentation = config.documentation;
  if (!message.include_synonyms) return line;
  // From the most to the least specific.
  if (config.source != ConfigSource::kDefault)
    line.synonyms.push_back({config.name, config.value, static_cast<int8_t>(config.source)});
  const std::string& name = config.broker_setting.empty() ? config.name : config.broker_setting;
  line.synonyms.push_back({name, config.default_value, static_cast<int8_t>(ConfigSource::kDefault)});
  return line;
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
  if (asked.resource_type == kTopic) {
    if (const auto valid = check_topic_name(asked.resource_name); !valid)
      return refuse(ErrorCode::kInvalidTopicException, valid.error().message);
    const auto topic = core.topics.snapshot()->find(asked.resource_name);
    if (!topic) return refuse(ErrorCode::kUnknownTopicOrPartition, "there is no such topic");
    shown = shown_topic_configs(topic->topic->info.config, core.settings);
  } else if (asked.resource_type == kBroker) {
    if (!asked.resource_name.empty() && asked.resource_name != fmt::format("{}", kNodeId))
      return refuse(ErrorCode::kInvalidRequest, fmt::format("the only broker has id {}", kNodeId));
    shown = shown_broker_configs(core.settings);
  } else {
    return refuse(ErrorCode::kInvalidRequest, "only topics (2) and brokers (4) can be described");
  }
  for (const ShownConfig& config : shown) {
    if (asked.configuration_keys && std::ranges::count(*asked.configuration_keys, config.name) == 0) continue;
    result.configs.push_back(to_line(config, asked.resource_type == kBroker, message));
  }
  return result;
}

}  // namespace

void handle_describe_configs(Core& core, Request request, wire::DescribeConfigsRequest message) {
  wire::DescribeConfigsResponse response;
  for (const Asked& asked : message.resources) response.results.push_back(describe(core, asked, message));
  respond(request, response);
}

}  // namespace millrace::broker
