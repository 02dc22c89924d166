#include "app/doctor_metrics.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

namespace millrace::app {
namespace {

using log::Severity;
using testing::HasSubstr;

constexpr int64_t kAskedUs = 1'767'225'600'000'000;

// The findings about the server itself, asked at kAskedUs and answered 40 ms later.
std::vector<log::Finding> about_server(std::string text) {
  auto findings = examine_metrics({.server = "h:1",
                                   .text = std::move(text),
                                   .asked = from_unix_us(kAskedUs),
                                   .answered = from_unix_us(kAskedUs + 40'000)},
                                  "1.2.3");
  std::erase_if(findings, [](const log::Finding& finding) { return finding.where != "h:1"; });
  return findings;
}

log::Finding about_clock(double ahead_s) {
  const auto findings =
      about_server(fmt::format("millrace_build_info{{version=\"1.2.3\"}} 1\nmillrace_time_seconds {}\n",
                               static_cast<double>(kAskedUs) * 1e-6 + ahead_s));
  EXPECT_EQ(findings.size(), 2u);
  return findings.empty() ? log::Finding{} : findings.back();
}

TEST(DoctorMetrics, TellTheVersion) {
  const auto same = about_server("millrace_build_info{version=\"1.2.3\"} 1\n");
  ASSERT_EQ(same.size(), 1u);
  EXPECT_EQ(same[0].severity, Severity::kNote);
  EXPECT_EQ(same[0].what, "runs version 1.2.3");
  const auto other = about_server("millrace_build_info{version=\"0.0.0\"} 1\n");
  ASSERT_EQ(other.size(), 1u);
  EXPECT_THAT(other[0].what, HasSubstr("version 0.0.0, and this command is of version 1.2.3"));
}

TEST(DoctorMetrics, OfSomethingElseAreAWarning) {
  for (const char* text : {"", "<html>no metrics</html>", "up 1\n", "millrace_build_info{version= 1\n"}) {
    const auto findings = about_server(text);
    ASSERT_EQ(findings.size(), 1u) << text;
    EXPECT_EQ(findings[0].severity, Severity::kWarning);
    EXPECT_THAT(findings[0].advice, HasSubstr("HTTP address"));
  }
}

TEST(DoctorMetrics, ClocksAgreeWhereTheAnswersTimeAccountsForTheDifference) {
  for (const double ahead_s : {0.001, 0.01, 0.039}) {
    const auto finding = about_clock(ahead_s);
    EXPECT_EQ(finding.severity, Severity::kNote);
    EXPECT_THAT(finding.what, HasSubstr("agree, to ")) << ahead_s;
  }
  EXPECT_THAT(about_clock(0.01).what, HasSubstr("agree, to 30 ms"));
}

TEST(DoctorMetrics, AClockThatIsFarOffIsAWarning) {
  const auto ahead = about_clock(90.04);
  EXPECT_EQ(ahead.severity, Severity::kWarning);
  EXPECT_EQ(ahead.what, "its clock is 90.000 s ahead of this machine's");
  EXPECT_FALSE(ahead.advice.empty());
  const auto behind = about_clock(-3.5);
  EXPECT_EQ(behind.severity, Severity::kWarning);
  EXPECT_EQ(behind.what, "its clock is 3.500 s behind this machine's");
  const auto near = about_clock(-0.25);
  EXPECT_EQ(near.severity, Severity::kNote);
  EXPECT_EQ(near.what, "its clock is 0.250 s behind this machine's");
}

TEST(DoctorMetrics, AClockThatIsNoNumberIsLeftOut) {
  for (const char* time : {"NaN", "+Inf", "inf", "x"})
    EXPECT_EQ(
        about_server(fmt::format("millrace_build_info{{version=\"1\"}} 1\nmillrace_time_seconds {}\n", time)).size(),
        1u)
        << time;
}

TEST(DoctorMetrics, SlowSyncsFailuresAndQuarantineAreFound) {
  const auto findings = examine_metrics({.server = "h:1",
                                         .text = "# HELP x y\n"
                                                 "millrace_build_info{version=\"1\"} 1\n"
                                                 "millrace_wal_sync_seconds_sum 6\nmillrace_wal_sync_seconds_count 60\n"
                                                 "millrace_broker_connections_refused_total 2\n"
                                                 "millrace_x_failures_total{a=\"b c\"} 3\n"
                                                 "millrace_log_quarantined_partitions 1\n",
                                         .asked = {},
                                         .answered = {}},
                                        "1");
  const auto what = [&](std::string_view where, Severity severity) {
    for (const auto& finding : findings)
      if (finding.where == where && finding.severity == severity) return finding.what;
    return std::string();
  };
  EXPECT_THAT(what("write-ahead log", Severity::kWarning), HasSubstr("100.00 ms on average, over 60"));
  EXPECT_THAT(what("connections", Severity::kWarning), HasSubstr("2 were refused"));
  EXPECT_THAT(what("millrace_x_failures_total{a=\"b c\"}", Severity::kWarning), HasSubstr("3 failures"));
  EXPECT_THAT(what("millrace_log_quarantined_partitions", Severity::kDamage), HasSubstr("quarantined"));
}

}  // namespace
}  // namespace millrace::app
