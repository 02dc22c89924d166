#pragma once

#include <algorithm>
#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "coord/types.h"

namespace millrace::coord::internal {

// What the members of all groups of a coordinator take together: what they have told about themselves, the ids that
// newcomers were given, and what leaders have assigned.
struct MembersMemory {
  size_t bytes_max;
  size_t bytes = 0;

  // Less than before is always taken.
  bool takes(size_t now, size_t before) const { return now <= before || bytes - before + now <= bytes_max; }
};

// One member of a classic group.
struct Member {
  std::string id;
  std::optional<std::string> instance_id;
  std::string client_id;
  std::string client_host;
  std::chrono::milliseconds session_timeout{0};
  std::chrono::milliseconds rebalance_timeout{0};
  std::vector<Protocol> protocols;
  Bytes assignment;
  size_t counted_bytes = 0;  // what its group has counted of bytes()

  // Without a sign of life until then the member is out; does not count while `in_request()`.
  MonoTime expires_at;
  // Over which it was heard from last; and since when that is closed, until when it has time to come back.
  ConnectionId connection{0};
  std::optional<MonoTime> lost_until;
  // Has not been part of a generation yet, so it may not even know its id; then expires_at counts in any case.
  bool is_new = true;
  // Was told of the generation and has not fetched its assignment.
  bool owes_sync = false;
  std::optional<RequestToken> waiting_join;
  std::optional<RequestToken> waiting_sync;

  // Its client waits for us, and cannot be expected to send heartbeats.
  bool in_request() const { return waiting_join || waiting_sync; }
  bool expired(MonoTime now) const { return now >= expires_at && (is_new || !in_request()); }
  bool lost(MonoTime now) const { return lost_until && now >= *lost_until; }
  // It was heard from.
  void note_contact(ConnectionId over) {
    if (over.value() != 0) connection = over;
    lost_until.reset();
  }

  // What it has told about itself takes: all but its assignment, which its leader has told.
  size_t bytes() const {
    size_t sum = id.size() + (instance_id ? instance_id->size() : 0) + client_id.size() + client_host.size();
    for (const Protocol& protocol : protocols) sum += protocol.name.size() + protocol.metadata.size();
    return sum;
  }

  const Protocol* find_protocol(std::string_view name) const {
    const auto found =
        std::find_if(protocols.begin(), protocols.end(), [&](const Protocol& own) { return own.name == name; });
    return found == protocols.end() ? nullptr : &*found;
  }
};

}  // namespace millrace::coord::internal
