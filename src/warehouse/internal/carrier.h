#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/mutex.h"
#include "client/admin.h"
#include "client/partition_reader.h"
#include "warehouse/internal/store.h"
#include "warehouse/warehouse.h"

namespace millrace::warehouse {

// Carries topics into tables, on one thread: reads from the offsets that the tables are at, decodes, commits rows and
// offsets together. What fails is tried again from what the store says; nothing is kept in memory that a crash would
// lose. The public functions are thread-safe.
class Carrier {
 public:
  // All outlive the carrier.
  Carrier(const Options& options, Store& store, const Clock& clock, Metrics& metrics)
      : options_(options), store_(store), clock_(clock), metrics_(metrics) {}
  ~Carrier() { stop(); }

  // Fill this table from now on; one that is being filled takes the new columns.
  void add(TableSpec spec);
  void start();
  void stop();

  std::vector<TableStatus> tables() const;
  Status catch_up(std::chrono::milliseconds timeout);

 private:
  struct Partition {
    Offset committed;  // the table holds everything before it
    Carried pending;
    Offset seen;  // read up to here
    Offset end;   // of the topic's partition, as last asked
  };
  // The carrier thread's own view of a table.
  struct Table {
    TableSpec spec;
    std::optional<format::Decoder> decoder;
    std::map<PartitionId, Partition> partitions;
    size_t pending_rows = 0;
    uint64_t pending_rejected = 0;
    MonoTime pending_since{};
    MonoTime look_again{};  // for the topic, its partitions and ends
    std::string trouble;
  };
  // What others see of it.
  struct Shared {
    TableStatus status;
    std::map<PartitionId, Offset> carried;
  };

  void run(const std::stop_token& stop);
  void take_new_tables();
  void look_at_topics();
  Status look_at_topic(Table& table);
  Status begin_partition(Table& table, PartitionId partition, Offset at);
  Status poll();
  void take_records(const client::PartitionRecords& part);
  void commit_due(bool idle);
  Status commit(Table& table);
  void begin_again(Table& table);
  void publish(const Table& table, uint64_t rows, uint64_t rejected);

  const Options& options_;
  Store& store_;
  const Clock& clock_;
  Metrics& metrics_;

  // The thread's own.
  std::unique_ptr<client::Admin> admin_;
  std::unique_ptr<client::PartitionReader> reader_;
  std::map<std::string, Table> tables_;  // by name
  std::map<std::string, Table*> tables_by_topic_;

  mutable Mutex mutex_;
  mutable CondVar changed_;
  std::vector<TableSpec> added_ GUARDED_BY(mutex_);
  std::map<std::string, Shared> shared_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::jthread thread_;
};

}  // namespace millrace::warehouse
