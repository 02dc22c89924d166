#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "client/admin.h"
#include "client/producer.h"

namespace millrace::app {

// How far a partition was copied, and which offset became which. Kept at the destination, in the compacted topic
// __millrace_copy: key "<source's cluster id>/<topic>/<partition>", value {"source": S, "destination": D, "points":
// [[s, d], …]} where S and D are the next offsets and each point is a source offset and the offset that the first
// record at or after it got.
class CopyMark {
 public:
  struct Point {
    int64_t source = 0;
    int64_t destination = 0;
    friend bool operator==(const Point&, const Point&) = default;
  };
  // So many points are kept; beyond, every other one is forgotten.
  static constexpr size_t kPointsMax = 512;

  CopyMark() = default;
  // Where copying begins.
  CopyMark(Offset source, Offset destination) : next_{source.value(), destination.value()}, points_{next_} {}

  Offset source() const { return Offset(next_.source); }
  Offset destination() const { return Offset(next_.destination); }
  // Records up to here are copied, durably.
  void advance(Offset source, Offset destination);

  // Where to count from for an offset of the source: the nearest point at or before it, and whether no offset between
  // that and the next is without a record, so that counting is adding.
  struct Nearest {
    Point point;
    bool is_dense = false;
  };
  Nearest nearest(Offset source) const;

  std::string encode() const;
  static std::optional<CopyMark> decode(std::string_view text);

 private:
  Point next_;
  std::vector<Point> points_;  // ascending; the first is where copying began
};

inline constexpr const char* kCopyMarksTopic = "__millrace_copy";

std::string copy_mark_key(const std::string& cluster_id, const client::TopicPartition& source);

// All marks that a destination has, by key. The topic is made where it is missing.
Result<std::map<std::string, CopyMark>> read_copy_marks(const client::Options& destination, client::Admin& admin);

}  // namespace millrace::app
