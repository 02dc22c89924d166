#include "features/internal/window_plan.h"

#include <fmt/core.h>

#include <algorithm>
#include <limits>
#include <tuple>

namespace millrace::features {

Result<WindowPlan> WindowPlan::make(const FeatureSpec& spec, columns::SchemaPtr input) {
  WindowPlan plan;
  plan.spec = spec;
  plan.input = std::move(input);
  MILLRACE_RETURN_IF_ERROR(plan.find_keys());
  MILLRACE_RETURN_IF_ERROR(plan.find_windows());
  MILLRACE_RETURN_IF_ERROR(plan.lay_out_columns());
  // Nested windows of a slot in ascending order, so that each adds to what the shorter one summed.
  std::ranges::sort(plan.outputs, {}, [](const Output& out) { return std::tuple(out.slot, out.window, out.column); });
  plan.sign();
  return plan;
}

Status WindowPlan::find_keys() {
  if (spec.keys.empty()) return fail(Errc::kInvalidArgument, "features need a key");
  for (const std::string& key : spec.keys) {
    MILLRACE_ASSIGN_OR_RETURN(const size_t index, column_index(*input, key, "features key"));
    if (std::find(key_columns.begin(), key_columns.end(), index) != key_columns.end())
      return fail(Errc::kInvalidArgument, fmt::format("features key: column {} is there twice", key), "name it once");
    key_columns.push_back(index);
  }
  return {};
}

Status WindowPlan::find_windows() {
  for (WindowedAggregate& windowed : spec.aggregates) {
    if (windowed.windows.empty()) windowed.windows = spec.windows;
    if (windowed.windows.empty())
      return fail(Errc::kInvalidArgument, fmt::format("{}: no window", windowed.aggregate.name),
                  "add windows: [1h, 24h] to the step or to the aggregate");
    for (const Window& window : windowed.windows) {
      if (window.length_us <= 0)
        return fail(Errc::kInvalidArgument,
                    fmt::format("{}: the window {} is not longer than 0", windowed.aggregate.name, window.name));
      layout.windows_us.push_back(window.length_us);
    }
  }
  std::sort(layout.windows_us.begin(), layout.windows_us.end());
  layout.windows_us.erase(std::unique(layout.windows_us.begin(), layout.windows_us.end()), layout.windows_us.end());
  const int64_t longest_us = layout.windows_us.empty() ? 0 : layout.windows_us.back();
  constexpr int64_t kShareOfLongest = 8;
  const int64_t lateness_us = spec.lateness_us >= 0 ? spec.lateness_us : longest_us / kShareOfLongest;
  if (__builtin_add_overflow(longest_us, lateness_us, &keep_us)) keep_us = std::numeric_limits<int64_t>::max();
  return {};
}

Status WindowPlan::lay_out_columns() {
  std::vector<columns::Field> fields = input->fields();
  const auto add_field = [&fields](std::string name, columns::Type type) -> Status {
    for (const columns::Field& field : fields)
      if (field.name == name)
        return fail(Errc::kInvalidArgument, fmt::format("features: there are two columns {}", name),
                    "give the aggregate another name");
    fields.push_back({std::move(name), type});
    return {};
  };
  for (const WindowedAggregate& windowed : spec.aggregates) {
    const Aggregate& aggregate = windowed.aggregate;
    MILLRACE_ASSIGN_OR_RETURN(const columns::Type type, result_type(aggregate, *input));
    const auto slot = slot_for(aggregate, *input, layout.slots);
    for (const Window& window : windowed.windows) {
      const auto place = std::lower_bound(layout.windows_us.begin(), layout.windows_us.end(), window.length_us);
      outputs.push_back({&aggregate, slot.value_or(SIZE_MAX), static_cast<size_t>(place - layout.windows_us.begin()),
                         fields.size() - input->size()});
      MILLRACE_RETURN_IF_ERROR(add_field(aggregate.name + "_" + window.name, type));
    }
  }
  if (spec.last.size() > kLastColumnsMax)
    return fail(Errc::kTooLarge, fmt::format("features: at most {} `last` values", kLastColumnsMax));
  for (const LastValue& last : spec.last) {
    MILLRACE_ASSIGN_OR_RETURN(const size_t index, column_index(*input, last.column, last.name));
    layout.last_columns.push_back(index);
    layout.last_types.push_back(input->field(index).type);
    MILLRACE_RETURN_IF_ERROR(add_field(last.name, input->field(index).type));
  }
  layout.finish();
  if (layout.page_bytes_max(1) > state::kPageBytesMax)
    return fail(Errc::kTooLarge, "features: more columns than a page of state has room for",
                "split the step into several");
  output = std::make_shared<const columns::Schema>(std::move(fields));
  return {};
}

void WindowPlan::sign() {
  std::string text = fmt::format("features 1 {} {}", keep_us, spec.last.empty() ? 0 : spec.forget_us);
  for (const size_t index : key_columns)
    text += fmt::format("|key {} {}", input->field(index).name, input->field(index).type.to_string());
  for (const Slot& slot : layout.slots)
    text +=
        fmt::format("|slot {} {} {} {}", slot.has_values() ? input->field(slot.column).name : "", slot.type.to_string(),
                    slot.where == kNoColumn ? "" : input->field(slot.where).name, slot.summed);
  for (const size_t index : layout.last_columns)
    text += fmt::format("|last {} {}", input->field(index).name, input->field(index).type.to_string());
  signature = stable_hash(text);
}

}  // namespace millrace::features
