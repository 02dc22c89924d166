#include "app/doctor.h"

#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <memory>
#include <ostream>

#include "base/json_writer.h"

namespace millrace::app {
namespace {

const char* severity_name(log::Severity severity) {
  switch (severity) {
    case log::Severity::kNote:
      return "note";
    case log::Severity::kWarning:
      return "warning";
    case log::Severity::kDamage:
      return "problem";
  }
  return "problem";
}

size_t count(const Diagnosis& diagnosis, log::Severity severity) {
  return static_cast<size_t>(std::ranges::count(diagnosis.findings, severity, &log::Finding::severity));
}

void print_json(const CommandLine& line, const Diagnosis& diagnosis) {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("subject").text(diagnosis.subject);
  json.key("ok").boolean(count(diagnosis, log::Severity::kDamage) == 0);
  json.key("findings").begin_array();
  for (const auto& finding : diagnosis.findings) {
    json.begin_object().key("severity").text(severity_name(finding.severity)).key("where").text(finding.where);
    json.key("what").text(finding.what).key("try").text(finding.advice).end_object();
  }
  json.end_array();
  json.key("overview").begin_array();
  for (const auto& row : diagnosis.overview.rows) write_json_row(diagnosis.overview, row, json);
  json.end_array().end_object();
  line.out << text << '\n';
}

}  // namespace

Status show_diagnosis(const CommandLine& line, Diagnosis diagnosis) {
  std::vector<log::Finding> ordered;
  for (const auto severity : {log::Severity::kDamage, log::Severity::kWarning, log::Severity::kNote})
    std::ranges::copy_if(diagnosis.findings, std::back_inserter(ordered),
                         [&](const log::Finding& finding) { return finding.severity == severity; });
  diagnosis.findings = std::move(ordered);
  if (line.output == OutputFormat::kJson) {
    print_json(line, diagnosis);
  } else {
    if (line.output == OutputFormat::kTable && !diagnosis.overview.rows.empty()) {
      line.show(diagnosis.overview);
      line.out << '\n';
    }
    Listing listing{{"severity", "where", "what", "try"}, {}, "nothing found to complain about"};
    for (const auto& finding : diagnosis.findings)
      listing.rows.push_back({severity_name(finding.severity), finding.where, finding.what, finding.advice});
    line.show(listing);
  }
  const size_t problems = count(diagnosis, log::Severity::kDamage);
  line.notes << fmt::format("{}: {} problem{}, {} warning{}\n", diagnosis.subject, problems, problems == 1 ? "" : "s",
                            count(diagnosis, log::Severity::kWarning),
                            count(diagnosis, log::Severity::kWarning) == 1 ? "" : "s");
  if (problems == 0) return {};
  return fail(Errc::kCorruption,
              fmt::format("{} is not well: {} problem{}", diagnosis.subject, problems, problems == 1 ? "" : "s"),
              "what each finding says");
}

void add_doctor_command(CLI::App& root, CommandLine& line) {
  auto server = std::make_shared<bool>(false);
  auto all_records = std::make_shared<bool>(false);
  auto http = std::make_shared<std::string>();
  auto* doctor = root.add_subcommand(
      "doctor",
      "check the data folder, every byte of it, or with --server a running server; 1 where there is a problem");
  doctor->add_flag("--server", *server, "check the running server, or the cluster that --bootstrap names");
  doctor->add_flag("--records", *all_records, "of the data folder, decode every record, too");
  doctor
      ->add_option("--http", *http,
                   "where that server serves HTTP: tells its version, its clock, and what it measures "
                   "[that of the data folder's server]")
      ->type_name("HOST:PORT");
  doctor->callback([&line, server, all_records, http] {
    line.selected = [&line, server, all_records, http]() -> Status {
      if (*server || !line.bootstrap.empty() || !http->empty()) {
        if (*all_records)
          return fail(Errc::kInvalidArgument, "--records is for data folders, not for running servers",
                      "leave it out, or leave out --server, --bootstrap and --http");
        MILLRACE_ASSIGN_OR_RETURN(auto diagnosis, examine_server(line, *http));
        return show_diagnosis(line, std::move(diagnosis));
      }
      log::InspectOptions options;
      options.all_records = *all_records;
      MILLRACE_ASSIGN_OR_RETURN(auto diagnosis, examine_folder(line, std::move(options)));
      return show_diagnosis(line, std::move(diagnosis));
    };
  });
}

}  // namespace millrace::app
