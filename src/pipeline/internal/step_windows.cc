#include <algorithm>

#include "pipeline/internal/steps.h"

namespace millrace::pipeline {
namespace {

void add_rejects(const columns::Batch& batch, const std::vector<features::Rejected>& rejected,
                 std::vector<StepReject>& out) {
  for (const features::Rejected& reject : rejected) out.push_back({batch.row_id(reject.row), reject.error.message});
}

// What both kinds of windows share: state in pages under one id.
template <typename Windows>
class WindowStep : public Step {
 public:
  WindowStep(std::string id, std::unique_ptr<Windows> windows, ConditionColumns conditions)
      : id_{std::move(id), windows->signature()}, windows_(std::move(windows)), conditions_(std::move(conditions)) {}

  void collect(state::ChangelogGroup& group) override { group.collect(id_, *windows_); }
  Result<bool> restore(const state::PageId& id, ByteView value) override {
    if (id.step != id_) return false;
    MILLRACE_RETURN_IF_ERROR(windows_->restore(as_byte_view(id.key), id.page, value));
    return true;
  }

 protected:
  state::StepId id_;
  std::unique_ptr<Windows> windows_;
  ConditionColumns conditions_;
  std::vector<int64_t> watermarks_us_;
};

class FeaturesStep final : public WindowStep<features::KeyedWindows> {
 public:
  FeaturesStep(std::string id, std::unique_ptr<features::KeyedWindows> windows, ConditionColumns conditions,
               size_t input_columns, columns::SchemaPtr output)
      : WindowStep(std::move(id), std::move(windows), std::move(conditions)), output_(std::move(output)) {
    for (size_t c = 0; c < windows_->output_schema()->size(); ++c)
      if (c < input_columns || c >= input_columns + conditions_.count()) positions_.push_back(c);
  }

  Result<StepOutput> process(const columns::Batch& batch, const Timeline& time) override {
    StepOutput out;
    MILLRACE_ASSIGN_OR_RETURN(const columns::Batch input, conditions_.widen(batch, out.rejected));
    time.arrivals(input, watermarks_us_);
    const size_t keys_before = windows_->keys();
    MILLRACE_ASSIGN_OR_RETURN(features::Processed processed, windows_->process(input, watermarks_us_));
    add_rejects(input, processed.rejected, out.rejected);
    out.late = processed.late_rows;
    out.batch =
        conditions_.count() == 0 ? std::move(processed.batch) : select_columns(processed.batch, output_, positions_);
    // Twice as many keys as are new: the sweep gets round however many come only once.
    const size_t fresh = windows_->keys() - std::min(keys_before, windows_->keys());
    if (!time.final) windows_->expire(time.end_us, std::max(kKeysPerBatch, 2 * fresh));
    return out;
  }

 private:
  static constexpr size_t kKeysPerBatch = 64;  // at least

  columns::SchemaPtr output_;
  std::vector<size_t> positions_;
};

class AggregateStep final : public WindowStep<features::TumblingAggregate> {
 public:
  using WindowStep::WindowStep;

  Result<StepOutput> process(const columns::Batch& batch, const Timeline& time) override {
    StepOutput out;
    out.emits = true;
    MILLRACE_ASSIGN_OR_RETURN(const columns::Batch input, conditions_.widen(batch, out.rejected));
    time.arrivals(input, watermarks_us_);
    MILLRACE_ASSIGN_OR_RETURN(features::Aggregated taken, windows_->process(input, watermarks_us_));
    add_rejects(input, taken.rejected, out.rejected);
    out.taken = taken.taken;
    out.filtered = out.late = taken.dropped;
    auto closed = time.final ? windows_->finish(time.partition, time.last_offset())
                             : windows_->advance(time.end_us, time.partition, time.last_offset());
    if (!closed) return tl::unexpected<Error>(std::move(closed).error());
    out.batch = append(taken.batch, closed->batch);
    return out;
  }

 private:
  static columns::Batch append(const columns::Batch& a, const columns::Batch& b) {
    if (b.rows() == 0) return a;
    if (a.rows() == 0) return b;
    std::vector<columns::ColumnPtr> columns;
    for (size_t c = 0; c < a.schema().size(); ++c) {
      auto column = std::make_shared<columns::Column>(a.schema().field(c).type);
      column->reserve(a.rows() + b.rows());
      for (const columns::Batch* part : {&a, &b}) {
        column->keep_alive_with(part->column(c));
        for (size_t row = 0; row < part->rows(); ++row) column->append_from(part->column(c), row);
      }
      columns.push_back(std::move(column));
    }
    std::vector<columns::RowId> ids(a.row_ids().begin(), a.row_ids().end());
    ids.insert(ids.end(), b.row_ids().begin(), b.row_ids().end());
    return {a.schema_ptr(), std::move(columns), std::move(ids)};
  }
};

}  // namespace

Result<std::unique_ptr<Step>> make_features_step(const StepPlan& step, const FeaturesPlan& plan,
                                                 const columns::SchemaPtr& schema, int64_t lateness_us,
                                                 const std::shared_ptr<sql::Database>& database) {
  Diagnostics diagnostics;
  const auto specs = make_feature_spec(plan, step.from.value, schema, lateness_us, diagnostics);
  if (!specs) return tl::unexpected<Error>(diagnostics.to_error());
  MILLRACE_ASSIGN_OR_RETURN(auto windows, features::KeyedWindows::create(specs->spec, specs->conditions.schema));
  MILLRACE_ASSIGN_OR_RETURN(ConditionColumns conditions,
                            ConditionColumns::make(specs->conditions, step.from.value, schema, database));
  return std::make_unique<FeaturesStep>(step.id, std::move(windows), std::move(conditions), schema->size(),
                                        step.schema);
}

Result<std::unique_ptr<Step>> make_aggregate_step(const StepPlan& step, const AggregatePlan& plan,
                                                  const columns::SchemaPtr& schema,
                                                  const std::shared_ptr<sql::Database>& database) {
  Diagnostics diagnostics;
  const auto specs = make_tumbling_spec(plan, step.from.value, schema, diagnostics);
  if (!specs) return tl::unexpected<Error>(diagnostics.to_error());
  MILLRACE_ASSIGN_OR_RETURN(auto windows, features::TumblingAggregate::create(specs->spec, specs->conditions.schema));
  MILLRACE_ASSIGN_OR_RETURN(ConditionColumns conditions,
                            ConditionColumns::make(specs->conditions, step.from.value, schema, database));
  return std::make_unique<AggregateStep>(step.id, std::move(windows), std::move(conditions));
}

}  // namespace millrace::pipeline
