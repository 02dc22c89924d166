#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/ids.h"
#include "base/result.h"
#include "env/file_system.h"
#include "log/store.h"
#include "record/batch.h"
#include "record/records.h"

// Looking at a data folder without changing it: for `millrace doctor` and `millrace log`. Nobody may write to it
// meanwhile, or what is being written looks damaged.
namespace millrace::log {

enum class Severity {
  kNote,     // worth knowing; nothing is wrong
  kWarning,  // a start mends it by itself, or it only takes room
  kDamage,   // records, or what is needed to serve them, cannot be read
};

struct Finding {
  Severity severity = Severity::kNote;
  std::string where;  // a file, "at byte N" where that is known
  std::string what;
  std::string advice;  // what to try; empty where nothing needs to be done
};

// A partition as its files and the write-ahead log have it.
struct PartitionReport {
  std::string topic;
  int32_t partition = 0;
  uint64_t segments = 0;
  uint64_t bytes = 0;
  uint64_t batches = 0;
  int64_t records = 0;
  Offset begin{0};
  Offset end{0};            // behind the last record, of the segments and the write-ahead log
  int64_t wal_records = 0;  // of them, only in the write-ahead log
  std::vector<Finding> findings;
};

struct FolderReport {
  std::vector<PartitionReport> partitions;  // by topic and number
  std::vector<Finding> findings;            // of the folder itself
  uint64_t wal_bytes = 0;                   // that a start would read
  uint64_t free_bytes = 0;
};

struct InspectOptions {
  // Only this topic, or this partition of it.
  std::optional<std::string> topic;
  std::optional<int32_t> partition;
  // Called for each record of the topics whose names begin with "__" (with `all_records`: of all topics): an Error is a
  // finding. May be empty.
  std::function<Status(std::string_view topic, const record::BatchView& batch, const record::Record& record)> check;
  bool all_records = false;
  // Called now and then with the bytes read so far, of how many. May be empty.
  std::function<void(uint64_t done, uint64_t total)> progress;
};

// Every file of the data folder, each once and from front to back. Damage is what is found, not an Error: that is for a
// folder that cannot be looked at at all: kNotFound, kPermissionDenied; kConflict where it is of another version.
Result<FolderReport> inspect_folder(env::FileSystem& files, const std::string& dir, const InspectOptions& options);

// Call `visit` with each batch of a segment file and where it begins. Batches whose checksum is wrong are visited, too.
// kCorruption, with the byte, where what follows is no batch.
Status walk_batches(env::FileSystem& files, const std::string& path,
                    const std::function<Status(uint64_t position, const record::BatchView& batch)>& visit);

// The entries of index files, as they are.
struct OffsetIndexLine {
  int32_t relative_offset = 0;
  int32_t position = 0;
};
struct TimeIndexLine {
  int64_t timestamp_ms = 0;
  int32_t relative_offset = 0;
};
Result<std::vector<OffsetIndexLine>> read_offset_index(env::FileSystem& files, const std::string& path);
Result<std::vector<TimeIndexLine>> read_time_index(env::FileSystem& files, const std::string& path);
Result<std::vector<AbortedTransaction>> read_transaction_index(env::FileSystem& files, const std::string& path);

// One entry of the write-ahead log, for people.
struct WalLine {
  std::string type;    // batches, create-topic, …
  uint32_t topic = 0;  // the store's number of it
  int32_t partition = -1;
  std::string detail;  // of a topic: its name and settings
  ByteView batches;
};
// Each entry of a folder's write-ahead log from its last checkpoint on, in order.
Status walk_wal(env::FileSystem& files, const std::string& dir, const std::function<Status(const WalLine&)>& visit);

// The topic and partition that a folder "orders-3" is for; nothing for other names.
std::optional<std::pair<std::string, int32_t>> parse_partition_folder(std::string_view name);

}  // namespace millrace::log
