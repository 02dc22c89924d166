#pragma once

#include <optional>
#include <string>

#include "log/inspect.h"

namespace millrace::log {

// What is to be said of one segment file, beside the report of its partition that it is added to.
struct SegmentInspection {
  std::string directory;
  Offset base_offset{0};
  // Only so much of it counts, and only so many entries of its indexes; nothing: all.
  std::optional<uint64_t> bytes;
  std::optional<uint64_t> index_entries;
  std::optional<uint64_t> time_index_entries;
};

// Read the segment from front to back and hold its indexes against it. Batches, records, the end offset and findings go
// into `report`, whose end offset says where the one before ended.
void inspect_segment(env::FileSystem& files, const SegmentInspection& segment, const InspectOptions& options,
                     PartitionReport& report);

}  // namespace millrace::log
