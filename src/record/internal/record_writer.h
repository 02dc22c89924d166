#pragma once

#include "base/byte_writer.h"
#include "record/records.h"

namespace millrace::record {

// Append one record, its offset and timestamp counted from those given. `scratch` is overwritten: memory to keep
// between calls.
void write_record(const Record& record, Offset base_offset, int64_t base_timestamp_ms, Bytes& scratch, Bytes& out);

}  // namespace millrace::record
