#include "learn/internal/judged_sums.h"

#include <algorithm>
#include <cmath>

namespace millrace::learn::internal {
namespace {

constexpr double kClip = 1e-15;

double ratio(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

}  // namespace

void JudgedSums::add_binary(double score, bool label) {
  ++rows;
  const bool positive = score > 0.5;
  ++(positive ? (label ? true_positives : false_positives) : (label ? false_negatives : true_negatives));
  const double of_truth = label ? score : 1 - score;
  log_loss -= std::log(std::clamp(of_truth, kClip, 1 - kClip));
  squared_error += (1 - of_truth) * (1 - of_truth);
}

void JudgedSums::add_regression(double prediction, double label) {
  ++rows;
  const double error = label - prediction;
  absolute_error += std::fabs(error);
  squared_error += error * error;
  const double difference = label - label_mean;
  label_mean += difference / static_cast<double>(rows);
  label_deviation += difference * (label - label_mean);
}

void JudgedSums::add(const JudgedSums& other) {
  if (other.rows > 0) {
    const auto a = static_cast<double>(rows);
    const auto b = static_cast<double>(other.rows);
    const double difference = other.label_mean - label_mean;
    label_deviation += other.label_deviation + difference * difference * a * b / (a + b);
    label_mean += difference * b / (a + b);
  }
  rows += other.rows;
  unscored += other.unscored;
  true_positives += other.true_positives;
  false_positives += other.false_positives;
  true_negatives += other.true_negatives;
  false_negatives += other.false_negatives;
  log_loss += other.log_loss;
  squared_error += other.squared_error;
  absolute_error += other.absolute_error;
}

MetricsReport JudgedSums::report(Task task) const {
  MetricsReport report;
  report.task = task;
  report.rows = rows;
  report.unscored = unscored;
  if (rows == 0) return report;
  const auto n = static_cast<double>(rows);
  switch (task) {
    case Task::kBinary:
      report.true_positives = true_positives;
      report.false_positives = false_positives;
      report.true_negatives = true_negatives;
      report.false_negatives = false_negatives;
      report.accuracy = ratio(true_positives + true_negatives, rows);
      report.precision = ratio(true_positives, true_positives + false_positives);
      report.recall = ratio(true_positives, true_positives + false_negatives);
      report.f1 = ratio(2 * true_positives, 2 * true_positives + false_positives + false_negatives);
      report.log_loss = log_loss / n;
      report.brier = squared_error / n;
      break;
    case Task::kRegression:
      report.mae = absolute_error / n;
      report.rmse = std::sqrt(squared_error / n);
      if (label_deviation > 0) report.r2 = 1 - squared_error / label_deviation;
      break;
  }
  return report;
}

void JudgedSums::serialize(ByteWriter& out) const {
  for (const uint64_t count : {rows, unscored, true_positives, false_positives, true_negatives, false_negatives})
    out.uvarint(count);
  for (const double sum : {log_loss, squared_error, absolute_error, label_mean, label_deviation}) out.float64(sum);
}

Status JudgedSums::deserialize(ByteReader& in) {
  for (uint64_t* count : {&rows, &unscored, &true_positives, &false_positives, &true_negatives, &false_negatives}) {
    MILLRACE_ASSIGN_OR_RETURN(*count, in.uvarint());
  }
  for (double* sum : {&log_loss, &squared_error, &absolute_error, &label_mean, &label_deviation}) {
    MILLRACE_ASSIGN_OR_RETURN(*sum, in.float64());
  }
  return {};
}

}  // namespace millrace::learn::internal
