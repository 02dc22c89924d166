#include <fmt/core.h>

#include "pipeline/internal/steps.h"

namespace millrace::pipeline {
namespace {

tl::unexpected<Error> sql_error(sql::Issue issue) { return tl::unexpected<Error>(std::move(issue.error)); }

class SqlStep final : public Step {
 public:
  SqlStep(std::unique_ptr<sql::BatchQuery> query, std::optional<format::TimeColumn> time, const Clock& clock)
      : query_(std::move(query)), time_(std::move(time)), clock_(clock) {
    if (time_) time_column_ = *query_->output_schema()->index_of(time_->column);
  }

  Result<StepOutput> process(const columns::Batch& batch, const Timeline&) override {
    StepOutput out;
    if (batch.rows() == 0) {
      out.batch = no_rows(query_->output_schema());
      return out;
    }
    MILLRACE_ASSIGN_OR_RETURN(sql::BatchOutput result, query_->run(batch));
    out.filtered = result.filtered;
    for (sql::RowReject& reject : result.rejects)
      out.rejected.push_back({batch.row_id(reject.row), std::move(reject.reason)});
    out.batch = time_ ? read_times(result.batch, out.rejected) : std::move(result.batch);
    return out;
  }

 private:
  Result<int64_t> time_of(const columns::Column& column, size_t row) const {
    if (column.is_null(row)) return fail(Errc::kInvalidArgument, "the event time is missing");
    Result<int64_t> time = 0;
    switch (column.type().kind) {
      case columns::Kind::kTimestamp:
        time = column.int64s()[row];
        break;
      case columns::Kind::kBigint:
        time = time_->format.read_integer(column.int64s()[row]);
        break;
      case columns::Kind::kDouble:
        time = time_->format.read_double(column.doubles()[row]);
        break;
      case columns::Kind::kVarchar:
        time = time_->format.read_text(column.texts()[row]);
        break;
      case columns::Kind::kBoolean:
      case columns::Kind::kDecimal:
        return fail(Errc::kInvalidArgument, "the column holds no time");
    }
    if (!time) return time;
    MILLRACE_RETURN_IF_ERROR(time_->format.check_likely(*time, to_unix_us(clock_.wall_now())));
    return time;
  }

  // This statement is where rows get their event time.
  columns::Batch read_times(const columns::Batch& batch, std::vector<StepReject>& rejected) const {
    const columns::Column& column = batch.column(time_column_);
    std::vector<columns::RowId> ids(batch.row_ids().begin(), batch.row_ids().end());
    std::vector<uint32_t> good;
    good.reserve(ids.size());
    for (uint32_t row = 0; row < ids.size(); ++row) {
      auto time = time_of(column, row);
      if (time) {
        ids[row].event_time_us = *time;
        good.push_back(row);
      } else {
        rejected.push_back({ids[row], fmt::format("column {}: {}", time_->column, time.error().message)});
      }
    }
    std::vector<columns::ColumnPtr> columns;
    for (size_t c = 0; c < batch.schema().size(); ++c) columns.push_back(batch.column_ptr(c));
    columns::Batch timed(batch.schema_ptr(), std::move(columns), std::move(ids));
    return good.size() == timed.rows() ? timed : timed.gather(good);
  }

  std::unique_ptr<sql::BatchQuery> query_;
  std::optional<format::TimeColumn> time_;
  size_t time_column_ = 0;
  const Clock& clock_;
};

}  // namespace

Result<std::unique_ptr<Step>> make_sql_step(const SqlPlan& plan, const std::string& input, columns::SchemaPtr schema,
                                            std::shared_ptr<sql::Database> database, const Clock& clock) {
  auto query = sql::BatchQuery::make(std::move(database), {input, std::move(schema), plan.sql.value});
  if (!query) return sql_error(std::move(query).error());
  return std::make_unique<SqlStep>(std::move(*query), plan.time, clock);
}

Result<ConditionColumns> ConditionColumns::make(const Conditions& conditions, const std::string& input,
                                                columns::SchemaPtr schema,
                                                const std::shared_ptr<sql::Database>& database) {
  ConditionColumns result;
  result.names_ = conditions.names.size();
  result.schema_ = conditions.schema;
  if (conditions.sql.empty()) return result;
  auto query = sql::BatchQuery::make(database, {input, std::move(schema), conditions.sql});
  if (!query) return sql_error(std::move(query).error());
  result.query_ = std::move(*query);
  return result;
}

Result<columns::Batch> ConditionColumns::widen(const columns::Batch& batch, std::vector<StepReject>& rejected) {
  if (!query_) return batch;
  if (batch.rows() == 0) {
    std::vector<columns::ColumnPtr> none(names_, std::make_shared<const columns::Column>(columns::kBoolean));
    return batch.with_columns(schema_, std::move(none));
  }
  MILLRACE_ASSIGN_OR_RETURN(sql::BatchOutput result, query_->run(batch));
  for (sql::RowReject& reject : result.rejects)
    rejected.push_back({batch.row_id(reject.row), std::move(reject.reason)});
  std::vector<columns::ColumnPtr> more;
  for (size_t c = 0; c < names_; ++c) more.push_back(result.batch.column_ptr(c));
  const columns::Batch kept = result.rejects.empty() ? batch : batch.gather(result.origin);
  return kept.with_columns(schema_, std::move(more));
}

}  // namespace millrace::pipeline
