#include "log/internal/cleaner.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>

#include "base/logging.h"
#include "record/marker.h"
#include "record/rewrite.h"

namespace millrace::log {

namespace {

constexpr size_t kReadBytes = 1u << 20;
constexpr size_t kWriteBytes = 1u << 20;
constexpr size_t kPlainBytesMax = 128u << 20;

}  // namespace

// What one compaction works with.
struct Cleaner::Pass {
  Pass(PartitionLog::Cleanable found, OffsetMap keys, int64_t now)
      : cleanable(std::move(found)), map(std::move(keys)), now_ms(now), map_end(cleanable.end) {
    for (const AbortedTransaction& one : cleanable.aborted) aborted[one.producer_id].push_back(one);
  }

  Offset end_of(size_t segment) const {
    return segment + 1 < cleanable.segments.size() ? cleanable.segments[segment + 1]->base_offset() : cleanable.end;
  }
  bool is_aborted(const record::BatchView& batch) const {
    if (!batch.is_transactional()) return false;
    const auto found = aborted.find(batch.producer_id());
    if (found == aborted.end()) return false;
    const auto it = std::ranges::lower_bound(found->second, batch.base_offset(), {}, &AbortedTransaction::last_offset);
    return it != found->second.end() && it->first_offset <= batch.base_offset();
  }

  const PartitionLog::Cleanable cleanable;
  OffsetMap map;
  // When what is marked now may go.
  int64_t delete_horizon_ms() const {
    const int64_t retention_ms = cleanable.policy.delete_retention_ms;
    return retention_ms > std::numeric_limits<int64_t>::max() - now_ms ? std::numeric_limits<int64_t>::max()
                                                                       : now_ms + retention_ms;
  }

  const int64_t now_ms;
  Offset map_end;  // what the map knows ends here
  std::map<ProducerId, std::vector<AbortedTransaction>> aborted;
  // Producers with batches since their last marker: it stays for them.
  std::set<ProducerId> seen;
  std::vector<Offset> dropped_markers;  // of the group in work
  Outcome outcome;
};

// The file that a group becomes.
class Cleaner::Output {
 public:
  Output(const Cleaner& cleaner, std::string path) : cleaner_(cleaner), path_(std::move(path)) {}

  Status open() {
    MILLRACE_ASSIGN_OR_RETURN(file_, cleaner_.files_.open(path_, env::OpenMode::kCreateEmpty));
    return {};
  }
  const std::string& path() const { return path_; }

  // Where a batch is written: into the buffer, and then note_written().
  Bytes& buffer() { return buffer_; }
  Status note_written(bool as_it_was) {
    changed_ |= !as_it_was;
    last_dropped_.clear();
    return buffer_.size() < kWriteBytes ? Status{} : flush();
  }
  // A batch is left out; `instead` stands for it where it is the last one, for a segment must reach to its end.
  void drop(Bytes instead) {
    changed_ = true;
    last_dropped_ = std::move(instead);
  }

  Status finish() {
    buffer_.insert(buffer_.end(), last_dropped_.begin(), last_dropped_.end());
    MILLRACE_RETURN_IF_ERROR(flush());
    return file_->sync_data();
  }
  bool changed() const { return changed_; }
  uint64_t bytes() const { return position_; }

 private:
  Status flush() {
    if (cleaner_.pace_ && !cleaner_.pace_(buffer_.size())) return fail(Errc::kCancelled, "the store is closing");
    MILLRACE_RETURN_IF_ERROR(file_->write_at(position_, buffer_));
    position_ += buffer_.size();
    buffer_.clear();
    return {};
  }

  const Cleaner& cleaner_;
  const std::string path_;
  std::unique_ptr<env::File> file_;
  Bytes buffer_;
  Bytes last_dropped_;
  uint64_t position_ = 0;
  bool changed_ = false;
};

Cleaner::Cleaner(env::FileSystem& files, const Clock& clock, const Options& options, Random random, Pace pace,
                 Exclusively exclusively)
    : files_(files),
      clock_(clock),
      options_(options),
      random_(random),
      pace_(std::move(pace)),
      exclusively_(std::move(exclusively)) {}

Status Cleaner::each_batch(const PartitionLog& log, const Segment& segment, Offset from, Offset end,
                           const std::function<Result<bool>(const record::BatchView&)>& visit) {
  Bytes bytes;
  while (from < end) {
    bytes.clear();
    const auto read = segment.read({from, end, kReadBytes, true}, bytes);
    if (!read) {
      if (read.error().code == Errc::kCorruption) log.note_damage(segment.base_offset(), end, read.error());
      return tl::unexpected(read.error());
    }
    if (read->bytes == 0) return {};
    if (pace_ && !pace_(read->bytes)) return fail(Errc::kCancelled, "the store is closing");
    record::BatchReader batches(bytes);
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const auto batch, batches.next());
      if (!batch) break;
      // What is rewritten gets a checksum of its own: damage must not come out as good.
      if (!batch->checksum_matches()) {
        auto damaged = fail(Errc::kCorruption, fmt::format("{}: the checksum of the batch at offset {} does not match",
                                                           segment.log_path(), batch->base_offset().value()));
        log.note_damage(segment.base_offset(), end, PartitionLog::as_damage(damaged.value()));
        return damaged;
      }
      MILLRACE_ASSIGN_OR_RETURN(const bool more, visit(*batch));
      if (!more) return {};
      from = batch->last_offset() + 1;
    }
  }
  return {};
}

Status Cleaner::note_keys(const PartitionLog& log, Pass& pass) {
  const auto note = [&](const record::BatchView& batch) -> Result<bool> {
    if (batch.is_control() || pass.is_aborted(batch)) return true;
    MILLRACE_ASSIGN_OR_RETURN(auto reader, record::RecordReader::open(batch, kPlainBytesMax));
    record::Record record;
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const bool more, reader.next(record));
      if (!more) return true;
      if (record.key && !pass.map.put(*record.key, record.offset)) {
        // Of this batch some records may be known already: they stay below the end, and the next time finds them again.
        pass.map_end = batch.base_offset();
        return false;
      }
    }
  };
  const auto& segments = pass.cleanable.segments;
  for (size_t i = 0; i < segments.size() && pass.map_end == pass.cleanable.end; ++i) {
    const Offset from = std::max(segments[i]->base_offset(), pass.cleanable.cleaned);
    if (from < pass.end_of(i)) MILLRACE_RETURN_IF_ERROR(each_batch(log, *segments[i], from, pass.end_of(i), note));
  }
  return {};
}

Status Cleaner::clean_marker(Pass& pass, const record::BatchView& batch, Output& output) {
  const auto keep = [&] {
    output.buffer().insert(output.buffer().end(), batch.bytes().begin(), batch.bytes().end());
    return output.note_written(true);
  };
  MILLRACE_ASSIGN_OR_RETURN(const auto type, record::marker_type(batch));
  if (!type || pass.seen.erase(batch.producer_id()) > 0) return keep();
  // Nothing of its transaction is left. Readers that are on their way still get to see it.
  const auto horizon = record::delete_horizon_ms(batch);
  if (horizon && *horizon > pass.now_ms) return keep();
  if (horizon) {
    // The last batch of a segment stays: a marker as it is, for one without its record would be none.
    output.drop(Bytes(batch.bytes().begin(), batch.bytes().end()));
    if (*type == record::MarkerType::kAbort) pass.dropped_markers.push_back(batch.last_offset());
    return {};
  }
  const record::Filter mark{.keep = [](const record::Record&) { return true; },
                            .delete_horizon_ms = pass.delete_horizon_ms(),
                            .always = true,
                            .plain_bytes_max = kPlainBytesMax};
  MILLRACE_RETURN_IF_ERROR(record::append_filtered(batch, mark, output.buffer()));
  return output.note_written(false);
}

Status Cleaner::clean_batch(Pass& pass, const record::BatchView& batch, Output& output) {
  if (batch.base_offset() >= pass.map_end) {
    output.buffer().insert(output.buffer().end(), batch.bytes().begin(), batch.bytes().end());
    return output.note_written(true);
  }
  if (batch.is_control()) return clean_marker(pass, batch, output);
  if (batch.is_transactional()) pass.seen.insert(batch.producer_id());
  const auto drop = [&] {
    Bytes emptied;
    record::append_emptied(batch, emptied);
    output.drop(std::move(emptied));
  };
  if (pass.is_aborted(batch) || batch.record_count() == 0) {
    drop();
    return {};
  }
  const auto horizon = record::delete_horizon_ms(batch);
  const bool tombstones_stay = !horizon || *horizon > pass.now_ms;
  const auto keep = [&](const record::Record& record) {
    // Without a key nothing could ever replace it: compacted topics take none, but a topic may have been another kind.
    if (!record.key) return false;
    const auto last = pass.map.find(*record.key);
    if (last && record.offset < *last) return false;
    return record.value.has_value() || tombstones_stay;
  };
  const record::Filter filter{
      .keep = keep, .delete_horizon_ms = pass.delete_horizon_ms(), .plain_bytes_max = kPlainBytesMax};
  const size_t before = output.buffer().size();
  MILLRACE_ASSIGN_OR_RETURN(const record::Kept kept, record::append_filtered(batch, filter, output.buffer()));
  if (kept == record::Kept::kNone) {
    drop();
    return {};
  }
  const ByteView written = ByteView(output.buffer()).subspan(before);
  return output.note_written(std::ranges::equal(written, batch.bytes()));
}

Status Cleaner::check_room(const PartitionLog& log, uint64_t bytes) const {
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t free_bytes, files_.free_bytes(log.directory()));
  if (free_bytes >= bytes + options_.kept_free_bytes) return {};
  return fail(Errc::kOutOfSpace,
              fmt::format("{} is not compacted: that may take {} bytes, and {} are free", log.directory(),
                          bytes + options_.kept_free_bytes, free_bytes),
              "free space on this disk");
}

Status Cleaner::clean_group(PartitionLog& log, Pass& pass, size_t begin, size_t end) {
  const auto& segments = pass.cleanable.segments;
  const std::vector<std::shared_ptr<Segment>> group(segments.begin() + static_cast<std::ptrdiff_t>(begin),
                                                    segments.begin() + static_cast<std::ptrdiff_t>(end));
  pass.dropped_markers.clear();
  uint64_t before = 0;
  for (const auto& segment : group) before += segment->size_bytes();
  MILLRACE_RETURN_IF_ERROR(check_room(log, before));
  Output output(*this, segment_path(log.directory(), group.front()->base_offset(), kCleanedSuffix));
  MILLRACE_RETURN_IF_ERROR(output.open());
  Status done;
  for (size_t i = begin; done && i < end; ++i) {
    done = each_batch(log, *segments[i], segments[i]->base_offset(), pass.end_of(i),
                      [&](const record::BatchView& batch) -> Result<bool> {
                        MILLRACE_RETURN_IF_ERROR(clean_batch(pass, batch, output));
                        return true;
                      });
  }
  const bool worth_it = output.changed() || group.size() > 1;
  if (done && worth_it) done = output.finish();
  std::shared_ptr<Segment> made;
  if (done && worth_it) {
    auto opened = log.open_cleaned(group.front()->base_offset());
    if (opened) {
      made = std::move(*opened);
    } else {
      done = tl::unexpected(opened.error());
    }
  }
  if (made == nullptr) {
    static_cast<void>(files_.remove(output.path()));
    return done;
  }
  MILLRACE_RETURN_IF_ERROR(
      exclusively_([&] { return log.replace(group, pass.end_of(end - 1), made, pass.dropped_markers); }));
  pass.outcome.bytes_before += before;
  pass.outcome.bytes_after += output.bytes();
  return {};
}

Result<Cleaner::Outcome> Cleaner::clean(PartitionLog& log) {
  const int64_t now_ms = to_unix_ms(clock_.wall_now());
  MILLRACE_ASSIGN_OR_RETURN(auto cleanable, log.cleanable(now_ms));
  if (!cleanable) return Outcome{};
  Pass pass(std::move(*cleanable), OffsetMap(options_.map_bytes, random_.fork()), now_ms);
  MILLRACE_RETURN_IF_ERROR(note_keys(log, pass));
  const auto& segments = pass.cleanable.segments;
  for (size_t begin = 0; begin < segments.size() && segments[begin]->base_offset() < pass.map_end;) {
    uint64_t bytes = segments[begin]->size_bytes();
    size_t end = begin + 1;
    while (end < segments.size() && segments[end]->base_offset() < pass.map_end) {
      bytes += segments[end]->size_bytes();
      const int64_t span = pass.end_of(end) - segments[begin]->base_offset();
      if (bytes > pass.cleanable.policy.segment_bytes || span > std::numeric_limits<int32_t>::max()) break;
      ++end;
    }
    MILLRACE_RETURN_IF_ERROR(clean_group(log, pass, begin, end));
    begin = end;
  }
  log.set_cleaned(pass.map_end);
  log_debug("log", "{}: compacted up to offset {}: {} bytes became {}", log.directory(), pass.map_end.value(),
            pass.outcome.bytes_before, pass.outcome.bytes_after);
  return pass.outcome;
}

}  // namespace millrace::log
