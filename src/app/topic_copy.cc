#include "app/topic_copy.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "app/connection.h"
#include "base/crc32c.h"
#include "base/text.h"
#include "wire/describe_configs.h"
#include "wire/list_offsets.h"
#include "wire/metadata.h"
#include "wire/offset_commit.h"

namespace millrace::app {

namespace {

using std::chrono::steady_clock;

constexpr size_t kRecordsAtOnce = 5'000;
constexpr int64_t kRecordsBetweenMarks = 100'000;
constexpr client::Millis kBetweenMarks{2'000};
constexpr client::Millis kWait{100};
constexpr client::Millis kDeliveryLimit{120'000};
// Kept apart, what is the copy's own: timestamps would be set anew.
constexpr const char* kTimestampType = "message.timestamp.type";

std::string place_text(const client::TopicPartition& source) {
  return fmt::format("{}[{}]", source.topic, source.partition.value());
}

uint32_t extend(uint32_t crc, int64_t number) {
  std::array<std::byte, 8> bytes{};
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(number >> (8 * i));
  return crc32c_extend(crc, bytes);
}

uint32_t extend(uint32_t crc, const std::optional<ByteView>& bytes) {
  crc = extend(crc, bytes ? static_cast<int64_t>(bytes->size()) : -1);
  return bytes ? crc32c_extend(crc, *bytes) : crc;
}

// Everything of a record but its offset.
uint32_t extend(uint32_t crc, const client::RecordView& record) {
  crc = extend(crc, record.timestamp_ms);
  crc = extend(crc, record.has_key() ? std::optional(record.key()) : std::nullopt);
  crc = extend(crc, record.has_value() ? std::optional(record.value()) : std::nullopt);
  for (const auto& header : record.headers()) {
    crc = extend(crc, as_byte_view(header.name));
    crc = extend(crc, header.value);
  }
  return crc;
}

// The settings that are a topic's own.
Result<std::map<std::string, std::string>> own_configs(KafkaLink& link, const std::string& topic) {
  constexpr int8_t kTopicResource = 2;
  constexpr int8_t kFromTopic = 1;
  wire::DescribeConfigsRequest request;
  request.resources.push_back({kTopicResource, topic, std::nullopt});
  MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(request));
  std::map<std::string, std::string> configs;
  for (const auto& result : answer.results) {
    MILLRACE_RETURN_IF_ERROR(
        to_status(result.error_code, fmt::format("cannot describe the settings of {}", topic), result.error_message));
    for (const auto& config : result.configs)
      if (config.config_source == kFromTopic && config.value) configs[config.name] = *config.value;
  }
  return configs;
}

// Where each partition ends for those who read what is committed: transactions that are open lie beyond.
Result<std::map<client::TopicPartition, Offset>> stable_ends(KafkaLink& link,
                                                             std::span<const client::TopicPartition> sources) {
  wire::MetadataRequest metadata_request;
  metadata_request.topics.reset();
  metadata_request.allow_auto_topic_creation = false;
  MILLRACE_ASSIGN_OR_RETURN(const auto metadata, link.ask(metadata_request));
  std::map<client::TopicPartition, int32_t> leaders;
  for (const auto& topic : metadata.topics)
    for (const auto& partition : topic.partitions)
      leaders[{topic.name.value_or(""), PartitionId(partition.partition_index)}] = partition.leader_id;
  std::map<int32_t, wire::ListOffsetsRequest> requests;
  for (const auto& source : sources) {
    constexpr int64_t kLatest = -1;
    auto& request = requests[leaders[source]];
    request.replica_id = -1;
    request.isolation_level = 1;
    if (request.topics.empty() || request.topics.back().name != source.topic)
      request.topics.emplace_back().name = source.topic;
    auto& partition = request.topics.back().partitions.emplace_back();
    partition.partition_index = source.partition.value();
    partition.timestamp = kLatest;
  }
  std::map<client::TopicPartition, Offset> ends;
  for (const auto& [leader, request] : requests) {
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, link.ask(leader, request));
    for (const auto& topic : answer.topics)
      for (const auto& partition : topic.partitions) {
        const client::TopicPartition source{topic.name, PartitionId(partition.partition_index)};
        MILLRACE_RETURN_IF_ERROR(
            to_status(partition.error_code, fmt::format("cannot tell where {} ends", place_text(source))));
        ends[source] = Offset(partition.offset);
      }
  }
  return ends;
}

tl::unexpected<Error> something_else(const client::TopicPartition& source, std::string_view what) {
  return fail(Errc::kConflict, fmt::format("cannot copy to {} at the destination: {}", place_text(source), what),
              "copy to a topic that nobody else writes: delete the one there, then start anew");
}

}  // namespace

Result<std::unique_ptr<TopicCopy>> TopicCopy::start(const CopyOptions& options) {
  auto copy = std::unique_ptr<TopicCopy>(new TopicCopy(options));
  MILLRACE_RETURN_IF_ERROR(copy->connect());
  if (copy->from_link_->cluster_id() == copy->to_link_->cluster_id())
    return fail(Errc::kInvalidArgument, "the source and the destination are the same cluster",
                "--from HOST:PORT and --to HOST:PORT of different ones");
  for (const auto& topic : copy->options_.topics) MILLRACE_RETURN_IF_ERROR(copy->make_topic(topic));
  MILLRACE_RETURN_IF_ERROR(copy->find_places());
  return copy;
}

Status TopicCopy::connect() {
  MILLRACE_ASSIGN_OR_RETURN(from_, client::Admin::create(options_.from));
  MILLRACE_ASSIGN_OR_RETURN(to_, client::Admin::create(options_.to));
  MILLRACE_ASSIGN_OR_RETURN(from_link_, KafkaLink::connect(options_.from.bootstrap, kAnswerLimit));
  MILLRACE_ASSIGN_OR_RETURN(to_link_, KafkaLink::connect(options_.to.bootstrap, kAnswerLimit));
  return {};
}

Status TopicCopy::make_topic(const std::string& topic) {
  MILLRACE_ASSIGN_OR_RETURN(const auto described, find_topic(*from_, topic));
  MILLRACE_ASSIGN_OR_RETURN(auto configs, own_configs(*from_link_, topic));
  if (const auto it = configs.find("max.message.bytes"); it != configs.end())
    if (const auto bytes = parse_int64(it->second))
      batch_bytes_max_ = static_cast<int32_t>(std::clamp<int64_t>(*bytes, 1'000, batch_bytes_max_));
  configs.erase(kTimestampType);
  for (const auto& name : options_.left_out_configs) configs.erase(name);
  Status made = to_->ensure_topic({topic, static_cast<int32_t>(described.partitions.size()), configs}, kAnswerLimit);
  if (!made && made.error().code == Errc::kInvalidArgument && made.error().hint.empty())
    made.error().hint = "--without-config NAME leaves a setting out";
  MILLRACE_RETURN_IF_ERROR(made);
  for (const auto& partition : described.partitions) {
    auto& added = partitions_.emplace_back();
    added.source = {topic, partition.id};
  }
  return {};
}

Status TopicCopy::find_places() {
  MILLRACE_ASSIGN_OR_RETURN(reader_, client::PartitionReader::create(options_.from));
  client::Options to = options_.to;
  to.extra["message.max.bytes"] = "1000000000";
  MILLRACE_ASSIGN_OR_RETURN(producer_, client::Producer::create(to, {.compression = options_.compression,
                                                                     .batch_bytes_max = batch_bytes_max_,
                                                                     .delivery_timeout = kDeliveryLimit}));
  MILLRACE_ASSIGN_OR_RETURN(const auto marks, read_copy_marks(options_.to, *to_));
  std::ranges::sort(partitions_, {}, &Partition::source);
  std::vector<client::TopicPartition> sources;
  for (const auto& partition : partitions_) sources.push_back(partition.source);
  MILLRACE_ASSIGN_OR_RETURN(const auto ends, stable_ends(*from_link_, sources));
  for (size_t i = 0; i < partitions_.size(); ++i) {
    index_[partitions_[i].source] = i;
    partitions_[i].end = ends.at(partitions_[i].source);
    MILLRACE_RETURN_IF_ERROR(find_place(partitions_[i], marks));
  }
  return write_marks();
}

Status TopicCopy::find_place(Partition& partition, const std::map<std::string, CopyMark>& marks) {
  const auto& source = partition.source;
  MILLRACE_ASSIGN_OR_RETURN(const auto there, to_->offsets(std::span(&source, 1), kAnswerLimit));
  MILLRACE_RETURN_IF_ERROR(there.front().range);
  const auto destination = *there.front().range;
  MILLRACE_ASSIGN_OR_RETURN(const auto here, from_->offsets(std::span(&source, 1), kAnswerLimit));
  MILLRACE_RETURN_IF_ERROR(here.front().range);
  const Offset begin = here.front().range->begin;

  const auto mark = marks.find(copy_mark_key(from_link_->cluster_id(), source));
  if (mark == marks.end()) {
    if (destination.end > Offset(0)) return something_else(source, "it has records that were not copied from here");
    partition.mark = CopyMark(begin, destination.end);
  } else {
    partition.mark = mark->second;
    if (destination.end < partition.mark.destination())
      return something_else(source, "it has fewer records than were copied: it was made anew");
    if (begin > partition.mark.source()) partition.mark.advance(begin, partition.mark.destination());
    if (destination.end > partition.mark.destination()) MILLRACE_RETURN_IF_ERROR(recognise(partition, destination.end));
  }
  partition.run_begin = partition.sent = partition.mark.destination();
  return {};
}

// Records that arrived after the last mark: as many of the source's next ones must be the same.
Status TopicCopy::recognise(Partition& partition, Offset destination_end) {
  const auto& source = partition.source;
  const Offset begin = partition.mark.destination();
  MILLRACE_ASSIGN_OR_RETURN(const auto written, client::PartitionReader::create(options_.to));
  MILLRACE_RETURN_IF_ERROR(
      written->assign(std::vector{client::ReadRange{source, begin, destination_end}}, kAnswerLimit));
  std::vector<uint32_t> expected;
  while (!written->done()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto records, written->poll(kRecordsAtOnce, kWait));
    for (const auto& part : records.partitions())
      for (const auto& record : part.records) expected.push_back(extend(0, record));
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto original, client::PartitionReader::create(options_.from));
  MILLRACE_RETURN_IF_ERROR(
      original->assign(std::vector{client::ReadRange{source, partition.mark.source(), partition.end}}, kAnswerLimit));
  size_t same = 0;
  Offset next = partition.mark.source();
  while (same < expected.size() && !original->done()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto records, original->poll(kRecordsAtOnce, kWait));
    for (const auto& part : records.partitions())
      for (const auto& record : part.records) {
        if (same == expected.size()) break;
        if (extend(0, record) != expected[same])
          return something_else(
              source, fmt::format("its record {} is not the source's", begin.value() + static_cast<int64_t>(same)));
        ++same;
        next = record.offset + 1;
      }
  }
  if (static_cast<int64_t>(same) != destination_end - begin)
    return something_else(source, "it has records that were not copied from here");
  partition.mark.advance(next, destination_end);
  return {};
}

Status TopicCopy::copy_records(const client::Records& records) {
  std::vector<client::HeaderRef> headers;
  for (const auto& part : records.partitions()) {
    Partition& partition = partitions_[index_.at({std::string(part.topic), part.partition})];
    MILLRACE_ASSIGN_OR_RETURN(const auto topic, producer_->topic(partition.source.topic));
    for (const auto& record : part.records) {
      headers.clear();
      for (const auto& header : record.headers()) headers.push_back({header.name, header.value});
      client::OutRecord out{.partition = partition.source.partition,
                            .key = {},
                            .value = {},
                            .headers = headers,
                            .timestamp_ms = record.timestamp_ms};
      if (record.has_key()) out.key = record.key();
      if (record.has_value()) out.value = record.value();
      MILLRACE_RETURN_IF_ERROR(producer_->produce(topic, out));
      partition.checksum = extend(partition.checksum, record);
      ++partition.copied;
      ++partition.sent;
      ++unflushed_;
    }
  }
  return {};
}

// Everything sent is there, and nothing else; say how far that is.
Status TopicCopy::flush() {
  MILLRACE_RETURN_IF_ERROR(producer_->flush(kDeliveryLimit));
  unflushed_ = 0;
  std::vector<client::TopicPartition> sources;
  for (const auto& partition : partitions_) sources.push_back(partition.source);
  MILLRACE_ASSIGN_OR_RETURN(const auto there, to_->offsets(sources, kAnswerLimit));
  for (size_t i = 0; i < partitions_.size(); ++i) {
    MILLRACE_RETURN_IF_ERROR(there[i].range);
    Partition& partition = partitions_[i];
    if (there[i].range->end != partition.sent) return something_else(partition.source, "somebody else writes to it");
    // Beyond the end that was noted, records were seen, but not copied.
    Offset source = reader_->position(partition.source).value_or(partition.mark.source());
    if (!follows_) source = std::max(std::min(source, partition.end), partition.mark.source());
    partition.mark.advance(source, partition.sent);
  }
  return write_marks();
}

Status TopicCopy::write_marks() {
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, producer_->topic(kCopyMarksTopic));
  for (const auto& partition : partitions_) {
    const std::string key = copy_mark_key(from_link_->cluster_id(), partition.source);
    const std::string value = partition.mark.encode();
    MILLRACE_RETURN_IF_ERROR(producer_->produce(
        topic, {.partition = PartitionId{0}, .key = as_byte_view(key), .value = as_byte_view(value), .headers = {}}));
  }
  return producer_->flush(kDeliveryLimit);
}

Status TopicCopy::run(bool follow, const std::function<bool()>& stopped,
                      const std::function<void(int64_t records)>& progress) {
  follows_ = follow;
  std::vector<client::ReadRange> ranges;
  for (const auto& partition : partitions_)
    if (follow || partition.mark.source() < partition.end)
      ranges.push_back(
          {partition.source, partition.mark.source(), follow ? std::nullopt : std::optional(partition.end)});
  MILLRACE_RETURN_IF_ERROR(reader_->assign(ranges, kAnswerLimit));
  int64_t total = 0;
  auto marked_at = steady_clock::now();
  while (!reader_->done() && !stopped()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto records, reader_->poll(kRecordsAtOnce, kWait));
    MILLRACE_RETURN_IF_ERROR(copy_records(records));
    total += static_cast<int64_t>(records.count());
    progress(total);
    const bool is_due = steady_clock::now() - marked_at >= kBetweenMarks;
    if (unflushed_ >= kRecordsBetweenMarks || (is_due && unflushed_ > 0)) {
      MILLRACE_RETURN_IF_ERROR(flush());
      marked_at = steady_clock::now();
    }
  }
  return flush();
}

Status TopicCopy::verify() {
  for (const auto& partition : partitions_) {
    if (partition.copied == 0) continue;
    MILLRACE_ASSIGN_OR_RETURN(const auto reader, client::PartitionReader::create(options_.to));
    MILLRACE_RETURN_IF_ERROR(reader->assign(
        std::vector{client::ReadRange{partition.source, partition.run_begin, partition.sent}}, kAnswerLimit));
    uint32_t checksum = 0;
    int64_t count = 0;
    while (!reader->done()) {
      MILLRACE_ASSIGN_OR_RETURN(const auto records, reader->poll(kRecordsAtOnce, kWait));
      for (const auto& part : records.partitions())
        for (const auto& record : part.records) {
          checksum = extend(checksum, record);
          ++count;
        }
    }
    if (checksum != partition.checksum || count != partition.copied)
      return fail(Errc::kCorruption,
                  fmt::format("{} differs at the destination: {} records were copied, {} are there",
                              place_text(partition.source), partition.copied, count),
                  "if retention or compaction took some there already, that is why; else report it");
  }
  return {};
}

Result<int64_t> TopicCopy::count_records(const client::TopicPartition& source, Offset from, Offset until) {
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, client::PartitionReader::create(options_.from));
  MILLRACE_RETURN_IF_ERROR(reader->assign(std::vector{client::ReadRange{source, from, until}}, kAnswerLimit));
  int64_t count = 0;
  while (!reader->done()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto records, reader->poll(kRecordsAtOnce, kWait));
    count += static_cast<int64_t>(records.count());
  }
  return count;
}

Result<Offset> TopicCopy::translate(const Partition& partition, Offset offset) {
  if (offset >= partition.mark.source()) return partition.mark.destination();
  const auto [point, is_dense] = partition.mark.nearest(offset);
  if (offset.value() <= point.source) return Offset(point.destination);
  if (is_dense) return Offset(point.destination + (offset.value() - point.source));
  MILLRACE_ASSIGN_OR_RETURN(const int64_t between, count_records(partition.source, Offset(point.source), offset));
  return Offset(point.destination + between);
}

Result<std::vector<TopicCopy::Translated>> TopicCopy::copy_groups(const std::vector<std::string>& groups) {
  std::vector<std::string> names = groups;
  if (names.empty()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto listed, from_->list_groups(kAnswerLimit));
    for (const auto& group : listed) names.push_back(group.name);
  }
  std::vector<Translated> all;
  for (const auto& group : names) {
    MILLRACE_ASSIGN_OR_RETURN(const auto committed, from_->committed(group, kAnswerLimit));
    wire::OffsetCommitRequest request;
    request.group_id = group;
    for (const auto& place : committed) {
      const auto it = index_.find(place.source);
      if (it == index_.end()) continue;
      MILLRACE_ASSIGN_OR_RETURN(const Offset to, translate(partitions_[it->second], place.offset));
      all.push_back({group, place.source, place.offset, to});
      if (request.topics.empty() || request.topics.back().name != place.source.topic)
        request.topics.emplace_back().name = place.source.topic;
      auto& partition = request.topics.back().partitions.emplace_back();
      partition.partition_index = place.source.partition.value();
      partition.committed_offset = to.value();
      partition.committed_metadata = "";
    }
    if (request.topics.empty()) {
      if (groups.empty()) continue;
      return fail(Errc::kNotFound, fmt::format("group {} has committed nothing in these topics", group),
                  "millrace group list --bootstrap SOURCE");
    }
    MILLRACE_ASSIGN_OR_RETURN(const int32_t node, to_link_->coordinator(CoordinatorKind::kGroup, group));
    MILLRACE_ASSIGN_OR_RETURN(const auto answer, to_link_->ask(node, request));
    for (const auto& topic : answer.topics)
      for (const auto& partition : topic.partitions) {
        if (partition.error_code == wire::ErrorCode::kUnknownMemberId)
          return fail(Errc::kConflict, fmt::format("group {} has members at the destination already", group),
                      "stop its consumers there, or leave it out");
        MILLRACE_RETURN_IF_ERROR(to_status(partition.error_code, fmt::format("cannot commit offsets of {}", group)));
      }
  }
  return all;
}

}  // namespace millrace::app
