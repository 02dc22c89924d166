#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <set>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

namespace millrace::broker {

// Keeps the first of those that have the same key. A request may name one thing as often as fits into it, and would be
// told all about it each time: far more memory than the request took.
template <typename T, typename KeyOf>
void drop_repeats(std::vector<T>& items, KeyOf key_of) {
  if (items.size() < 2) return;
  std::set<std::decay_t<std::invoke_result_t<KeyOf, const T&>>> seen;
  std::erase_if(items, [&](const T& item) { return !seen.insert(std::invoke(key_of, item)).second; });
}

template <typename T>
void drop_repeats(std::vector<T>& items) {
  drop_repeats(items, std::identity{});
}

// The same of partitions, by topic: each topic stands there once, with all that was named of it.
template <typename Topic>
void merge_repeats(std::vector<Topic>& topics) {
  std::map<std::string_view, Topic*> first;
  for (Topic& topic : topics) {
    const auto [found, is_new] = first.emplace(topic.name, &topic);
    if (is_new) continue;
    auto& into = found->second->partition_indexes;
    into.insert(into.end(), topic.partition_indexes.begin(), topic.partition_indexes.end());
  }
  if (first.size() < topics.size()) drop_repeats(topics, [](const Topic& topic) { return topic.name; });
  for (Topic& topic : topics) {
    std::vector<int32_t> sorted = topic.partition_indexes;
    std::ranges::sort(sorted);
    const auto repeated = std::ranges::unique(sorted);
    if (repeated.empty()) continue;
    sorted.erase(repeated.begin(), repeated.end());
    topic.partition_indexes = std::move(sorted);
  }
}

}  // namespace millrace::broker
