#include "pipeline/internal/rounds.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/check.h"

namespace millrace::pipeline {

Status Rounds::submit(Contribution cut, Outputs& outputs) {
  const PartitionId partition = cut.partition;
  const int64_t boundary = cut.boundary;
  if (options_.series.empty()) {
    {
      MutexLock lock(mutex_);
      (void)log_.state().contribute(std::make_shared<const Contribution>(std::move(cut)));
    }
    return decide_here();
  }
  {
    MutexLock lock(mutex_);
    if (log_.state().has(partition, boundary, cut.makes_round) || (!cut.makes_round && is_sent(partition, boundary)))
      return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(const std::vector<RoundRecord> records, encode_contribution(options_.series, cut));
  for (const RoundRecord& record : records) MILLRACE_RETURN_IF_ERROR(outputs.round_record(record));
  MutexLock lock(mutex_);
  const auto [sent, _] = sent_.try_emplace(partition, boundary);
  sent->second = std::max(sent->second, boundary);
  return {};
}

Status Rounds::decide_here() {
  while (true) {
    std::optional<RoundState::Due> due;
    {
      MutexLock lock(mutex_);
      if (deciding_) return {};
      due = log_.state().due();
      if (!due) return {};
      deciding_ = true;
    }
    auto decision = maker_.make(due->parts, std::nullopt);
    MutexLock lock(mutex_);
    deciding_ = false;
    if (!decision) return tl::unexpected<Error>(std::move(decision).error());
    MILLRACE_CHECK(log_.state().decide(due->boundary, *decision), "rounds are decided in order");
  }
}

Result<RoundDecision> Rounds::decide(int64_t boundary, const std::vector<ContributionPtr>& parts) {
  auto decision = maker_.make(parts, registry::Round{options_.series, boundary});
  // The model has become another pipeline's: no connection made anew mends that.
  if (!decision && decision.error().code == Errc::kConflict) decision.error().code = Errc::kInvalidArgument;
  return decision;
}

Result<std::optional<Rounds::Champion>> Rounds::decided(int64_t boundary) {
  std::optional<RoundDecision> decision;
  {
    MutexLock lock(mutex_);
    decision = log_.state().decided(boundary);
  }
  if (!decision) return std::nullopt;
  MILLRACE_ASSIGN_OR_RETURN(Champion champion, load(decision->champion));
  return std::optional<Champion>(std::move(champion));
}

Result<Rounds::Champion> Rounds::load(int64_t version) {
  if (version == 0) return nullptr;
  {
    MutexLock lock(mutex_);
    if (loaded_version_ == version) return loaded_;
  }
  registry::VersionPtr found = store_.find(model(), version);
  if (!found) {
    // Registered by another process a moment ago.
    MILLRACE_RETURN_IF_ERROR(store_.refresh());
    found = store_.find(model(), version);
  }
  if (!found)
    return fail(Errc::kNotFound,
                fmt::format("version {} of model {} is in force at this event time, and the registry no longer has it",
                            version, model()),
                "serve `version: latest`, or run the pipeline under a new name from the beginning");
  MILLRACE_ASSIGN_OR_RETURN(learn::Model loaded, learn::Model::deserialize(found->blob));
  auto served = std::make_shared<const ServedModel>(ServedModel{version, std::move(loaded)});
  MutexLock lock(mutex_);
  loaded_version_ = version;
  loaded_ = served;
  return served;
}

std::optional<int64_t> Rounds::pending() const {
  MutexLock lock(mutex_);
  return log_.state().pending();
}

std::vector<PartitionId> Rounds::missing(int64_t boundary) const {
  MutexLock lock(mutex_);
  return log_.state().missing(boundary);
}

bool Rounds::is_sent(PartitionId partition, int64_t boundary) const {
  const auto sent = sent_.find(partition);
  return sent != sent_.end() && boundary <= sent->second;
}

bool Rounds::is_past(PartitionId partition, int64_t boundary) const {
  MutexLock lock(mutex_);
  return is_sent(partition, boundary) || log_.state().is_past(partition, boundary);
}

void Rounds::arrive(PartitionId partition) {
  MutexLock lock(mutex_);
  ++here_[partition];
  sent_.erase(partition);  // what an earlier task had on its way may be lost
}

void Rounds::leave(PartitionId partition) {
  MutexLock lock(mutex_);
  --here_[partition];
}

Status Rounds::status() const {
  MutexLock lock(mutex_);
  if (failure_) return tl::unexpected<Error>(*failure_);
  return {};
}

Status Rounds::apply(const RoundKey& key, Offset offset, std::optional<ByteView> value) {
  MutexLock lock(mutex_);
  return log_.apply(key, offset, value);
}

bool Rounds::leads() const {
  MutexLock lock(mutex_);
  const auto first = here_.find(PartitionId(0));
  return first != here_.end() && first->second > 0 && !failure_;
}

std::optional<RoundState::Due> Rounds::due() const {
  MutexLock lock(mutex_);
  return log_.state().due();
}

std::optional<std::vector<Offset>> Rounds::chunks_of(const Contribution& contribution) const {
  MutexLock lock(mutex_);
  return log_.chunks_of(contribution);
}

std::vector<RoundKey> Rounds::take_garbage() {
  MutexLock lock(mutex_);
  return log_.take_garbage();
}

void Rounds::end(Error error) {
  MutexLock lock(mutex_);
  failure_ = std::move(error);
}

}  // namespace millrace::pipeline
