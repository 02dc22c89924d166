#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/fetch_sessions.h"
#include "broker/internal/handlers.h"
#include "broker/internal/isolation.h"
#include "broker/internal/leader_epochs.h"
#include "log/topic_name.h"

namespace millrace::broker {
namespace {

using std::chrono::milliseconds;
using wire::ErrorCode;

// From this version on topics are named by their ids.
constexpr int16_t kTopicIdsFrom = 13;
// From this version on who is behind with the leader's epoch is told it, and the leader's address (KIP-951).
constexpr int16_t kLeaderHintsFrom = 16;

// One partition of a fetch: what was asked, and what has been read for it so far.
struct Part {
  const FetchWish* asked;
  std::shared_ptr<const TopicState> topic;
  std::shared_ptr<log::Partition> log;  // null where the fetch of it failed
  ErrorCode error = ErrorCode::kNone;
  Offset next;
  std::vector<RecordChunk> records;  // no two in memory one after another
  int64_t bytes = 0;
  int64_t record_count = 0;
  Offset log_start{-1};
  Offset high_watermark{-1};
  Offset last_stable{-1};
  LeaderEpoch leader_epoch{-1};
};

// How long a fetch waits, and for how much.
struct FetchLimits {
  log::Isolation isolation;
  milliseconds wait_max;
  int64_t bytes_min;
  int64_t bytes_max;
};

// A fetch from its start to its answer. It reads what there is, and where that is less than min_bytes it parks at its
// partitions until they have grown enough or max_wait_ms is over; what it has read by then it keeps.
class FetchTask final : public Parked, public std::enable_shared_from_this<FetchTask> {
 public:
  FetchTask(Core& core, Request request, FetchLimits limits, FetchPlan plan)
      : Parked(request.reply.home()),
        core_(core),
        request_(std::move(request)),
        limits_(limits),
        plan_(std::move(plan)) {}

  void start() {
    const auto topics = core_.topics.snapshot();
    resolve(*topics);
    read_all();
    if (is_enough() || limits_.wait_max <= milliseconds(0) || !hold_memory()) return answer();
    until_ = core_.clock.mono_now() + limits_.wait_max;
    for (const Part& part : parts_)
      if (part.log) waited_for_.push_back(part.log);
    core_.purgatory.enter(shared_from_this(), waited_for_);
    parked_ = true;
    // For what came between reading and entering.
    on_advance();
    if (parked_ && core_.topics.snapshot() != topics) on_removal();
    if (parked_) wait();
  }

  void on_advance() override {
    if (!parked_) return;
    if (read_news() && (is_enough() || !hold_memory())) answer();
  }

  void on_removal() override {
    if (!parked_) return;
    read_all();
    if (is_enough()) answer();
  }

 private:
  // A client that is gone is noticed at least so often.
  static constexpr milliseconds kLookAgain{30'000};

  void resolve(const TopicTable& topics) {
    parts_.reserve(plan_.wishes.size());
    std::shared_ptr<const TopicState> topic;
    const FetchKey* before = nullptr;
    for (const FetchWish& wish : plan_.wishes) {
      if (before == nullptr || before->topic != wish.key.topic || before->topic_id != wish.key.topic_id)
        topic = plan_.by_topic_id ? topics.find(wish.key.topic_id) : topics.find(wish.key.topic);
      before = &wish.key;
      Part& part = parts_.emplace_back();
      part.asked = &wish;
      part.next = Offset{wish.fetch_offset};
      const auto* log = topic ? topic->partition(wish.key.partition) : nullptr;
      // Unlike other errors this one, which may stay for long, does not end the wait for the other partitions.
      if (log == nullptr) {
        part.error = !topic && plan_.by_topic_id ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition;
        continue;
      }
      part.topic = topic;
      part.log = *log;
      part.leader_epoch = part.log->leader_epoch();
      // Here, as in Kafka, any negative number stands for none.
      if (const auto error = check_leader_epoch(**log, std::max(wish.current_leader_epoch, -1));
          error != ErrorCode::kNone)
        fail(part, error);
    }
  }

  void fail(Part& part, ErrorCode error) {
    part.error = error;
    part.log.reset();
    failed_ = true;
  }

  void read_all() {
    for (Part& part : parts_)
      if (part.log) read(part);
  }

  // False where no partition has grown.
  bool read_news() {
    bool news = false;
    for (Part& part : parts_) {
      if (!part.log || part.log->high_watermark() == part.high_watermark) continue;
      read(part);
      news = true;
    }
    return news;
  }

  // A read ends with its segment, or what of it is in the file, at the latest, so that more may follow.
  void read(Part& part) {
    while (true) {
      const int64_t part_left = part.asked->bytes_max - part.bytes;
      const int64_t left = std::min(part_left, limits_.bytes_max - bytes_);
      // The first batch of an answer comes whatever its size, so that a consumer never gets stuck.
      const bool at_least_one = bytes_ == 0;
      if (left <= 0 && !at_least_one && part.high_watermark.value() >= 0) return;
      const auto got = read_some(part, static_cast<size_t>(std::max<int64_t>(left, 0)), at_least_one);
      // What was read before the error is good: the error comes at the next fetch, which begins there.
      if (!got && part.bytes > 0) return;
      if (!got) return read_failed(part, got.error());
      part.log_start = got->log_start_offset;
      part.high_watermark = got->high_watermark;
      part.last_stable = got->last_stable_offset;
      if (got->bytes == 0) return;
      bytes_ += static_cast<int64_t>(got->bytes);
      part.bytes += static_cast<int64_t>(got->bytes);
      part.record_count += got->records;
      part.next = got->next;
    }
  }

  Result<log::ReadInfo> read_some(Part& part, size_t bytes_max, bool at_least_one) {
    Bytes fresh;
    std::optional<env::FileRange> range;
    Bytes* last = part.records.empty() ? nullptr : std::get_if<Bytes>(&part.records.back());
    Bytes& into = last != nullptr ? *last : fresh;
    const size_t before = into.size();
    auto got = part.log->read_or_locate(part.next, bytes_max, at_least_one, into, range, limits_.isolation);
    memory_bytes_ += static_cast<int64_t>(into.size() - before);
    if (range) part.records.emplace_back(std::move(*range));
    if (!fresh.empty()) part.records.emplace_back(std::move(fresh));
    return got;
  }

  void read_failed(Part& part, const Error& error) {
    if (error.code == Errc::kInvalidArgument) {
      part.log_start = part.high_watermark = part.last_stable = Offset{-1};
      return fail(part, ErrorCode::kOffsetOutOfRange);
    }
    if (error.code == Errc::kNotFound && plan_.by_topic_id) return fail(part, ErrorCode::kUnknownTopicId);
    if (error.code != Errc::kNotFound && core_.notes.pass())
      log_warning("broker", "reading {}-{} at {} failed: {}", part.topic->name(), part.asked->key.partition,
                  part.next.value(), error.message);
    fail(part, to_wire(error.code));
  }

  bool is_enough() const {
    if (failed_ || bytes_ >= limits_.bytes_min || bytes_ >= limits_.bytes_max) return true;
    return std::ranges::none_of(parts_, [](const Part& part) { return part.log != nullptr; });
  }

  // Have all the memory that is held by now counted. False where it is too much: then there is no waiting for more.
  bool hold_memory() {
    const auto held =
        static_cast<int64_t>(sizeof(FetchTask) + parts_.size() * (sizeof(Part) + sizeof(FetchWish))) + memory_bytes_;
    if (!core_.purgatory.take_memory(held - held_bytes_)) return false;
    held_bytes_ = held;
    return true;
  }

  void wait() {
    const MonoTime look = std::min(until_, core_.clock.mono_now() + kLookAgain);
    timer_ = request_.reply.home().call_at(look, [self = shared_from_this()] { self->on_timer(); });
  }

  void on_timer() {
    timer_.reset();
    if (request_.reply.abandoned()) return leave();
    if (core_.clock.mono_now() < until_) return wait();
    read_news();
    answer();
  }

  void leave() {
    if (timer_) request_.reply.home().cancel(*timer_);
    timer_.reset();
    core_.purgatory.give_back_memory(std::exchange(held_bytes_, 0));
    if (std::exchange(parked_, false)) core_.purgatory.leave(*this, waited_for_);
  }

  void answer() {
    const auto self = shared_from_this();  // leaving may drop the last reference
    leave();
    std::vector<FetchFinding> findings;
    findings.reserve(parts_.size());
    for (const Part& part : parts_)
      findings.push_back({.error = part.error,
                          .has_records = part.error == ErrorCode::kNone && !part.records.empty(),
                          .high_watermark = part.high_watermark.value(),
                          .log_start_offset = part.log_start.value()});
    const FetchVerdict verdict = core_.fetch_sessions.finish(plan_, findings, core_.clock.mono_now());
    wire::FetchResponse response;
    response.error_code = verdict.error;
    response.session_id = verdict.session_id;
    response.throttle_time_ms = charge(core_, request_, QuotaKind::kFetch, static_cast<uint64_t>(bytes_));
    Records records;
    records.held.reserve(parts_.size());
    for (size_t i = 0; i < verdict.shown.size(); ++i)
      if (verdict.shown[i])
        topic_of(response, parts_[i].asked->key).partitions.push_back(answer_part(parts_[i], records));
    if (request_.header.api_version >= kLeaderHintsFrom) hint_leader(response);
    respond(request_, response, std::move(records.held), std::move(records.elsewhere));
  }

  // What respond() wants beside the answer itself.
  struct Records {
    std::vector<Bytes> held;
    std::vector<std::vector<RecordChunk>> elsewhere;

    wire::Records add(std::vector<RecordChunk> chunks, int64_t bytes) {
      if (chunks.size() == 1 && std::holds_alternative<Bytes>(chunks.front()))
        return ByteView(held.emplace_back(std::get<Bytes>(std::move(chunks.front()))));
      elsewhere.push_back(std::move(chunks));
      return wire::Records::elsewhere(static_cast<size_t>(bytes));
    }
  };

  // Where the answer for `key` goes: beside the one before, if it is of the same topic.
  static wire::FetchResponse::FetchableTopicResponse& topic_of(wire::FetchResponse& response, const FetchKey& key) {
    auto& topics = response.responses;
    if (topics.empty() || topics.back().topic != key.topic || topics.back().topic_id != key.topic_id) {
      auto& topic = topics.emplace_back();
      topic.topic = key.topic;
      topic.topic_id = key.topic_id;
    }
    return topics.back();
  }

  // The address of the leader, where a partition's answer names it.
  void hint_leader(wire::FetchResponse& response) const {
    const auto is_fenced = [](const Part& part) { return part.error == ErrorCode::kFencedLeaderEpoch; };
    if (std::ranges::none_of(parts_, is_fenced)) return;
    const ListenerAddress& address = core_.advertised[request_.listener];
    auto& node = response.node_endpoints.emplace_back();
    node.node_id = core_.node_id();
    node.host = address.host;
    node.port = address.port;
  }

  wire::FetchResponse::PartitionData answer_part(Part& part, Records& records) const {
    wire::FetchResponse::PartitionData data;
    data.partition_index = part.asked->key.partition;
    data.error_code = part.error;
    data.high_watermark = part.high_watermark.value();
    data.last_stable_offset = part.last_stable.value();
    data.log_start_offset = part.log_start.value();
    data.aborted_transactions.reset();
    // As Kafka has it: null where nothing was asked for or could be read, but not where there is nothing to read from.
    const bool committed_only = limits_.isolation == log::Isolation::kReadCommitted;
    if (!part.topic || (committed_only && part.error == ErrorCode::kNone)) data.aborted_transactions.emplace();
    data.records = ByteView{};
    if (part.error == ErrorCode::kFencedLeaderEpoch && request_.header.api_version >= kLeaderHintsFrom) {
      data.current_leader.leader_id = core_.node_id();
      data.current_leader.leader_epoch = part.leader_epoch.value();
    }
    if (part.error == ErrorCode::kNone && !part.records.empty()) {
      for (TopicTraffic* traffic : {part.topic->traffic.get(), &core_.topics.traffic()}) {
        traffic->records_out.add(static_cast<uint64_t>(part.record_count));
        traffic->bytes_out.add(static_cast<uint64_t>(part.bytes));
      }
      if (data.aborted_transactions) {
        list_aborted(part, *data.aborted_transactions);
        // What was aborted before the log's start is forgotten: if that has moved meanwhile, the list says too little.
        if (part.log->log_start_offset().value() > part.asked->fetch_offset) {
          data.aborted_transactions->clear();
          data.error_code = ErrorCode::kOffsetOutOfRange;
          return data;
        }
      }
      data.records = records.add(std::move(part.records), part.bytes);
    }
    return data;
  }

  static void list_aborted(const Part& part, std::vector<wire::FetchResponse::AbortedTransaction>& list) {
    for (const auto& aborted : part.log->aborted_transactions(Offset{part.asked->fetch_offset}, part.next))
      list.push_back({.producer_id = aborted.producer_id.value(), .first_offset = aborted.first_offset.value()});
  }

  Core& core_;
  Request request_;
  const FetchLimits limits_;
  const FetchPlan plan_;
  std::vector<Part> parts_;  // of plan_.wishes, in their order
  int64_t bytes_ = 0;
  int64_t memory_bytes_ = 0;  // of them, those that are not in files
  bool failed_ = false;

  MonoTime until_;
  Purgatory::Partitions waited_for_;
  bool parked_ = false;
  int64_t held_bytes_ = 0;
  std::optional<TimerId> timer_;
};

FetchOpening opening_of(wire::FetchRequest& message, int16_t version) {
  FetchOpening opening{.session_id = message.session_id,
                       .epoch = message.session_epoch,
                       .by_topic_id = version >= kTopicIdsFrom,
                       .wishes = {},
                       .forgotten = {}};
  for (const auto& topic : message.topics) {
    // A name that no topic can have is not copied for each of its partitions.
    if (topic.topic.size() > log::kTopicNameBytesMax) continue;
    for (const auto& asked : topic.partitions)
      opening.wishes.push_back({.key = {.topic = topic.topic, .topic_id = topic.topic_id, .partition = asked.partition},
                                .current_leader_epoch = asked.current_leader_epoch,
                                .fetch_offset = asked.fetch_offset,
                                .bytes_max = asked.partition_max_bytes});
  }
  for (const auto& topic : message.forgotten_topics_data) {
    if (topic.topic.size() > log::kTopicNameBytesMax) continue;
    for (const int32_t partition : topic.partitions)
      opening.forgotten.push_back({.topic = topic.topic, .topic_id = topic.topic_id, .partition = partition});
  }
  return opening;
}

}  // namespace

// A follower's fields (replica id and state, its log's start, the epoch it fetched last) say nothing here: the only
// broker has no followers.
void handle_fetch(Core& core, Request request, wire::FetchRequest message) {
  auto plan = core.fetch_sessions.begin(opening_of(message, request.header.api_version), core.clock.mono_now());
  if (!plan) {
    wire::FetchResponse response;
    response.error_code = plan.error();
    return respond(request, response);
  }
  const FetchLimits limits{.isolation = isolation_of(message.isolation_level),
                           .wait_max = milliseconds(message.max_wait_ms),
                           .bytes_min = message.min_bytes,
                           .bytes_max = std::clamp<int64_t>(message.max_bytes, 0, core.settings.fetch_bytes_max)};
  // The fetch may wait long; its plan has copies of all it needs.
  request.frame.reset();
  request.body = ByteReader({});
  std::make_shared<FetchTask>(core, std::move(request), limits, std::move(*plan))->start();
}

}  // namespace millrace::broker
