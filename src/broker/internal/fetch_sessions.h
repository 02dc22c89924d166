#pragma once

#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <span>
#include <string>
#include <tl/expected.hpp>
#include <unordered_map>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/random.h"
#include "base/uuid.h"
#include "wire/error_code.h"

// Fetch sessions (KIP-227): the broker remembers which partitions a client reads, so that its requests name only what
// has changed, and answers only what is new.
namespace millrace::broker {

// A partition as a fetch names it: by its topic's name, or from version 13 on by its id; the other is empty.
struct FetchKey {
  std::string topic;
  Uuid topic_id;
  int32_t partition = 0;

  friend bool operator==(const FetchKey&, const FetchKey&) = default;
};

// What a client wants of a partition.
struct FetchWish {
  FetchKey key;
  int32_t current_leader_epoch = -1;
  int64_t fetch_offset = 0;
  int32_t bytes_max = 0;

  friend bool operator==(const FetchWish&, const FetchWish&) = default;
};

// What a fetch request says of sessions.
struct FetchOpening {
  int32_t session_id = 0;
  int32_t epoch = -1;
  bool by_topic_id = false;
  std::vector<FetchWish> wishes;
  std::vector<FetchKey> forgotten;
};

// What the answer to a wish comes to.
struct FetchFinding {
  wire::ErrorCode error = wire::ErrorCode::kNone;
  bool has_records = false;
  int64_t high_watermark = -1;
  int64_t log_start_offset = -1;
};

class FetchSession;

// A fetch between begin() and finish().
struct FetchPlan {
  std::vector<FetchWish> wishes;  // all that is to be read, in the order in which partitions have their turn

  // For FetchSessions.
  bool opens_session = false;
  bool by_topic_id = false;
  std::shared_ptr<FetchSession> session;  // null: there is none yet, or none at all
  int32_t session_id = 0;
  int32_t epoch = 0;  // that the session must still be at
};

// How a fetch is answered.
struct FetchVerdict {
  wire::ErrorCode error = wire::ErrorCode::kNone;
  int32_t session_id = 0;   // 0: none
  std::vector<bool> shown;  // for each wish, whether the answer tells of it; empty with an error
};

struct FetchSessionLimits {
  size_t sessions_max = 1000;
  // Of all sessions together. Kafka bounds sessions alone.
  size_t partitions_max = 500'000;
  // A session must make room for another after so long without a request, or at this age for one that is not smaller.
  std::chrono::milliseconds evictable_after{120'000};
};

// All sessions of the broker. As in Kafka, a client for which there is no room gets none and goes on without.
// Thread-safe.
class FetchSessions {
 public:
  // `random` gives the sessions' ids.
  FetchSessions(FetchSessionLimits limits, Random random) : limits_(limits), random_(random) {}

  // What this fetch reads: with epoch 0 or -1 what it names, which ends the session it names; else all that its session
  // knows after the changes that it names. FETCH_SESSION_ID_NOT_FOUND, INVALID_FETCH_SESSION_EPOCH or
  // FETCH_SESSION_TOPIC_ID_ERROR (a session stays with names or with ids) otherwise.
  tl::expected<FetchPlan, wire::ErrorCode> begin(FetchOpening opening, MonoTime now) EXCLUDES(mutex_);

  // The wishes came to `findings`, one for each, in their order. Of an incremental fetch those are shown that have
  // records, an error, or another high watermark or log start than the client was told; partitions that gave records
  // go to the end of the line.
  FetchVerdict finish(const FetchPlan& plan, std::span<const FetchFinding> findings, MonoTime now) EXCLUDES(mutex_);

  size_t size() const EXCLUDES(mutex_);

 private:
  struct Entry {
    std::shared_ptr<FetchSession> session;
    size_t partitions;
    MonoTime made;
    MonoTime used;
  };
  using Entries = std::unordered_map<int32_t, Entry>;

  std::shared_ptr<FetchSession> find(int32_t id) const EXCLUDES(mutex_);
  void remove(int32_t id) EXCLUDES(mutex_);
  void erase(Entries::iterator entry) REQUIRES(mutex_);
  // False where it has become too large and so has ended.
  bool touch(int32_t id, size_t partitions, MonoTime now) EXCLUDES(mutex_);
  bool make_room(size_t partitions, MonoTime now) REQUIRES(mutex_);
  int32_t add(std::shared_ptr<FetchSession> session, size_t partitions, MonoTime now) EXCLUDES(mutex_);

  const FetchSessionLimits limits_;
  mutable Mutex mutex_;
  Random random_ GUARDED_BY(mutex_);
  Entries entries_ GUARDED_BY(mutex_);
  size_t partitions_ GUARDED_BY(mutex_) = 0;
};

}  // namespace millrace::broker
