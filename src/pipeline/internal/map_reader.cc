#include "pipeline/internal/map_reader.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "base/text.h"

namespace millrace::pipeline {
namespace {

bool is_yaml_truth_value(std::string_view key) {
  static constexpr std::array<std::string_view, 8> kWords = {"on", "off", "yes", "no", "true", "false", "y", "n"};
  const std::string lower = to_lower(key);
  // y and n are left alone: YAML 1.1 lists them, no reader we know of takes them so, and `n` is what counts are called.
  return std::find(kWords.begin(), kWords.end() - 2, lower) != kWords.end() - 2;
}

// The second half of an expression that YAML cut at its comma.
bool is_cut_expression(const YAML::Node& key, const YAML::Node& value) {
  if (!key.IsScalar() || !value.IsNull()) return false;
  const std::string& text = key.Scalar();
  return std::count(text.begin(), text.end(), ')') > std::count(text.begin(), text.end(), '(');
}

std::string suggestion(std::string_view name, const std::vector<std::string>& known, bool& near) {
  const auto nearest = nearest_name(name, known);
  near = nearest.has_value();
  if (nearest) return "did you mean " + *nearest + "?";
  return known.empty() ? std::string() : fmt::format("known here: {}", fmt::join(known, ", "));
}

}  // namespace

std::string suggest(std::string_view name, const std::vector<std::string>& known) {
  bool near = false;
  return suggestion(name, known, near);
}

std::vector<MapEntry> read_entries(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics) {
  std::vector<MapEntry> entries;
  if (!node.IsMap()) {
    diagnostics.invalid(place_of(node), fmt::format("{}: expected a map of keys and values", where));
    return entries;
  }
  for (const auto& pair : node) {
    const Place place = place_of(pair.first);
    if (is_cut_expression(pair.first, pair.second)) {
      diagnostics.invalid(place, fmt::format("{}: YAML cut an expression at its comma", where),
                          "put the whole expression in quotes");
      continue;
    }
    if (!pair.first.IsScalar()) {
      diagnostics.invalid(place, fmt::format("{}: a key must be a text", where));
      continue;
    }
    const std::string& key = pair.first.Scalar();
    if (is_yaml_truth_value(key)) {
      diagnostics.invalid(place, fmt::format("{}: YAML may read the key '{}' as a truth value", where, key),
                          "join keys are called `keys`; quote or rename a name of your own");
      continue;
    }
    if (std::any_of(entries.begin(), entries.end(), [&](const MapEntry& e) { return e.key == key; })) {
      diagnostics.invalid(place, fmt::format("{}: the key '{}' stands here twice", where, key));
      continue;
    }
    entries.push_back({key, place, pair.second});
  }
  return entries;
}

MapReader::MapReader(const YAML::Node& node, std::string where, Diagnostics& diagnostics)
    : where_(std::move(where)),
      diagnostics_(diagnostics),
      place_(place_of(node)),
      entries_(read_entries(node, where_, diagnostics)) {}

const MapEntry* MapReader::find(std::string_view key) const {
  const auto found = std::find_if(entries_.begin(), entries_.end(), [&](const MapEntry& e) { return e.key == key; });
  return found == entries_.end() ? nullptr : &*found;
}

bool MapReader::has(std::string_view key) const { return find(key) != nullptr; }

Place MapReader::place(std::string_view key) const {
  const MapEntry* entry = find(key);
  if (entry == nullptr) return place_;
  return entry->value.IsNull() ? entry->place : place_of(entry->value);
}

std::optional<YAML::Node> MapReader::node(std::string_view key) {
  known_.emplace_back(key);
  const MapEntry* entry = find(key);
  if (entry == nullptr) return std::nullopt;
  return entry->value;
}

void MapReader::expected(std::string_view key, std::string_view what) {
  diagnostics_.invalid(place(key), fmt::format("{}: {} must be {}", where_, key, what));
}

std::optional<std::string> MapReader::text(std::string_view key) {
  const auto value = node(key);
  if (!value) return std::nullopt;
  if (value->IsScalar()) return value->Scalar();
  expected(key, value->IsNull() ? "given a value" : "a single value");
  return std::nullopt;
}

std::string MapReader::text_or(std::string_view key, std::string_view standard) {
  return text(key).value_or(std::string(standard));
}

std::optional<std::string> MapReader::required_text(std::string_view key, std::string_view expected_what) {
  if (!has(key)) {
    known_.emplace_back(key);
    diagnostics_.invalid(place_, fmt::format("{}: {} is missing: expected {}", where_, key, expected_what));
    return std::nullopt;
  }
  return text(key);
}

std::optional<int64_t> MapReader::integer(std::string_view key, int64_t min, int64_t max) {
  const auto value = text(key);
  if (!value) return std::nullopt;
  const auto number = parse_int64(*value);
  if (number && *number >= min && *number <= max) return number;
  expected(key, fmt::format("a whole number from {} to {}, not '{}'", min, max, *value));
  return std::nullopt;
}

std::optional<double> MapReader::number(std::string_view key) {
  const auto value = text(key);
  if (!value) return std::nullopt;
  const auto number = parse_double(*value);
  if (!number) expected(key, fmt::format("a number, not '{}'", *value));
  return number;
}

std::optional<bool> MapReader::boolean(std::string_view key) {
  const auto value = text(key);
  if (!value) return std::nullopt;
  if (*value == "true") return true;
  if (*value == "false") return false;
  expected(key, fmt::format("true or false, not '{}'", *value));
  return std::nullopt;
}

std::optional<std::chrono::microseconds> MapReader::duration(std::string_view key) {
  return parsed(key, [](const std::string& text) { return parse_duration(text); });
}

std::vector<std::string> MapReader::texts(std::string_view key) {
  const auto value = node(key);
  return value ? read_texts(*value, fmt::format("{}: {}", where_, key), diagnostics_) : std::vector<std::string>();
}

std::vector<std::string> read_texts(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics) {
  std::vector<std::string> texts;
  if (node.IsScalar()) {
    texts.push_back(node.Scalar());
  } else if (node.IsSequence()) {
    for (const auto& item : node) {
      if (item.IsScalar())
        texts.push_back(item.Scalar());
      else
        diagnostics.invalid(place_of(item), fmt::format("{}: expected a name", where));
    }
  } else {
    diagnostics.invalid(place_of(node), fmt::format("{}: expected a name or a list of names", where));
  }
  return texts;
}

void MapReader::unknown_value(std::string_view key, const std::string& value, const std::vector<std::string>& names,
                              const std::vector<std::string>& not_built_yet) {
  if (std::find(not_built_yet.begin(), not_built_yet.end(), value) != not_built_yet.end()) {
    diagnostics_.not_built_yet(place(key), fmt::format("{}: {}: {}", where_, key, value),
                               fmt::format("built now: {}", fmt::join(names, ", ")));
    return;
  }
  diagnostics_.invalid(place(key),
                       fmt::format("{}: {} cannot be '{}': expected {}", where_, key, value, fmt::join(names, " or ")),
                       suggest(value, names));
}

void MapReader::finish(const std::vector<std::string>& not_built_yet) {
  for (const MapEntry& entry : entries_) {
    if (std::find(known_.begin(), known_.end(), entry.key) != known_.end()) continue;
    if (std::find(not_built_yet.begin(), not_built_yet.end(), entry.key) != not_built_yet.end()) {
      diagnostics_.not_built_yet(entry.place, fmt::format("{}: {}", where_, entry.key));
      continue;
    }
    std::vector<std::string> names = known_;
    names.insert(names.end(), not_built_yet.begin(), not_built_yet.end());
    bool near = false;
    std::string hint = suggestion(entry.key, names, near);
    diagnostics_.invalid(entry.place, fmt::format("{}: unknown key '{}'", where_, entry.key),
                         near ? hint : suggest(entry.key, known_));
  }
}

}  // namespace millrace::pipeline
