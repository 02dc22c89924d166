#pragma once

#include <optional>
#include <span>
#include <string>

#include "app/config_changes.h"
#include "app/kafka_link.h"
#include "app/output.h"
#include "base/result.h"

namespace millrace::app {

// What clients may send and get a second: Kafka's client quotas, of one client id or of all that have none of their
// own.

// Every entity that has quotas: those of users and addresses too, where the cluster has such.
Result<Listing> list_quotas(KafkaLink& link);

// Of `client_id`; none: of all clients that have none of their own. All of them or none; with `dry_run` the cluster is
// only asked.
Status change_quotas(KafkaLink& link, const std::optional<std::string>& client_id,
                     std::span<const ConfigChange> changes, bool dry_run);

}  // namespace millrace::app
