#pragma once

#include <string>

#include "base/result.h"
#include "broker/internal/topic_config.h"
#include "env/file_system.h"

namespace millrace::broker {

// The broker's settings that were changed while it ran, kept in the data folder's file "dynamic-configs": a line
// "name=value" each, by name, replaced as a whole. Only what topics have by default can change so
// (find_topic_config_of_setting()), as Kafka's dynamic log configurations.
class DynamicConfigs {
 public:
  DynamicConfigs(env::FileSystem& files, const std::string& data_dir);

  // Nothing where there is no file. kCorruption names the line that cannot be.
  Result<ConfigTexts> read() const;
  // Durable on return.
  Status write(const ConfigTexts& configs) const;

 private:
  env::FileSystem& files_;
  const std::string path_;
};

}  // namespace millrace::broker
