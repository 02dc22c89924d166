#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"

namespace millrace::broker {

void handle_init_producer_id(Core& core, Request request, wire::InitProducerIdRequest message) {
  wire::InitProducerIdResponse response;
  const bool names_id = message.producer_id != kNoProducerId.value();
  const bool names_epoch = message.producer_epoch != kNoProducerEpoch.value();
  if (names_id != names_epoch) {
    response.error_code = wire::ErrorCode::kInvalidRequest;
    response.producer_epoch = kNoProducerEpoch.value();
    return respond(request, response);
  }
  if (message.transactional_id) return init_transactional_producer(core, std::move(request), message);
  // A producer that is only idempotent gets a new id each time, also where it comes with one that it has.
  response.producer_epoch = 0;
  if (const auto id = core.producer_ids.take()) {
    response.producer_id = id->value();
    return respond(request, response);
  }
  core.worker.post([&core, response, request = std::move(request)]() mutable {
    const auto id = core.producer_ids.take_waiting();
    if (id) {
      response.producer_id = id->value();
    } else {
      log_error("broker", "no producer id could be given: {}", id.error().message);
      response.error_code = wire::ErrorCode::kCoordinatorNotAvailable;
      response.producer_epoch = -1;
    }
    respond(request, response);
  });
}

}  // namespace millrace::broker
