#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <stop_token>
#include <string>

#include "client/partition_reader.h"
#include "sql/database.h"
#include "warehouse/warehouse.h"

namespace millrace::warehouse {

// The partitions of a topic, ascending. kNotFound, with the nearest name, where there is no such topic.
Result<std::vector<client::TopicPartition>> partitions_of(client::Admin& admin, const std::string& topic,
                                                          client::Millis timeout);

// A record as the decoder reads it; views of the client's memory.
format::RecordView to_format(PartitionId partition, const client::RecordView& record);

// Where topic() begins in each partition.
struct From {
  enum class Kind { kEarliest, kOffset, kLast, kTime };
  Kind kind = Kind::kEarliest;
  int64_t value = 0;  // the offset; how many of the last; milliseconds since 1970
};
// earliest, an offset, a negative number of last records, or a time.
Result<From> parse_from(std::string_view text);

// The rows of `FROM topic(…)`: see Warehouse::query(). Reads nothing before rewind(); gives up when `stop` is asked
// for. One thread.
class TopicSource final : public sql::TableSource {
 public:
  static Result<std::shared_ptr<TopicSource>> make(const sql::TableArguments& arguments, const client::Options& cluster,
                                                   const TopicSchemas* schemas, const Clock& clock,
                                                   std::stop_token stop);

  const columns::Schema& schema() const override { return *schema_; }
  Status rewind() override;
  Result<columns::Batch> next() override;

 private:
  TopicSource(std::string topic, const client::Options& cluster, std::stop_token stop)
      : topic_(std::move(topic)), cluster_(cluster), stop_(std::move(stop)) {}
  Status find_columns(const TopicSchemas* schemas, const Clock& clock);
  Result<std::vector<client::ReadRange>> ranges(client::Admin& admin) const;
  columns::Batch to_batch(const client::Records& records);

  std::string topic_;
  client::Options cluster_;
  std::stop_token stop_;
  From from_;
  std::optional<uint64_t> rows_max_;
  columns::SchemaPtr schema_;
  std::optional<format::Decoder> decoder_;  // of the declared columns
  std::unique_ptr<client::PartitionReader> reader_;
  uint64_t rows_left_ = 0;
};

}  // namespace millrace::warehouse
