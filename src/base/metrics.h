#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <list>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "base/mutex.h"

// What operators are shown, in Prometheus' terms: names like millrace_wal_written_bytes_total, base units (seconds,
// bytes) in the name, _total for what only grows.
namespace millrace {

// A number that only grows. add() takes one atomic addition: cheap enough for each request, not for each record.
// Thread-safe.
class Counter {
 public:
  void add(uint64_t amount = 1) { value_.fetch_add(amount, std::memory_order_relaxed); }
  uint64_t value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<uint64_t> value_{0};
};

// A number that goes up and down. Thread-safe.
class Gauge {
 public:
  void set(double value) { value_.store(value, std::memory_order_relaxed); }
  void add(double amount) { value_.fetch_add(amount, std::memory_order_relaxed); }
  double value() const { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<double> value_{0};
};

// How long something took, in buckets that double or so from 10 us to 60 s. observe() takes two atomic additions, in a
// shard that the thread shares with few others. Thread-safe.
class DurationHistogram {
 public:
  static constexpr std::array<double, 21> kBoundsS = {10e-6,  20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3,
                                                      2e-3,   5e-3,  10e-3, 20e-3,  50e-3,  100e-3, 200e-3,
                                                      500e-3, 1,     2,     5,      10,     30,     60};

  void observe(std::chrono::nanoseconds took);

  struct Snapshot {
    std::array<uint64_t, kBoundsS.size() + 1> counts{};  // by bucket; the last is of what took longer than all bounds
    uint64_t count = 0;
    double sum_s = 0;

    // The time within which the share `q` of all was done, in seconds, as Prometheus' histogram_quantile() estimates
    // it: evenly spread over its bucket. NaN where there is nothing; never more than the last bound.
    double quantile_s(double q) const;
  };
  // Not one moment: what is observed meanwhile may be in part of it. Its count is the sum of its counts.
  Snapshot snapshot() const;

 private:
  static constexpr size_t kShards = 4;
  struct alignas(64) Shard {
    std::array<std::atomic<uint64_t>, kBoundsS.size() + 1> counts{};
    std::atomic<uint64_t> sum_ns{0};
  };
  std::array<Shard, kShards> shards_;
};

// Samples on their way into the text exposition format, version 0.0.4: families by name, each with its HELP and TYPE
// before its samples. Not thread-safe.
class Exposition {
 public:
  enum class Type { kCounter, kGauge, kHistogram };
  struct Label {
    std::string_view name;
    std::string_view value;  // any bytes; escaped here
  };
  using Labels = std::initializer_list<Label>;

  class Family {
   public:
    template <std::integral Number>
    void add(Labels labels, Number value) {
      add_line("", {labels.begin(), labels.size()}, {}, std::to_string(value));
    }
    void add(Labels labels, double value);
    void add(Labels labels, const DurationHistogram::Snapshot& durations) {
      add(std::span<const Label>(labels.begin(), labels.size()), durations);
    }
    void add(std::span<const Label> labels, double value);
    void add(std::span<const Label> labels, const DurationHistogram::Snapshot& durations);

   private:
    friend class Exposition;
    void add_line(std::string_view suffix, std::span<const Label> labels, std::string_view bound,
                  std::string_view value);

    std::string_view name_;  // of the map's key
    std::string help_;
    Type type_ = Type::kGauge;
    std::string samples_;
  };

  // The family of that name, begun by the first who asks; all must say the same type. Valid as long as this is.
  Family& family(std::string_view name, std::string_view help, Type type);

  std::string text() const;

 private:
  std::map<std::string, Family, std::less<>> families_;
};

using MetricLabels = std::map<std::string, std::string>;

// The process's metrics: series that are kept here, and collectors that write what is cheaper to ask for than to keep
// (a lag, a size) or comes and goes (a topic's). Thread-safe.
class Metrics {
 public:
  Metrics() = default;
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  // Asking twice for the same name and labels gives the same series. It lives as long as this.
  Counter& counter(const std::string& name, const std::string& help, const MetricLabels& labels = {}) EXCLUDES(mutex_);
  Gauge& gauge(const std::string& name, const std::string& help, const MetricLabels& labels = {}) EXCLUDES(mutex_);
  DurationHistogram& histogram(const std::string& name, const std::string& help, const MetricLabels& labels = {})
      EXCLUDES(mutex_);

  using Collector = std::function<void(Exposition&)>;

  // A collector's place among the others, until destruction, which waits for a call that is running.
  class Registration {
   public:
    Registration() = default;
    ~Registration() { reset(); }
    Registration(Registration&& other) noexcept : metrics_(std::exchange(other.metrics_, nullptr)), at_(other.at_) {}
    Registration& operator=(Registration&& other) noexcept;
    void reset();

   private:
    friend class Metrics;
    Registration(Metrics& metrics, std::list<Collector>::iterator at) : metrics_(&metrics), at_(at) {}
    Metrics* metrics_ = nullptr;
    std::list<Collector>::iterator at_;
  };

  // Have `collector` called for each exposition: one call at a time, no lock held, after those that came before it. It
  // may block, but whoever reads the metrics waits for it.
  [[nodiscard]] Registration add_collector(Collector collector) EXCLUDES(mutex_);

  // Everything in the text exposition format.
  std::string to_prometheus_text() EXCLUDES(mutex_);

 private:
  template <typename Instrument>
  struct Series {
    std::string help;
    // A line of the cache for each, so that threads that count different things do not wait for each other.
    struct alignas(64) Cell {
      Instrument instrument;
    };
    std::map<MetricLabels, std::unique_ptr<Cell>> by_labels;
  };
  template <typename Instrument>
  using Families = std::map<std::string, Series<Instrument>, std::less<>>;

  template <typename Instrument>
  Instrument& find_or_make(Families<Instrument>& families, const std::string& name, const std::string& help,
                           const MetricLabels& labels) REQUIRES(mutex_);
  void write_kept(Exposition& out) const REQUIRES(mutex_);

  Mutex mutex_;
  CondVar idle_;
  bool collecting_ GUARDED_BY(mutex_) = false;
  std::list<Collector> collectors_ GUARDED_BY(mutex_);
  Families<Counter> counters_ GUARDED_BY(mutex_);
  Families<Gauge> gauges_ GUARDED_BY(mutex_);
  Families<DurationHistogram> histograms_ GUARDED_BY(mutex_);
};

}  // namespace millrace
