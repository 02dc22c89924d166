#pragma once

#include <map>
#include <string>

#include "client/admin.h"
#include "pipeline/resolve.h"

namespace millrace::pipeline {

// Makes the topics that a plan needs and that do not exist: sources, outputs, dead letters, changelogs; with
// retention.ms=-1, as replays carry old dates. Then fits the plan to the partitions that are really there.
// kConflict where sources that meet are not co-partitioned, where a step that is not keyed by the source's key meets
// several partitions, or where a changelog has other partitions than its source.
Status prepare_topics(client::Admin& admin, ResolvedPlan& resolved, std::map<std::string, int32_t>& partitions);

}  // namespace millrace::pipeline
