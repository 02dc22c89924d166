#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/metrics.h"
#include "base/result.h"
#include "broker/broker.h"
#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "env/temporary_folder.h"

namespace millrace::embed {

struct LocalBrokerOptions {
  std::string data_dir;  // made when missing; empty: a temporary folder that goes with the broker
  std::string host = "127.0.0.1";
  uint16_t port = 0;  // 0: a free one
  broker::Settings settings;
  std::function<void(const millrace::Error&)> on_fatal;  // as in broker::BrokerOptions
};

// A broker with one listener and all that it needs: the real files and clock, and a folder. It serves a command that
// wants one for itself, and programs that embed one. Errors as of broker::Broker::start().
class LocalBroker {
 public:
  static millrace::Result<std::unique_ptr<LocalBroker>> start(LocalBrokerOptions options = {});
  // stop(), if it was not called.
  ~LocalBroker();
  LocalBroker(const LocalBroker&) = delete;
  LocalBroker& operator=(const LocalBroker&) = delete;

  const std::string& bootstrap() const { return bootstrap_; }  // HOST:PORT
  const std::string& data_dir() const { return data_dir_; }
  void stop();

 private:
  LocalBroker() = default;

  std::unique_ptr<env::TemporaryFolder> folder_;  // null on a folder that stays
  std::string data_dir_;
  std::string bootstrap_;
  env::SystemClock clock_;
  env::PosixFileSystem files_;
  Metrics metrics_;
  std::unique_ptr<broker::Broker> broker_;
};

}  // namespace millrace::embed
