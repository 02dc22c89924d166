#pragma once

#include <span>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/admin.h"

namespace millrace::app {

// Partitions as users name them: TOPIC is all of its partitions, TOPIC:0,2 are two of them.

// Those that `texts` name, each once, ascending. kNotFound where there is no such topic or partition.
Result<std::vector<client::TopicPartition>> choose_partitions(client::Admin& admin, std::span<const std::string> texts);

// Whether `text` names this partition.
bool names_partition(const std::string& text, const client::TopicPartition& source);

}  // namespace millrace::app
