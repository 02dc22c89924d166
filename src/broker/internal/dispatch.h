#pragma once

#include <map>

#include "broker/internal/core.h"
#include "broker/internal/session.h"

namespace millrace::broker {

// Reads a frame's header, checks that the API and its version are served, and calls the handler.
class Dispatcher final : public FrameHandler {
 public:
  Dispatcher(Core& core, Metrics& metrics);
  void handle(Incoming incoming) override;
  void closed(uint64_t connection) override;

 private:
  Core& core_;
  std::map<wire::ApiKey, Counter> requests_;
};

}  // namespace millrace::broker
