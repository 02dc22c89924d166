#pragma once

#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "sql/database.h"
#include "warehouse/warehouse.h"

namespace millrace::warehouse {

// What is to be added to a table from one partition of its topic.
struct Carried {
  PartitionId partition;
  Offset from;  // the offset that the table is known to be at
  Offset next;  // and the one that it is at with these rows
  std::vector<columns::Batch> batches;
};

// The database file: tables, their specifications, and how far each is (docs/formats/warehouse.md). commit() is called
// by one thread; the others by any.
class Store {
 public:
  static Result<std::unique_ptr<Store>> open(const std::string& path, uint64_t memory_bytes_max);

  Result<std::vector<TableSpec>> tables();
  // See Warehouse::declare(). Returns the specification that holds now: columns that only the table has are kept.
  Result<TableSpec> declare(const TableSpec& spec);
  // The next offset of each partition that something was carried from.
  Result<std::map<PartitionId, Offset>> offsets(const std::string& table);

  // Adds the rows and moves the offsets in one transaction, or does nothing. kConflict when the table is not where
  // `from` says: somebody else has carried, begin again with offsets().
  Status commit(const TableSpec& spec, std::span<const Carried> parts);

  const std::shared_ptr<sql::Database>& database() const { return database_; }

 private:
  class Staged;

  Store() = default;
  Status create_catalog();
  Status move_offsets(const TableSpec& spec, std::span<const Carried> parts);
  Status add_rows(const TableSpec& spec, std::span<const Carried> parts);
  Status replace_rows(const TableSpec& spec);

  std::shared_ptr<sql::Database> database_;
  std::unique_ptr<sql::Connection> writer_;
  std::shared_ptr<Staged> staged_;
};

}  // namespace millrace::warehouse
