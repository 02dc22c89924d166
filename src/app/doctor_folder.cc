#include <fmt/core.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <fstream>
#include <ostream>

#include "app/data_folder.h"
#include "app/doctor.h"
#include "app/internal_records.h"
#include "base/text.h"
#include "broker/settings.h"
#include "env/posix_file_system.h"

// `millrace doctor` without a server.
namespace millrace::app {
namespace {

using log::Severity;

constexpr uint64_t kShownProgressBytes = 256ull << 20;  // smaller folders are read before anybody wonders
constexpr uint64_t kLowRoomBytes = 1ull << 30;

void add(Diagnosis& diagnosis, Severity severity, std::string where, std::string what, std::string advice) {
  diagnosis.findings.push_back({severity, std::move(where), std::move(what), std::move(advice)});
}

// Held while we look. A folder that we may not lock, we may still look at.
Result<std::unique_ptr<env::FileLock>> take_lock(env::FileSystem& files, const std::string& data) {
  const std::string path = data + "/LOCK";
  if (!files.exists(path).value_or(false)) return nullptr;
  auto lock = files.lock(path);
  if (lock) return lock;
  if (lock.error().code != Errc::kConflict) return nullptr;
  // The file of addresses may be a dead server's, the lock cannot.
  const auto server = running_server(data);
  return fail(Errc::kConflict,
              server ? fmt::format("a server runs on {}: process {}", data, server->pid)
                     : fmt::format("another process uses {}", data),
              "check a running server with millrace doctor --server, or stop it first");
}

// The settings that were changed while a server ran: lines "name=value", "cluster:name=value" for all brokers'.
void check_dynamic_configs(const std::string& data, Diagnosis& diagnosis) {
  const std::string path = data + "/dynamic-configs";
  std::ifstream file(path);
  const auto known = broker::setting_infos();
  int number = 0;
  for (std::string text; std::getline(file, text);) {
    ++number;
    constexpr std::string_view kOfCluster = "cluster:";
    const size_t begin = text.starts_with(kOfCluster) ? kOfCluster.size() : 0;
    const std::string name = text.substr(begin, text.find('=') - begin);
    const bool is_known = std::ranges::any_of(known, [&](const auto& info) { return info.name == name; });
    if (text.find('=') == std::string::npos || !is_known)
      add(diagnosis, Severity::kDamage, fmt::format("{} line {}", path, number),
          fmt::format("'{}' is no setting that can change while a server runs", text), "remove the line");
  }
}

void check_names(const std::string& data, Diagnosis& diagnosis) {
  static constexpr std::array kKnown = {"FORMAT",     "LOCK",         "instance",     "server.json",     "wal",
                                        "checkpoint", "topics",       "producer-ids", "dynamic-configs", "logs",
                                        "cache",      "client-quotas"};
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(data, error)) {
    const std::string name = entry.path().filename().string();
    if (std::ranges::find(kKnown, name) != kKnown.end() || name.starts_with("warehouse")) continue;
    if (name.ends_with(".tmp"))
      add(diagnosis, Severity::kNote, entry.path().string(), "was being written when a server ended",
          "nothing: it is written anew");
    else
      add(diagnosis, Severity::kNote, entry.path().string(), "is nothing that a server asks for",
          "move it away if nobody needs it");
  }
  if (std::filesystem::exists(data + "/server.json", error))
    add(diagnosis, Severity::kNote, data + "/server.json", "the last server did not stop cleanly",
        "nothing: the next start reads the write-ahead log");
}

void show_partitions(const log::FolderReport& report, Diagnosis& diagnosis) {
  diagnosis.overview.columns = {"topic",   "partition", "segments", "bytes",  "batches",
                                "records", "begin",     "end",      "in_wal", "findings"};
  for (const auto& one : report.partitions) {
    // Internal topics have many partitions, most of them without a record ever.
    if (one.topic.starts_with("__") && one.segments == 0 && one.end == Offset(0) && one.findings.empty()) continue;
    diagnosis.overview.rows.push_back({one.topic, int64_t{one.partition}, static_cast<int64_t>(one.segments),
                                       static_cast<int64_t>(one.bytes), static_cast<int64_t>(one.batches), one.records,
                                       one.begin.value(), one.end.value(), one.wal_records,
                                       static_cast<int64_t>(one.findings.size())});
  }
}

}  // namespace

Result<Diagnosis> examine_folder(const CommandLine& line, log::InspectOptions options) {
  env::PosixFileSystem files;
  MILLRACE_ASSIGN_OR_RETURN(const auto lock, take_lock(files, line.data));
  options.check = [](std::string_view topic, const record::BatchView&, const record::Record& record) -> Status {
    if (!is_known_internal(topic)) return {};
    MILLRACE_RETURN_IF_ERROR(describe_internal(topic, record));
    return {};
  };
  const bool is_terminal = ::isatty(STDERR_FILENO) != 0;
  bool shown = false;
  options.progress = [&](uint64_t done, uint64_t total) {
    if (!is_terminal || total < kShownProgressBytes) return;
    shown = true;
    line.notes << fmt::format("\r{:.1f} of {:.1f} GB read", static_cast<double>(done) / 1e9,
                              static_cast<double>(total) / 1e9)
               << std::flush;
  };
  MILLRACE_ASSIGN_OR_RETURN(const log::FolderReport report, log::inspect_folder(files, line.data, options));
  if (shown) line.notes << '\n';

  Diagnosis diagnosis{"data folder " + line.data, report.findings, {}};
  show_partitions(report, diagnosis);
  for (const auto& partition : report.partitions)
    diagnosis.findings.insert(diagnosis.findings.end(), partition.findings.begin(), partition.findings.end());
  check_dynamic_configs(line.data, diagnosis);
  check_names(line.data, diagnosis);
  if (report.free_bytes < kLowRoomBytes)
    add(diagnosis, Severity::kWarning, line.data,
        fmt::format("only {} MB are free: appends are refused when the disk is full", report.free_bytes >> 20),
        "free some, or move the folder to a larger disk");
  if (report.wal_bytes > 0)
    add(diagnosis, Severity::kNote, line.data + "/wal",
        fmt::format("{} KB are not in a checkpoint yet", report.wal_bytes >> 10), "nothing: the next start reads them");
  return diagnosis;
}

}  // namespace millrace::app
