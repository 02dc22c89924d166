#include "app/private_broker.h"

#include <random>

#include "app/config.h"

namespace millrace::app {
namespace {

constexpr const char* kListener = "PRIVATE";

}  // namespace

Result<std::unique_ptr<PrivateBroker>> PrivateBroker::start() {
  std::unique_ptr<PrivateBroker> result(new PrivateBroker());
  MILLRACE_ASSIGN_OR_RETURN(result->folder_, TemporaryFolder::make("run"));
  std::random_device entropy;
  MILLRACE_ASSIGN_OR_RETURN(result->broker_,
                            broker::Broker::start({.data_dir = result->folder_->path(),
                                                   .listeners = {{.name = kListener, .host = "127.0.0.1", .port = 0}},
                                                   .settings = {}},
                                                  result->files_, result->clock_, Random(entropy()), result->metrics_));
  return result;
}

PrivateBroker::~PrivateBroker() {
  if (broker_) broker_->stop();
}

std::string PrivateBroker::bootstrap() const {
  const auto address = broker_->address(kListener);
  return HostPort{address.host, address.port}.to_string();
}

}  // namespace millrace::app
