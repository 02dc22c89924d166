#pragma once

#include <map>
#include <optional>

#include "base/byte_reader.h"
#include "base/byte_writer.h"
#include "base/ids.h"
#include "base/result.h"

namespace millrace::log {

// Which transactions of a partition are not decided yet, as far as its readers are concerned: those without a marker,
// and those whose marker is not durable. The first record of the oldest of them is where read_committed ends. One
// thread at a time.
class OpenTransactions {
 public:
  // A transactional record of `producer` was appended at `offset`: its transaction begins here, unless it is open.
  void note_record(ProducerId producer, Offset offset) { open_.try_emplace(producer, offset); }
  // A marker was appended at `marker`: the first offset of the transaction it ends; nothing where it had no record
  // here.
  std::optional<Offset> end(ProducerId producer, Offset marker);

  // The last stable offset: `high_watermark`, or the first record of an undecided transaction. High watermarks never go
  // back from one call to the next.
  Offset last_stable(Offset high_watermark);
  // The first offset of the oldest transaction without a marker, or `end` where there is none.
  Offset first_open(Offset end) const;
  // Where the producer's open transaction begins.
  std::optional<Offset> first_offset_of(ProducerId producer) const;

  bool empty() const { return open_.empty() && ending_.empty(); }
  // Those without a marker: the others are decided once what is encoded with them is durable.
  void encode(Bytes& out) const;
  // Replaces everything.
  Status decode(ByteReader& reader);

 private:
  std::map<ProducerId, Offset> open_;
  std::map<Offset, Offset> ending_;  // first offset -> marker
};

}  // namespace millrace::log
