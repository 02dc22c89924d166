#pragma once

#include <memory>
#include <string>

#include "app/temporary_folder.h"
#include "base/metrics.h"
#include "base/result.h"
#include "broker/broker.h"
#include "env/posix_file_system.h"
#include "env/system_clock.h"

namespace millrace::app {

// A broker for one command alone: on a free loopback port, in a temporary folder that goes with it.
class PrivateBroker {
 public:
  static Result<std::unique_ptr<PrivateBroker>> start();
  ~PrivateBroker();
  PrivateBroker(const PrivateBroker&) = delete;
  PrivateBroker& operator=(const PrivateBroker&) = delete;

  std::string bootstrap() const;  // HOST:PORT

 private:
  PrivateBroker() = default;

  std::unique_ptr<TemporaryFolder> folder_;
  env::SystemClock clock_;
  env::PosixFileSystem files_;
  Metrics metrics_;
  std::unique_ptr<broker::Broker> broker_;
};

}  // namespace millrace::app
