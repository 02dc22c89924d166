#include <fmt/core.h>

#include <cmath>
#include <numeric>

#include "format/encoder.h"
#include "pipeline/internal/steps.h"

namespace millrace::pipeline {
namespace {

class TrainStep final : public Step {
 public:
  TrainStep(const StepPlan& step, std::unique_ptr<TrainCore> core, bool behind_label)
      : schema_(step.schema),
        as_(!std::get<TrainPlan>(step.kind).as.empty()),
        core_(std::move(core)),
        behind_label_(behind_label) {}

  Result<StepOutput> process(const columns::Batch& batch, const Timeline&) override {
    if (!behind_label_) learn_at_once(batch);
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
    same_.resize(batch.rows());
    std::iota(same_.begin(), same_.end(), 0);
    none_.assign(batch.rows(), {});
    core_->run(batch, batch, script_, same_, none_);
  }

  void reject(const columns::Batch& batch, uint32_t row, StepOutput& out) const {
    const auto label = batch.schema().index_of(core_->label_name());
    std::string text;
    batch.column(*label).append_text(row, text);
    StepReject reject{batch.row_id(row), {}, {}};
    reject.reason = core_->trainer().model().task() == learn::Task::kBinary
                        ? fmt::format("column {}: a label is 0 or 1, not {}", core_->label_name(), text)
                        : fmt::format("column {}: a label is a finite number, not {}", core_->label_name(), text);
    if (behind_label_)
      if (const auto encoder = format::Encoder::make(format::Format::kJson, batch.schema_ptr()))
        encoder->append_row(batch, row, reject.row_json);
    out.rejected.push_back(std::move(reject));
  }

  columns::SchemaPtr schema_;
  bool as_;
  std::unique_ptr<TrainCore> core_;
  bool behind_label_;
  std::vector<ScriptOp> script_;
  std::vector<uint32_t> same_;
  std::vector<learn::Prediction> none_;
};

}  // namespace

std::unique_ptr<Step> make_train_step(const StepPlan& step, std::unique_ptr<TrainCore> core, bool behind_label) {
  return std::make_unique<TrainStep>(step, std::move(core), behind_label);
}

}  // namespace millrace::pipeline
