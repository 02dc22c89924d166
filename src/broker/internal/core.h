#pragma once

#include <string>
#include <vector>

#include "base/metrics.h"
#include "broker/broker.h"
#include "broker/internal/client_quotas.h"
#include "broker/internal/dynamic_configs.h"
#include "broker/internal/fetch_sessions.h"
#include "broker/internal/group_service.h"
#include "broker/internal/producer_ids.h"
#include "broker/internal/purgatory.h"
#include "broker/internal/rate_limit.h"
#include "broker/internal/topics.h"
#include "broker/internal/transaction_service.h"
#include "broker/internal/worker.h"
#include "log/store.h"

namespace millrace::broker {

// What handlers work with. Everything in it is thread-safe, except that `groups` and `transactions` are used on their
// executor.
struct Core {
  const Settings& settings;
  const std::vector<ListenerAddress>& advertised;  // by listener
  const Clock& clock;
  log::Store& store;
  Topics& topics;
  Purgatory& purgatory;
  FetchSessions& fetch_sessions;
  GroupService& groups;
  TransactionService& transactions;
  ProducerIds& producer_ids;
  const DynamicConfigs& dynamic_configs;
  ClientQuotas& quotas;
  Worker& worker;
  RateLimit& notes;  // for log lines that clients can cause

  // The one node's.
  int32_t node_id() const { return static_cast<int32_t>(settings.node_id); }
};

}  // namespace millrace::broker
