#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "columns/batch.h"
#include "format/format.h"
#include "format/json_schema.h"
#include "format/time_format.h"

namespace millrace::format {

struct HeaderView {
  std::string_view key;
  std::optional<std::string_view> value;
};

// A record as it came from a topic. The decoder copies what it keeps.
struct RecordView {
  std::optional<std::string_view> key;
  std::optional<std::string_view> value;
  std::span<const HeaderView> headers;
  PartitionId partition;
  Offset offset;
  int64_t timestamp_us = 0;  // of the record: CreateTime or LogAppendTime
};

// Where rows say when they happened. A column of type timestamp is read in `format`; of type bigint, double or varchar
// it keeps its value and the event time is read from it.
struct TimeColumn {
  std::string column;
  TimeFormat format;
};

struct DecoderOptions {
  Format format = Format::kJson;
  // The declared columns. For kRaw and kText: leave empty, or one varchar column of any name (`value` by default).
  columns::Schema columns;
  // Without it the event time is the record's timestamp, unchecked.
  std::optional<TimeColumn> time;
  // Names to build, of declared columns and of the hidden ones: _key varchar (UTF-8 repaired), _partition bigint,
  // _offset bigint, _timestamp timestamp (the record's), _headers varchar (a JSON object; null and repeats kept as
  // arrays), _rest varchar (the fields that no column declares as a JSON object; NULL when there is none; json only).
  // nullopt: every declared column and no hidden one. What is not built is not checked against its type either.
  std::optional<std::vector<std::string>> wanted;
  char delimiter = ',';  // csv only
  // json only: every record must keep its rules, also of what is not wanted, else it is a reject whose reason names
  // JSON pointer and rule. `columns` must be this schema's. Heartbeats may lack what is required.
  std::shared_ptr<const JsonSchema> schema;
};

// A record that could not become a row.
struct Reject {
  uint32_t record = 0;  // its index in what decode() was given
  std::string reason;   // for people: "column amount: expected decimal(12,2), got the text \"12,50\""
};

// A record that only says what time it is: it has no key, and no column but the time's is set.
struct Heartbeat {
  uint32_t record = 0;
  columns::RowId row;
};

struct Decoded {
  columns::Batch batch;               // a row per record taken, in their order
  std::vector<Reject> rejects;        // by record, ascending
  std::vector<Heartbeat> heartbeats;  // by record, ascending
};  // batch.rows() + rejects.size() + heartbeats.size() == records.size()

// Turns records into columns of the declared types, column by column. Strict: a JSON string is no number, a JSON number
// no text; an integer is a double and a decimal, too; null and absent are NULL; a decimal must fit exactly. The last of
// repeated JSON names counts. One thread at a time.
class Decoder {
 public:
  // kInvalidArgument for options that contradict each other (a time column that is not declared, a wanted name that
  // does not exist: with the nearest name). `clock` must outlive the decoder: it says which event times lie too far in
  // the future.
  static Result<Decoder> make(DecoderOptions options, const Clock& clock);
  ~Decoder();
  Decoder(Decoder&&) noexcept;
  Decoder& operator=(Decoder&&) noexcept;

  // What decode() returns: wanted declared columns in the order of their declaration, then hidden ones as wanted.
  const columns::SchemaPtr& schema() const;

  // Never fails as a whole: what cannot be taken is in `rejects`. Text in the batch lives as long as the batch.
  Decoded decode(std::span<const RecordView> records);

 private:
  class Impl;
  explicit Decoder(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// The hidden columns' type by name, nullopt if `name` is none of them.
std::optional<columns::Type> hidden_column_type(std::string_view name);

}  // namespace millrace::format
