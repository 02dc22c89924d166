#include <algorithm>
#include <chrono>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "base/logging.h"
#include "broker/internal/error_codes.h"
#include "broker/internal/handlers.h"
#include "broker/internal/leader_epochs.h"
#include "record/batch.h"

namespace millrace::broker {
namespace {

using std::chrono::milliseconds;
using wire::ErrorCode;

// From this version on topics are named by their ids.
constexpr int16_t kTopicIdsFrom = 13;

// One partition of a fetch: what was asked, and what has been read for it so far.
struct Part {
  const wire::FetchRequest::FetchPartition* asked;
  std::shared_ptr<const TopicState> topic;
  std::shared_ptr<log::Partition> log;  // null where the fetch of it failed
  ErrorCode error = ErrorCode::kNone;
  Offset next;
  Bytes records;
  double record_count = 0;
  Offset log_start{-1};
  Offset high_watermark{-1};
};

// A fetch from its start to its answer. It reads what there is, and where that is less than min_bytes it parks at its
// partitions until they have grown enough or max_wait_ms is over; what it has read by then it keeps.
class FetchTask final : public Parked, public std::enable_shared_from_this<FetchTask> {
 public:
  FetchTask(Core& core, Request request, wire::FetchRequest message)
      : Parked(request.reply.home()),
        core_(core),
        request_(std::move(request)),
        message_(std::move(message)),
        bytes_max_(std::clamp<int64_t>(message_.max_bytes, 0, core.settings.fetch_bytes_max)) {}

  void start() {
    resolve();
    read_all();
    if (is_enough() || message_.max_wait_ms <= 0) return answer();
    until_ = core_.clock.mono_now() + milliseconds(message_.max_wait_ms);
    for (const Part& part : parts_)
      if (part.log) waited_for_.push_back(part.log);
    core_.purgatory.enter(shared_from_this(), waited_for_);
    parked_ = true;
    on_advance();  // for what came between reading and entering
    if (parked_) wait();
  }

  void on_advance() override {
    if (!parked_ || !anything_new()) return;
    read_all();
    if (is_enough()) answer();
  }

 private:
  // A client that is gone is noticed at least so often.
  static constexpr milliseconds kLookAgain{30'000};

  void resolve() {
    const auto topics = core_.topics.snapshot();
    const bool by_id = request_.header.api_version >= kTopicIdsFrom;
    for (const auto& topic : message_.topics) {
      const auto state = by_id ? topics->find(topic.topic_id) : topics->find(topic.topic);
      for (const auto& asked : topic.partitions) {
        Part& part = parts_.emplace_back();
        part.asked = &asked;
        part.next = Offset{asked.fetch_offset};
        const auto* log = state ? state->partition(asked.partition) : nullptr;
        if (log == nullptr) {
          fail(part, !state && by_id ? ErrorCode::kUnknownTopicId : ErrorCode::kUnknownTopicOrPartition);
          continue;
        }
        part.topic = state;
        part.log = *log;
        if (const auto error = check_leader_epoch(**log, asked.current_leader_epoch); error != ErrorCode::kNone)
          fail(part, error);
      }
    }
  }

  void fail(Part& part, ErrorCode error) {
    part.error = error;
    part.log.reset();
    failed_ = true;
  }

  bool anything_new() const {
    return std::ranges::any_of(
        parts_, [](const Part& part) { return part.log && part.log->high_watermark() > part.high_watermark; });
  }

  void read_all() {
    for (Part& part : parts_)
      if (part.log) read(part);
  }

  // A read ends with its segment at the latest, so that more may follow.
  void read(Part& part) {
    while (true) {
      const int64_t part_left = part.asked->partition_max_bytes - static_cast<int64_t>(part.records.size());
      const int64_t left = std::min(part_left, bytes_max_ - bytes_);
      // The first batch of an answer comes whatever its size, so that a consumer never gets stuck.
      const bool at_least_one = bytes_ == 0;
      if (left <= 0 && !at_least_one && part.high_watermark.value() >= 0) return;
      const size_t before = part.records.size();
      const auto got =
          part.log->read(part.next, static_cast<size_t>(std::max<int64_t>(left, 0)), at_least_one, part.records);
      if (!got) return read_failed(part, got.error());
      part.log_start = got->log_start_offset;
      part.high_watermark = got->high_watermark;
      if (got->bytes == 0) return;
      bytes_ += static_cast<int64_t>(got->bytes);
      advance(part, ByteView(part.records).subspan(before));
    }
  }

  void advance(Part& part, ByteView fresh) {
    record::BatchReader reader(fresh);
    while (true) {
      const auto batch = reader.next();
      if (!batch || !*batch) return;
      part.next = (*batch)->last_offset() + 1;
      part.record_count += (*batch)->record_count();
    }
  }

  void read_failed(Part& part, const Error& error) {
    if (error.code == Errc::kInvalidArgument) {
      part.log_start = part.log->log_start_offset();
      part.high_watermark = part.log->high_watermark();
      return fail(part, ErrorCode::kOffsetOutOfRange);
    }
    if (error.code != Errc::kNotFound && core_.notes.pass())
      log_warning("broker", "reading {}-{} at {} failed: {}", part.topic->name(), part.asked->partition,
                  part.next.value(), error.message);
    fail(part, to_wire(error.code));
  }

  bool is_enough() const { return failed_ || parts_.empty() || bytes_ >= message_.min_bytes || bytes_ >= bytes_max_; }

  void wait() {
    const MonoTime look = std::min(until_, core_.clock.mono_now() + kLookAgain);
    timer_ = request_.reply.home().call_at(look, [self = shared_from_this()] { self->on_timer(); });
  }

  void on_timer() {
    timer_.reset();
    if (request_.reply.abandoned()) return leave();
    if (core_.clock.mono_now() < until_) return wait();
    read_all();
    answer();
  }

  void leave() {
    if (timer_) request_.reply.home().cancel(*timer_);
    timer_.reset();
    if (std::exchange(parked_, false)) core_.purgatory.leave(*this, waited_for_);
  }

  void answer() {
    const auto self = shared_from_this();  // leaving may drop the last reference
    leave();
    wire::FetchResponse response;
    std::vector<Bytes> held;
    held.reserve(parts_.size());
    auto part = parts_.begin();
    for (const auto& topic : message_.topics) {
      auto& answered = response.responses.emplace_back();
      answered.topic = topic.topic;
      answered.topic_id = topic.topic_id;
      answered.partitions.reserve(topic.partitions.size());
      for (size_t i = 0; i < topic.partitions.size(); ++i, ++part)
        answered.partitions.push_back(answer_part(*part, held));
    }
    respond(request_, response, std::move(held));
  }

  wire::FetchResponse::PartitionData answer_part(Part& part, std::vector<Bytes>& held) const {
    wire::FetchResponse::PartitionData data;
    data.partition_index = part.asked->partition;
    data.error_code = part.error;
    data.high_watermark = part.high_watermark.value();
    data.last_stable_offset = part.high_watermark.value();
    data.log_start_offset = part.log_start.value();
    constexpr int8_t kReadCommitted = 1;
    if (message_.isolation_level == kReadCommitted)
      data.aborted_transactions.emplace();
    else
      data.aborted_transactions.reset();
    data.records = ByteView{};
    if (part.error == ErrorCode::kNone && !part.records.empty()) {
      part.topic->records_out.add(part.record_count);
      part.topic->bytes_out.add(static_cast<double>(part.records.size()));
      held.push_back(std::move(part.records));
      data.records = held.back();
    }
    return data;
  }

  Core& core_;
  Request request_;
  const wire::FetchRequest message_;
  const int64_t bytes_max_;
  std::vector<Part> parts_;  // in the request's order
  int64_t bytes_ = 0;
  bool failed_ = false;

  MonoTime until_;
  Purgatory::Partitions waited_for_;
  bool parked_ = false;
  std::optional<TimerId> timer_;
};

}  // namespace

void handle_fetch(Core& core, Request request, wire::FetchRequest message) {
  // There are no fetch sessions: a client that wants one gets id 0, that is, none. Whoever refers to one is told so.
  constexpr int32_t kInitialEpoch = 0;
  constexpr int32_t kFinalEpoch = -1;
  if (message.session_epoch != kInitialEpoch && message.session_epoch != kFinalEpoch) {
    wire::FetchResponse response;
    response.error_code = ErrorCode::kFetchSessionIdNotFound;
    return respond(request, response);
  }
  // The fetch may wait long; its message has copies of all it needs.
  request.frame.reset();
  request.body = ByteReader({});
  std::make_shared<FetchTask>(core, std::move(request), std::move(message))->start();
}

}  // namespace millrace::broker
