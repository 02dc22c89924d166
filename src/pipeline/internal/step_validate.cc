#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "base/text.h"
#include "pipeline/internal/steps.h"

namespace millrace::pipeline {
namespace {

bool reads_as(std::string_view text, const columns::Type& type) {
  switch (type.kind) {
    case columns::Kind::kBoolean:
      return text == "true" || text == "false";
    case columns::Kind::kBigint:
      return parse_int64(text).has_value();
    case columns::Kind::kDouble:
    case columns::Kind::kDecimal:
      return parse_double(text).has_value();
    case columns::Kind::kTimestamp:
      return format::TimeFormat().read_text(text).has_value();
    case columns::Kind::kVarchar:
      return true;
  }
  return true;
}

class ValidateStep final : public Step {
 public:
  ValidateStep(const ValidatePlan& plan, const columns::Schema& schema) {
    for (const ColumnRule& rule : plan.rules) rules_.push_back({rule, *schema.index_of(rule.column.value)});
  }

  Result<StepOutput> process(const columns::Batch& batch, const Timeline&) override {
    StepOutput out;
    std::vector<uint32_t> good;
    good.reserve(batch.rows());
    std::string reason;
    for (uint32_t row = 0; row < batch.rows(); ++row) {
      if (holds(batch, row, reason))
        good.push_back(row);
      else
        out.rejected.push_back({batch.row_id(row), reason});
    }
    out.batch = good.size() == batch.rows() ? batch : batch.gather(good);
    return out;
  }

 private:
  struct Rule {
    ColumnRule rule;
    size_t column;
  };

  bool holds(const columns::Batch& batch, size_t row, std::string& reason) const {
    for (const Rule& entry : rules_) {
      const ColumnRule& rule = entry.rule;
      const columns::Column& column = batch.column(entry.column);
      const std::string& name = rule.column.value;
      if (column.is_null(row)) {
        if (!rule.required) continue;
        reason = fmt::format("column {}: is missing", name);
        return false;
      }
      if (rule.type && column.type().kind == columns::Kind::kVarchar && !reads_as(column.texts()[row], *rule.type)) {
        reason = fmt::format("column {}: expected {}, got '{}'", name, rule.type->to_string(), column.texts()[row]);
        return false;
      }
      if (rule.min || rule.max) {
        const double value = column.as_double(row);
        // NaN fails both comparisons, as it should.
        if ((rule.min && !(value >= *rule.min)) || (rule.max && !(value <= *rule.max))) {
          reason =
              fmt::format("column {}: {} is {} {}", name, value, rule.min && !(value >= *rule.min) ? "below" : "above",
                          rule.min && !(value >= *rule.min) ? *rule.min : *rule.max);
          return false;
        }
      }
      if (!rule.allowed.empty()) {
        std::string text;
        column.append_text(row, text);
        if (std::find(rule.allowed.begin(), rule.allowed.end(), text) == rule.allowed.end()) {
          reason = fmt::format("column {}: '{}' is not one of {}", name, text, fmt::join(rule.allowed, ", "));
          return false;
        }
      }
    }
    return true;
  }

  std::vector<Rule> rules_;
};

}  // namespace

Result<std::unique_ptr<Step>> make_validate_step(const ValidatePlan& plan, const columns::SchemaPtr& schema) {
  return std::make_unique<ValidateStep>(plan, *schema);
}

}  // namespace millrace::pipeline
