#include "warehouse/internal/carrier.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/logging.h"
#include "warehouse/internal/topic_source.h"

namespace millrace::warehouse {
namespace {

constexpr client::Millis kBrokerPatience{5'000};
constexpr client::Millis kPollWait{100};
constexpr size_t kPollRecords = 16'384;
constexpr std::chrono::seconds kLookInterval{5};   // for new partitions and ends
constexpr std::chrono::seconds kRetryInterval{1};  // after trouble

}  // namespace

void Carrier::add(TableSpec spec) {
  MutexLock lock(mutex_);
  shared_[spec.name].status.spec = spec;
  added_.push_back(std::move(spec));
  changed_.notify_all();
}

void Carrier::start() {
  if (options_.cluster.bootstrap.empty() || thread_.joinable()) return;
  thread_ = std::jthread([this](const std::stop_token& stop) { run(stop); });
}

void Carrier::stop() {
  {
    MutexLock lock(mutex_);
    stopping_ = true;
    changed_.notify_all();
  }
  thread_.request_stop();
  if (thread_.joinable()) thread_.join();
}

std::vector<TableStatus> Carrier::tables() const {
  MutexLock lock(mutex_);
  std::vector<TableStatus> statuses;
  statuses.reserve(shared_.size());
  for (const auto& [name, shared] : shared_) statuses.push_back(shared.status);
  return statuses;
}

Status Carrier::catch_up(std::chrono::milliseconds timeout) {
  const MonoTime deadline = clock_.mono_now() + timeout;
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, client::Admin::create(options_.cluster));
  std::map<std::string, std::vector<client::PartitionOffsets>> goals;
  for (const TableStatus& status : tables()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto partitions, partitions_of(*admin, status.spec.topic, kBrokerPatience));
    MILLRACE_ASSIGN_OR_RETURN(goals[status.spec.name], admin->offsets(partitions, kBrokerPatience));
  }
  const auto behind = [&]() REQUIRES(mutex_) -> std::string {
    for (const auto& [name, parts] : goals)
      for (const client::PartitionOffsets& part : parts) {
        const std::map<PartitionId, Offset>& carried = shared_[name].carried;
        const auto at = carried.find(part.source.partition);
        if (part.range && part.range->end > (at == carried.end() ? part.range->begin : at->second)) return name;
      }
    return {};
  };
  MutexLock lock(mutex_);
  while (true) {
    const std::string name = behind();
    if (name.empty()) return {};
    if (stopping_) return fail(Errc::kCancelled, "the warehouse is stopping");
    const auto left = deadline - clock_.mono_now();
    if (left <= left.zero())
      return fail(Errc::kTimedOut, fmt::format("table {} is not filled yet {}", name, shared_[name].status.trouble));
    changed_.wait_for(mutex_, std::chrono::duration_cast<std::chrono::microseconds>(left));
  }
}

void Carrier::run(const std::stop_token& stop) {
  while (!stop.stop_requested()) {
    take_new_tables();
    if (tables_.empty()) {
      MutexLock lock(mutex_);
      if (!stopping_ && added_.empty()) changed_.wait(mutex_);
      continue;
    }
    look_at_topics();
    if (const Status status = poll(); !status) {
      log_warning("warehouse", "cannot read the tables' topics: {}", status.error().message);
      // The reader may be of no more use: begin again with what the tables hold.
      reader_.reset();
      for (auto& [name, table] : tables_) {
        begin_again(table);
        table.trouble = status.error().message;
        publish(table, 0, 0);
      }
      MutexLock lock(mutex_);
      if (!stopping_) changed_.wait_for(mutex_, kRetryInterval);
    }
  }
  commit_due(true);
  reader_.reset();
  admin_.reset();
}

void Carrier::take_new_tables() {
  std::vector<TableSpec> added;
  {
    MutexLock lock(mutex_);
    added.swap(added_);
  }
  for (TableSpec& spec : added) {
    Table& table = tables_[spec.name];
    if (table.pending_rows > 0) static_cast<void>(commit(table));
    format::DecoderOptions options;
    options.columns = spec.schema;
    auto decoder = format::Decoder::make(std::move(options), clock_);
    table.spec = std::move(spec);
    tables_by_topic_[table.spec.topic] = &table;
    if (!decoder) {
      table.trouble = decoder.error().message;
      continue;
    }
    table.decoder = std::move(*decoder);
    begin_again(table);
  }
}

// Forget what was read and not committed; the store says where to go on.
void Carrier::begin_again(Table& table) {
  for (const auto& [partition, state] : table.partitions)
    if (reader_) static_cast<void>(reader_->remove({table.spec.topic, partition}));
  table.partitions.clear();
  table.pending_rows = 0;
  table.pending_rejected = 0;
  table.look_again = {};
}

void Carrier::look_at_topics() {
  const MonoTime now = clock_.mono_now();
  for (auto& [name, table] : tables_) {
    if (now < table.look_again || !table.decoder) continue;
    const Status status = look_at_topic(table);
    const std::string trouble = status ? std::string() : status.error().message;
    if (!status && trouble != table.trouble) log_warning("warehouse", "table {}: {}", name, trouble);
    table.trouble = trouble;
    table.look_again = now + (status ? std::chrono::duration_cast<MonoTime::duration>(kLookInterval) : kRetryInterval);
    publish(table, 0, 0);
  }
}

Status Carrier::look_at_topic(Table& table) {
  if (!admin_) {
    MILLRACE_ASSIGN_OR_RETURN(admin_, client::Admin::create(options_.cluster));
  }
  if (!reader_) {
    MILLRACE_ASSIGN_OR_RETURN(reader_, client::PartitionReader::create(options_.cluster));
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto partitions, partitions_of(*admin_, table.spec.topic, kBrokerPatience));
  MILLRACE_ASSIGN_OR_RETURN(const auto ends, admin_->offsets(partitions, kBrokerPatience));
  std::optional<std::map<PartitionId, Offset>> stored;
  for (const client::PartitionOffsets& part : ends) {
    if (!part.range) return tl::unexpected<Error>(part.range.error());
    const PartitionId id = part.source.partition;
    if (!table.partitions.contains(id)) {
      if (!stored) {
        MILLRACE_ASSIGN_OR_RETURN(stored, store_.offsets(table.spec.name));
      }
      const auto at = stored->find(id);
      const Offset from = at == stored->end() ? Offset(0) : at->second;
      if (from > part.range->end)
        return fail(Errc::kConflict,
                    fmt::format("topic {} was made anew: the table holds {} records of partition {}, the topic has {}",
                                table.spec.topic, from.value(), id.value(), part.range->end.value()),
                    "give the sink another table");
      MILLRACE_RETURN_IF_ERROR(begin_partition(table, id, from));
    }
    table.partitions[id].end = part.range->end;
  }
  return {};
}

Status Carrier::begin_partition(Table& table, PartitionId partition, Offset at) {
  MILLRACE_RETURN_IF_ERROR(reader_->add({{table.spec.topic, partition}, at, std::nullopt}, kBrokerPatience));
  Partition& state = table.partitions[partition];
  state.committed = state.seen = at;
  state.pending = {partition, at, at, {}};
  return {};
}

Status Carrier::poll() {
  if (!reader_) {
    MutexLock lock(mutex_);
    if (!stopping_) changed_.wait_for(mutex_, kRetryInterval);
    return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(const client::Records records, reader_->poll(kPollRecords, kPollWait));
  for (const client::PartitionRecords& part : records.partitions()) take_records(part);
  commit_due(records.empty());
  return {};
}

void Carrier::take_records(const client::PartitionRecords& part) {
  const auto found = tables_by_topic_.find(std::string(part.topic));
  if (found == tables_by_topic_.end() || part.records.empty()) return;
  Table& table = *found->second;
  const auto place = table.partitions.find(part.partition);
  // Records of a partition that is being begun again come once more.
  if (place == table.partitions.end() || !table.decoder) return;
  Partition& state = place->second;
  std::vector<format::RecordView> views;
  views.reserve(part.records.size());
  for (const client::RecordView& record : part.records) views.push_back(to_format(part.partition, record));
  format::Decoded decoded = table.decoder->decode(views);
  for (const format::Reject& reject : decoded.rejects)
    log_warning("warehouse", "table {}: {}-{} offset {} is no row: {}", table.spec.name, part.topic,
                part.partition.value(), part.records[reject.record].offset.value(), reject.reason);
  if (table.pending_rows == 0) table.pending_since = clock_.mono_now();
  table.pending_rows += std::max<size_t>(decoded.batch.rows(), 1);
  table.pending_rejected += decoded.rejects.size();
  if (decoded.batch.rows() > 0) state.pending.batches.push_back(std::move(decoded.batch));
  state.seen = state.pending.next = part.records.back().offset + 1;
}

void Carrier::commit_due(bool idle) {
  const MonoTime now = clock_.mono_now();
  for (auto& [name, table] : tables_) {
    if (table.pending_rows == 0) continue;
    if (!idle && table.pending_rows < options_.commit_rows_max && now - table.pending_since < options_.commit_interval)
      continue;
    const Status status = commit(table);
    if (status) {
      table.trouble.clear();
      continue;
    }
    table.trouble = status.error().message;
    log_warning("warehouse", "table {}: {}", name, table.trouble);
    begin_again(table);
    table.look_again = now + kRetryInterval;
    publish(table, 0, 0);
  }
}

Status Carrier::commit(Table& table) {
  std::vector<Carried> parts;
  uint64_t rows = 0;
  for (auto& [id, state] : table.partitions) {
    if (state.pending.next == state.pending.from) continue;
    for (const columns::Batch& batch : state.pending.batches) rows += batch.rows();
    parts.push_back(state.pending);
  }
  MILLRACE_RETURN_IF_ERROR(store_.commit(table.spec, parts));
  for (const Carried& part : parts) {
    Partition& state = table.partitions[part.partition];
    state.committed = part.next;
    state.pending = {part.partition, part.next, part.next, {}};
  }
  table.pending_rows = 0;
  publish(table, rows, std::exchange(table.pending_rejected, 0));
  return {};
}

void Carrier::publish(const Table& table, uint64_t rows, uint64_t rejected) {
  const MetricLabels labels{{"table", table.spec.name}};
  int64_t lag = 0;
  {
    MutexLock lock(mutex_);
    Shared& shared = shared_[table.spec.name];
    for (const auto& [id, state] : table.partitions) {
      // Markers of transactions are offsets without records: where nothing waits, what was read is carried.
      const auto position = reader_ ? reader_->position({table.spec.topic, id}) : std::nullopt;
      const bool waiting = state.pending.next != state.pending.from;
      const Offset carried = waiting ? state.committed : std::max(state.committed, position.value_or(state.committed));
      shared.carried[id] = carried;
      lag += std::max<int64_t>(0, state.end - carried);
    }
    shared.status.rows_carried += rows;
    shared.status.rejected += rejected;
    shared.status.lag = lag;
    shared.status.trouble = table.trouble;
    changed_.notify_all();
  }
  metrics_.gauge("millrace_warehouse_lag_records", "Records of a table's topic that are not in it yet", labels)
      .set(static_cast<double>(lag));
  if (rows > 0) metrics_.counter("millrace_warehouse_rows_total", "Rows carried into tables", labels).add(rows);
}

}  // namespace millrace::warehouse
