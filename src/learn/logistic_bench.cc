#include <benchmark/benchmark.h>

#include <vector>

#include "base/random.h"
#include "learn/trainer.h"

// Scaler and logistic regression (SGD) on 9 features, one core: predict each event, then learn it.
namespace millrace::learn {
namespace {

constexpr size_t kFeatures = 9;
constexpr size_t kRows = 4096;

struct Stream {
  FeatureMatrix rows{kFeatures};
  std::vector<Op> ops;

  Stream() {
    Random random(1);
    for (size_t i = 0; i < kRows; ++i) {
      std::vector<double> row;
      double sum = 0;
      for (size_t j = 0; j < kFeatures; ++j) {
        row.push_back(random.uniform() * 100 + static_cast<double>(j));
        sum += row.back();
      }
      rows.append(row);
      ops.push_back(Op::predict(i));
      ops.push_back(Op::learn(i, sum > kFeatures * 54 ? 1 : 0));
    }
  }
};

ModelSpec spec(const char* optimizer) {
  ModelSpec spec{"logistic_regression", {{"optimizer", optimizer}}, {}};
  for (size_t j = 0; j < kFeatures; ++j) spec.features.push_back({"f" + std::to_string(j), Scale::kStandard, false});
  return spec;
}

void predict_and_learn(benchmark::State& state, const char* optimizer) {
  const Stream stream;
  Model model = Model::make(spec(optimizer)).value();
  std::vector<double> scratch(model.inputs());
  for (auto _ : state) {
    double sum = 0;
    for (const Op& op : stream.ops) {
      const double* row = stream.rows.row(op.row).data();
      if (op.kind == Op::Kind::kPredict)
        sum += model.predict_row(row, scratch);
      else
        model.learn_row(row, op.label, scratch);
    }
    benchmark::DoNotOptimize(sum);
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kRows));
}
BENCHMARK_CAPTURE(predict_and_learn, sgd, "sgd");
BENCHMARK_CAPTURE(predict_and_learn, adagrad, "adagrad");

void predict_only(benchmark::State& state) {
  const Stream stream;
  Model model = Model::make(spec("sgd")).value();
  std::vector<double> scores(kRows);
  std::vector<double> labels;
  for (const Op& op : stream.ops)
    if (op.kind == Op::Kind::kLearn) labels.push_back(op.label);
  model.learn_batch(stream.rows.view(), labels);
  for (auto _ : state) {
    model.predict_batch(stream.rows.view(), scores);
    benchmark::DoNotOptimize(scores.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kRows));
}
BENCHMARK(predict_only);

// With everything that `train` keeps: two baselines and three sets of metrics.
void trainer(benchmark::State& state) {
  const Stream stream;
  Trainer trainer = Trainer::make(spec("sgd")).value();
  std::vector<Prediction> predictions(kRows);
  for (auto _ : state) {
    trainer.run(stream.rows.view(), stream.ops, predictions);
    benchmark::DoNotOptimize(predictions.data());
  }
  state.SetItemsProcessed(state.iterations() * static_cast<int64_t>(kRows));
}
BENCHMARK(trainer);

}  // namespace
}  // namespace millrace::learn
