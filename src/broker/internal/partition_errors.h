#pragma once

#include <vector>

#include "broker/internal/error_codes.h"

// For answers whose topics have partitions with an error each, some of which are refused before a coordinator is asked
// for the others.
namespace millrace::broker {

// Call `change` with each error that is none yet.
template <typename Topics, typename Change>
void for_each_unrefused(Topics& topics, Change change) {
  for (auto& topic : topics)
    for (auto& partition : topic.partitions)
      if (partition.error_code == wire::ErrorCode::kNone) change(partition.error_code);
}

template <typename Topics>
void refuse_the_rest(Topics& topics, wire::ErrorCode with) {
  for_each_unrefused(topics, [with](wire::ErrorCode& code) { code = with; });
}

// What the coordinator says of those that it was asked for, in their order.
template <typename Topics, typename Error>
void take_errors(Topics& topics, const std::vector<Error>& errors) {
  auto error = errors.begin();
  for_each_unrefused(topics, [&](wire::ErrorCode& code) {
    if (error != errors.end()) code = to_wire(*error++);
  });
}

}  // namespace millrace::broker
