#include "broker/internal/dynamic_configs.h"

#include <fmt/core.h>

#include "base/text.h"

namespace millrace::broker {

DynamicConfigs::DynamicConfigs(env::FileSystem& files, const std::string& data_dir)
    : files_(files), path_(env::join_path(data_dir, "dynamic-configs")) {}

Result<ConfigTexts> DynamicConfigs::read() const {
  constexpr uint64_t kFileBytesMax = 1u << 20;
  const auto content = env::read_file(files_, path_, kFileBytesMax);
  if (!content && content.error().code == Errc::kNotFound) return ConfigTexts{};
  if (!content) return tl::unexpected(content.error());
  ConfigTexts configs;
  for (const std::string_view line : split(as_text(*content), '\n')) {
    if (line.empty()) continue;
    const size_t equals = line.find('=');
    const TopicConfigInfo* info = find_topic_config_of_setting(line.substr(0, equals));
    if (info == nullptr || equals == line.npos)
      return fail(Errc::kCorruption, fmt::format("{}: '{}' is no setting that can be changed", path_, line));
    const std::string_view value = line.substr(equals + 1);
    if (const auto valid = check_config_value(*info, info->broker_setting, value); !valid)
      return fail(Errc::kCorruption, fmt::format("{}: {}", path_, valid.error().message));
    configs.insert_or_assign(std::string(info->broker_setting), std::string(value));
  }
  return configs;
}

Status DynamicConfigs::write(const ConfigTexts& configs) const {
  std::string text;
  for (const auto& [name, value] : configs) text += fmt::format("{}={}\n", name, value);
  return env::write_file_atomically(files_, path_, as_byte_view(text));
}

}  // namespace millrace::broker
