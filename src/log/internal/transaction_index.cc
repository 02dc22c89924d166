#include <fmt/format.h>

#include <algorithm>

#include "base/logging.h"
#include "log/internal/aborted_transactions.h"
#include "log/internal/partition_log.h"
#include "record/marker.h"

// The part of PartitionLog that keeps its aborted transactions in files.
namespace millrace::log {
namespace {

constexpr uint64_t kIndexBytesMax = 1ull << 30;

}  // namespace

// A file may be ahead of the checkpoint, whose log end says what of it counts.
Result<std::vector<AbortedTransaction>> PartitionLog::load_aborted(
    const std::vector<std::shared_ptr<Segment>>& segments, Offset log_end) const {
  std::vector<AbortedTransaction> all;
  for (const auto& segment : segments) {
    const std::string path = segment_path(directory_, segment->base_offset(), kTransactionIndexSuffix);
    const auto bytes = env::read_file(shared_->files, path, kIndexBytesMax);
    if (!bytes && bytes.error().code == Errc::kNotFound) continue;
    auto some = bytes ? decode_aborted_transactions(*bytes) : tl::unexpected(bytes.error());
    if (!some) {
      log_warning("log", "{} cannot be read ({}); building the partition's transaction indexes anew", path,
                  some.error().message);
      return find_aborted(segments, log_end);
    }
    // Compaction in the middle of joining segments leaves entries in two files.
    std::ranges::copy_if(*some, std::back_inserter(all), [&](const auto& one) {
      return one.last_offset < log_end && (all.empty() || one.last_offset > all.back().last_offset);
    });
  }
  return all;
}

// The aborted transactions as the batches themselves have them.
Result<std::vector<AbortedTransaction>> PartitionLog::find_aborted(
    const std::vector<std::shared_ptr<Segment>>& segments, Offset log_end) {
  std::vector<AbortedTransaction> all;
  OpenTransactions open;
  const auto end_one = [&](const Segment& segment, const Segment::Found& found) -> Status {
    MILLRACE_ASSIGN_OR_RETURN(const Bytes bytes, segment.read_batch(found.position));
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, record::BatchView::first_of(bytes));
    MILLRACE_ASSIGN_OR_RETURN(const auto type, record::marker_type(batch));
    if (!type) return {};
    const auto first = open.end(batch.producer_id(), batch.last_offset());
    if (first && *type == record::MarkerType::kAbort) {
      all.push_back({batch.producer_id(), *first, batch.last_offset(), open.first_open(batch.last_offset() + 1)});
    }
    return {};
  };
  for (const auto& segment : segments) {
    Status ended;
    MILLRACE_RETURN_IF_ERROR(segment->scan(segment->base_offset(), [&](const Segment::Found& found) {
      const record::BatchView batch = found.view();
      if (batch.base_offset() >= log_end) return false;
      if (!batch.is_transactional()) return true;
      if (batch.is_control()) {
        ended = end_one(*segment, found);
        return ended.has_value();
      }
      open.note_record(batch.producer_id(), batch.base_offset());
      return true;
    }));
    MILLRACE_RETURN_IF_ERROR(ended);
  }
  return all;
}

std::map<Offset, Bytes> PartitionLog::encode_transaction_indexes(
    const std::vector<std::shared_ptr<Segment>>& unsynced) const {
  std::map<Offset, Bytes> indexes;
  for (const auto& segment : unsynced) {
    const auto next = std::ranges::upper_bound(segments_, segment->base_offset(), {},
                                               [](const auto& one) { return one->base_offset(); });
    const Offset end = next == segments_.end() ? log_end_ : (*next)->base_offset();
    // Without an entry, too: a crash may have left a file with one that never became durable.
    Bytes& entries = indexes[segment->base_offset()];
    auto it = std::ranges::lower_bound(aborted_, segment->base_offset(), {}, &AbortedTransaction::last_offset);
    for (; it != aborted_.end() && it->last_offset < end; ++it) encode_aborted_transaction(*it, entries);
  }
  return indexes;
}

Status PartitionLog::write_transaction_indexes(const Snapshot& snapshot) {
  for (const auto& [base_offset, bytes] : snapshot.transaction_indexes) {
    const std::string path = segment_path(directory_, base_offset, kTransactionIndexSuffix);
    if (!bytes.empty()) {
      MILLRACE_RETURN_IF_ERROR(env::write_file_atomically(shared_->files, path, bytes));
      continue;
    }
    MILLRACE_ASSIGN_OR_RETURN(const bool exists, shared_->files.exists(path));
    if (!exists) continue;
    MILLRACE_RETURN_IF_ERROR(shared_->files.remove(path));
    MILLRACE_RETURN_IF_ERROR(shared_->files.sync_directory(directory_));
  }
  return {};
}

}  // namespace millrace::log
