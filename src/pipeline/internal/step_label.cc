#include <fmt/core.h>

#include <algorithm>
#include <map>
#include <set>

#include "base/crc32c.h"
#include "pipeline/internal/steps.h"
#include "pipeline/internal/truths.h"
#include "pipeline/internal/waiting_rows.h"

namespace millrace::pipeline {
namespace {

// A row whose label is there: rows leave by (release time, offset).
struct Leaving {
  int64_t time_us = 0;
  Offset offset;
};

// Each row waits for its truth and leaves once. Within a partition the order is: a row comes and is predicted, the
// watermark moves, what is due leaves by (release time, offset) and is learned. Any other order changes the numbers.
class LabelStep final : public Step {
 public:
  LabelStep(const StepPlan& step, const LabelPlan& plan, columns::SchemaPtr schema, const columns::SchemaPtr& other,
            int64_t lateness_us, std::optional<LabelValue> value, std::shared_ptr<LabelPass> pass)
      : plan_(plan),
        lateness_us_(lateness_us >= 0 ? lateness_us : plan.within_us / kShareOfWithin),
        schema_(std::move(schema)),
        output_(step.schema),
        self_(plan.of.value == "self"),
        pass_(std::move(pass)),
        waiting_(schema_, pass_ ? pass_->trainers : 0),
        truths_(value ? *value : LabelValue{}),
        value_(std::move(value)) {
    const uint64_t signature = crc32c(as_byte_view(signature_text(plan, *schema_, pass_ ? pass_->trainers : 0)));
    waiting_id_ = {step.id, signature};
    truths_id_ = {step.id + "/truth", signature};
    for (const Text& key : plan.keys) {
      key_columns_.push_back(*schema_->index_of(key.value));
      other_keys_.push_back(*(other ? *other : *schema_).index_of(key.value));
    }
    if (value_ && !value_->column.empty()) value_column_ = (other ? *other : *schema_).index_of(value_->column);
    if (!plan.as.empty() && !value_) own_column_ = schema_->index_of(plan.value.value);
  }

  Result<StepOutput> process(const columns::Batch& batch, const Timeline& time) override {
    begin();
    const auto shared = std::make_shared<const columns::Batch>(batch);
    uint32_t row = 0;
    for (size_t entry = 0; entry < time.size(); ++entry) {
      for (; row < batch.rows() && batch.row_id(row).offset.value() <= time.offsets[entry]; ++row) {
        if (!plan_.delay_rows && batch.row_id(row).event_time_us < time.before_us[entry]) ++late_;
        const std::string key = value_ ? key_of(batch, row, key_columns_) : std::string();
        if (!check_key(batch, row, key)) continue;
        begin_wait(shared, row, key);
        if (self_ && value_) add_truth(batch, row, key);
      }
      release_due(time.after_us(entry));
    }
    if (time.final) release_all();
    return finish(batch, shared);
  }

  Result<StepOutput> process_side(const columns::Batch& batch, const Timeline& time) override {
    const columns::Batch none = no_rows(schema_);
    begin();
    uint32_t row = 0;
    for (size_t entry = 0; entry < time.size(); ++entry) {
      for (; row < batch.rows() && batch.row_id(row).offset.value() <= time.offsets[entry]; ++row)
        if (const std::string key = key_of(batch, row, other_keys_); check_key(batch, row, key))
          add_truth(batch, row, key);
      release_due(time.after_us(entry));
    }
    return finish(none, nullptr);
  }

  uint64_t waiting() const override { return waiting_.size(); }

  void collect(state::ChangelogGroup& group) override {
    group.collect(waiting_id_, waiting_);
    if (value_) group.collect(truths_id_, truths_);
  }
  Result<bool> restore(const state::PageId& id, ByteView value) override {
    if (id.step == waiting_id_)
      MILLRACE_RETURN_IF_ERROR(waiting_.restore(as_byte_view(id.key), id.page, value));
    else if (id.step == truths_id_)
      MILLRACE_RETURN_IF_ERROR(truths_.restore(as_byte_view(id.key), id.page, value));
    else
      return false;
    return true;
  }
  Status finish_restore() override {
    waiting_.finish_restore([&](const WaitingRow& row) { index(row); });
    return {};
  }

 private:
  // Rows wait by the position of their columns, with a prediction per trainer: they are part of what the pages mean.
  static std::string signature_text(const LabelPlan& plan, const columns::Schema& schema, size_t trainers) {
    std::string text = plan.of.value + "|" + plan.as + "|" + plan.value.value + "|" + std::to_string(plan.within_us) +
                       "|" + std::to_string(plan.delay_us.value_or(-1)) + "|" +
                       std::to_string(plan.delay_rows.value_or(-1));
    for (const Text& key : plan.keys) text += "|" + key.value;
    for (const columns::Field& field : schema.fields()) text += "|" + field.name + " " + field.type.to_string();
    return text + "|" + std::to_string(trainers);
  }

  void begin() {
    if (pass_) {
      pass_->script.clear();
      pass_->left.clear();
    }
    released_.clear();
    rejected_.clear();
    matched_.clear();
    filtered_ = 0;
    late_ = 0;
  }

  // The label's keys as one text; length first, so that ("a", "bc") is not ("ab", "c").
  static std::string key_of(const columns::Batch& batch, uint32_t row, const std::vector<size_t>& key_columns) {
    std::string key;
    std::string part;
    for (const size_t column : key_columns) {
      part.clear();
      batch.column(column).append_text(row, part);
      key += std::to_string(part.size()) + (batch.column(column).is_null(row) ? "-" : ":") + part;
    }
    return key;
  }

  void index(const WaitingRow& row) {
    if (value_) waiting_by_key_[row.key].emplace(row.id().event_time_us, row.id().offset.value());
  }

  // State is kept by key: one that is too long for that is refused, on both sides.
  bool check_key(const columns::Batch& batch, uint32_t row, const std::string& key) {
    if (key.size() <= state::kKeyBytesMax) return true;
    rejected_.push_back({batch.row_id(row), fmt::format("the label's key has {} bytes, at most {} are kept", key.size(),
                                                        state::kKeyBytesMax)});
    return false;
  }

  void begin_wait(const std::shared_ptr<const columns::Batch>& batch, uint32_t row, const std::string& key) {
    const columns::RowId& id = batch->row_id(row);
    if (!waiting_.fits(*batch, row, key)) {
      rejected_.push_back({id, "the row is too large to wait: with the label's key it is over 64 KiB"});
      return;
    }
    if (pass_) pass_->script.push_back({false, row});
    WaitingRow waiting;
    if (pass_) waiting.predictions.resize(pass_->trainers);
    waiting.batch = batch;
    waiting.row = row;
    // Of equal times the last may still come until the watermark has passed them.
    waiting.due_us = plan_.delay_us     ? id.event_time_us + *plan_.delay_us
                     : plan_.delay_rows ? id.offset.value()
                                        : id.event_time_us + plan_.within_us + 1;
    waiting.key = key;
    index(waiting);
    waiting_.add(std::move(waiting));
  }

  void add_truth(const columns::Batch& batch, uint32_t row, const std::string& key) {
    const columns::RowId& id = batch.row_id(row);
    std::optional<double> value;
    if (value_column_ && batch.column(*value_column_).is_valid(row))
      value = batch.column(*value_column_).as_double(row);
    truths_.add(key, id.event_time_us, id.offset, value);
    if (plan_.release != Release::kFirstMatch) return;
    const auto waiting = waiting_by_key_.find(key);
    if (waiting == waiting_by_key_.end()) return;
    for (const auto& [time_us, offset] : waiting->second) {
      if (time_us >= id.event_time_us) break;
      if (id.event_time_us <= time_us + plan_.within_us) matched_.push_back({id.event_time_us, Offset(offset)});
    }
  }

  void release_due(int64_t watermark_us) {
    watermark_us_ = std::max(watermark_us_, watermark_us);
    if (plan_.delay_rows) {
      while (waiting_.size() > static_cast<size_t>(*plan_.delay_rows)) release(waiting_.oldest(), watermark_us);
      return;
    }
    if (!matched_.empty()) {
      std::sort(matched_.begin(), matched_.end(), [](const Leaving& a, const Leaving& b) {
        return std::pair(a.time_us, a.offset) < std::pair(b.time_us, b.offset);
      });
      for (const Leaving& leaving : matched_) {
        release_before(std::min(watermark_us, leaving.time_us), leaving.offset);
        if (waiting_.find(leaving.offset) != nullptr) release(leaving.offset, leaving.time_us);
      }
      matched_.clear();
    }
    while (!waiting_.empty() && waiting_.first_due().first <= watermark_us) release_first();
    expire_truths();
  }

  // Everything due before (time, offset).
  void release_before(int64_t time_us, Offset offset) {
    while (!waiting_.empty() && waiting_.first_due() < std::pair(time_us, offset)) release_first();
  }

  void release_first() {
    const auto [due_us, offset] = waiting_.first_due();
    release(offset, value_ ? due_us - 1 : due_us);
  }

  void release_all() {
    while (!waiting_.empty()) {
      if (plan_.delay_rows) {
        const Offset offset = waiting_.oldest();
        release(offset, waiting_.at(offset).id().event_time_us);
      } else {
        release_first();
      }
    }
  }

  void release(Offset offset, int64_t time_us) {
    Released released{waiting_.take(offset), time_us, {}};
    WaitingRow& row = released.row;
    if (value_) {
      const int64_t event_time_us = row.id().event_time_us;
      released.label = truths_.label(row.key, event_time_us, event_time_us + plan_.within_us);
      const auto by_key = waiting_by_key_.find(row.key);
      by_key->second.erase({event_time_us, offset.value()});
      if (by_key->second.empty()) waiting_by_key_.erase(by_key);
      truths_.forget(row.key, needed_after(horizon_us(), row.key));
      if (plan_.none == Unlabelled::kDrop && released.label.matches == 0) {
        ++filtered_;
        return;
      }
    }
    if (pass_) pass_->script.push_back({true, static_cast<uint32_t>(released_.size())});
    released_.push_back(std::move(released));
  }

  // Up to when the truth of a key without waiting rows may go: rows may come late.
  int64_t horizon_us() const {
    int64_t horizon_us = 0;
    return __builtin_sub_overflow(watermark_us_, lateness_us_, &horizon_us) ? kBeginningOfTime : horizon_us;
  }
  void expire_truths() {
    while (const auto expired = truths_.pop_expired(horizon_us()))
      truths_.forget(expired->second, needed_after(expired->first, expired->second));
  }
  // Up to which time the truth of `key` may go, at most `time_us`.
  int64_t needed_after(int64_t time_us, const std::string& key) const {
    const auto waiting = waiting_by_key_.find(key);
    return waiting == waiting_by_key_.end() ? time_us : std::min(time_us, waiting->second.begin()->first);
  }

  Result<StepOutput> finish(const columns::Batch& arriving, const std::shared_ptr<const columns::Batch>& shared);
  columns::Batch build_released() const;
  columns::ColumnPtr label_column() const;

  struct Released {
    WaitingRow row;
    int64_t time_us = 0;
    Truths::Label label;
  };

  static constexpr int64_t kShareOfWithin = 8;

  LabelPlan plan_;
  int64_t lateness_us_;
  columns::SchemaPtr schema_, output_;
  bool self_;
  std::shared_ptr<LabelPass> pass_;  // null: nothing trains behind this step
  state::StepId waiting_id_, truths_id_;
  WaitingRows waiting_;
  Truths truths_;
  std::optional<LabelValue> value_;  // none: a row's own column, later
  std::vector<size_t> key_columns_, other_keys_;
  std::optional<size_t> value_column_, own_column_;
  std::unordered_map<std::string, std::set<std::pair<int64_t, int64_t>>> waiting_by_key_;  // (time, offset)

  // Of the batch in work.
  std::vector<Released> released_;
  std::vector<StepReject> rejected_;
  std::vector<Leaving> matched_;
  uint64_t filtered_ = 0;
  uint64_t late_ = 0;
  int64_t watermark_us_ = kBeginningOfTime;
};

columns::ColumnPtr LabelStep::label_column() const {
  const columns::Type type = value_->type();
  auto column = std::make_shared<columns::Column>(type);
  for (const Released& released : released_) {
    const std::optional<double>& value = released.label.value;
    if (!value)
      column->append_null();
    else if (type == columns::kBoolean)
      column->append_boolean(*value != 0);
    else if (type == columns::kBigint)
      column->append_int64(static_cast<int64_t>(*value));
    else
      column->append_double(*value);
  }
  return column;
}

columns::Batch LabelStep::build_released() const {
  std::vector<columns::ColumnPtr> columns;
  std::vector<columns::RowId> ids;
  for (const Released& released : released_) ids.push_back(released.row.id());
  for (size_t c = 0; c < schema_->size(); ++c) {
    auto column = std::make_shared<columns::Column>(schema_->field(c).type);
    column->reserve(released_.size());
    const columns::Batch* kept = nullptr;
    for (const Released& released : released_) {
      const columns::Column& from = released.row.batch->column(c);
      if (released.row.batch.get() != kept) column->keep_alive_with(from);
      kept = released.row.batch.get();
      column->append_from(from, released.row.row);
    }
    columns.push_back(std::move(column));
  }
  if (own_column_)
    columns.push_back(columns[*own_column_]);
  else if (value_)
    columns.push_back(label_column());
  auto times = std::make_shared<columns::Column>(columns::kTimestamp);
  times->reserve(released_.size());
  for (const Released& released : released_) times->append_int64(released.time_us);
  columns.push_back(std::move(times));
  return {output_, std::move(columns), std::move(ids)};
}

Result<StepOutput> LabelStep::finish(const columns::Batch& arriving,
                                     const std::shared_ptr<const columns::Batch>& shared) {
  StepOutput out;
  out.batch = build_released();
  out.rejected = std::move(rejected_);
  out.filtered = filtered_;
  out.late = late_;
  if (!pass_) return out;
  LabelPass& pass = *pass_;
  pass.arriving = arriving;
  pass.released = out.batch;
  pass.arrived_as.clear();
  for (Released& released : released_) {
    pass.arrived_as.push_back(shared && released.row.batch == shared ? released.row.row : TrainCore::kNone);
    pass.left.push_back(std::move(released.row));
  }
  pass.waiting.clear();
  for (const columns::RowId& id : arriving.row_ids()) pass.waiting.push_back(waiting_.find(id.offset));
  return out;
}

}  // namespace

Result<std::unique_ptr<Step>> make_label_step(const StepPlan& step, const LabelPlan& plan, columns::SchemaPtr schema,
                                              const columns::SchemaPtr& other, int64_t lateness_us,
                                              std::shared_ptr<LabelPass> pass) {
  std::optional<LabelValue> value;
  if (!plan.delay_us && !plan.delay_rows) {
    MILLRACE_ASSIGN_OR_RETURN(value, parse_label_value(plan.value.value));
  }
  return std::make_unique<LabelStep>(step, plan, std::move(schema), other, lateness_us, std::move(value),
                                     std::move(pass));
}

}  // namespace millrace::pipeline
