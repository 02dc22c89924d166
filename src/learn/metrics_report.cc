#include "learn/metrics_report.h"

namespace millrace::learn {

void MetricsReport::write_json(JsonWriter& json) const {
  json.begin_object().key("rows").number(rows).key("unscored").number(unscored);
  switch (task) {
    case Task::kBinary:
      json.key("accuracy").number(accuracy).key("precision").number(precision).key("recall").number(recall);
      json.key("f1").number(f1).key("auc").number(auc).key("auc_error").number(auc_error);
      json.key("average_precision").number(average_precision).key("log_loss").number(log_loss);
      json.key("brier").number(brier).key("confusion").begin_object();
      json.key("tp").number(true_positives).key("fp").number(false_positives);
      json.key("tn").number(true_negatives).key("fn").number(false_negatives).end_object();
      break;
    case Task::kRegression:
      json.key("mae").number(mae).key("rmse").number(rmse).key("r2").number(r2);
      break;
  }
  json.end_object();
}

bool beats_baseline(const MetricsReport& learner, const MetricsReport& baseline) {
  return learner.rows >= kPromotionRowsMin && learner.loss() < baseline.loss();
}

}  // namespace millrace::learn
