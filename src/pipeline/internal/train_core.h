#pragma once

#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "learn/feature_matrix.h"
#include "learn/trainer.h"
#include "pipeline/internal/step.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

// State of another model spec is other state.
uint64_t signature_of(const learn::ModelSpec& spec);

// What happens to rows between two points of time: predictions and learning interleave, as labels are released between
// rows.
struct ScriptOp {
  bool learn = false;
  uint32_t row = 0;  // predict: of the arriving batch; learn: of the released one
};

// The training of one `train` step in one partition: the trainer, the live score's judge, and what lineage tells. Works
// on rows that arrive (they are predicted) and rows whose label is there (they are judged, then learned).
class TrainCore {
 public:
  // `arriving`, `released` and `labelled` are the schemas of the three kinds of rows (see Run); `live_score` names the
  // column of the prediction that was served, empty where the pipeline has none.
  static Result<std::unique_ptr<TrainCore>> make(const StepPlan& step, const TrainPlan& plan,
                                                 const columns::Schema& arriving, const columns::Schema& released,
                                                 const columns::Schema& labelled, const std::string& live_score);

  static constexpr uint32_t kNone = UINT32_MAX;
  struct Run {
    const columns::Batch& arriving;  // to be predicted
    const columns::Batch& released;  // to be learned, with the features they were predicted from
    const columns::Batch& labelled;  // the released rows that reach the trainer, with their label
    std::span<const ScriptOp> script;
    // Per released row: its number among the arriving ones and its prediction is made here, else kNone and its
    // prediction is the one in `kept`; and its number among the labelled ones, kNone if it was filtered on the way.
    std::span<const uint32_t> arrived_as;
    std::span<const learn::Prediction> kept;
    std::span<const uint32_t> labelled_as;
  };
  // Work through the script. Returns the arriving rows' predictions, valid until the next call. After it judged() tells
  // of the labelled rows.
  std::span<const learn::Prediction> run(const Run& run);

  // Of the last run, one per labelled row.
  struct Judged {
    double score = 0;        // the learner's, NaN where it had none
    bool bad_label = false;  // the label is a value that cannot be learned
  };
  std::span<const Judged> judged() const { return judged_; }

  const learn::Trainer& trainer() const { return *trainer_; }
  const learn::Metrics& live() const { return *live_; }
  const std::string& model() const { return model_; }
  const std::string& label_name() const { return label_name_; }
  const learn::ModelSpec& spec() const { return trainer_->model().spec(); }

  void collect(state::ChangelogGroup& group);
  Result<bool> restore(const state::PageId& id, ByteView value);
  Status finish_restore();

 private:
  TrainCore() = default;

  std::string model_;
  std::string label_name_;
  state::StepId trainer_id_, live_id_;
  std::optional<learn::Trainer> trainer_;
  std::optional<learn::Metrics> live_;
  std::optional<learn::FeatureBinding> arriving_, released_;
  size_t label_column_ = 0;
  std::optional<size_t> live_column_;
  std::vector<learn::StatePage> trainer_pages_, live_pages_;  // while restoring

  // Kept between batches for their memory.
  std::optional<learn::FeatureMatrix> matrix_;
  std::vector<learn::Op> ops_;
  std::vector<learn::Prediction> predictions_;
  std::vector<Judged> judged_;
};

}  // namespace millrace::pipeline
