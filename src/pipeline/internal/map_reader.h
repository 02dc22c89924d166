#pragma once

#include <yaml-cpp/yaml.h>

#include <chrono>
#include <cstdint>
#include <functional>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "pipeline/diagnostics.h"

namespace millrace::pipeline {

inline Place place_of(const YAML::Node& node) { return {node.Mark().line + 1, node.Mark().column + 1}; }

// The entries of a map in the order of the file, keys as text. Reports what YAML makes of expressions with an unquoted
// comma, keys that YAML 1.1 reads as truth values (on, yes, no …), keys given twice, and a node that is no map.
struct MapEntry {
  std::string key;
  Place place;  // of the key
  YAML::Node value;
};
std::vector<MapEntry> read_entries(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics);

// Reads one map of the language. Each accessor names a key that is known here; finish() then reports the keys that
// nobody asked for: as "not built yet" where they are parts of the language to come, else with the nearest known name.
// Values of the wrong kind are reported where they stand, and the accessor returns nothing.
class MapReader {
 public:
  // `where` is what the map belongs to, for messages: "step 'card'".
  MapReader(const YAML::Node& node, std::string where, Diagnostics& diagnostics);

  bool has(std::string_view key) const;
  // The value, if there is one.
  std::optional<YAML::Node> node(std::string_view key);
  Place place(std::string_view key) const;  // of the value, or of the map where the key is missing
  Place place() const { return place_; }
  const std::string& where() const { return where_; }

  std::optional<std::string> text(std::string_view key);
  std::string text_or(std::string_view key, std::string_view standard);
  // Reports the missing key.
  std::optional<std::string> required_text(std::string_view key, std::string_view expected);
  std::optional<int64_t> integer(std::string_view key, int64_t min, int64_t max);
  std::optional<double> number(std::string_view key);
  std::optional<bool> boolean(std::string_view key);
  std::optional<std::chrono::microseconds> duration(std::string_view key);
  // One text or a list of texts.
  std::vector<std::string> texts(std::string_view key);

  // The value at `key` read by `parse` (text to Result<T>), whose errors get the place.
  template <typename Parse>
  auto parsed(std::string_view key, Parse parse) -> std::optional<typename decltype(parse(std::string()))::value_type> {
    const auto value = text(key);
    if (!value) return std::nullopt;
    auto result = parse(*value);
    if (result) return std::move(*result);
    diagnostics_.add(place(key), std::move(result).error());
    return std::nullopt;
  }
  // One of `values`; the error names the nearest.
  template <typename T>
  std::optional<T> one_of(std::string_view key, const std::vector<std::pair<std::string, T>>& values,
                          const std::vector<std::string>& not_built_yet = {}) {
    const auto value = text(key);
    if (!value) return std::nullopt;
    std::vector<std::string> names;
    for (const auto& [name, meaning] : values) {
      if (name == *value) return meaning;
      names.push_back(name);
    }
    unknown_value(key, *value, names, not_built_yet);
    return std::nullopt;
  }

  void finish(const std::vector<std::string>& not_built_yet = {});

 private:
  const MapEntry* find(std::string_view key) const;
  void unknown_value(std::string_view key, const std::string& value, const std::vector<std::string>& names,
                     const std::vector<std::string>& not_built_yet);
  void expected(std::string_view key, std::string_view what);

  std::string where_;
  Diagnostics& diagnostics_;
  Place place_;
  std::vector<MapEntry> entries_;
  std::vector<std::string> known_;
};

// One text or a list of texts.
std::vector<std::string> read_texts(const YAML::Node& node, const std::string& where, Diagnostics& diagnostics);

// "did you mean X?", or the known names.
std::string suggest(std::string_view name, const std::vector<std::string>& known);

}  // namespace millrace::pipeline
