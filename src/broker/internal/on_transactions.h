#pragma once

#include <utility>

#include "broker/internal/core.h"

// How handlers get to the coordinator of transactions.
namespace millrace::broker {

// Hand `event` to the coordinator, on its thread, and its reply to `done`, on the same; a refusal where transactions
// are not served now.
template <typename Reply, typename Event>
void ask_transactions(Core& core, Event event, OnceFunction<Reply> done) {
  core.transactions.post([&core, event = std::move(event), done = std::move(done)]() mutable {
    if (!core.transactions.is_alive() || !core.transactions.is_ready()) {
      Reply refused;
      refused.error = coord::TransactionError::kNotCoordinator;
      return done(std::move(refused));
    }
    core.transactions.call<Reply>(std::move(event), std::move(done));
  });
}

}  // namespace millrace::broker
