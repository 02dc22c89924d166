#include "sql/parquet.h"

#include <fmt/core.h>

namespace millrace::sql {
namespace {

// Lends a source to a table function, which wants a share of it.
class Borrowed final : public TableSource {
 public:
  explicit Borrowed(TableSource& source) : source_(source) {}
  const columns::Schema& schema() const override { return source_.schema(); }
  Status rewind() override { return source_.rewind(); }
  Result<columns::Batch> next() override { return source_.next(); }

 private:
  TableSource& source_;
};

}  // namespace

Result<uint64_t> write_parquet(TableSource& source, const std::string& path, uint64_t memory_bytes_max) {
  DatabaseOptions options;
  options.memory_bytes_max = memory_bytes_max;
  options.external_access = true;
  MILLRACE_ASSIGN_OR_RETURN(const auto database, Database::open(std::move(options)));
  MILLRACE_ASSIGN_OR_RETURN(const auto connection, database->connect());
  MILLRACE_RETURN_IF_ERROR(connection->register_table(
      "millrace_rows", 0, {}, [&source](const TableArguments&) -> Result<std::shared_ptr<TableSource>> {
        return std::make_shared<Borrowed>(source);
      }));
  return connection->execute(fmt::format(
      "COPY (SELECT * FROM millrace_rows()) TO {} (FORMAT parquet, COMPRESSION zstd)", quote_literal(path)));
}

}  // namespace millrace::sql
