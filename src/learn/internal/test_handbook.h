#pragma once

#include <cmath>
#include <cstdint>
#include <deque>
#include <string>
#include <unordered_map>
#include <vector>

#include "learn/internal/test_data.h"

// For tests: the stream of the fraud job, its features computed in the plainest way.
namespace millrace::learn::internal {

inline constexpr std::string_view kHandbookFile = "fraud/handbook_simulated/transactions_2018-06-15_08-14.csv.gz";

// The partition that Java's producer gives a key: MurmurHash2 (Appleby 2008), seed 0x9747b28c, sign bit cleared.
inline uint32_t murmur2_partition(std::string_view key, uint32_t partitions) {
  constexpr uint32_t kM = 0x5bd1e995;
  const auto byte = [&](size_t i) { return static_cast<uint32_t>(static_cast<unsigned char>(key[i])); };
  auto hash = 0x9747b28cu ^ static_cast<uint32_t>(key.size());
  size_t i = 0;
  for (; i + 4 <= key.size(); i += 4) {
    uint32_t word = (byte(i) | byte(i + 1) << 8 | byte(i + 2) << 16 | byte(i + 3) << 24) * kM;
    word = (word ^ word >> 24) * kM;
    hash = hash * kM ^ word;
  }
  const size_t rest = key.size() - i;
  if (rest > 2) hash ^= byte(i + 2) << 16;
  if (rest > 1) hash ^= byte(i + 1) << 8;
  if (rest > 0) hash = (hash ^ byte(i)) * kM;
  hash = (hash ^ hash >> 13) * kM;
  return ((hash ^ hash >> 15) & 0x7fffffff) % partitions;
}

// Count, sum and mean of a customer's earlier amounts over 1, 7 and 30 days, in cents, so that sums are exact.
class CustomerHistory {
 public:
  void append_features(int64_t seconds, std::vector<double>& row) const {
    for (const int64_t days : {1, 7, 30}) {
      int64_t count = 0;
      int64_t cents = 0;
      for (auto event = events_.rbegin(); event != events_.rend() && event->first > seconds - days * 86400; ++event) {
        ++count;
        cents += event->second;
      }
      const double sum = static_cast<double>(cents) / 100.0;
      row.insert(row.end(), {static_cast<double>(count), sum, count > 0 ? sum / static_cast<double>(count) : 0.0});
    }
  }
  void add(int64_t seconds, double amount) {
    events_.emplace_back(seconds, std::llround(amount * 100));
    while (events_.front().first <= seconds - 30LL * 86400) events_.pop_front();
  }

 private:
  std::deque<std::pair<int64_t, int64_t>> events_;
};

struct HandbookRows {
  LabelledRows data;                 // in the order of time
  std::vector<uint32_t> partitions;  // of four, keyed by customer
};

// Rows with an amount above 0: the amount, then the customer's history before the row.
inline HandbookRows read_handbook() {
  HandbookRows result;
  result.data.names = {"amount", "n1", "s1", "a1", "n7", "s7", "a7", "n30", "s30", "a30"};
  result.data.features = FeatureMatrix(result.data.names.size());
  std::unordered_map<std::string, CustomerHistory> histories;
  const auto lines = read_lines(dataset_path(kHandbookFile));
  MILLRACE_CHECK(lines.size() == 584'472, "the handbook's stream has other rows");
  for (size_t i = 1; i < lines.size(); ++i) {
    const auto cells = split(lines[i], ',');
    const double amount = number(cells[4]);
    if (amount <= 0) continue;
    const int64_t seconds = static_cast<int64_t>(number(cells[5]));
    std::vector<double> row = {amount};
    CustomerHistory& history = histories[std::string(cells[2])];
    history.append_features(seconds, row);
    history.add(seconds, amount);
    result.data.features.append(row);
    result.data.labels.push_back(cells[7] == "1" ? 1 : 0);
    result.partitions.push_back(murmur2_partition(cells[2], 4));
  }
  return result;
}

}  // namespace millrace::learn::internal
