#include "app/private_broker.h"

#include <fmt/core.h>
#include <stdlib.h>

#include <cerrno>
#include <cstring>
#include <filesystem>
#include <random>

#include "app/config.h"

namespace millrace::app {
namespace {

constexpr const char* kListener = "PRIVATE";

}  // namespace

Result<std::unique_ptr<PrivateBroker>> PrivateBroker::start() {
  std::string name = (std::filesystem::temp_directory_path() / "millrace-XXXXXX").string();
  if (::mkdtemp(name.data()) == nullptr)
    return fail(Errc::kIo, fmt::format("cannot make a temporary folder {}: {}", name, std::strerror(errno)),
                "export TMPDIR=FOLDER");
  std::unique_ptr<PrivateBroker> result(new PrivateBroker());
  result->dir_ = name;
  std::random_device entropy;
  MILLRACE_ASSIGN_OR_RETURN(
      result->broker_,
      broker::Broker::start(
          {.data_dir = name, .listeners = {{.name = kListener, .host = "127.0.0.1", .port = 0}}, .settings = {}},
          result->files_, result->clock_, Random(entropy()), result->metrics_));
  return result;
}

PrivateBroker::~PrivateBroker() {
  if (broker_) broker_->stop();
  std::error_code ignored;
  if (!dir_.empty()) std::filesystem::remove_all(dir_, ignored);
}

std::string PrivateBroker::bootstrap() const {
  const auto address = broker_->address(kListener);
  return HostPort{address.host, address.port}.to_string();
}

}  // namespace millrace::app
