#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

namespace millrace {

using MetricLabels = std::map<std::string, std::string>;

// A number that only grows. Handles are cheap to copy and valid as long as their Metrics; add() is lock-free.
class Counter {
 public:
  void add(double amount = 1) const;
  double value() const;

 private:
  friend class Metrics;
  explicit Counter(void* impl) : impl_(impl) {}
  void* impl_;
};

class Gauge {
 public:
  void set(double value) const;
  void add(double amount) const;
  double value() const;

 private:
  friend class Metrics;
  explicit Gauge(void* impl) : impl_(impl) {}
  void* impl_;
};

class Histogram {
 public:
  void observe(double value) const;

 private:
  friend class Metrics;
  explicit Histogram(void* impl) : impl_(impl) {}
  void* impl_;
};

// The process's metrics, in Prometheus' terms: names like millrace_produce_bytes_total, units in the name, base units
// (seconds, bytes). Asking twice for the same name and labels gives the same series. Thread-safe.
class Metrics {
 public:
  Metrics();
  ~Metrics();
  Metrics(const Metrics&) = delete;
  Metrics& operator=(const Metrics&) = delete;

  Counter counter(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  Gauge gauge(const std::string& name, const std::string& help, const MetricLabels& labels = {});
  // `bounds` are the buckets' upper ends, ascending.
  Histogram histogram(const std::string& name, const std::string& help, const std::vector<double>& bounds,
                      const MetricLabels& labels = {});

  // Run `refresh` before each exposition, for values that are cheaper to ask for than to keep (a lag, a size).
  void before_exposition(std::function<void()> refresh);

  // Everything in the text exposition format, version 0.0.4.
  std::string to_prometheus_text();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace millrace
