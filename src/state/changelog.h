#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/result.h"
#include "state/page.h"

namespace millrace::state {

// The records of a stage's changelog; layouts in docs/formats/changelog.md. One group per commit: the pages changed
// since the last, closed by Commit. A partition's new owner begins with Open.

// Which ownership wrote a record: the consumer group's generation. A later one is greater.
using Generation = int32_t;

// The new owner's first record, also after a commit that failed or was given up. Nothing that was not closed before it
// counts, nor does anything that earlier generations write behind it, their Open included.
struct Open {
  Generation generation = 0;
  friend bool operator==(const Open&, const Open&) = default;
};
// Closes the group: with it, every input row below `next_offset` is in the state, and none above.
struct Commit {
  Offset next_offset;
  Generation generation = 0;
  uint32_t changes = 0;  // how many page records the group has; a group with fewer is torn
  friend bool operator==(const Commit&, const Commit&) = default;
};
// A page's new bytes, or none: the page is no more.
struct Change {
  Generation generation = 0;
  PageId id;
  std::optional<Bytes> value;
  friend bool operator==(const Change&, const Change&) = default;
};
using Entry = std::variant<Open, Commit, Change>;

// A changelog record as it is produced. Changelogs are not compacted, so a tombstone is a record with a value, too.
struct EncodedRecord {
  Bytes key;
  Bytes value;
};

EncodedRecord encode(const Open& open);
EncodedRecord encode(const Commit& commit);
// kCorruption for anything these functions and ChangelogGroup do not write; kUnsupported for a later version's.
Result<Entry> decode(ByteView key, ByteView value);

// The records of one commit of one partition, in one piece of memory: collect every step's changes, then close.
class ChangelogGroup {
 public:
  explicit ChangelogGroup(Generation generation) : generation_(generation) {}

  // Where `step` puts its changes; valid until the next call or the group's end.
  PageSink& sink(const StepId& step);
  void collect(const StepId& step, Paged& state) { state.collect(sink(step)); }
  // The record that ends the group, behind all others.
  void close(Offset next_offset);

  struct RecordView {
    ByteView key;
    ByteView value;
  };
  // In the order to be produced. Valid until the group changes.
  size_t size() const { return records_.size(); }
  RecordView record(size_t index) const;
  // Begin anew, keeping the memory.
  void clear(Generation generation);

 private:
  class Sink;
  friend class Sink;
  struct Extent {
    size_t key_begin, value_begin, end;
  };
  void add_change(ByteView key, uint64_t page, std::optional<ByteView> value);

  Generation generation_;
  uint32_t changes_ = 0;
  Bytes step_prefix_;  // encoded step id and signature
  Bytes buffer_;
  std::vector<Extent> records_;
  std::unique_ptr<PageSink> sink_;
};

// What a changelog says after its last closed group.
struct Restored {
  std::optional<Offset> next_offset;  // none: nothing was ever committed
  std::map<PageId, Bytes> pages;
};

// Reads a changelog from its beginning to an end noted after the new owner's Open was acknowledged, and keeps what
// closed groups say: a pure state machine, without I/O. Torn groups, groups that a deposed owner wrote on, and groups
// without an end leave no trace. One thread.
class Restorer {
 public:
  explicit Restorer(uint64_t state_bytes_max = 4ull << 30) : state_bytes_max_(state_bytes_max) {}

  // The next record of the changelog's partition. kCorruption names what is wrong: restoring must stop, and not guess.
  // kTooLarge: the state is over the bound.
  Status feed(ByteView key, ByteView value);

  // The generation of the last Open that counted. A new owner whose own generation it is not must not go on with that:
  // if it is greater, another worker owns the partition by now, or the group was deleted and its generations began
  // anew.
  std::optional<Generation> generation() const { return opened_; }
  // Groups applied, and changes dropped because nothing (valid) closed them: for the log.
  uint64_t groups_applied() const { return groups_applied_; }
  uint64_t changes_dropped() const { return changes_dropped_; }

  // The state. Afterwards only destruction.
  Restored finish() &&;

 private:
  struct Pending {
    std::vector<Change> changes;
    uint64_t bytes = 0;
  };
  void drop_pending();
  Status apply(const Commit& commit);

  uint64_t state_bytes_max_;
  uint64_t state_bytes_ = 0;
  uint64_t pending_bytes_ = 0;
  std::optional<Generation> opened_;
  std::map<Generation, Pending> pending_;
  Restored restored_;
  uint64_t groups_applied_ = 0;
  uint64_t changes_dropped_ = 0;
};

}  // namespace millrace::state
