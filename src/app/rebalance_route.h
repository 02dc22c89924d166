#pragma once

#include "broker/broker.h"
#include "http/server.h"

namespace millrace::app {

// Answer GET /v1/groups/GROUP/rebalances: a JSON array of the group's last ?last=N (20; at most 1000) rebalances,
// newest first. `broker` may be null, where the server works for another one; else it stops after the HTTP server.
void answer_rebalances(broker::Broker* broker, const http::Request& request, http::ResponderPtr responder);

}  // namespace millrace::app
