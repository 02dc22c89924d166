#include "log/internal/segment_inspection.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "log/internal/index_file.h"
#include "log/internal/segment.h"
#include "record/marker.h"

namespace millrace::log {

namespace {

// A batch larger than this once decompressed was never accepted.
constexpr size_t kPlainBytesMax = 256u << 20;
constexpr size_t kFindingsMax = 20;  // of one segment: what follows says nothing new

constexpr const char* kRestoreHint =
    "copy what can be read to another topic, then delete this one, or restore the folder from a copy";
constexpr const char* kRebuiltHint = "nothing: the next start builds it anew";

// Goes through one segment's batches, and remembers of each what indexes say of them.
class SegmentWalk {
 public:
  SegmentWalk(const SegmentInspection& segment, const InspectOptions& options, PartitionReport& report)
      : segment_(segment),
        options_(options),
        report_(report),
        path_(segment_path(segment.directory, segment.base_offset, kLogSuffix)),
        first_finding_(report.findings.size()) {}

  void run(env::FileSystem& files) {
    const auto size = file_size(files);
    if (!size) return add(Severity::kDamage, path_, size.error().message, kRestoreHint);
    if (segment_.bytes && *size < *segment_.bytes)
      add(Severity::kDamage, at(*size), fmt::format("the file ends here, before its durable {} bytes", *segment_.bytes),
          kRestoreHint);
    report_.bytes += segment_.bytes.value_or(*size);
    load_indexes(files);
    const Status walked =
        walk_batches(files, path_, [this](uint64_t position, const record::BatchView& batch) -> Status {
          if (segment_.bytes && position >= *segment_.bytes) return fail(Errc::kCancelled, "");
          visit(position, batch);
          return {};
        });
    // What a crash tore behind the durable end comes back from the write-ahead log.
    if (!walked && walked.error().code != Errc::kCancelled && !(segment_.bytes && read_bytes_ >= *segment_.bytes))
      add(Severity::kDamage, at(read_bytes_), walked.error().message, kRestoreHint);
    check_offset_index();
    check_time_index();
    check_transaction_index(files);
  }

 private:
  struct Seen {
    Offset last_offset;
    uint64_t position;
  };
  struct Newest {
    int64_t timestamp_ms;
    Offset last_offset;
  };
  struct Marker {
    Offset offset;
    ProducerId producer;
  };

  Result<uint64_t> file_size(env::FileSystem& files) const {
    MILLRACE_ASSIGN_OR_RETURN(const auto file, files.open(path_, env::OpenMode::kRead));
    return file->size();
  }

  std::string at(uint64_t position) const { return fmt::format("{} at byte {}", path_, position); }

  void add(Severity severity, std::string where, std::string what, std::string advice) {
    if (report_.findings.size() - first_finding_ < kFindingsMax)
      report_.findings.push_back({severity, std::move(where), std::move(what), std::move(advice)});
  }

  void visit(uint64_t position, const record::BatchView& batch) {
    ++report_.batches;
    report_.records += batch.record_count();
    read_bytes_ = position + batch.size_bytes();
    if (!batch.checksum_matches()) {
      add(Severity::kDamage, at(position),
          fmt::format("the checksum of the batch of offsets {} to {} is wrong", batch.base_offset().value(),
                      batch.last_offset().value()),
          fmt::format("restore the folder from a copy, or copy what can be read and give up what is up to there: "
                      "millrace topic delete-records {}:{} --before {} --execute",
                      report_.topic, report_.partition, batch.last_offset().value() + 1));
    } else {
      check_records(position, batch);
    }
    if (batch.base_offset() < std::max(report_.end, segment_.base_offset))
      add(Severity::kDamage, at(position),
          fmt::format("offset {} follows {}", batch.base_offset().value(), report_.end.value() - 1), kRestoreHint);
    // Without records, compaction's, or with a delete horizon in the base timestamp: no timestamps to compare.
    constexpr uint16_t kDeleteHorizon = 0x40;
    if (batch.record_count() > 0 && (batch.attributes() & kDeleteHorizon) == 0 &&
        batch.timestamp_type() == record::TimestampType::kCreateTime &&
        batch.max_timestamp_ms() < batch.base_timestamp_ms())
      add(Severity::kDamage, at(position),
          fmt::format("the greatest timestamp, {}, is before the first, {}", batch.max_timestamp_ms(),
                      batch.base_timestamp_ms()),
          kRestoreHint);
    report_.end = std::max(report_.end, batch.last_offset() + 1);
    if (std::ranges::binary_search(indexed_positions_, static_cast<int64_t>(position)))
      batches_.push_back({batch.last_offset(), position});
    if (batch.max_timestamp_ms() <= newest_timestamp_ms_) return;
    newest_timestamp_ms_ = batch.max_timestamp_ms();
    if (std::ranges::binary_search(indexed_timestamps_, newest_timestamp_ms_))
      newest_.push_back({newest_timestamp_ms_, batch.last_offset()});
  }

  void check_records(uint64_t position, const record::BatchView& batch) {
    if (batch.is_control()) {
      const auto type = record::marker_type(batch);
      if (batch.record_count() > 0 && !type) add(Severity::kDamage, at(position), type.error().message, kRestoreHint);
      if (type && *type == record::MarkerType::kAbort) aborts_.push_back({batch.last_offset(), batch.producer_id()});
      return;
    }
    const bool is_internal = report_.topic.starts_with("__");
    if (!options_.all_records && !(is_internal && options_.check)) return;
    auto reader = record::RecordReader::open(batch, kPlainBytesMax);
    if (!reader) return add(Severity::kDamage, at(position), reader.error().message, kRestoreHint);
    record::Record record;
    while (true) {
      const auto more = reader->next(record);
      if (!more) return add(Severity::kDamage, at(position), more.error().message, kRestoreHint);
      if (!*more) return;
      if (!options_.check) continue;
      if (const Status checked = options_.check(report_.topic, batch, record); !checked)
        add(Severity::kDamage, at(position),
            fmt::format("the record of offset {}: {}", record.offset.value(), checked.error().message),
            "report it: a start leaves out what it cannot read");
    }
  }

  // Which batches the indexes speak of: of the others nothing is kept.
  void load_indexes(env::FileSystem& files) {
    const std::string path = segment_path(segment_.directory, segment_.base_offset, kIndexSuffix);
    if (auto lines = read_offset_index(files, path); usable(path, lines, segment_.index_entries)) index_ = *lines;
    const std::string time_path = segment_path(segment_.directory, segment_.base_offset, kTimeIndexSuffix);
    if (auto lines = read_time_index(files, time_path); usable(time_path, lines, segment_.time_index_entries))
      time_index_ = *lines;
    for (const auto& line : index_) indexed_positions_.push_back(line.position);
    for (const auto& line : time_index_) indexed_timestamps_.push_back(line.timestamp_ms);
    std::ranges::sort(indexed_positions_);
    std::ranges::sort(indexed_timestamps_);
  }

  void check_offset_index() {
    const std::string path = segment_path(segment_.directory, segment_.base_offset, kIndexSuffix);
    const OffsetIndexLine* before = nullptr;
    for (const auto& line : index_) {
      const auto batch = std::ranges::lower_bound(batches_, static_cast<int64_t>(line.position), {},
                                                  [](const Seen& seen) { return static_cast<int64_t>(seen.position); });
      const bool fits = batch != batches_.end() && static_cast<int64_t>(batch->position) == line.position &&
                        batch->last_offset - segment_.base_offset == line.relative_offset &&
                        (before == nullptr || line.position > before->position);
      if (!fits)
        return add(Severity::kWarning, path,
                   fmt::format("says that the batch that ends at offset {} begins at byte {}: it does not",
                               segment_.base_offset.value() + line.relative_offset, line.position),
                   "remove the file while no server runs: a start builds it anew");
      before = &line;
    }
  }

  void check_time_index() {
    const std::string path = segment_path(segment_.directory, segment_.base_offset, kTimeIndexSuffix);
    for (const auto& line : time_index_) {
      if (line.timestamp_ms == record::kNoTimestamp) continue;  // of a segment without timestamps
      const auto found = std::ranges::lower_bound(newest_, line.timestamp_ms, {}, &Newest::timestamp_ms);
      if (found == newest_.end() || found->timestamp_ms != line.timestamp_ms ||
          found->last_offset - segment_.base_offset != line.relative_offset)
        return add(Severity::kWarning, path,
                   fmt::format("says that the greatest timestamp up to offset {} is {}: it is not",
                               segment_.base_offset.value() + line.relative_offset, line.timestamp_ms),
                   "remove the file while no server runs: a start builds it anew");
    }
  }

  // Cut to the entries that count; false where there is nothing to compare.
  template <typename Lines>
  bool usable(const std::string& path, Lines& lines, const std::optional<uint64_t>& entries) {
    if (entries && *entries == 0) return false;
    if (!lines) {
      add(Severity::kWarning, path, lines.error().message, kRebuiltHint);
      return false;
    }
    if (!entries) return true;
    if (lines->size() < *entries) {
      add(Severity::kWarning, path, fmt::format("has {} entries instead of {}", lines->size(), *entries), kRebuiltHint);
      return false;
    }
    lines->resize(*entries);
    return true;
  }

  void check_transaction_index(env::FileSystem& files) {
    const std::string path = segment_path(segment_.directory, segment_.base_offset, kTransactionIndexSuffix);
    const auto entries = read_transaction_index(files, path);
    if (!entries) {
      if (entries.error().code != Errc::kNotFound) add(Severity::kWarning, path, entries.error().message, kRebuiltHint);
      return;
    }
    for (const auto& entry : *entries) {
      if (entry.last_offset >= report_.end) continue;  // ahead of the checkpoint: it does not count
      const auto marker = std::ranges::lower_bound(aborts_, entry.last_offset, {}, &Marker::offset);
      if (marker == aborts_.end() || marker->offset != entry.last_offset || marker->producer != entry.producer_id)
        return add(Severity::kWarning, path,
                   fmt::format("says that producer {} aborted at offset {}: there is no such marker",
                               entry.producer_id.value(), entry.last_offset.value()),
                   "remove the partition's .txnindex files while no server runs, and its .index files with them");
    }
  }

  const SegmentInspection& segment_;
  const InspectOptions& options_;
  PartitionReport& report_;
  const std::string path_;
  const size_t first_finding_;
  uint64_t read_bytes_ = 0;
  std::vector<OffsetIndexLine> index_;
  std::vector<TimeIndexLine> time_index_;
  std::vector<int64_t> indexed_positions_;   // ascending
  std::vector<int64_t> indexed_timestamps_;  // ascending
  std::vector<Seen> batches_;                // those at indexed positions
  int64_t newest_timestamp_ms_ = std::numeric_limits<int64_t>::min();
  std::vector<Newest> newest_;  // those of indexed timestamps whose timestamp is beyond all before
  std::vector<Marker> aborts_;
};

}  // namespace

void inspect_segment(env::FileSystem& files, const SegmentInspection& segment, const InspectOptions& options,
                     PartitionReport& report) {
  ++report.segments;
  SegmentWalk(segment, options, report).run(files);
}

}  // namespace millrace::log
