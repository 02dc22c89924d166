#include "app/log_dump.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <ostream>

#include "app/internal_records.h"
#include "base/unix_time.h"
#include "base/utf8.h"
#include "columns/column.h"
#include "env/posix_file_system.h"
#include "log/inspect.h"
#include "record/compression.h"
#include "record/marker.h"

namespace millrace::app {
namespace {

constexpr size_t kPlainBytesMax = 256u << 20;
constexpr size_t kRowsAtOnce = 1000;  // a table's widths fit so many rows

Cell time_cell(int64_t ms) { return ms < 0 ? Cell() : Cell(columns::format_timestamp(us_from_ms(ms))); }

Cell bytes_cell(const std::optional<ByteView>& bytes) {
  if (!bytes) return {};
  if (is_utf8(as_text(*bytes))) return std::string(as_text(*bytes));
  return fmt::format("({} bytes, not UTF-8)", bytes->size());
}

std::string codec_text(const record::BatchView& batch) {
  const int codec = batch.attributes() & 0x7;
  return codec < record::kCodecs ? record::codec_name(batch.codec()) : fmt::format("unknown ({})", codec);
}

// Prints rows in portions: files are larger than memory.
class Rows {
 public:
  Rows(const CommandLine& line, std::vector<std::string> columns) : line_(line), listing_{std::move(columns), {}, ""} {}

  void add(std::vector<Cell> row) {
    listing_.rows.push_back(std::move(row));
    if (listing_.rows.size() >= kRowsAtOnce) flush();
  }

  void flush() {
    if (line_.output == OutputFormat::kJson)
      print_json_lines(listing_, line_.out);
    else if (!listing_.rows.empty())
      line_.show(listing_);
    listing_.rows.clear();
  }

 private:
  const CommandLine& line_;
  Listing listing_;
};

// The topic of a partition's folder, or of a file in it; empty for others.
std::string topic_of(const std::string& path) {
  const auto folder = std::filesystem::path(path).parent_path().filename().string();
  const auto parsed = log::parse_partition_folder(folder);
  return parsed ? parsed->first : std::string();
}

std::string kind_of(const record::BatchView& batch) {
  if (batch.is_control()) {
    const auto type = record::marker_type(batch);
    if (!type || !*type) return "control";
    return **type == record::MarkerType::kCommit ? "commit" : "abort";
  }
  return batch.is_transactional() ? "transactional" : "data";
}

std::vector<Cell> batch_row(uint64_t position, const record::BatchView& batch) {
  return {static_cast<int64_t>(position),
          batch.base_offset().value(),
          batch.last_offset().value(),
          int64_t{batch.record_count()},
          static_cast<int64_t>(batch.size_bytes()),
          kind_of(batch),
          codec_text(batch),
          time_cell(batch.max_timestamp_ms()),
          batch.has_producer_id() ? Cell(batch.producer_id().value()) : Cell(),
          batch.has_producer_id() ? Cell(int64_t{batch.producer_epoch().value()}) : Cell(),
          batch.has_producer_id() ? Cell(int64_t{batch.base_sequence()}) : Cell(),
          int64_t{batch.leader_epoch().value()},
          batch.checksum_matches()};
}

const std::vector<std::string> kBatchColumns = {"position", "first",        "last",          "records",     "bytes",
                                                "kind",     "codec",        "max_timestamp", "producer_id", "epoch",
                                                "sequence", "leader_epoch", "crc_ok"};
const std::vector<std::string> kRecordColumns = {"offset", "timestamp", "kind", "key", "headers", "value"};

std::string headers_text(const record::Record& record) {
  std::string text;
  for (const auto& header : record.headers)
    text += fmt::format("{}{}={}", text.empty() ? "" : ", ", header.key,
                        header.value ? std::string_view(as_text(*header.value)) : std::string_view("null"));
  return is_utf8(text) ? text : fmt::format("({} headers, not UTF-8)", record.headers.size());
}

Status add_records(const record::BatchView& batch, const std::string& topic, const DumpFlags& flags, Rows& rows) {
  MILLRACE_ASSIGN_OR_RETURN(auto reader, record::RecordReader::open(batch, kPlainBytesMax));
  record::Record record;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const bool more, reader.next(record));
    if (!more) return {};
    if (record.offset.value() < flags.from || record.offset.value() >= flags.to) continue;
    Cell key = bytes_cell(record.key);
    Cell value = bytes_cell(record.value);
    if (batch.is_control()) {
      key = Cell();
      value = kind_of(batch);
    } else if (is_known_internal(topic)) {
      MILLRACE_ASSIGN_OR_RETURN(value, describe_internal(topic, record));
      key = Cell();
    }
    rows.add({record.offset.value(), time_cell(record.timestamp_ms), kind_of(batch), std::move(key),
              record.headers.empty() ? Cell() : Cell(headers_text(record)), std::move(value)});
  }
}

Status dump_segment(const CommandLine& line, const DumpFlags& flags, const std::string& path) {
  env::PosixFileSystem files;
  Rows rows(line, flags.records ? kRecordColumns : kBatchColumns);
  const std::string topic = topic_of(path);
  const Status walked =
      log::walk_batches(files, path, [&](uint64_t position, const record::BatchView& batch) -> Status {
        if (batch.last_offset().value() < flags.from || batch.base_offset().value() >= flags.to) return {};
        if (!flags.records) {
          rows.add(batch_row(position, batch));
          return {};
        }
        if (!batch.checksum_matches())
          return fail(Errc::kCorruption,
                      fmt::format("{} at byte {}: the checksum of the batch of offset {} is wrong", path, position,
                                  batch.base_offset().value()),
                      "without --records the batches are listed all the same");
        return add_records(batch, topic, flags, rows);
      });
  rows.flush();
  return walked;
}

Status dump_index(const CommandLine& line, const std::string& path) {
  env::PosixFileSystem files;
  Rows rows(line, {"relative_offset", "position"});
  MILLRACE_ASSIGN_OR_RETURN(const auto entries, log::read_offset_index(files, path));
  for (const auto& entry : entries) rows.add({int64_t{entry.relative_offset}, int64_t{entry.position}});
  rows.flush();
  return {};
}

Status dump_time_index(const CommandLine& line, const std::string& path) {
  env::PosixFileSystem files;
  Rows rows(line, {"timestamp", "relative_offset"});
  MILLRACE_ASSIGN_OR_RETURN(const auto entries, log::read_time_index(files, path));
  for (const auto& entry : entries) rows.add({time_cell(entry.timestamp_ms), int64_t{entry.relative_offset}});
  rows.flush();
  return {};
}

Status dump_transaction_index(const CommandLine& line, const std::string& path) {
  env::PosixFileSystem files;
  Rows rows(line, {"producer_id", "first", "last", "last_stable"});
  MILLRACE_ASSIGN_OR_RETURN(const auto entries, log::read_transaction_index(files, path));
  for (const auto& entry : entries)
    rows.add({entry.producer_id.value(), entry.first_offset.value(), entry.last_offset.value(),
              entry.last_stable_offset.value()});
  rows.flush();
  return {};
}

Status dump_wal(const CommandLine& line, const std::string& data) {
  env::PosixFileSystem files;
  Rows rows(line, {"entry", "topic", "partition", "first", "last", "records", "bytes", "detail"});
  const Status walked = log::walk_wal(files, data, [&](const log::WalLine& entry) -> Status {
    const Cell partition = entry.partition < 0 ? Cell() : Cell(int64_t{entry.partition});
    if (entry.batches.empty()) {
      rows.add({entry.type, int64_t{entry.topic}, partition, {}, {}, {}, {}, entry.detail});
      return {};
    }
    record::BatchReader reader(entry.batches);
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const auto batch, reader.next());
      if (!batch) return {};
      rows.add({entry.type, int64_t{entry.topic}, partition, batch->base_offset().value(), batch->last_offset().value(),
                int64_t{batch->record_count()}, static_cast<int64_t>(batch->size_bytes()), kind_of(*batch)});
    }
  });
  rows.flush();
  return walked;
}

Status dump_file(const CommandLine& line, const DumpFlags& flags, const std::string& path) {
  const std::string file = std::filesystem::path(path).filename().string();
  const std::string_view name = file;
  if (name.ends_with(".timeindex")) return dump_time_index(line, path);
  if (name.ends_with(".txnindex")) return dump_transaction_index(line, path);
  if (name.ends_with(".index")) return dump_index(line, path);
  if (name.find(".log") != std::string_view::npos) return dump_segment(line, flags, path);
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is neither a file of a log nor a topic's partition", path),
              "a .log, .index, .timeindex or .txnindex file, TOPIC-PARTITION, or wal");
}

// Segment by segment.
Status dump_partition(const CommandLine& line, const DumpFlags& flags, const std::string& folder) {
  std::vector<std::string> segments;
  for (const auto& entry : std::filesystem::directory_iterator(folder))
    if (entry.path().extension() == ".log") segments.push_back(entry.path().string());
  std::ranges::sort(segments);
  for (const auto& segment : segments) {
    if (line.output == OutputFormat::kTable) line.notes << segment << '\n';
    MILLRACE_RETURN_IF_ERROR(dump_segment(line, flags, segment));
  }
  return {};
}

}  // namespace

Status dump_logs(const CommandLine& line, const DumpFlags& flags) {
  for (const auto& what : flags.what) {
    if (what == "wal") {
      MILLRACE_RETURN_IF_ERROR(dump_wal(line, line.data));
      continue;
    }
    std::error_code error;
    const std::string folder = line.data + "/topics/" + what;
    const bool is_folder = std::filesystem::is_directory(what, error);
    if (is_folder || (log::parse_partition_folder(what) && std::filesystem::is_directory(folder, error))) {
      MILLRACE_RETURN_IF_ERROR(dump_partition(line, flags, is_folder ? what : folder));
      continue;
    }
    if (!std::filesystem::exists(what, error))
      return fail(Errc::kNotFound,
                  fmt::format("there is neither a file {} nor a partition of that name in {}", what, line.data),
                  "a partition's newest records may still be in the write-ahead log: millrace log dump wal");
    MILLRACE_RETURN_IF_ERROR(dump_file(line, flags, what));
  }
  return {};
}

}  // namespace millrace::app
