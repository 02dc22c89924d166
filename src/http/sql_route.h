#pragma once

#include "http/server.h"
#include "warehouse/warehouse.h"

namespace millrace::http {

// Answer POST /v1/sql: the body is one SELECT; ?format=json (default), csv or parquet, ?timeout_ms=N, at most an hour.
// The statement runs on the warehouse's thread, and is cancelled when its client hangs up; `warehouse` stops before the
// server goes.
void answer_sql(warehouse::Warehouse& warehouse, const Request& request, ResponderPtr responder);

}  // namespace millrace::http
