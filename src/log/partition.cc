#include "log/partition.h"

#include "log/internal/partition_log.h"

namespace millrace::log {

Partition::Partition(std::unique_ptr<PartitionLog> log) : log_(std::move(log)) {}
Partition::~Partition() = default;

const std::string& Partition::topic() const { return log_->identity().topic; }
const Uuid& Partition::topic_id() const { return log_->identity().topic_id; }
PartitionId Partition::id() const { return log_->identity().partition; }

std::optional<Error> Partition::damage() const { return log_->damage(); }
Result<Appended> Partition::append(std::span<std::byte> batches, const AppendOptions& options) {
  return log_->append(batches, options);
}
void Partition::admit(ProducerId producer, ProducerEpoch epoch) { log_->admit(producer, epoch); }
bool Partition::is_admitted(ProducerId producer, ProducerEpoch epoch) const {
  return log_->is_admitted(producer, epoch);
}
Result<WalPosition> Partition::advance_log_start(Offset to) { return log_->advance_log_start(to); }
Result<ReadInfo> Partition::read(Offset from, size_t bytes_max, bool at_least_one, Bytes& out,
                                 Isolation isolation) const {
  return log_->read(from, bytes_max, at_least_one, out, isolation);
}
Result<ReadInfo> Partition::read_or_locate(Offset from, size_t bytes_max, bool at_least_one, Bytes& out,
                                           std::optional<env::FileRange>& range, Isolation isolation) const {
  range.reset();
  return log_->read(from, bytes_max, at_least_one, out, isolation, &range);
}
std::vector<AbortedTransaction> Partition::aborted_transactions(Offset from, Offset end) const {
  return log_->aborted_transactions(from, end);
}
Result<std::optional<TimestampedOffset>> Partition::offset_for_time(int64_t timestamp_ms) const {
  return log_->offset_for_time(timestamp_ms);
}
Result<std::optional<TimestampedOffset>> Partition::offset_of_max_timestamp() const {
  return log_->offset_of_max_timestamp();
}

Offset Partition::log_start_offset() const { return log_->log_start_offset(); }
Offset Partition::high_watermark() const { return log_->high_watermark(); }
Offset Partition::last_stable_offset() const { return log_->last_stable_offset(); }
Offset Partition::log_end_offset() const { return log_->log_end_offset(); }
uint64_t Partition::size_bytes() const { return log_->size_bytes(); }
size_t Partition::segment_count() const { return log_->segment_count(); }
size_t Partition::producer_count() const { return log_->producer_count(); }
std::vector<ProducerInfo> Partition::producers() const { return log_->producers(); }
LeaderEpoch Partition::leader_epoch() const { return log_->leader_epoch(); }
EpochEnd Partition::epoch_end_offset(LeaderEpoch epoch) const { return log_->epoch_end_offset(epoch); }
LeaderEpoch Partition::epoch_at(Offset offset) const { return log_->epoch_at(offset); }

}  // namespace millrace::log
