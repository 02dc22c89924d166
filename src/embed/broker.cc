#include "millrace/broker.h"

#include "embed/internal/errors.h"
#include "embed/local_broker.h"

namespace millrace::embed {

struct Broker::Impl {
  std::unique_ptr<LocalBroker> local;
};

Broker::Broker(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Broker::~Broker() = default;
Broker::Broker(Broker&&) noexcept = default;
Broker& Broker::operator=(Broker&&) noexcept = default;

Result<Broker> Broker::start(BrokerOptions options) {
  LocalBrokerOptions local{.data_dir = std::move(options.data_dir),
                           .host = std::move(options.host),
                           .port = options.port,
                           .settings = {},
                           .on_fatal = {}};
  for (const auto& [name, value] : options.settings)
    if (auto set = broker::set_setting(local.settings, name, value); !set)
      return internal::to_public(std::move(set).error());
  if (options.on_fatal)
    local.on_fatal = [on_fatal = std::move(options.on_fatal)](const millrace::Error& error) {
      on_fatal(internal::to_public(error));
    };
  MILLRACE_EMBED_ASSIGN_OR_RETURN(auto started, LocalBroker::start(std::move(local)));
  return Broker(std::make_unique<Impl>(std::move(started)));
}

const std::string& Broker::bootstrap() const { return impl_->local->bootstrap(); }
const std::string& Broker::data_dir() const { return impl_->local->data_dir(); }
void Broker::stop() { impl_->local->stop(); }

}  // namespace millrace::embed
