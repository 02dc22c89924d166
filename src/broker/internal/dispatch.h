#pragma once

#include "broker/internal/core.h"
#include "broker/internal/session.h"

namespace millrace::broker {

// Reads a frame's header, checks that the API and its version are served, and calls the handler.
class Dispatcher final : public FrameHandler {
 public:
  Dispatcher(Core& core, RequestMetrics& metrics) : core_(core), metrics_(metrics) {}
  void handle(Incoming incoming) override;
  void closed(uint64_t connection) override;
  void next_waits(uint64_t connection) override;

 private:
  Core& core_;
  RequestMetrics& metrics_;
};

}  // namespace millrace::broker
