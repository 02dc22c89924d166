#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "sql/database.h"

namespace millrace::sql {

// Writes all rows of `source` to a Parquet file (zstd) at `path`, replacing it; the number of rows. Types: decimals
// stay exact, timestamps are microseconds in UTC. The only way out of this module to a file: no statement of a user's
// runs in the database that does it. The path's directory must exist; kIo when it cannot be written.
Result<uint64_t> write_parquet(TableSource& source, const std::string& path, uint64_t memory_bytes_max = 256ull << 20);

}  // namespace millrace::sql
