#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "base/clock.h"
#include "base/random.h"
#include "base/result.h"
#include "env/file_system.h"
#include "log/internal/offset_map.h"
#include "log/internal/partition_log.h"

namespace millrace::log {

// Compacts one partition, as Kafka does: of the records with one key the last one stays, and every offset stays what it
// was. What is written is docs/formats/segments.md's.
//
// First it notes the last offset of every key in the part that no compaction has seen. Then it writes the segments
// before the end of that part anew, some small ones together as one, without the records that a later one replaces,
// without aborted ones, and without tombstones and markers whose time is over. Each new segment takes the place of the
// old ones in one step, which a crash does or does not do. Readers go on in the old ones.
//
// One thread at a time; appends and reads go on beside it.
class Cleaner {
 public:
  struct Options {
    uint64_t map_bytes = 0;  // for keys: with more of them it ends earlier in the log, and the next time goes on there
    uint64_t kept_free_bytes = 0;  // of the disk: with less, besides what the new segment may take, nothing is begun
  };
  // Called before so many bytes are read or written: waits as long as is due. False: give up, with kCancelled.
  using Pace = std::function<bool(uint64_t bytes)>;
  // Calls its argument so that no checkpoint runs meanwhile and no topic comes or goes.
  using Exclusively = std::function<Status(const std::function<Status()>&)>;

  Cleaner(env::FileSystem& files, const Clock& clock, const Options& options, Random random, Pace pace,
          Exclusively exclusively);

  struct Outcome {
    uint64_t bytes_before = 0;  // of the segments that were written anew
    uint64_t bytes_after = 0;
  };
  // Compact `log` where that is due. An error leaves the log whole: what was not done is done another time.
  Result<Outcome> clean(PartitionLog& log);

 private:
  struct Pass;
  class Output;

  Status each_batch(const PartitionLog& log, const Segment& segment, Offset from, Offset end,
                    const std::function<Result<bool>(const record::BatchView&)>& visit);
  // Fill the pass's map, up to where it is full.
  Status note_keys(const PartitionLog& log, Pass& pass);
  Status check_room(const PartitionLog& log, uint64_t bytes) const;
  Status clean_group(PartitionLog& log, Pass& pass, size_t begin, size_t end);
  Status clean_batch(Pass& pass, const record::BatchView& batch, Output& output);
  Status clean_marker(Pass& pass, const record::BatchView& batch, Output& output);

  env::FileSystem& files_;
  const Clock& clock_;
  const Options options_;
  Random random_;
  const Pace pace_;
  const Exclusively exclusively_;
};

}  // namespace millrace::log
