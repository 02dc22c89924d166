#include "broker/internal/dynamic_configs.h"

#include <fmt/core.h>

#include "base/text.h"

namespace millrace::broker {
namespace {

constexpr std::string_view kOfCluster = "cluster:";

}  // namespace

DynamicConfigs::DynamicConfigs(env::FileSystem& files, const std::string& data_dir)
    : files_(files), path_(env::join_path(data_dir, "dynamic-configs")) {}

Result<DynamicSettings> DynamicConfigs::read() const {
  constexpr uint64_t kFileBytesMax = 1u << 20;
  const auto content = env::read_file(files_, path_, kFileBytesMax);
  if (!content && content.error().code == Errc::kNotFound) return DynamicSettings{};
  if (!content) return tl::unexpected(content.error());
  DynamicSettings settings;
  for (const std::string_view line : split(as_text(*content), '\n')) {
    if (line.empty()) continue;
    const bool of_cluster = line.starts_with(kOfCluster);
    const std::string_view setting = of_cluster ? line.substr(kOfCluster.size()) : line;
    const size_t equals = setting.find('=');
    const TopicConfigInfo* info = find_topic_config_of_setting(setting.substr(0, equals));
    if (info == nullptr || equals == setting.npos)
      return fail(Errc::kCorruption, fmt::format("{}: '{}' is no setting that can be changed", path_, line));
    const std::string_view value = setting.substr(equals + 1);
    if (const auto valid = check_config_value(*info, info->broker_setting, value); !valid)
      return fail(Errc::kCorruption, fmt::format("{}: {}", path_, valid.error().message));
    ConfigTexts& configs = of_cluster ? settings.cluster : settings.node;
    configs.insert_or_assign(std::string(info->broker_setting), std::string(value));
  }
  return settings;
}

Status DynamicConfigs::write(const DynamicSettings& settings) const {
  std::string text;
  for (const auto& [name, value] : settings.node) text += fmt::format("{}={}\n", name, value);
  for (const auto& [name, value] : settings.cluster) text += fmt::format("{}{}={}\n", kOfCluster, name, value);
  return env::write_file_atomically(files_, path_, as_byte_view(text));
}

}  // namespace millrace::broker
