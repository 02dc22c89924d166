#include "app/record_commands.h"

#include <fmt/core.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <iostream>
#include <limits>
#include <memory>

#include "app/connection.h"
#include "app/shutdown.h"
#include "base/json_writer.h"
#include "base/text.h"
#include "base/unix_time.h"
#include "base/utf8.h"
#include "client/partition_reader.h"
#include "client/producer.h"
#include "columns/column.h"

namespace millrace::app {
namespace {

struct ProduceFlags {
  std::string topic;
  std::string file;  // empty: stdin
  std::string key;
  std::string key_separator;
};

// Each line of the input is a record; with a separator what stands before its first occurrence is the key.
Status produce(const CommandLine& line, const ProduceFlags& flags) {
  std::ifstream file;
  if (!flags.file.empty()) {
    file.open(flags.file);
    if (!file) return fail(Errc::kNotFound, fmt::format("cannot read {}: {}", flags.file, std::strerror(errno)));
  } else if (::isatty(STDIN_FILENO) != 0) {
    line.notes << "one record a line, Ctrl-D ends\n";
  }
  std::istream& in = flags.file.empty() ? std::cin : file;
  MILLRACE_ASSIGN_OR_RETURN(const auto producer, client::Producer::create(connection(line)));
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, producer->topic(flags.topic));
  uint64_t count = 0;
  for (std::string text; std::getline(in, text);) {
    client::OutRecord record;
    std::string_view value = text;
    if (!flags.key.empty()) record.key = as_byte_view(flags.key);
    if (!flags.key_separator.empty()) {
      const size_t separator = value.find(flags.key_separator);
      if (separator == std::string_view::npos)
        return fail(Errc::kInvalidArgument,
                    fmt::format("line {} has no '{}' behind a key", count + 1, flags.key_separator));
      record.key = as_byte_view(value.substr(0, separator));
      value.remove_prefix(separator + flags.key_separator.size());
    }
    record.value = as_byte_view(value);
    MILLRACE_RETURN_IF_ERROR(producer->produce(topic, record));
    ++count;
  }
  MILLRACE_RETURN_IF_ERROR(producer->flush(kAnswerLimit));
  line.notes << fmt::format("{} record{} produced to {}\n", count, count == 1 ? "" : "s", flags.topic);
  return {};
}

struct ConsumeFlags {
  std::string topic;
  std::string from = "earliest";
  int32_t partition = -1;
  uint64_t count = std::numeric_limits<uint64_t>::max();
  bool follow = false;
};

Result<std::vector<client::ReadRange>> ranges_to_read(const CommandLine& line, const ConsumeFlags& flags) {
  MILLRACE_ASSIGN_OR_RETURN(const auto admin, connect_admin(line));
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, find_topic(*admin, flags.topic));
  std::vector<client::TopicPartition> sources;
  for (const auto& partition : topic.partitions)
    if (flags.partition < 0 || partition.id.value() == flags.partition) sources.push_back({topic.name, partition.id});
  if (sources.empty())
    return fail(Errc::kNotFound, fmt::format("{} has no partition {}", topic.name, flags.partition),
                fmt::format("millrace topic describe {}", topic.name));
  MILLRACE_ASSIGN_OR_RETURN(const auto offsets, admin->offsets(sources, kAnswerLimit));
  const auto from = parse_int64(flags.from);
  if (!from && flags.from != "earliest" && flags.from != "latest")
    return fail(Errc::kInvalidArgument,
                fmt::format("--from {} is none of earliest, latest, an offset, or -N for the last N", flags.from),
                "--from -10");
  std::vector<client::ReadRange> ranges;
  for (const auto& offset : offsets) {
    MILLRACE_RETURN_IF_ERROR(offset.range);
    const auto [begin, end] = *offset.range;
    Offset start = flags.from == "latest" ? end : begin;
    if (from) start = *from >= 0 ? Offset(*from) : end + *from;
    ranges.push_back(
        {offset.source, std::min(std::max(start, begin), end), flags.follow ? std::nullopt : std::optional(end)});
  }
  return ranges;
}

Cell text_cell(bool present, ByteView bytes) {
  if (!present) return {};
  if (is_utf8(as_text(bytes))) return std::string(as_text(bytes));
  return fmt::format("({} bytes, not UTF-8)", bytes.size());
}

// {"name": "value", …} as text; nothing where the record has no headers.
Cell headers_cell(const client::RecordView& record) {
  const auto headers = record.headers();
  if (headers.empty()) return {};
  std::string text;
  JsonWriter json(text);
  json.begin_object();
  for (const auto& header : headers) {
    json.key(header.name);
    if (header.value)
      json.text(as_text(*header.value));
    else
      json.null();
  }
  json.end_object();
  return text;
}

// What most want of a record is its value, to pipe on: that is the table's form here, one line a record. The other
// formats have everything; JSON is one object a line, so that a stream of records can be read while it comes.
void print_records(const CommandLine& line, const client::Records& records, uint64_t& left) {
  Listing listing{{"partition", "offset", "timestamp", "key", "headers", "value"}, {}, ""};
  for (const auto& partition : records.partitions())
    for (const auto& record : partition.records) {
      if (left == 0) break;
      --left;
      listing.rows.push_back(
          {int64_t{partition.partition.value()}, record.offset.value(),
           record.timestamp_ms < 0 ? Cell() : Cell(columns::format_timestamp(us_from_ms(record.timestamp_ms))),
           text_cell(record.has_key(), record.key()), headers_cell(record),
           text_cell(record.has_value(), record.value())});
    }
  if (line.output == OutputFormat::kTable)
    print_last_column(listing, line.out);
  else if (line.output == OutputFormat::kJson)
    print_json_lines(listing, line.out);
  else
    line.show(listing);
  line.out.flush();
}

Status consume(const CommandLine& line, const ConsumeFlags& flags) {
  constexpr size_t kRecordsAtOnce = 1000;
  constexpr client::Millis kWait{100};
  const ShutdownSignal shutdown;
  MILLRACE_ASSIGN_OR_RETURN(const auto ranges, ranges_to_read(line, flags));
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, client::PartitionReader::create(connection(line)));
  MILLRACE_RETURN_IF_ERROR(reader->assign(ranges, kAnswerLimit));
  uint64_t left = flags.count;
  while (left > 0 && !reader->done()) {
    if (shutdown.wait_for(client::Millis{0}) != 0) {
      if (flags.follow) return {};
      return fail(Errc::kCancelled, "stopped before the end of the topic");
    }
    MILLRACE_ASSIGN_OR_RETURN(const auto records, reader->poll(std::min<uint64_t>(left, kRecordsAtOnce), kWait));
    print_records(line, records, left);
    if (!line.out) return {};  // nobody reads on
  }
  return {};
}

}  // namespace

void add_record_commands(CLI::App& topic, CommandLine& line) {
  auto producing = std::make_shared<ProduceFlags>();
  auto* produce_command = topic.add_subcommand("produce", "write the lines of stdin, or of a file, as records");
  produce_command->add_option("topic", producing->topic, "where to")->required();
  produce_command->add_option("-f,--file", producing->file, "read this file instead of stdin")->type_name("FILE");
  produce_command->add_option("-k,--key", producing->key, "the key of every record");
  produce_command->add_option("-K,--key-separator", producing->key_separator, "each line is KEY, this text, VALUE");
  produce_command->callback(
      [&line, producing] { line.selected = [&line, producing] { return produce(line, *producing); }; });

  auto consuming = std::make_shared<ConsumeFlags>();
  auto* consume_command =
      topic.add_subcommand("consume", "print records up to the end of the topic; with --follow, go on");
  consume_command->add_option("topic", consuming->topic, "where from")->required();
  consume_command
      ->add_option("--from", consuming->from,
                   "earliest, latest, an offset, or -N for the last N of each partition [earliest]")
      ->type_name("WHERE");
  consume_command->add_option("-p,--partition", consuming->partition, "only this partition");
  consume_command->add_option("-n,--count", consuming->count, "stop after so many records")->check(CLI::PositiveNumber);
  consume_command->add_flag("--follow", consuming->follow, "wait for new records until Ctrl-C");
  consume_command->callback(
      [&line, consuming] { line.selected = [&line, consuming] { return consume(line, *consuming); }; });
}

}  // namespace millrace::app
