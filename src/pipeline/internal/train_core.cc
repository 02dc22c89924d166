#include "pipeline/internal/train_core.h"

#include <fmt/core.h>

#include <cmath>
#include <functional>

#include "base/check.h"
#include "base/crc32c.h"
#include "pipeline/internal/specs.h"

namespace millrace::pipeline {
namespace {

void put_pages(const std::vector<learn::StatePage>& pages, state::PageSink& sink) {
  for (const learn::StatePage& page : pages) {
    if (page.bytes.empty())
      sink.erase({}, page.number);
    else
      sink.put({}, page.number, page.bytes);
  }
}

}  // namespace

uint64_t signature_of(const learn::ModelSpec& spec) {
  std::string text = spec.algorithm;
  for (const auto& [name, value] : spec.params) text += fmt::format("|{}={}", name, learn::param_text(value));
  for (const learn::FeatureSpec& feature : spec.features)
    text += fmt::format("|{}:{}:{}", feature.name, static_cast<int>(feature.scale), feature.indicator);
  return crc32c(as_byte_view(text));
}

Result<std::unique_ptr<TrainCore>> TrainCore::make(const StepPlan& step, const TrainPlan& plan,
                                                   const columns::Schema& arriving, const columns::Schema& released,
                                                   const columns::Schema& labelled, const std::string& live_score) {
  auto core = std::unique_ptr<TrainCore>(new TrainCore());
  const learn::ModelSpec spec = make_model_spec(plan);
  core->model_ = plan.model.value;
  core->label_name_ = plan.label.value;
  core->trainer_id_ = {step.id, signature_of(spec)};
  core->live_id_ = {step.id + "/live", signature_of(spec)};
  MILLRACE_ASSIGN_OR_RETURN(core->trainer_, learn::Trainer::make(spec));
  core->live_.emplace(core->trainer_->model().task());
  const std::vector<std::string> names = spec.feature_names();
  MILLRACE_ASSIGN_OR_RETURN(core->arriving_, learn::FeatureBinding::bind(arriving, names));
  MILLRACE_ASSIGN_OR_RETURN(core->released_, learn::FeatureBinding::bind(released, names));
  core->matrix_.emplace(names.size());
  const auto label = labelled.index_of(plan.label.value);
  if (!label) return fail(Errc::kInternal, fmt::format("step '{}': the label is not among its columns", step.id));
  core->label_column_ = *label;
  if (!live_score.empty()) core->live_column_ = released.index_of(live_score);
  return core;
}

std::span<const learn::Prediction> TrainCore::run(const Run& run) {
  const columns::Batch& arriving = run.arriving;
  const columns::Batch& released = run.released;
  const std::span<const uint32_t> arrived_as = run.arrived_as;
  const auto arrived = static_cast<uint32_t>(arriving.rows());
  matrix_->clear();
  if (arriving.rows() > 0) matrix_->append(arriving, *arriving_);
  // Rows that arrived in this very batch are there already.
  if (released.rows() > 0) {
    bool older = false;
    for (const uint32_t number : arrived_as) older = older || number == kNone;
    if (older) matrix_->append(released, *released_);
  }
  predictions_.assign(matrix_->rows(), {});
  for (size_t i = 0; i < run.kept.size(); ++i)
    if (arrived_as[i] == kNone) predictions_[arrived + i] = run.kept[i];

  const learn::Task task = trainer_->model().task();
  const columns::Column* labels = run.labelled.rows() > 0 ? &run.labelled.column(label_column_) : nullptr;
  ops_.clear();
  judged_.assign(run.labelled.rows(), {});
  for (const ScriptOp& op : run.script) {
    if (!op.learn) {
      ops_.push_back(learn::Op::predict(op.row));
      continue;
    }
    const uint32_t labelled = run.labelled_as[op.row];
    if (labelled == kNone) continue;
    MILLRACE_CHECK(labels != nullptr, "a labelled row is learned");
    if (labels->is_null(labelled)) continue;
    const double label = labels->as_double(labelled);
    if (!learn::is_valid_label(task, label)) {
      judged_[labelled].bad_label = true;
      continue;
    }
    const uint32_t row = arrived_as[op.row] == kNone ? arrived + op.row : arrived_as[op.row];
    ops_.push_back(learn::Op::learn(row, label));
    if (live_column_) live_->judge(released.column(*live_column_).as_double(op.row), label);
  }
  trainer_->run(matrix_->view(), ops_, predictions_);
  for (size_t i = 0; i < released.rows(); ++i)
    if (run.labelled_as[i] != kNone)
      judged_[run.labelled_as[i]].score = predictions_[arrived_as[i] == kNone ? arrived + i : arrived_as[i]].score;
  return {predictions_.data(), arrived};
}

void TrainCore::collect(state::ChangelogGroup& group) {
  put_pages(trainer_->take_changed_pages(), group.sink(trainer_id_));
  if (live_column_) put_pages(live_->take_changed_pages(), group.sink(live_id_));
}

Result<bool> TrainCore::restore(const state::PageId& id, ByteView value) {
  if (id.step != trainer_id_ && id.step != live_id_) return false;
  auto& pages = id.step == trainer_id_ ? trainer_pages_ : live_pages_;
  pages.push_back({static_cast<uint32_t>(id.page), to_bytes(value)});
  return true;
}

Status TrainCore::finish_restore() {
  if (!trainer_pages_.empty()) {
    const learn::ModelSpec spec = trainer_->model().spec();
    MILLRACE_ASSIGN_OR_RETURN(trainer_, learn::Trainer::restore(spec, trainer_pages_));
  }
  if (!live_pages_.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(live_, learn::Metrics::restore(live_pages_));
  }
  trainer_pages_.clear();
  live_pages_.clear();
  return {};
}

}  // namespace millrace::pipeline
