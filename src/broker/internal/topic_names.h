#pragma once

#include "log/topic_name.h"

namespace millrace::broker {

using log::check_topic_name;

}  // namespace millrace::broker
