#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/fake_clock.h"
#include "base/random.h"
#include "env/fault_file_system.h"
#include "log/store.h"
#include "record/records.h"

namespace millrace::log {

// What the tests of this module share.

struct BatchSpec {
  std::vector<std::string> values;
  int64_t timestamp_ms = 1000;  // each next record a millisecond later
  record::BatchOptions options;
};

// For EXPECT_EQ(error_of(status), ""): shows the error where there is one.
template <typename T>
std::string error_of(const Result<T>& result) {
  return result ? "" : result.error().message;
}

inline Bytes make_batch(const BatchSpec& spec) {
  record::BatchBuilder builder(spec.options);
  int64_t timestamp_ms = spec.timestamp_ms;
  for (const std::string& value : spec.values) builder.add(timestamp_ms++, std::nullopt, as_byte_view(value));
  return builder.finish().value();
}

// "value@offset" of every record of consecutive batches.
inline Result<std::vector<std::string>> records_in(ByteView bytes) {
  std::vector<std::string> all;
  record::BatchReader batches(bytes);
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const auto batch, batches.next());
    if (!batch) return all;
    if (!batch->checksum_matches()) return fail(Errc::kCorruption, "a checksum does not match");
    MILLRACE_ASSIGN_OR_RETURN(auto reader, record::RecordReader::open(*batch, 1u << 24));
    record::Record record;
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const bool more, reader.next(record));
      if (!more) break;
      all.push_back(std::string(as_text(*record.value)) + "@" + std::to_string(record.offset.value()));
    }
  }
}

// Everything readable from `from` on, in reads of `bytes_max`.
inline Result<std::vector<std::string>> read_all(const Partition& partition, Offset from = Offset{0},
                                                 size_t bytes_max = 1u << 16) {
  std::vector<std::string> all;
  while (true) {
    Bytes bytes;
    MILLRACE_ASSIGN_OR_RETURN(const ReadInfo info, partition.read(from, bytes_max, true, bytes));
    if (info.bytes == 0) return all;
    MILLRACE_ASSIGN_OR_RETURN(const auto some, records_in(bytes));
    all.insert(all.end(), some.begin(), some.end());
    record::BatchReader batches(bytes);
    while (const auto batch = *batches.next()) from = batch->last_offset() + 1;
  }
}

// A store on a disk in memory, small enough that every path is taken.
struct TestStore {
  static StoreOptions small_options() {
    StoreOptions options;
    options.dir = "/data";
    options.segment_bytes = 4096;
    options.index_interval_bytes = 200;
    options.wal_file_bytes = 32u << 10;
    options.wal_buffer_bytes = 64u << 10;
    options.tail_bytes = 500;
    options.write_once_bytes = 700;
    return options;
  }

  Status open() {
    store.reset();
    MILLRACE_ASSIGN_OR_RETURN(store, Store::open(options, files, clock, random));
    return {};
  }
  void crash(env::FaultFileSystem::Unsynced unsynced = env::FaultFileSystem::Unsynced::kDropped) {
    // The power goes first: what closing would do does not reach the disk.
    files.power_off_after(0);
    store.reset();
    files.crash(unsynced, random);
  }
  // The disk has room for so many bytes more; it has plenty again.
  void leave_room(uint64_t bytes) {
    give_room();
    files.set_capacity(kPlenty - files.free_bytes("/data").value() + bytes);
  }
  void give_room() { files.set_capacity(kPlenty); }
  std::shared_ptr<Partition> make_topic(const std::string& name, int32_t partitions = 1) {
    return store->create_topic({.name = name, .id = Uuid::random(random), .partitions = partitions, .config = {}})
        .value()
        ->partitions[0];
  }
  std::shared_ptr<Partition> partition(const std::string& name, size_t number = 0) const {
    return store->find_topic(name)->partitions[number];
  }
  // Append and wait until it is durable.
  Result<Appended> append(const std::string& name, const BatchSpec& spec, size_t number = 0) {
    Bytes batch = make_batch(spec);
    MILLRACE_ASSIGN_OR_RETURN(const Appended appended, partition(name, number)->append(batch));
    MILLRACE_RETURN_IF_ERROR(store->wait_durable(appended.position));
    return appended;
  }

  static constexpr uint64_t kPlenty = 1ull << 40;

  StoreOptions options = small_options();
  FakeClock clock;
  Random random{1};
  env::FaultFileSystem files;
  std::unique_ptr<Store> store;
};

}  // namespace millrace::log
