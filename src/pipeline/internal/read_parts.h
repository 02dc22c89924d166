#pragma once

#include <yaml-cpp/yaml.h>

#include <optional>
#include <string>
#include <vector>

#include "pipeline/internal/map_reader.h"
#include "pipeline/plan.h"

namespace millrace::pipeline {

// The parts of plan_reader.cc, one file each.
void read_source(const MapEntry& entry, Plan& plan, Diagnostics& diagnostics);
void read_step(const YAML::Node& node, Plan& plan, Diagnostics& diagnostics);
void read_sink(const YAML::Node& node, Plan& plan, Diagnostics& diagnostics);

// What stands under a step's kind, one file per group of kinds.
std::optional<StepKind> read_sql(MapReader& step, Diagnostics& diagnostics);
std::optional<StepKind> read_validate(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics);
std::optional<StepKind> read_features(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics);
std::optional<StepKind> read_aggregate(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics);
std::optional<StepKind> read_label(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics);
std::optional<StepKind> read_train(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics);
std::optional<StepKind> read_predict(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics);

// `time:` of a source or a sql step.
std::optional<format::TimeColumn> read_time(MapReader& reader, Diagnostics& diagnostics);
// The text at `key` with its place.
Text read_text(MapReader& reader, std::string_view key);
// One text or a list of texts, with their places.
std::vector<Text> read_text_list(MapReader& reader, std::string_view key, Diagnostics& diagnostics);

}  // namespace millrace::pipeline
