#pragma once

#include <string>

#include "env/file_system.h"
#include "sql/database.h"
#include "warehouse/warehouse.h"

namespace millrace::warehouse {

// The rows of `stream` in the format asked for. kTooLarge when the answer grows past `answer_bytes_max`. A Parquet
// answer goes through the file `parquet_path`, which is removed again.
Result<Answer> render(sql::ResultStream& stream, AnswerFormat format, uint64_t answer_bytes_max, env::FileSystem& files,
                      const std::string& parquet_path);

}  // namespace millrace::warehouse
