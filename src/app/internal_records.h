#pragma once

#include <string>
#include <string_view>

#include "base/result.h"
#include "record/records.h"

namespace millrace::app {

// Whether records of this topic are the broker's own, with a form that we know.
bool is_known_internal(std::string_view topic);

// What a record of __consumer_offsets or __transaction_state says, on one line: "offset group=g topic=t …". kCorruption
// where it is none. Precondition: is_known_internal(topic).
Result<std::string> describe_internal(std::string_view topic, const record::Record& record);

}  // namespace millrace::app
