#include "broker/internal/fetch_sessions.h"

#include <algorithm>
#include <functional>
#include <limits>
#include <optional>
#include <unordered_map>
#include <utility>
#include <vector>

namespace millrace::broker {

using wire::ErrorCode;

namespace {

constexpr int32_t kNoSession = 0;
constexpr int32_t kInitialEpoch = 0;
constexpr int32_t kFinalEpoch = -1;
constexpr int32_t kFirstEpoch = 1;

int32_t after(int32_t epoch) { return epoch == std::numeric_limits<int32_t>::max() ? kFirstEpoch : epoch + 1; }

struct KeyHash {
  size_t operator()(const FetchKey& key) const noexcept {
    constexpr size_t kSpread = 0x9e3779b97f4a7c15;
    const size_t topic = key.topic.empty() ? std::hash<Uuid>{}(key.topic_id) : std::hash<std::string>{}(key.topic);
    return topic ^ (static_cast<size_t>(key.partition) * kSpread);
  }
};

// Of a partition that is named more than once the last wish counts, in the place of the first.
void drop_repeats(std::vector<FetchWish>& wishes) {
  // Clients without sessions name all their partitions in every fetch, and hardly any of them twice: keys are copied
  // only where two hashes agree.
  std::vector<size_t> hashes(wishes.size());
  std::ranges::transform(wishes, hashes.begin(), KeyHash{}, &FetchWish::key);
  std::ranges::sort(hashes);
  if (std::ranges::adjacent_find(hashes) == hashes.end()) return;
  std::unordered_map<FetchKey, size_t, KeyHash> places;
  places.reserve(wishes.size());
  size_t kept = 0;
  for (FetchWish& wish : wishes) {
    const auto [at, is_new] = places.try_emplace(wish.key, kept);
    if (is_new) ++kept;
    // A wish is never behind its place.
    if (&wishes[at->second] != &wish) wishes[at->second] = std::move(wish);
  }
  wishes.resize(kept);
}

}  // namespace

// One client's partitions, in the order in which they have their turn. Thread-safe, though only one request at a time
// should come.
class FetchSession {
 public:
  explicit FetchSession(bool by_topic_id) : by_topic_id_(by_topic_id) {}

  // Where the client and the session agree on how far they are: take up the changes, and say what to read, the epoch
  // that comes next, and whether the session has nothing left to read and so ends.
  struct Begun {
    int32_t epoch;
    bool ends;
    std::vector<FetchWish> wishes;
  };
  tl::expected<Begun, ErrorCode> begin(FetchOpening& opening) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    if (opening.epoch != epoch_) return tl::unexpected(ErrorCode::kInvalidFetchSessionEpoch);
    if (opening.by_topic_id != by_topic_id_) return tl::unexpected(ErrorCode::kFetchSessionTopicIdError);
    // What a request both names and forgets is read this once, where nothing else is left.
    std::vector<FetchWish> named;
    if (!opening.forgotten.empty()) named = opening.wishes;
    for (FetchWish& wish : opening.wishes) put(std::move(wish));
    for (const FetchKey& key : opening.forgotten) forget(key);
    epoch_ = after(epoch_);
    Begun begun{.epoch = epoch_, .ends = line_.empty(), .wishes = {}};
    if (begun.ends) {
      drop_repeats(named);
      begun.wishes = std::move(named);
      return begun;
    }
    begun.wishes.reserve(line_.size());
    for (const auto* known : line_)
      begun.wishes.push_back({.key = known->first,
                              .current_leader_epoch = known->second.leader_epoch,
                              .fetch_offset = known->second.fetch_offset,
                              .bytes_max = known->second.bytes_max});
    return begun;
  }

  FetchVerdict finish(const FetchPlan& plan, std::span<const FetchFinding> findings) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    FetchVerdict verdict{.session_id = plan.session_id};
    if (epoch_ != plan.epoch) {
      verdict.error = ErrorCode::kInvalidFetchSessionEpoch;
      return verdict;
    }
    verdict.shown.reserve(findings.size());
    for (size_t i = 0; i < findings.size(); ++i) verdict.shown.push_back(note(plan.wishes[i].key, findings[i]));
    return verdict;
  }

  // The first answer: everything is shown.
  void fill(std::span<const FetchWish> wishes, std::span<const FetchFinding> findings) EXCLUDES(mutex_) {
    MutexLock lock(mutex_);
    for (const FetchWish& wish : wishes) put(wish);
    for (size_t i = 0; i < wishes.size(); ++i) note(wishes[i].key, findings[i]);
  }

 private:
  struct Known;
  using ByKey = std::unordered_map<FetchKey, Known, KeyHash>;
  using Line = std::list<ByKey::value_type*>;
  struct Known {
    int32_t leader_epoch = -1;
    int64_t fetch_offset = 0;
    int32_t bytes_max = 0;
    // What the client was told.
    int64_t high_watermark = -1;
    int64_t log_start_offset = -1;
    Line::iterator place;
  };

  void put(FetchWish wish) REQUIRES(mutex_) {
    const auto [at, is_new] = known_.try_emplace(std::move(wish.key));
    Known& known = at->second;
    if (is_new) known.place = line_.insert(line_.end(), &*at);
    known.leader_epoch = wish.current_leader_epoch;
    known.fetch_offset = wish.fetch_offset;
    known.bytes_max = wish.bytes_max;
  }

  void forget(const FetchKey& key) REQUIRES(mutex_) {
    const auto at = known_.find(key);
    if (at == known_.end()) return;
    line_.erase(at->second.place);
    known_.erase(at);
  }

  // Whether the client has to be told.
  bool note(const FetchKey& key, const FetchFinding& finding) REQUIRES(mutex_) {
    const auto at = known_.find(key);
    if (at == known_.end()) return true;
    Known& known = at->second;
    if (finding.has_records) line_.splice(line_.end(), line_, known.place);
    const bool failed = finding.error != ErrorCode::kNone;
    const bool news = failed || finding.has_records || finding.high_watermark != known.high_watermark ||
                      finding.log_start_offset != known.log_start_offset;
    // After an error the client is told that it is over.
    known.high_watermark = failed ? -1 : finding.high_watermark;
    known.log_start_offset = finding.log_start_offset;
    return news;
  }

  const bool by_topic_id_;
  Mutex mutex_;
  int32_t epoch_ GUARDED_BY(mutex_) = kFirstEpoch;
  ByKey known_ GUARDED_BY(mutex_);
  Line line_ GUARDED_BY(mutex_);
};

tl::expected<FetchPlan, ErrorCode> FetchSessions::begin(FetchOpening opening, MonoTime now) {
  FetchPlan plan;
  plan.by_topic_id = opening.by_topic_id;
  if (opening.epoch == kInitialEpoch || opening.epoch == kFinalEpoch) {
    if (opening.session_id != kNoSession) remove(opening.session_id);
    plan.opens_session = opening.epoch == kInitialEpoch;
    plan.wishes = std::move(opening.wishes);
    drop_repeats(plan.wishes);
    return plan;
  }
  auto session = find(opening.session_id);
  if (!session) return tl::unexpected(ErrorCode::kFetchSessionIdNotFound);
  auto begun = session->begin(opening);
  if (!begun) return tl::unexpected(begun.error());
  plan.wishes = std::move(begun->wishes);
  plan.epoch = begun->epoch;
  if (begun->ends) {
    remove(opening.session_id);
    return plan;
  }
  if (!touch(opening.session_id, plan.wishes.size(), now)) return tl::unexpected(ErrorCode::kFetchSessionIdNotFound);
  plan.session = std::move(session);
  plan.session_id = opening.session_id;
  return plan;
}

FetchVerdict FetchSessions::finish(const FetchPlan& plan, std::span<const FetchFinding> findings, MonoTime now) {
  if (plan.session) return plan.session->finish(plan, findings);
  FetchVerdict verdict;
  verdict.shown.assign(findings.size(), true);
  if (!plan.opens_session) return verdict;
  auto session = std::make_shared<FetchSession>(plan.by_topic_id);
  session->fill(plan.wishes, findings);
  verdict.session_id = add(std::move(session), plan.wishes.size(), now);
  return verdict;
}

size_t FetchSessions::size() const {
  MutexLock lock(mutex_);
  return entries_.size();
}

std::shared_ptr<FetchSession> FetchSessions::find(int32_t id) const {
  MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  return found == entries_.end() ? nullptr : found->second.session;
}

void FetchSessions::remove(int32_t id) {
  MutexLock lock(mutex_);
  if (const auto found = entries_.find(id); found != entries_.end()) erase(found);
}

void FetchSessions::erase(Entries::iterator entry) {
  partitions_ -= entry->second.partitions;
  entries_.erase(entry);
}

bool FetchSessions::touch(int32_t id, size_t partitions, MonoTime now) {
  MutexLock lock(mutex_);
  const auto found = entries_.find(id);
  if (found == entries_.end()) return false;
  Entry& entry = found->second;
  partitions_ = partitions_ - entry.partitions + partitions;
  entry.partitions = partitions;
  entry.used = now;
  if (partitions_ <= limits_.partitions_max) return true;
  erase(found);
  return false;
}

// Whoever was not heard from for long goes first; else the smallest of the old, if the new one is not smaller.
bool FetchSessions::make_room(size_t partitions, MonoTime now) {
  if (limits_.sessions_max == 0 || partitions > limits_.partitions_max) return false;
  while (entries_.size() >= limits_.sessions_max || partitions_ + partitions > limits_.partitions_max) {
    const auto idle = std::ranges::min_element(entries_, {}, [](const auto& entry) { return entry.second.used; });
    if (now - idle->second.used > limits_.evictable_after) {
      erase(idle);
      continue;
    }
    auto smallest = entries_.end();
    for (auto entry = entries_.begin(); entry != entries_.end(); ++entry) {
      if (now - entry->second.made <= limits_.evictable_after) continue;
      if (smallest == entries_.end() || entry->second.partitions < smallest->second.partitions) smallest = entry;
    }
    if (smallest == entries_.end() || smallest->second.partitions > partitions) return false;
    erase(smallest);
  }
  return true;
}

int32_t FetchSessions::add(std::shared_ptr<FetchSession> session, size_t partitions, MonoTime now) {
  MutexLock lock(mutex_);
  if (!make_room(partitions, now)) return kNoSession;
  int32_t id = kNoSession;
  while (id == kNoSession || entries_.contains(id))
    id = static_cast<int32_t>(random_.below(std::numeric_limits<int32_t>::max()));
  entries_.emplace(id, Entry{std::move(session), partitions, now, now});
  partitions_ += partitions;
  return id;
}

}  // namespace millrace::broker
