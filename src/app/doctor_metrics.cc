#include "app/doctor_metrics.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <map>

#include "base/text.h"

namespace millrace::app {
namespace {

using log::Severity;

constexpr double kSlowSyncSeconds = 0.05;
constexpr double kSkewSeconds = 1;  // what machines that follow a time server never come to

double unix_seconds(WallTime time) { return static_cast<double>(to_unix_us(time)) * 1e-6; }

class Examination {
 public:
  Examination(const Scrape& scrape, std::string_view own_version) : scrape_(scrape), own_version_(own_version) {}

  std::vector<log::Finding> run() {
    for (const std::string_view one : split(scrape_.text, '\n')) {
      const size_t space = one.rfind(' ');
      if (one.starts_with('#') || space == std::string_view::npos) continue;
      if (const auto value = parse_double(one.substr(space + 1))) take(one.substr(0, space), *value);
    }
    check_version();
    check_clock();
    check_syncs();
    if (const double refused = sums_["millrace_broker_connections_refused_total"]; refused > 0)
      add(Severity::kWarning, "connections", fmt::format("{:.0f} were refused since the start", refused),
          "raise max.connections, or find the client that opens so many");
    return std::move(findings_);
  }

 private:
  void add(Severity severity, std::string where, std::string what, std::string advice) {
    findings_.push_back({severity, std::move(where), std::move(what), std::move(advice)});
  }

  void take(std::string_view series, double value) {
    const auto name = std::string(series.substr(0, series.find('{')));
    sums_[name] += value;
    if (name == "millrace_build_info") version_ = label(series, "version");
    if (name.find("quarantined") != std::string::npos && value > 0)
      add(Severity::kDamage, std::string(series), "partitions are quarantined: their files are damaged",
          "the server's log names file and byte; stop it and run millrace doctor");
    if (name.ends_with("_failures_total") && value > 0)
      add(Severity::kWarning, std::string(series), fmt::format("counted {:.0f} failures since the start", value),
          "see the server's log");
  }

  // Of values in which nothing is escaped.
  static std::string label(std::string_view series, std::string_view name) {
    const std::string begin = fmt::format("{}=\"", name);
    const size_t at = series.find(begin);
    if (at == std::string_view::npos) return {};
    const std::string_view value = series.substr(at + begin.size());
    return std::string(value.substr(0, value.find('"')));
  }

  void check_version() {
    if (version_.empty())
      return add(Severity::kWarning, scrape_.server, "does not say which version of Millrace it is",
                 "see whether that is the HTTP address of a Millrace server");
    add(Severity::kNote, scrape_.server,
        version_ == own_version_
            ? fmt::format("runs version {}", version_)
            : fmt::format("runs version {}, and this command is of version {}", version_, own_version_),
        "");
  }

  // The server read its clock at some moment between the question and the answer.
  void check_clock() {
    const auto found = sums_.find("millrace_time_seconds");
    if (found == sums_.end() || !std::isfinite(found->second)) return;
    const double ahead_at_least = found->second - unix_seconds(scrape_.answered);
    const double ahead_at_most = found->second - unix_seconds(scrape_.asked);
    if (ahead_at_least <= 0 && ahead_at_most >= 0)
      return add(Severity::kNote, scrape_.server,
                 fmt::format("its clock and this machine's agree, to {:.0f} ms",
                             std::max({1.0, -ahead_at_least * 1e3, ahead_at_most * 1e3})),
                 "");
    const double apart = std::max(ahead_at_least, -ahead_at_most);
    const bool is_far = apart > kSkewSeconds;
    add(is_far ? Severity::kWarning : Severity::kNote, scrape_.server,
        fmt::format("its clock is {:.3f} s {} this machine's", apart, ahead_at_least > 0 ? "ahead of" : "behind"),
        is_far ? "let both follow a time server: retention and event time go by these clocks" : "");
  }

  void check_syncs() {
    const double syncs = sums_["millrace_wal_sync_seconds_count"];
    if (syncs <= 0) return;
    const double mean = sums_["millrace_wal_sync_seconds_sum"] / syncs;
    add(mean > kSlowSyncSeconds ? Severity::kWarning : Severity::kNote, "write-ahead log",
        fmt::format("a sync takes {:.2f} ms on average, over {:.0f} of them", mean * 1e3, syncs),
        mean > kSlowSyncSeconds ? "every acknowledgement waits for one: use a faster disk, or one of its own" : "");
  }

  const Scrape& scrape_;
  const std::string_view own_version_;
  std::map<std::string, double, std::less<>> sums_;  // over all series of a name
  std::string version_;
  std::vector<log::Finding> findings_;
};

}  // namespace

std::vector<log::Finding> examine_metrics(const Scrape& scrape, std::string_view own_version) {
  return Examination(scrape, own_version).run();
}

}  // namespace millrace::app
