#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "columns/type.h"

namespace millrace::columns {

struct Field {
  std::string name;
  Type type;

  friend bool operator==(const Field&, const Field&) = default;
};

// The names and types of a batch's columns, in order. Names are unique, case counts. Immutable once shared.
class Schema {
 public:
  Schema() = default;
  explicit Schema(std::vector<Field> fields) : fields_(std::move(fields)) {}

  size_t size() const { return fields_.size(); }
  const Field& field(size_t index) const { return fields_[index]; }
  const std::vector<Field>& fields() const { return fields_; }
  std::optional<size_t> index_of(std::string_view name) const {
    for (size_t i = 0; i < fields_.size(); ++i)
      if (fields_[i].name == name) return i;
    return std::nullopt;
  }
  // The names, for messages that suggest the nearest.
  std::vector<std::string> names() const {
    std::vector<std::string> names;
    names.reserve(fields_.size());
    for (const Field& field : fields_) names.push_back(field.name);
    return names;
  }

  friend bool operator==(const Schema&, const Schema&) = default;

 private:
  std::vector<Field> fields_;
};

using SchemaPtr = std::shared_ptr<const Schema>;

}  // namespace millrace::columns
