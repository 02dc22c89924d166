#pragma once

#include <utility>

#include "broker/internal/core.h"

// How handlers get to the coordinator of transactions.
namespace millrace::broker {

// Hand `event` to the coordinator, and its reply to `done`, as CoordinatorHost::call(); a refusal where transactions
// are not served now. Without `where` the reply comes on the coordinators' executor.
template <typename Reply, typename Event>
void ask_transactions(Core& core, Event event, OnceFunction<Reply> done, Executor* where = nullptr) {
  const auto refuse = [](OnceFunction<Reply>& with) {
    Reply refused;
    refused.error = coord::TransactionError::kNotCoordinator;
    with(std::move(refused));
  };
  if (core.transactions.is_crowded())
    return core.transactions.post_look([refuse, done = std::move(done)]() mutable { refuse(done); });
  core.transactions.post([&core, refuse, event = std::move(event), done = std::move(done), where]() mutable {
    if (!core.transactions.takes_records() || !core.transactions.is_ready()) return refuse(done);
    if (where != nullptr) return core.transactions.call<Reply>(std::move(event), *where, std::move(done));
    core.transactions.call<Reply>(std::move(event), std::move(done));
  });
}

}  // namespace millrace::broker
