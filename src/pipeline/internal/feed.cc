#include "pipeline/internal/feed.h"

#include <fmt/core.h>

#include "client/partitioner.h"
#include "format/decoder.h"
#include "format/file_reader.h"

namespace millrace::pipeline {
namespace {

constexpr size_t kBatchRows = 4096;

class Feeder {
 public:
  Feeder(client::Producer& producer, client::Producer::Topic topic, const FeedOptions& options, format::Decoder decoder)
      : producer_(producer), topic_(topic), options_(options), decoder_(std::move(decoder)) {
    if (!options.source->key.empty()) key_column_ = decoder_.schema()->index_of(options.source->key.value);
    values_.resize(kBatchRows);
  }

  std::string& slot() { return values_[used_]; }
  Status keep() { return ++used_ == kBatchRows ? send() : Status{}; }

  Status send() {
    records_.clear();
    for (size_t i = 0; i < used_; ++i) {
      format::RecordView record;
      record.value = values_[i];
      record.offset = Offset(static_cast<int64_t>(i));
      records_.push_back(record);
    }
    const format::Decoded decoded = decoder_.decode(records_);
    size_t row = 0;
    for (size_t i = 0; i < used_; ++i) {
      const bool read =
          row < decoded.batch.rows() && decoded.batch.row_id(row).offset.value() == static_cast<int64_t>(i);
      client::OutRecord out;
      key_.clear();
      if (read) {
        if (key_column_ && decoded.batch.column(*key_column_).is_valid(row)) {
          decoded.batch.column(*key_column_).append_text(row, key_);
          out.key = as_byte_view(key_);
          partition_ = client::partition_for_key(*out.key, options_.partitions);
        } else {
          partition_ = PartitionId(static_cast<int32_t>(sent_ % static_cast<uint64_t>(options_.partitions)));
        }
        if (options_.source->time) timestamp_ms_ = decoded.batch.row_id(row).event_time_us / 1000;
        ++row;
      }
      out.partition = partition_;
      out.value = as_byte_view(values_[i]);
      out.timestamp_ms = timestamp_ms_;
      MILLRACE_RETURN_IF_ERROR(producer_.produce(topic_, out));
      ++sent_;
    }
    used_ = 0;
    return {};
  }
  uint64_t sent() const { return sent_; }

 private:
  client::Producer& producer_;
  client::Producer::Topic topic_;
  const FeedOptions& options_;
  format::Decoder decoder_;
  std::optional<size_t> key_column_;
  std::vector<std::string> values_;
  std::vector<format::RecordView> records_;
  size_t used_ = 0;
  std::string key_;
  PartitionId partition_{0};  // of the record before
  int64_t timestamp_ms_ = -1;
  uint64_t sent_ = 0;
};

}  // namespace

Result<uint64_t> feed(client::Producer& producer, const FeedOptions& options, const Clock& clock,
                      const std::stop_token& stop) {
  const SourcePlan& source = *options.source;
  const auto kind = format::file_kind_of(options.path);
  if (!kind)
    return fail(Errc::kInvalidArgument, fmt::format("{}: cannot tell what kind of file this is", options.path),
                "name it .csv, .jsonl or .log, with or without .gz");
  format::SourceFile::Options file;
  file.file.path = options.path;
  file.file.kind = *kind;
  file.file.delimiter = source.delimiter;
  file.format = source.format;
  file.columns = source.columns;
  file.time = source.time;
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, format::SourceFile::open(std::move(file)));

  format::DecoderOptions decoding;
  decoding.format = source.format;
  decoding.columns = source.columns;
  decoding.time = source.time;
  decoding.delimiter = source.delimiter;
  decoding.wanted.emplace();
  if (!source.key.empty()) decoding.wanted->push_back(source.key.value);
  MILLRACE_ASSIGN_OR_RETURN(format::Decoder decoder, format::Decoder::make(std::move(decoding), clock));
  MILLRACE_ASSIGN_OR_RETURN(const client::Producer::Topic topic, producer.topic(source.topic.value));
  Feeder feeder(producer, topic, options, std::move(decoder));
  for (uint64_t count = 0;; ++count) {
    MILLRACE_ASSIGN_OR_RETURN(const bool more, reader->next(feeder.slot()));
    if (!more) break;
    MILLRACE_RETURN_IF_ERROR(feeder.keep());
    if (count % kBatchRows != 0) continue;
    if (stop.stop_requested()) return fail(Errc::kCancelled, "stopped while reading " + options.path);
    if (options.progress) options.progress(reader->reader().bytes_read(), reader->reader().bytes_total());
  }
  MILLRACE_RETURN_IF_ERROR(feeder.send());
  MILLRACE_RETURN_IF_ERROR(producer.flush(client::Millis(120'000)));
  if (const auto errors = producer.take_delivery_errors(); !errors.empty())
    return tl::unexpected<Error>(errors.front().error);
  if (options.progress) options.progress(reader->reader().bytes_total(), reader->reader().bytes_total());
  return feeder.sent();
}

}  // namespace millrace::pipeline
