#pragma once

#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "client/group_consumer.h"
#include "client/partition_reader.h"
#include "client/producer.h"
#include "pipeline/internal/outputs.h"
#include "pipeline/internal/task.h"
#include "state/changelog.h"

namespace millrace::pipeline {

// How a worker's results reach the broker, and what survives: the one place that knows the guarantee. Today at least
// once: a commit flushes (1) outputs, dead letters and cuts, then (2) the changed pages with their closing record, then
// (3) the group's offsets. The changelog is the authority: what is restored from it was never counted twice, and (3)
// may fail without harm, but is to be tried again: people look there for what is left to do. A transactional commit
// replaces commit() and commit_offsets() and nothing else. One thread.
class Delivery final : public Outputs {
 public:
  static Result<std::unique_ptr<Delivery>> make(const client::Options& options, const ResolvedPlan& resolved,
                                                const Stage& stage, const std::map<std::string, int32_t>& partitions);

  Status write(const SinkRecord& record) override;
  Status dead_letter(const DeadLetter& letter) override;
  Status round_record(const RoundRecord& record) override;

  // This member of the group, as it takes a partition over.
  struct Owner {
    state::Generation generation = 0;         // of the group
    std::function<Result<bool>()> is_member;  // asks the group
    std::function<Status()> meanwhile;        // called all the while, every 100 ms at least; its error ends it
  };
  struct TakenOver {
    state::Restored restored;          // the state of the last closed commit
    state::Generation generation = 0;  // to commit with
  };
  // Become the owner of a partition's state: nothing that an earlier owner still writes will count. kConflict: a later
  // owner is at work already.
  Result<TakenOver> take_over(PartitionId partition, const Owner& owner);

  struct Part {
    Task* task = nullptr;
    state::Generation generation = 0;
  };
  // Make everything durable that these tasks did. After an error they are of no more use.
  Status commit(std::span<const Part> parts);
  // Tell the group how far they are. False, and said in the log, where it did not take that.
  bool commit_offsets(std::span<const client::TopicOffset> offsets, client::GroupConsumer& consumer);

 private:
  Delivery(const client::Options& options, const ResolvedPlan& resolved, const Stage& stage)
      : options_(options), resolved_(resolved), stage_(stage) {}
  Status flush();
  Status open_state(PartitionId partition, state::Generation generation);
  Status read_state(client::PartitionReader& reader, const client::ReadRange& range, const Owner& owner,
                    state::Restorer& restorer);
  Status write_state(const Part& part);

  const client::Options options_;
  const ResolvedPlan& resolved_;
  const Stage& stage_;
  std::unique_ptr<client::Producer> producer_;
  struct SinkTopic {
    std::optional<client::Producer::Topic> topic;
    int32_t partitions = 1;
  };
  std::vector<SinkTopic> sinks_;
  std::optional<client::Producer::Topic> dlq_, changelog_, rounds_;
  state::ChangelogGroup group_{0};
};

}  // namespace millrace::pipeline
