#include <fmt/core.h>

#include <cmath>
#include <numeric>

#include "pipeline/internal/steps.h"

namespace millrace::pipeline {
namespace {

class TrainStep final : public Step {
 public:
  TrainStep(const StepPlan& step, std::unique_ptr<TrainCore> core, std::shared_ptr<LabelPass> pass, size_t number)
      : schema_(step.schema),
        as_(!std::get<TrainPlan>(step.kind).as.empty()),
        core_(std::move(core)),
        pass_(std::move(pass)),
        number_(number) {}

  Result<StepOutput> process(const columns::Batch& batch, const Timeline&) override {
    if (pass_)
      learn_released(batch);
    else
      learn_at_once(batch);
    const auto judged = core_->judged();
    StepOutput out;
    std::vector<uint32_t> good;
    good.reserve(batch.rows());
    for (uint32_t row = 0; row < batch.rows(); ++row) {
      if (judged[row].bad_label)
        reject(batch, row, out);
      else
        good.push_back(row);
    }
    const bool all = good.size() == batch.rows();
    out.batch = all ? batch : batch.gather(good);
    if (as_) {
      auto scores = std::make_shared<columns::Column>(columns::kDouble);
      scores->reserve(good.size());
      for (const uint32_t row : good) {
        if (std::isnan(judged[row].score))
          scores->append_null();
        else
          scores->append_double(judged[row].score);
      }
      out.batch = out.batch.with_columns(schema_, {std::move(scores)});
    }
    return out;
  }

  void collect(state::ChangelogGroup& group) override { core_->collect(group); }
  Result<bool> restore(const state::PageId& id, ByteView value) override { return core_->restore(id, value); }
  Status finish_restore() override { return core_->finish_restore(); }

 private:
  void learn_at_once(const columns::Batch& batch) {
    script_.clear();
    for (uint32_t row = 0; row < batch.rows(); ++row) {
      script_.push_back({false, row});
      script_.push_back({true, row});
    }
    numbers_.resize(batch.rows());
    std::iota(numbers_.begin(), numbers_.end(), 0);
    kept_.assign(batch.rows(), {});
    core_->run({batch, batch, batch, script_, numbers_, kept_, numbers_});
  }

  // `batch` is what has come through of the label's released rows, in their order.
  void learn_released(const columns::Batch& batch) {
    const LabelPass& pass = *pass_;
    kept_.clear();
    numbers_.clear();
    uint32_t next = 0;
    for (size_t i = 0; i < pass.released.rows(); ++i) {
      kept_.push_back(pass.left[i].predictions[number_]);
      const bool came = next < batch.rows() && batch.row_id(next).offset == pass.released.row_id(i).offset;
      numbers_.push_back(came ? next++ : TrainCore::kNone);
    }
    const auto predictions =
        core_->run({pass.arriving, pass.released, batch, pass.script, pass.arrived_as, kept_, numbers_});
    for (size_t row = 0; row < predictions.size(); ++row)
      if (WaitingRow* waiting = pass.waiting[row]) waiting->predictions[number_] = predictions[row];
  }

  void reject(const columns::Batch& batch, uint32_t row, StepOutput& out) const {
    const auto label = batch.schema().index_of(core_->label_name());
    std::string text;
    batch.column(*label).append_text(row, text);
    StepReject reject{batch.row_id(row), {}};
    reject.reason = core_->trainer().model().task() == learn::Task::kBinary
                        ? fmt::format("column {}: a label is 0 or 1, not {}", core_->label_name(), text)
                        : fmt::format("column {}: a label is a finite number, not {}", core_->label_name(), text);
    out.rejected.push_back(std::move(reject));
  }

  columns::SchemaPtr schema_;
  bool as_;
  std::unique_ptr<TrainCore> core_;
  std::shared_ptr<LabelPass> pass_;  // null: the label is there at once
  size_t number_;                    // among the pass's trainers
  std::vector<ScriptOp> script_;
  std::vector<uint32_t> numbers_;  // per released row: its number in the batch
  std::vector<learn::Prediction> kept_;
};

}  // namespace

std::unique_ptr<Step> make_train_step(const StepPlan& step, std::unique_ptr<TrainCore> core,
                                      std::shared_ptr<LabelPass> pass, size_t number) {
  return std::make_unique<TrainStep>(step, std::move(core), std::move(pass), number);
}

}  // namespace millrace::pipeline
