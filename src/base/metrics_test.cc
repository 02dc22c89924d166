#include "base/metrics.h"

#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <set>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/text.h"

namespace millrace {
namespace {

using namespace std::chrono_literals;

// One line of samples, taken apart as the format's grammar has it.
struct Sample {
  std::string name;
  std::map<std::string, std::string> labels;
  std::string value;
};

std::string take_until(std::string_view& line, std::string_view ends) {
  const size_t end = line.find_first_of(ends);
  std::string taken(line.substr(0, end));
  line.remove_prefix(std::min(line.size(), taken.size()));
  return taken;
}

std::string take_quoted(std::string_view& line) {
  EXPECT_EQ(line.substr(0, 1), "\"") << line;
  std::string text;
  size_t at = 1;
  for (; at < line.size() && line[at] != '"'; ++at) {
    if (line[at] == '\\') {
      ++at;
      text += line[at] == 'n' ? '\n' : line[at];
    } else {
      text += line[at];
    }
  }
  EXPECT_LT(at, line.size()) << "no end of a label's value";
  line.remove_prefix(std::min(line.size(), at + 1));
  return text;
}

Sample parse_sample(std::string_view line) {
  Sample sample;
  sample.name = take_until(line, "{ ");
  if (line.starts_with('{')) {
    while (!line.starts_with('}') && !line.empty()) {
      line.remove_prefix(1);
      const std::string label = take_until(line, "=");
      line.remove_prefix(1);
      EXPECT_TRUE(sample.labels.emplace(label, take_quoted(line)).second) << "label " << label << " twice";
    }
    line.remove_prefix(1);
  }
  EXPECT_EQ(line.substr(0, 1), " ");
  sample.value = line.substr(1);
  return sample;
}

// The samples of an exposition whose families each come once, with HELP and TYPE before their samples.
std::vector<Sample> parse(std::string_view text) {
  std::vector<Sample> samples;
  std::set<std::string> families;
  std::set<std::pair<std::string, std::map<std::string, std::string>>> seen;
  std::string helped;
  std::string family;
  std::string type;
  EXPECT_TRUE(text.empty() || text.ends_with('\n'));
  for (std::string_view line : split(text, '\n')) {
    if (line.empty()) continue;
    if (line.starts_with("# HELP ")) {
      line.remove_prefix(7);
      helped = take_until(line, " ");
      EXPECT_TRUE(families.insert(helped).second) << helped << " comes twice";
    } else if (line.starts_with("# TYPE ")) {
      line.remove_prefix(7);
      family = take_until(line, " ");
      EXPECT_EQ(family, helped);
      type = line.substr(1);
    } else {
      const Sample sample = parse_sample(line);
      const std::set<std::string> names =
          type == "histogram" ? std::set<std::string>{family + "_bucket", family + "_sum", family + "_count"}
                              : std::set<std::string>{family};
      EXPECT_TRUE(names.contains(sample.name)) << sample.name << " among the samples of " << family;
      EXPECT_TRUE(seen.emplace(sample.name, sample.labels).second) << line << " comes twice";
      samples.push_back(sample);
    }
  }
  return samples;
}

std::string value_of(const std::vector<Sample>& samples, const std::string& name,
                     const std::map<std::string, std::string>& labels = {}) {
  for (const Sample& sample : samples)
    if (sample.name == name && sample.labels == labels) return sample.value;
  return "(none)";
}

TEST(Metrics, TheSameNameAndLabelsAreTheSameSeries) {
  Metrics metrics;
  metrics.counter("millrace_test_total", "A test.", {{"topic", "a"}}).add(2);
  metrics.counter("millrace_test_total", "A test.", {{"topic", "a"}}).add();
  metrics.counter("millrace_test_total", "A test.", {{"topic", "b"}}).add(7);
  const auto samples = parse(metrics.to_prometheus_text());
  EXPECT_EQ(value_of(samples, "millrace_test_total", {{"topic", "a"}}), "3");
  EXPECT_EQ(value_of(samples, "millrace_test_total", {{"topic", "b"}}), "7");
}

TEST(Metrics, ACollectorWritesUntilItsRegistrationEnds) {
  Metrics metrics;
  int64_t lag = 3;
  auto registration = metrics.add_collector([&](Exposition& out) {
    out.family("millrace_lag", "A lag.", Exposition::Type::kGauge).add({{"group", "g"}}, lag);
  });
  EXPECT_EQ(value_of(parse(metrics.to_prometheus_text()), "millrace_lag", {{"group", "g"}}), "3");
  lag = -1;
  auto moved = std::move(registration);
  EXPECT_EQ(value_of(parse(metrics.to_prometheus_text()), "millrace_lag", {{"group", "g"}}), "-1");
  moved.reset();
  EXPECT_EQ(metrics.to_prometheus_text(), "");
}

TEST(Metrics, SamplesOfOneFamilyStandTogetherWhoeverWritesThem) {
  Metrics metrics;
  metrics.gauge("millrace_size_bytes", "A size.", {{"of", "kept"}}).set(1.5);
  const auto write = [](const char* of) {
    return [of](Exposition& out) {
      out.family("millrace_size_bytes", "A size.", Exposition::Type::kGauge).add({{"of", of}}, 2);
      out.family("millrace_other", "Another.", Exposition::Type::kGauge).add({{"of", of}}, 3);
    };
  };
  const auto one = metrics.add_collector(write("one"));
  const auto two = metrics.add_collector(write("two"));
  const auto samples = parse(metrics.to_prometheus_text());  // a family that comes twice would fail
  EXPECT_EQ(samples.size(), 5u);
  EXPECT_EQ(value_of(samples, "millrace_size_bytes", {{"of", "kept"}}), "1.5");
  EXPECT_EQ(value_of(samples, "millrace_size_bytes", {{"of", "two"}}), "2");
}

TEST(Metrics, ALabelMayHoldAnyBytesAndHelpMayHaveLines) {
  const std::string odd = "a\\b\"c\nd{},=e ü";
  Metrics metrics;
  const auto registration = metrics.add_collector([&](Exposition& out) {
    out.family("millrace_odd", "back\\slash\nand \"line\"", Exposition::Type::kGauge).add({{"x", odd}, {"y", ""}}, 1);
  });
  const std::string text = metrics.to_prometheus_text();
  EXPECT_TRUE(text.starts_with("# HELP millrace_odd back\\\\slash\\nand \"line\"\n# TYPE millrace_odd gauge\n"))
      << text;
  EXPECT_EQ(value_of(parse(text), "millrace_odd", {{"x", odd}, {"y", ""}}), "1");
}

TEST(Metrics, NumbersThatAreNoneHaveTheFormatsNames) {
  Exposition out;
  auto& family = out.family("millrace_x", "x", Exposition::Type::kGauge);
  family.add({{"n", "1"}}, std::nan(""));
  family.add({{"n", "2"}}, INFINITY);
  family.add({{"n", "3"}}, -INFINITY);
  family.add({{"n", "4"}}, uint64_t{18'446'744'073'709'551'615u});
  const auto samples = parse(out.text());
  EXPECT_EQ(value_of(samples, "millrace_x", {{"n", "1"}}), "NaN");
  EXPECT_EQ(value_of(samples, "millrace_x", {{"n", "2"}}), "+Inf");
  EXPECT_EQ(value_of(samples, "millrace_x", {{"n", "3"}}), "-Inf");
  EXPECT_EQ(value_of(samples, "millrace_x", {{"n", "4"}}), "18446744073709551615");
}

TEST(DurationHistogram, BucketsCountUpToTheirBoundInclusive) {
  Metrics metrics;
  auto& histogram = metrics.histogram("millrace_wait_seconds", "A wait.", {{"api", "X"}});
  histogram.observe(-1ns);
  histogram.observe(10us);
  histogram.observe(10'001ns);
  histogram.observe(60s);
  histogram.observe(61s);
  const auto samples = parse(metrics.to_prometheus_text());
  const auto bucket = [&](const char* bound) {
    return value_of(samples, "millrace_wait_seconds_bucket", {{"api", "X"}, {"le", bound}});
  };
  EXPECT_EQ(bucket("1e-05"), "2");
  EXPECT_EQ(bucket("2e-05"), "3");
  EXPECT_EQ(bucket("30"), "3");
  EXPECT_EQ(bucket("60"), "4");
  EXPECT_EQ(bucket("+Inf"), "5");
  EXPECT_EQ(value_of(samples, "millrace_wait_seconds_count", {{"api", "X"}}), "5");
  EXPECT_DOUBLE_EQ(std::stod(value_of(samples, "millrace_wait_seconds_sum", {{"api", "X"}})), 121.000020001);
  EXPECT_EQ(samples.size(), DurationHistogram::kBoundsS.size() + 3);
}

TEST(DurationHistogram, QuantilesLieWhereHistogramQuantilePutsThem) {
  DurationHistogram histogram;
  EXPECT_TRUE(std::isnan(histogram.snapshot().quantile_s(0.5)));
  // 90 in (1 ms, 2 ms], 10 in (20 ms, 50 ms].
  for (int i = 0; i < 90; ++i) histogram.observe(1500us);
  for (int i = 0; i < 10; ++i) histogram.observe(30ms);
  const auto snapshot = histogram.snapshot();
  EXPECT_NEAR(snapshot.quantile_s(0.5), 0.001 + 0.001 * 50 / 90, 1e-12);
  EXPECT_NEAR(snapshot.quantile_s(0.9), 0.002, 1e-12);
  EXPECT_NEAR(snapshot.quantile_s(0.99), 0.020 + 0.030 * 0.9, 1e-12);
  EXPECT_NEAR(snapshot.quantile_s(1), 0.050, 1e-12);
  for (int i = 0; i < 1000; ++i) histogram.observe(100s);
  EXPECT_EQ(histogram.snapshot().quantile_s(0.99), 60);
}

TEST(DurationHistogram, ThreadsTogetherLoseNothing) {
  DurationHistogram histogram;
  Counter counter;
  std::vector<std::thread> threads;
  for (int t = 0; t < 6; ++t)
    threads.emplace_back([&] {
      for (int i = 0; i < 10'000; ++i) {
        histogram.observe(std::chrono::microseconds(i));
        counter.add(2);
      }
    });
  for (auto& thread : threads) thread.join();
  EXPECT_EQ(histogram.snapshot().count, 60'000u);
  EXPECT_NEAR(histogram.snapshot().sum_s, 6 * 9'999 * 5'000 * 1e-6, 1e-6);
  EXPECT_EQ(counter.value(), 120'000u);
}

}  // namespace
}  // namespace millrace
