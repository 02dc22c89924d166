#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "pipeline/internal/read_parts.h"

namespace millrace::pipeline {
namespace {

std::optional<int64_t> row_count(std::string_view text) {
  for (const std::string_view unit : {"rows", "row"})
    if (text.ends_with(unit)) return parse_int64(trim(text.substr(0, text.size() - unit.size())));
  return std::nullopt;
}

void read_delay(MapReader& reader, LabelPlan& label, Diagnostics& diagnostics) {
  const auto text = reader.text("delay");
  if (!text) return;
  if (const auto rows = row_count(*text)) {
    if (*rows < 0) diagnostics.invalid(reader.place("delay"), reader.where() + ": delay cannot be negative");
    label.delay_rows = rows;
    return;
  }
  auto duration = parse_duration(*text);
  if (duration)
    label.delay_us = duration->count();
  else
    diagnostics.invalid(reader.place("delay"), fmt::format("{}: '{}' is no delay", reader.where(), *text),
                        "write a time like 7d, or rows like 48 rows");
}

learn::ParamValue param_value(const YAML::Node& node) {
  const std::string& text = node.Scalar();
  if (node.Tag() == "!") return text;  // quoted
  if (text == "true" || text == "false") return text == "true";
  if (const auto integer = parse_int64(text)) return *integer;
  if (const auto number = parse_double(text)) return *number;
  return text;
}

void read_params(MapReader& reader, TrainPlan& train, Diagnostics& diagnostics) {
  const auto node = reader.node("params");
  if (!node) return;
  const std::string where = reader.where() + ": params";
  for (const MapEntry& entry : read_entries(*node, where, diagnostics)) {
    if (entry.value.IsScalar()) {
      train.params.emplace(entry.key, param_value(entry.value));
      train.param_places.emplace(entry.key, entry.place);
    } else {
      diagnostics.invalid(entry.place, fmt::format("{}: {} must be a single value", where, entry.key));
    }
  }
}

void read_preprocess(MapReader& reader, TrainPlan& train, Diagnostics& diagnostics) {
  const auto node = reader.node("preprocess");
  if (!node) return;
  if (!node->IsSequence()) {
    diagnostics.invalid(reader.place("preprocess"),
                        reader.where() + ": preprocess must be a list of {columns: …, scale: standard}");
    return;
  }
  for (const auto& item : *node) {
    MapReader inner(item, reader.where() + ": preprocess", diagnostics);
    const std::vector<Text> columns = read_text_list(inner, "columns", diagnostics);
    if (columns.empty()) diagnostics.invalid(inner.place(), inner.where() + ": columns is missing");
    learn::FeatureSpec spec;
    if (const auto scale = inner.one_of<learn::Scale>(
            "scale", {{"standard", learn::Scale::kStandard}, {"none", learn::Scale::kNone}}, {"min_max", "robust"}))
      spec.scale = *scale;
    inner.one_of<int>("impute", {{"mean", 0}}, {"median", "constant", "last"});
    spec.indicator = inner.boolean("indicator").value_or(false);
    inner.finish({"encode", "max", "hash", "text", "dates", "polynomial", "bins"});
    for (const Text& column : columns) train.preprocess.emplace_back(column, spec);
  }
}

Result<RegisterPlan> parse_every(const std::string& text) {
  RegisterPlan plan;
  if (text == "end") return plan;
  std::string_view amount = text;
  if (amount.ends_with("per partition")) amount = trim(amount.substr(0, amount.size() - 13));
  if (const auto rows = row_count(amount); rows && *rows > 0) return RegisterPlan{RegisterEvery::kRows, *rows};
  if (const auto duration = parse_duration(text); duration && duration->count() > 0)
    return RegisterPlan{RegisterEvery::kTime, duration->count()};
  return fail(Errc::kInvalidArgument, fmt::format("'{}' says not when to register", text),
              "write a time like 1d, rows like \"50000 rows\", or end");
}

void read_register(MapReader& reader, TrainPlan& train, Diagnostics& diagnostics) {
  const auto node = reader.node("register");
  if (!node) return;
  if (node->IsScalar()) {  // register: end
    train.register_at = reader.parsed("register", parse_every);
    return;
  }
  MapReader inner(*node, reader.where() + ": register", diagnostics);
  inner.required_text("every", "a time, a number of rows, or end");
  if (inner.has("every")) train.register_at = inner.parsed("every", parse_every);
  inner.finish();
}

}  // namespace

std::optional<StepKind> read_label(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics) {
  LabelPlan label;
  MapReader reader(node, where, diagnostics);
  label.as = reader.text_or("as", "");
  if (reader.required_text("of", "a source, or self")) label.of = read_text(reader, "of");
  read_delay(reader, label, diagnostics);
  label.keys = read_text_list(reader, "keys", diagnostics);
  if (const auto within = reader.duration("within")) label.within_us = within->count();
  label.value = read_text(reader, "value");
  if (const auto release =
          reader.one_of<Release>("release", {{"end", Release::kEnd}, {"first_match", Release::kFirstMatch}}))
    label.release = *release;
  if (const auto none = reader.one_of<Unlabelled>("none", {{"keep", Unlabelled::kKeep}, {"drop", Unlabelled::kDrop}}))
    label.none = *none;
  reader.one_of<int>("late", {{"count", 0}}, {"correct"});

  const bool delayed = label.delay_us || label.delay_rows;
  if (delayed) {
    if (label.of.value != "self")
      diagnostics.invalid(reader.place("delay"), where + ": delay is for of: self; another source says itself when");
    for (const std::string_view key : {"keys", "within", "release", "none"})
      if (reader.has(key))
        diagnostics.invalid(reader.place(key), fmt::format("{}: {} has no meaning beside delay", where, key));
    if (label.as.empty() != label.value.empty())
      diagnostics.invalid(reader.place(), where + ": as and value go together: value is the column that as delays");
  } else if (!reader.has("delay")) {
    for (const std::string_view key : {"as", "keys", "within", "value"})
      if (!reader.has(key)) diagnostics.invalid(reader.place(), fmt::format("{}: {} is missing", where, key));
  }
  reader.finish();
  return label;
}

std::optional<StepKind> read_train(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics) {
  TrainPlan train;
  MapReader reader(node, where, diagnostics);
  if (reader.required_text("model", "a name for the model")) train.model = read_text(reader, "model");
  if (reader.required_text("algorithm", "a learner, as in logistic_regression"))
    train.algorithm = read_text(reader, "algorithm");
  read_params(reader, train, diagnostics);
  if (reader.required_text("label", "the column to learn")) train.label = read_text(reader, "label");
  train.features = read_text_list(reader, "features", diagnostics);
  if (train.features.empty())
    diagnostics.invalid(reader.place("features"), where + ": features is missing: expected columns or globs");
  read_preprocess(reader, train, diagnostics);
  train.as = read_text(reader, "as");
  read_register(reader, train, diagnostics);
  if (const auto promote = reader.node("promote"); promote && promote->IsMap())
    diagnostics.not_built_yet(reader.place("promote"), where + ": promote by a condition",
                              "auto, always or never are built");
  else if (const auto word = reader.one_of<Promote>(
               "promote", {{"auto", Promote::kAuto}, {"always", Promote::kAlways}, {"never", Promote::kNever}}))
    train.promote = *word;
  train.task = reader.one_of<learn::Task>(
      "task", {{"binary", learn::Task::kBinary}, {"regression", learn::Task::kRegression}}, {"multiclass"});
  reader.one_of<int>("missing", {{"fill", 0}}, {"reject"});
  reader.finish({"roles", "per", "sample", "weight", "refit", "warm_start"});
  return train;
}

std::optional<StepKind> read_predict(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics) {
  PredictPlan predict;
  MapReader reader(node, where, diagnostics);
  if (reader.required_text("model", "NAME@alias")) {
    const Text model = read_text(reader, "model");
    const size_t at = model.value.find('@');
    predict.model = {model.value.substr(0, at), model.place};
    if (at != std::string::npos) predict.alias = model.value.substr(at + 1);
    if (predict.model.empty() || predict.alias.empty())
      diagnostics.invalid(model.place, fmt::format("{}: '{}' is no model", where, model.value), "write NAME@champion");
  }
  predict.as = reader.required_text("as", "a name for the score's column").value_or("");
  if (const auto output = reader.one_of<PredictOutput>(
          "output",
          {{"proba", PredictOutput::kProba}, {"class", PredictOutput::kClass}, {"value", PredictOutput::kValue}},
          {"cluster", "top"}))
    predict.output = *output, predict.output_given = true;
  if (const auto threshold = reader.node("threshold")) {
    if (const auto number = threshold->IsScalar() ? parse_double(threshold->Scalar()) : std::nullopt)
      predict.threshold = *number;
    else
      diagnostics.not_built_yet(reader.place("threshold"), where + ": thresholds other than a number");
  }
  predict.version = reader.one_of<VersionPolicy>(
      "version", {{"latest", VersionPolicy::kLatest}, {"event_time", VersionPolicy::kEventTime}});
  reader.one_of<int>("on_missing", {{"pass", 0}}, {"reject", "wait"});
  reader.finish({"shadow", "explain", "exclude", "candidates", "traffic"});
  return predict;
}

}  // namespace millrace::pipeline
