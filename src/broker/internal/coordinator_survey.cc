#include "broker/internal/coordinator_survey.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

namespace millrace::broker {
namespace {

constexpr std::chrono::seconds kPatience{3};

// A survey on its way, a turn at a time. What it visits may change between turns: it is a look, not a snapshot.
class Walk : public std::enable_shared_from_this<Walk> {
 public:
  Walk(GroupService& groups, TransactionService& transactions, const Topics& topics, const SurveyLimits& limits)
      : groups_(groups), transactions_(transactions), topics_(topics.snapshot()), limits_(limits) {}

  std::future<CoordinatorSurvey> result() { return done_.get_future(); }

  void start() {
    look_at_transactions();
    survey_.groups_served = groups_.state() != GroupService::State::kFailed;
    if (groups_.is_alive()) survey_.member_bytes = groups_.coordinator().member_bytes();
    turn();
  }

 private:
  void look_at_transactions() {
    survey_.transactions_served = transactions_.is_alive();
    if (!transactions_.is_alive()) return;
    const coord::TransactionCoordinator& coordinator = transactions_.coordinator();
    survey_.transactional_ids = coordinator.id_count();
    coordinator.visit_open([this](const coord::TransactionRecordValue& open) {
      ++survey_.transactions_by_state.at(static_cast<size_t>(open.state));
      if (open.started_at)
        survey_.oldest_transaction = std::min(survey_.oldest_transaction.value_or(*open.started_at), *open.started_at);
    });
  }

  void turn() {
    // Since the last turn the coordinator may have resigned: then what is known is told.
    while (groups_.is_alive() && (group_ || next_group())) {
      if (look_at_offsets() < limits_.offsets_per_turn) continue;
      groups_.post_look([self = shared_from_this()] { self->turn(); });
      return;
    }
    done_.set_value(std::move(survey_));
  }

  bool next_group() {
    bool found = false;
    groups_.coordinator().visit_groups(last_group_, [&](const coord::GroupSummary& summary) {
      found = true;
      group_ = summary.group;
      ++survey_.groups_by_state.at(static_cast<size_t>(summary.state));
      named_ = survey_.groups.size() < limits_.groups_max;
      if (named_)
        survey_.groups.push_back({summary.group, summary.members, 0});
      else
        ++survey_.groups_left_out;
      return false;
    });
    return found;
  }

  // Of the current group. The offsets seen in this turn.
  size_t look_at_offsets() {
    std::shared_ptr<const TopicState> topic;
    const auto rest = groups_.coordinator().visit_offsets(
        *group_, last_topic_, limits_.offsets_per_turn - std::min(seen_, limits_.offsets_per_turn - 1),
        [&](const std::string& name, PartitionId partition, Offset committed) {
          ++seen_;
          if (topic == nullptr || topic->name() != name) topic = topics_->find(name);
          const auto* log = topic == nullptr ? nullptr : topic->partition(partition.value());
          if (log != nullptr) add_lag(topic, **log, committed);
        });
    if (rest) {
      last_topic_ = *rest;
    } else {
      last_group_ = std::move(*group_);
      group_.reset();
      last_topic_.clear();
      ++seen_;
    }
    return seen_ < limits_.offsets_per_turn ? seen_ : std::exchange(seen_, 0);
  }

  void add_lag(const std::shared_ptr<const TopicState>& topic, const log::Partition& log, Offset committed) {
    const int64_t lag = std::max<int64_t>(0, log.high_watermark() - committed);
    if (named_) survey_.groups.back().lag_records += lag;
    if (!named_ || survey_.lags.size() >= limits_.lags_max) {
      ++survey_.lags_left_out;
      return;
    }
    survey_.lags.push_back({survey_.groups.size() - 1, topic, log.id(), lag});
  }

  GroupService& groups_;
  TransactionService& transactions_;
  const std::shared_ptr<const TopicTable> topics_;
  const SurveyLimits limits_;
  std::promise<CoordinatorSurvey> done_;
  CoordinatorSurvey survey_;
  std::optional<std::string> group_;  // that is being looked at
  bool named_ = false;                // whether it is in survey_.groups
  std::string last_group_;
  std::string last_topic_;
  size_t seen_ = 0;  // offsets, in this turn; a group counts as one, too
};

}  // namespace

std::optional<CoordinatorSurvey> survey_coordinators(GroupService& groups, TransactionService& transactions,
                                                     const Topics& topics, const SurveyLimits& limits) {
  auto walk = std::make_shared<Walk>(groups, transactions, topics, limits);
  auto result = walk->result();
  groups.post_look([walk = std::move(walk)] { walk->start(); });
  // A walk that is dropped because its thread has ended breaks its promise: that is an answer, too.
  if (result.wait_for(kPatience) != std::future_status::ready) return std::nullopt;
  try {
    return result.get();
  } catch (const std::future_error&) {
    return std::nullopt;
  }
}

}  // namespace millrace::broker
