#pragma once

#include <string_view>

#include "base/result.h"

namespace millrace::log {

// Kafka's rule: 1 to 249 of a-z A-Z 0-9 . _ -, but not "." or "..". kInvalidArgument says what is wrong.
Status check_topic_name(std::string_view name);

}  // namespace millrace::log
