#pragma once

#include <string>

#include "base/result.h"
#include "broker/internal/topic_config.h"
#include "env/file_system.h"

namespace millrace::broker {

// The broker's settings that were changed while it ran, kept in the data folder's file "dynamic-configs": a line
// "name=value" each, "cluster:name=value" for the whole cluster's, by name, replaced as a whole. Only what
// find_topic_config_of_setting() finds can change so, as Kafka's dynamic log configurations.
class DynamicConfigs {
 public:
  DynamicConfigs(env::FileSystem& files, const std::string& data_dir);

  // Nothing where there is no file. kCorruption names the line that cannot be.
  Result<DynamicSettings> read() const;
  // Durable on return.
  Status write(const DynamicSettings& settings) const;

 private:
  env::FileSystem& files_;
  const std::string path_;
};

}  // namespace millrace::broker
