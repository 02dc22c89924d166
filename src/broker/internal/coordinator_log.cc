#include "broker/internal/coordinator_log.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>

#include "base/logging.h"
#include "record/marker.h"

namespace millrace::broker {
namespace {

// Without what cannot be read here, committed offsets and transactions would be forgotten without a word.
tl::unexpected<Error> unreadable(const log::Partition& partition, Error error) {
  error.message = fmt::format("{}-{} cannot be read: {}", partition.topic(), partition.id().value(), error.message);
  error.hint = "restore the file from a copy; without it committed offsets or transactions would be lost";
  return tl::unexpected(std::move(error));
}

// What the sequence rules say about a coordinator's own writes is a defect of ours.
std::string refusal(const log::Partition& partition, log::AppendOutcome outcome) {
  return fmt::format("{}-{} refused a coordinator's write with outcome {}", partition.topic(), partition.id().value(),
                     static_cast<int>(outcome));
}

}  // namespace

Status read_partition(const log::Partition& partition,
                      const std::function<Status(const record::BatchView&, const record::Record&)>& on_record,
                      const std::function<Status(const record::BatchView&)>& on_control) {
  constexpr size_t kReadBytes = 1 << 20;
  constexpr size_t kPlainBytesMax = 64u << 20;
  Bytes bytes;
  for (Offset next = partition.log_start_offset(); next < partition.high_watermark();) {
    bytes.clear();
    if (auto read = partition.read(next, kReadBytes, true, bytes); !read)
      return unreadable(partition, std::move(read).error());
    if (bytes.empty()) return {};
    record::BatchReader reader(bytes);
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const auto batch, reader.next());
      if (!batch) break;
      if (!batch->checksum_matches()) {
        return unreadable(partition, {Errc::kCorruption,
                                      fmt::format("the checksum of the batch at offset {} does not match",
                                                  batch->base_offset().value()),
                                      {}});
      }
      next = batch->last_offset() + 1;
      if (batch->is_control()) {
        MILLRACE_RETURN_IF_ERROR(on_control(*batch));
        continue;
      }
      MILLRACE_ASSIGN_OR_RETURN(auto records, record::RecordReader::open(*batch, kPlainBytesMax));
      record::Record record;
      while (true) {
        MILLRACE_ASSIGN_OR_RETURN(const bool more, records.next(record));
        if (!more) break;
        MILLRACE_RETURN_IF_ERROR(on_record(*batch, record));
      }
    }
  }
  return {};
}

void CoordinatorWrite::add_record(const std::shared_ptr<log::Partition>& partition, const EncodedRecord& record,
                                  const std::optional<coord::Producer>& transaction) {
  Part& part = parts_[partition.get()];
  part.partition = partition;
  if (!part.records) {
    record::BatchOptions options;
    if (transaction) {
      options.producer_id = transaction->id;
      options.producer_epoch = transaction->epoch;
      options.transactional = true;
    }
    part.records.emplace(options);
  }
  part.records->add(now_ms_, ByteView(record.key),
                    record.value ? std::optional<ByteView>(*record.value) : std::nullopt);
}

void CoordinatorWrite::add_marker(const std::shared_ptr<log::Partition>& partition, const coord::Producer& producer,
                                  bool commit) {
  Part& part = parts_[partition.get()];
  part.partition = partition;
  part.is_marker = true;
  part.batch = record::marker_batch({.producer_id = producer.id,
                                     .producer_epoch = producer.epoch,
                                     .type = commit ? record::MarkerType::kCommit : record::MarkerType::kAbort,
                                     .timestamp_ms = now_ms_});
}

Status CoordinatorWrite::finish() {
  for (auto& [key, part] : parts_) {
    if (!part.records) continue;
    MILLRACE_ASSIGN_OR_RETURN(part.batch, part.records->finish());
    part.records.reset();
  }
  return {};
}

std::vector<log::Store::Item> CoordinatorWrite::items() {
  std::vector<log::Store::Item> items;
  for (auto& [key, part] : parts_)
    items.push_back({.partition = part.partition,
                     .batches = part.batch,
                     .options = {.from_reserve = true, .when_full = log::WhenFull::kRefuse}});
  return items;
}

Result<std::optional<log::WalPosition>> CoordinatorWrite::append(log::Store& store, log::Room& room) {
  MILLRACE_RETURN_IF_ERROR(finish());
  while (true) {
    const std::vector<log::Store::Item> items = this->items();
    log::WalPosition last{0};
    const size_t before = parts_.size();
    const auto results = store.append_all(items, &room);
    for (size_t i = 0; i < items.size(); ++i) {
      const auto& result = results[i];
      if (result && result->outcome == log::AppendOutcome::kNoRoom) return std::nullopt;
      if (result) {
        const bool taken = result->outcome == log::AppendOutcome::kAppended;
        if (!taken && !parts_.at(items[i].partition.get()).is_marker) {
          return fail(Errc::kInternal, refusal(*items[i].partition, result->outcome));
        }
        if (!taken) {
          // Only where a newer epoch has written there: the transaction is over in it.
          log_error("broker", "a marker is not written: {}", refusal(*items[i].partition, result->outcome));
          parts_.erase(items[i].partition.get());
        }
        last = std::max(last, result->position);
      } else if (store.find_topic(items[i].partition->topic_id()) == nullptr) {
        parts_.erase(items[i].partition.get());
      } else if (result.error().code != Errc::kCancelled) {
        return tl::unexpected(result.error());
      }
    }
    if (parts_.size() == before) return last;
  }
}

void CoordinatorWrite::when_room(log::Store& store, log::Store::RoomCallback callback) {
  store.when_room(items(), std::move(callback));
}

size_t CoordinatorWrite::batch_bytes() const {
  size_t bytes = 0;
  for (const auto& [key, part] : parts_) bytes += part.batch.size();
  return bytes;
}

}  // namespace millrace::broker
