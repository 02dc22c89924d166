#include "base/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "base/check.h"

namespace millrace {
namespace {

constexpr auto kBoundsNs = [] {
  std::array<int64_t, DurationHistogram::kBoundsS.size()> bounds{};
  for (size_t i = 0; i < bounds.size(); ++i) {
    const double ns = DurationHistogram::kBoundsS[i] * 1e9;
    const auto whole_ns = static_cast<int64_t>(ns);
    bounds[i] = whole_ns + (ns - static_cast<double>(whole_ns) >= 0.5 ? 1 : 0);  // llround() is no constexpr yet
  }
  return bounds;
}();

size_t shard_of_this_thread() {
  static std::atomic<size_t> threads{0};
  thread_local const size_t number = threads.fetch_add(1, std::memory_order_relaxed);
  return number;
}

const char* type_name(Exposition::Type type) {
  switch (type) {
    case Exposition::Type::kCounter:
      return "counter";
    case Exposition::Type::kGauge:
      return "gauge";
    case Exposition::Type::kHistogram:
      return "histogram";
  }
  return "untyped";
}

std::string number_text(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "+Inf" : "-Inf";
  return fmt::format("{}", value);
}

// In HELP a quotation mark stands for itself.
void append_escaped(std::string& out, std::string_view text, bool is_label) {
  while (true) {
    const size_t special = text.find_first_of(is_label ? "\\\n\"" : "\\\n");
    out.append(text.substr(0, special));
    if (special == text.npos) return;
    out += '\\';
    out += text[special] == '\n' ? 'n' : text[special];
    text.remove_prefix(special + 1);
  }
}

void append_label(std::string& out, char before, std::string_view name, std::string_view value) {
  out += before;
  out.append(name).append("=\"");
  append_escaped(out, value, true);
  out += '"';
}

}  // namespace

void DurationHistogram::observe(std::chrono::nanoseconds took) {
  const int64_t ns = std::max<int64_t>(took.count(), 0);
  const auto bucket = static_cast<size_t>(std::ranges::lower_bound(kBoundsNs, ns) - kBoundsNs.begin());
  Shard& shard = shards_[shard_of_this_thread() % kShards];
  shard.counts[bucket].fetch_add(1, std::memory_order_relaxed);
  shard.sum_ns.fetch_add(static_cast<uint64_t>(ns), std::memory_order_relaxed);
}

DurationHistogram::Snapshot DurationHistogram::snapshot() const {
  Snapshot taken;
  uint64_t sum_ns = 0;
  for (const Shard& shard : shards_) {
    for (size_t i = 0; i < taken.counts.size(); ++i) taken.counts[i] += shard.counts[i].load(std::memory_order_relaxed);
    sum_ns += shard.sum_ns.load(std::memory_order_relaxed);
  }
  for (const uint64_t count : taken.counts) taken.count += count;
  taken.sum_s = static_cast<double>(sum_ns) * 1e-9;
  return taken;
}

double DurationHistogram::Snapshot::quantile_s(double q) const {
  if (count == 0) return std::numeric_limits<double>::quiet_NaN();
  const double rank = std::clamp(q, 0.0, 1.0) * static_cast<double>(count);
  uint64_t below = 0;
  for (size_t i = 0; i < kBoundsS.size(); ++i) {
    if (counts[i] > 0 && static_cast<double>(below + counts[i]) >= rank) {
      const double from = i == 0 ? 0 : kBoundsS[i - 1];
      const double share = (rank - static_cast<double>(below)) / static_cast<double>(counts[i]);
      return from + (kBoundsS[i] - from) * share;
    }
    below += counts[i];
  }
  return kBoundsS.back();
}

void Exposition::Family::add(Labels labels, double value) {
  add(std::span<const Label>(labels.begin(), labels.size()), value);
}

void Exposition::Family::add(std::span<const Label> labels, double value) {
  add_line("", labels, {}, number_text(value));
}

void Exposition::Family::add(std::span<const Label> labels, const DurationHistogram::Snapshot& durations) {
  uint64_t up_to = 0;
  for (size_t i = 0; i < durations.counts.size(); ++i) {
    up_to += durations.counts[i];
    const bool is_last = i == DurationHistogram::kBoundsS.size();
    add_line("_bucket", labels, is_last ? "+Inf" : number_text(DurationHistogram::kBoundsS[i]), std::to_string(up_to));
  }
  add_line("_sum", labels, {}, number_text(durations.sum_s));
  add_line("_count", labels, {}, std::to_string(durations.count));
}

void Exposition::Family::add_line(std::string_view suffix, std::span<const Label> labels, std::string_view bound,
                                  std::string_view value) {
  samples_.append(name_).append(suffix);
  char before = '{';
  for (const Label& label : labels) append_label(samples_, std::exchange(before, ','), label.name, label.value);
  if (!bound.empty()) append_label(samples_, std::exchange(before, ','), "le", bound);
  if (before == ',') samples_ += '}';
  samples_ += ' ';
  samples_.append(value) += '\n';
}

Exposition::Family& Exposition::family(std::string_view name, std::string_view help, Type type) {
  auto found = families_.find(name);
  if (found == families_.end()) {
    found = families_.emplace(std::string(name), Family{}).first;
    found->second.name_ = found->first;
    found->second.help_ = help;
    found->second.type_ = type;
  }
  MILLRACE_CHECK(found->second.type_ == type, "a metric has two types");
  return found->second;
}

std::string Exposition::text() const {
  size_t bytes = 0;
  for (const auto& [name, family] : families_)
    bytes += family.samples_.size() + family.help_.size() + 2 * name.size() + 64;
  std::string text;
  text.reserve(bytes);
  for (const auto& [name, family] : families_) {
    text.append("# HELP ").append(name) += ' ';
    append_escaped(text, family.help_, false);
    text.append("\n# TYPE ").append(name) += ' ';
    text.append(type_name(family.type_)) += '\n';
    text += family.samples_;
  }
  return text;
}

template <typename Instrument>
Instrument& Metrics::find_or_make(Families<Instrument>& families, const std::string& name, const std::string& help,
                                  const MetricLabels& labels) {
  auto& series = families[name];
  if (series.help.empty()) series.help = help;
  auto& cell = series.by_labels[labels];
  if (cell == nullptr) cell = std::make_unique<typename Series<Instrument>::Cell>();
  return cell->instrument;
}

Counter& Metrics::counter(const std::string& name, const std::string& help, const MetricLabels& labels) {
  MutexLock lock(mutex_);
  return find_or_make(counters_, name, help, labels);
}

Gauge& Metrics::gauge(const std::string& name, const std::string& help, const MetricLabels& labels) {
  MutexLock lock(mutex_);
  return find_or_make(gauges_, name, help, labels);
}

DurationHistogram& Metrics::histogram(const std::string& name, const std::string& help, const MetricLabels& labels) {
  MutexLock lock(mutex_);
  return find_or_make(histograms_, name, help, labels);
}

Metrics::Registration& Metrics::Registration::operator=(Registration&& other) noexcept {
  if (this == &other) return *this;
  reset();
  metrics_ = std::exchange(other.metrics_, nullptr);
  at_ = other.at_;
  return *this;
}

void Metrics::Registration::reset() {
  Metrics* metrics = std::exchange(metrics_, nullptr);
  if (metrics == nullptr) return;
  MutexLock lock(metrics->mutex_);
  while (metrics->collecting_) metrics->idle_.wait(metrics->mutex_);
  metrics->collectors_.erase(at_);
}

Metrics::Registration Metrics::add_collector(Collector collector) {
  MutexLock lock(mutex_);
  collectors_.push_back(std::move(collector));
  return {*this, std::prev(collectors_.end())};
}

void Metrics::write_kept(Exposition& out) const {
  std::vector<Exposition::Label> labels;
  const auto write = [&](const auto& families, Exposition::Type type, auto value_of) {
    for (const auto& [name, series] : families) {
      Exposition::Family& family = out.family(name, series.help, type);
      for (const auto& [named, cell] : series.by_labels) {
        labels.clear();
        for (const auto& [label, text] : named) labels.push_back({label, text});
        family.add(labels, value_of(cell->instrument));
      }
    }
  };
  write(counters_, Exposition::Type::kCounter, [](const Counter& one) { return static_cast<double>(one.value()); });
  write(gauges_, Exposition::Type::kGauge, [](const Gauge& one) { return one.value(); });
  write(histograms_, Exposition::Type::kHistogram, [](const DurationHistogram& one) { return one.snapshot(); });
}

std::string Metrics::to_prometheus_text() {
  Exposition out;
  std::vector<const Collector*> collectors;
  {
    MutexLock lock(mutex_);
    while (collecting_) idle_.wait(mutex_);
    collecting_ = true;
    write_kept(out);
    // They stay where they are as long as this is `collecting_`.
    for (const Collector& collector : collectors_) collectors.push_back(&collector);
  }
  for (const Collector* collector : collectors) (*collector)(out);
  {
    MutexLock lock(mutex_);
    collecting_ = false;
    idle_.notify_all();
  }
  return out.text();
}

}  // namespace millrace
