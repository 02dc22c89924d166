#pragma once

#include <gtest/gtest.h>

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fake_clock.h"
#include "pipeline/internal/task.h"
#include "pipeline/lint.h"

namespace millrace::pipeline {

// A registry in memory, for tests.
class MemoryStore final : public VersionStore {
 public:
  uint64_t revision() const override { return revision_; }
  registry::VersionPtr champion(const std::string& model) const override {
    const auto found = champions_.find(model);
    return found == champions_.end() ? nullptr : found->second;
  }
  registry::VersionPtr find(const std::string& model, int64_t version) const override {
    const auto& list = versions_.at(model);
    return list.at(static_cast<size_t>(version - 1));
  }
  Status refresh() override { return {}; }
  Status claim(const std::string&, const std::string&) override { return {}; }
  Result<registry::VersionPtr> publish(registry::VersionInfo info, ByteView blob) override {
    auto& list = versions_[info.model];
    for (const registry::VersionPtr& known : list)
      if (info.round && known->info.round == info.round) return known;
    info.version = static_cast<int64_t>(list.size()) + 1;
    list.push_back(
        std::make_shared<const registry::Version>(registry::Version{std::move(info), Bytes(blob.begin(), blob.end())}));
    ++revision_;
    return list.back();
  }
  Status promote(const std::string& model, int64_t version, const std::string&, const std::string&) override {
    champions_[model] = versions_.at(model).at(static_cast<size_t>(version - 1));
    ++revision_;
    return {};
  }
  const std::vector<registry::VersionPtr>& versions(const std::string& model) { return versions_[model]; }

 private:
  uint64_t revision_ = 1;
  std::map<std::string, std::vector<registry::VersionPtr>> versions_;
  std::map<std::string, registry::VersionPtr> champions_;
};

// What tasks write, in memory: per sink its values and keys in order, and dead letters as "step@offset: error".
class MemoryOutputs final : public Outputs {
 public:
  Status write(const SinkRecord& record) override {
    written[record.sink].emplace_back(record.value);
    keys[record.sink].emplace_back(record.key.value_or(""));
    return {};
  }
  Status dead_letter(const DeadLetter& letter) override {
    dead.push_back(std::string(letter.step) + "@" + std::to_string(letter.offset.value()) + ": " +
                   std::string(letter.error));
    return {};
  }
  Status round_record(const RoundRecord& record) override {
    rounds.push_back(record);
    return {};
  }
  std::map<size_t, std::vector<std::string>> written, keys;
  std::vector<std::string> dead;
  std::vector<RoundRecord> rounds;
};

inline const StepCounters& step(const std::vector<StepCounters>& counters, std::string_view id) {
  for (const StepCounters& counter : counters)
    if (counter.id == id) return counter;
  ADD_FAILURE() << "no step " << id;
  return counters.front();
}

// Runs the tasks of a plan's first stage without a broker: records go in as values, outputs come out in memory, and
// state can be saved and restored through the changelog's own records.
class TaskHarness {
 public:
  TaskHarness(std::string_view yaml, bool bounded) : bounded_(bounded) {
    Linted linted = lint(yaml, "test.yaml");
    if (!linted.ok()) ADD_FAILURE() << linted.diagnostics.to_error().message;
    resolved_ = std::move(linted.plan);
    database_ = sql::Database::open({}).value();
    for (const size_t s : stage().steps) {
      const StepPlan& step = plan().steps[s];
      const auto* train = std::get_if<TrainPlan>(&step.kind);
      if (train == nullptr) continue;
      rounds_.push_back(
          std::make_unique<Rounds>(Rounds::Options{{plan().name, *train, "{}"}, stage().partitions, {}}, store_));
      rounds_by_step_.emplace(step.id, rounds_.back().get());
    }
    for (int32_t p = 0; p < stage().partitions; ++p) make(p);
  }

  const Plan& plan() const { return resolved_.plan; }
  const Stage& stage() const { return resolved_.stages.front(); }
  Task& task(int32_t partition) { return *parts_.at(partition).task; }
  MemoryOutputs& outputs(int32_t partition) { return parts_.at(partition).outputs; }
  MemoryStore& store() { return store_; }

  // The next records of a partition of source number `source`, in one batch, with timestamps from `timestamp_us` on.
  void feed(int32_t partition, const std::vector<std::string>& values, size_t source = 0,
            int64_t timestamp_us = 1'700'000'000'000'000) {
    Part& part = parts_.at(partition);
    auto owned = std::make_shared<const std::vector<std::string>>(values);
    Intake intake;
    for (const std::string& value : *owned) {
      format::RecordView record;
      record.value = value;
      record.partition = PartitionId(partition);
      record.offset = Offset(part.fed[source]++);
      record.timestamp_us = timestamp_us + record.offset.value();
      intake.records.push_back(record);
    }
    intake.owner = owned;
    const Status status = part.task->process(source, std::move(intake));
    if (!status) ADD_FAILURE() << status.error().message;
  }
  // Every source of a partition has ended.
  void end(int32_t partition) {
    for (size_t s = 0; s < stage().sources.size(); ++s) {
      const Status status = parts_.at(partition).task->end(s);
      if (!status) ADD_FAILURE() << status.error().message;
    }
  }
  // Let go on who waits, until nobody moves.
  void resume() {
    for (int round = 0; round < 1'000; ++round)
      for (auto& [number, part] : parts_)
        if (const Status status = part.task->resume(); !status) ADD_FAILURE() << status.error().message;
  }
  // A commit; how many pages the partition's state has then.
  size_t state_pages(int32_t partition) {
    Part& part = parts_.at(partition);
    append(part, part.generation, true);
    return restored(part).pages.size();
  }
  // A partition's task commits, is thrown away, and a new one is restored from all it ever committed; with records that
  // nothing closed behind the last commit, as a kill leaves them.
  void save_and_restore(int32_t partition) {
    Part& part = parts_.at(partition);
    append(part, part.generation, true);
    append(part, part.generation, false);
    make(partition);
  }

 private:
  struct Part {
    MemoryOutputs outputs;
    std::unique_ptr<Task> task;
    state::Generation generation = 0;
    std::map<size_t, int64_t> fed;
    std::vector<std::pair<Bytes, Bytes>> changelog;
  };

  void append(Part& part, state::Generation generation, bool close) {
    state::ChangelogGroup group(generation);
    part.task->collect(group);
    if (close) group.close(part.task->next_offset(0));
    for (size_t i = 0; i < group.size(); ++i) {
      const auto record = group.record(i);
      part.changelog.emplace_back(Bytes(record.key.begin(), record.key.end()),
                                  Bytes(record.value.begin(), record.value.end()));
    }
  }

  void make(int32_t partition) {
    Part& part = parts_[partition];
    StageContext context{&resolved_,    &stage(),    database_,       &clock_,
                         &part.outputs, &champions_, rounds_by_step_, bounded_};
    auto task = Task::make(context, PartitionId(partition));
    if (!task) ADD_FAILURE() << task.error().message;
    part.task = std::move(*task);
    ++part.generation;
    const auto open = state::encode(state::Open{part.generation});
    part.changelog.emplace_back(open.key, open.value);
    const state::Restored committed = restored(part);
    if (!committed.next_offset) return;
    if (const Status status = part.task->restore(committed); !status) ADD_FAILURE() << status.error().message;
  }

  static state::Restored restored(const Part& part) {
    state::Restorer restorer;
    for (const auto& [key, value] : part.changelog)
      if (const Status status = restorer.feed(key, value); !status) ADD_FAILURE() << status.error().message;
    return std::move(restorer).finish();
  }

  FakeClock clock_;
  ResolvedPlan resolved_;
  std::shared_ptr<sql::Database> database_;
  MemoryStore store_;
  Champions champions_{store_};
  std::vector<std::unique_ptr<Rounds>> rounds_;
  std::map<std::string, Rounds*, std::less<>> rounds_by_step_;
  bool bounded_;
  std::map<int32_t, Part> parts_;
};

// What `from` would have written into its changelog, taken up by a task of `to`: partition 0 of each.
inline Status take_up(TaskHarness& from, TaskHarness& to) {
  state::ChangelogGroup group(1);
  from.task(0).collect(group);
  group.close(from.task(0).next_offset(0));
  state::Restorer restorer;
  for (size_t i = 0; i < group.size(); ++i)
    MILLRACE_RETURN_IF_ERROR(restorer.feed(group.record(i).key, group.record(i).value));
  return to.task(0).restore(std::move(restorer).finish());
}

}  // namespace millrace::pipeline
