#include "warehouse/internal/topic_source.h"

#include <fmt/core.h>

#include <algorithm>

#include "base/text.h"
#include "base/unix_time.h"
#include "base/utf8.h"
#include "client/admin.h"

namespace millrace::warehouse {
namespace {

using columns::Batch;
using columns::Column;

constexpr client::Millis kPatience{10'000};
constexpr size_t kPollRows = 2'048;
constexpr size_t kOwnColumns = 5;  // _partition, _offset, _timestamp, _key, value

void append_bytes(Column& column, bool there, ByteView bytes) {
  if (!there) return column.append_null();
  const std::string_view text = as_text(bytes);
  column.append_text_copy(is_utf8(text) ? text : to_utf8(text));
}

}  // namespace

format::RecordView to_format(PartitionId partition, const client::RecordView& record) {
  format::RecordView view;
  if (record.has_key()) view.key = as_text(record.key());
  if (record.has_value()) view.value = as_text(record.value());
  view.partition = partition;
  view.offset = record.offset;
  view.timestamp_us = us_from_ms(record.timestamp_ms);
  return view;
}

Result<std::vector<client::TopicPartition>> partitions_of(client::Admin& admin, const std::string& topic,
                                                          client::Millis timeout) {
  MILLRACE_ASSIGN_OR_RETURN(const auto topics, admin.list_topics(timeout));
  std::vector<std::string> names;
  for (const client::TopicInfo& info : topics) {
    names.push_back(info.name);
    if (info.name != topic) continue;
    std::vector<client::TopicPartition> partitions;
    partitions.reserve(info.partitions.size());
    for (const client::PartitionInfo& partition : info.partitions) partitions.push_back({topic, partition.id});
    return partitions;
  }
  const auto nearest = nearest_name(topic, names);
  return fail(Errc::kNotFound, fmt::format("there is no topic {}", topic),
              nearest ? fmt::format("did you mean {}?", *nearest) : "millrace topic list");
}

Result<From> parse_from(std::string_view text) {
  if (text == "earliest") return From{};
  if (const auto number = parse_int64(text)) {
    if (*number == std::numeric_limits<int64_t>::min()) return From{};
    return *number < 0 ? From{From::Kind::kLast, -*number} : From{From::Kind::kOffset, *number};
  }
  if (const auto time_us = format::TimeFormat().read_text(text)) return From{From::Kind::kTime, *time_us / 1'000};
  return fail(Errc::kInvalidArgument, fmt::format("topic(): '{}' is no place to read from", text),
              "earliest, an offset, -100 for the last hundred, or a time as 2026-01-31 12:00:00");
}

Result<std::shared_ptr<TopicSource>> TopicSource::make(const sql::TableArguments& arguments,
                                                       const client::Options& cluster, const TopicSchemas* schemas,
                                                       const Clock& clock, std::stop_token stop) {
  const std::string topic = arguments.positional.empty() ? std::string() : arguments.positional[0].value_or("");
  if (topic.empty()) return fail(Errc::kInvalidArgument, "topic() needs the topic's name", "topic('orders')");
  if (cluster.bootstrap.empty())
    return fail(Errc::kUnavailable, "topics can be read while a server runs", "millrace server");
  std::shared_ptr<TopicSource> source(new TopicSource(topic, cluster, std::move(stop)));
  for (const auto& [name, value] : arguments.named) {
    if (name == "from") {
      MILLRACE_ASSIGN_OR_RETURN(source->from_, parse_from(value));
    } else {
      const auto rows = parse_int64(value);
      if (!rows || *rows < 0)
        return fail(Errc::kInvalidArgument, fmt::format("topic(): rows is '{}'", value), "rows := 1000");
      source->rows_max_ = static_cast<uint64_t>(*rows);
    }
  }
  MILLRACE_RETURN_IF_ERROR(source->find_columns(schemas, clock));
  return source;
}

Status TopicSource::find_columns(const TopicSchemas* schemas, const Clock& clock) {
  std::vector<columns::Field> fields{{"_partition", columns::kBigint},
                                     {"_offset", columns::kBigint},
                                     {"_timestamp", columns::kTimestamp},
                                     {"_key", columns::kVarchar},
                                     {"value", columns::kVarchar}};
  if (const auto declared = schemas == nullptr ? std::nullopt : schemas->find(topic_)) {
    format::DecoderOptions options;
    options.format = declared->format;
    options.columns = declared->columns;
    options.time = declared->time;
    // The record's text has its name first: a column called value is found in it.
    std::vector<std::string> wanted;
    for (const columns::Field& field : declared->columns.fields())
      if (field.name != "value") wanted.push_back(field.name);
    options.wanted = std::move(wanted);
    MILLRACE_ASSIGN_OR_RETURN(decoder_, format::Decoder::make(std::move(options), clock));
    for (const columns::Field& field : decoder_->schema()->fields()) fields.push_back(field);
  }
  schema_ = std::make_shared<const columns::Schema>(std::move(fields));
  return {};
}

Result<std::vector<client::ReadRange>> TopicSource::ranges(client::Admin& admin) const {
  MILLRACE_ASSIGN_OR_RETURN(const auto partitions, partitions_of(admin, topic_, kPatience));
  MILLRACE_ASSIGN_OR_RETURN(const auto ends, admin.offsets(partitions, kPatience));
  std::map<client::TopicPartition, Offset> at_time;
  if (from_.kind == From::Kind::kTime) {
    MILLRACE_ASSIGN_OR_RETURN(const auto found, admin.offsets_at(partitions, from_.value, kPatience));
    for (const client::TopicOffset& place : found) at_time.emplace(place.source, place.offset);
  }
  std::vector<client::ReadRange> ranges;
  for (const client::PartitionOffsets& part : ends) {
    if (!part.range) return tl::unexpected<Error>(part.range.error());
    Offset from = part.range->begin;
    switch (from_.kind) {
      case From::Kind::kEarliest:
        break;
      case From::Kind::kOffset:
        from = std::max(from, Offset(from_.value));
        break;
      case From::Kind::kLast:
        from = std::max(from, Offset(part.range->end - Offset(from_.value)));
        break;
      case From::Kind::kTime:
        if (const auto found = at_time.find(part.source); found != at_time.end()) from = std::max(from, found->second);
        break;
    }
    if (from < part.range->end) ranges.push_back({part.source, from, part.range->end});
  }
  return ranges;
}

Status TopicSource::rewind() {
  rows_left_ = rows_max_.value_or(std::numeric_limits<uint64_t>::max());
  reader_.reset();
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, client::Admin::create(cluster_));
  MILLRACE_ASSIGN_OR_RETURN(const auto places, ranges(*admin));
  if (places.empty()) return {};
  MILLRACE_ASSIGN_OR_RETURN(reader_, client::PartitionReader::create(cluster_));
  return reader_->assign(places, kPatience);
}

Result<Batch> TopicSource::next() {
  // Each round is short, so that a cancelled statement does not wait for a broker that is gone.
  constexpr client::Millis kRound{100};
  client::Millis waited{0};
  while (reader_ && rows_left_ > 0 && !reader_->done()) {
    MILLRACE_ASSIGN_OR_RETURN(const client::Records records,
                              reader_->poll(std::min<uint64_t>(kPollRows, rows_left_), kRound));
    if (!records.empty()) {
      rows_left_ -= records.count();
      return to_batch(records);
    }
    if (stop_.stop_requested()) return fail(Errc::kCancelled, "the server is stopping");
    waited += kRound;
    if (waited >= kPatience)
      return fail(Errc::kTimedOut, fmt::format("topic {}: no answer within {} s", topic_, kPatience.count() / 1'000));
  }
  return Batch(schema_,
               [this] {
                 std::vector<columns::ColumnPtr> none;
                 for (const columns::Field& field : schema_->fields())
                   none.push_back(std::make_shared<Column>(field.type));
                 return none;
               }(),
               {});
}

Batch TopicSource::to_batch(const client::Records& records) {
  std::vector<std::shared_ptr<Column>> columns;
  for (const columns::Field& field : schema_->fields()) columns.push_back(std::make_shared<Column>(field.type));
  std::vector<format::RecordView> views;
  for (const client::PartitionRecords& part : records.partitions()) {
    for (const client::RecordView& record : part.records) {
      const format::RecordView& view = views.emplace_back(to_format(part.partition, record));
      columns[0]->append_int64(part.partition.value());
      columns[1]->append_int64(record.offset.value());
      columns[2]->append_int64(view.timestamp_us);
      append_bytes(*columns[3], record.has_key(), record.key());
      append_bytes(*columns[4], record.has_value(), record.value());
    }
  }
  if (decoder_) {
    const format::Decoded decoded = decoder_->decode(views);
    std::vector<bool> taken(views.size(), true);
    for (const format::Reject& reject : decoded.rejects) taken[reject.record] = false;
    for (const format::Heartbeat& heartbeat : decoded.heartbeats) taken[heartbeat.record] = false;
    for (size_t i = 0; i < decoded.batch.schema().size(); ++i) {
      Column& column = *columns[kOwnColumns + i];
      size_t row = 0;
      for (const bool there : taken) {
        if (there)
          column.append_from(decoded.batch.column(i), row++);
        else
          column.append_null();
      }
      column.keep_alive_with(decoded.batch.column(i));
    }
  }
  return Batch(schema_, {columns.begin(), columns.end()}, std::vector<columns::RowId>(views.size()));
}

}  // namespace millrace::warehouse
