#include "embed/local_broker.h"

#include <random>

#include "base/host_port.h"

namespace millrace::embed {
namespace {

constexpr const char* kListener = "LOCAL";

}  // namespace

millrace::Result<std::unique_ptr<LocalBroker>> LocalBroker::start(LocalBrokerOptions options) {
  std::unique_ptr<LocalBroker> result(new LocalBroker());
  result->data_dir_ = std::move(options.data_dir);
  if (result->data_dir_.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(result->folder_, env::TemporaryFolder::make("broker"));
    result->data_dir_ = result->folder_->path();
  }
  std::random_device entropy;
  broker::BrokerOptions serving{
      .data_dir = result->data_dir_,
      .listeners = {{.name = kListener, .host = std::move(options.host), .port = options.port}},
      .settings = options.settings,
      .on_fatal = std::move(options.on_fatal)};
  MILLRACE_ASSIGN_OR_RETURN(result->broker_, broker::Broker::start(std::move(serving), result->files_, result->clock_,
                                                                   Random(entropy()), result->metrics_));
  const auto address = result->broker_->address(kListener);
  result->bootstrap_ = HostPort{address.host, address.port}.to_string();
  return result;
}

LocalBroker::~LocalBroker() { stop(); }

void LocalBroker::stop() {
  if (broker_) broker_->stop();
}

}  // namespace millrace::embed
