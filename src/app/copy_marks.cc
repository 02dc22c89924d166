#include "app/copy_marks.h"

#include <fmt/core.h>
#include <simdjson.h>

#include <algorithm>

#include "app/connection.h"
#include "base/json_writer.h"
#include "client/partition_reader.h"

namespace millrace::app {

void CopyMark::advance(Offset source, Offset destination) {
  const Point point{source.value(), destination.value()};
  if (point == next_) return;
  next_ = point;
  const auto distance = [](const Point& a) { return a.destination - a.source; };
  // Between points of one distance all offsets have it: what is in the middle says nothing.
  if (points_.size() >= 2 && distance(points_.back()) == distance(point) &&
      distance(points_[points_.size() - 2]) == distance(point))
    points_.back() = point;
  else
    points_.push_back(point);
  if (points_.size() <= kPointsMax) return;
  size_t kept = 0;
  for (size_t i = 0; i < points_.size(); i += 2) points_[kept++] = points_[i];
  points_.resize(kept);
}

CopyMark::Nearest CopyMark::nearest(Offset source) const {
  auto after = std::ranges::upper_bound(points_, source.value(), {}, &Point::source);
  if (after == points_.begin()) return {points_.front(), false};
  const Point& found = *std::prev(after);
  const Point& next = after == points_.end() ? next_ : *after;
  return {found, next.source - found.source == next.destination - found.destination};
}

std::string CopyMark::encode() const {
  std::string text;
  JsonWriter json(text);
  json.begin_object().key("source").number(next_.source).key("destination").number(next_.destination);
  json.key("points").begin_array();
  for (const Point& point : points_) json.begin_array().number(point.source).number(point.destination).end_array();
  json.end_array().end_object();
  return text;
}

std::optional<CopyMark> CopyMark::decode(std::string_view text) {
  simdjson::dom::parser parser;
  simdjson::dom::element root;
  simdjson::dom::array points;
  CopyMark mark;
  if (parser.parse(simdjson::padded_string(text)).get(root) != simdjson::SUCCESS ||
      root["source"].get(mark.next_.source) != simdjson::SUCCESS ||
      root["destination"].get(mark.next_.destination) != simdjson::SUCCESS ||
      root["points"].get(points) != simdjson::SUCCESS)
    return std::nullopt;
  for (const auto element : points) {
    Point point;
    if (element.at(0).get(point.source) != simdjson::SUCCESS ||
        element.at(1).get(point.destination) != simdjson::SUCCESS || mark.points_.size() >= kPointsMax)
      return std::nullopt;
    mark.points_.push_back(point);
  }
  if (mark.points_.empty()) return std::nullopt;
  return mark;
}

std::string copy_mark_key(const std::string& cluster_id, const client::TopicPartition& source) {
  return fmt::format("{}/{}/{}", cluster_id, source.topic, source.partition.value());
}

Result<std::map<std::string, CopyMark>> read_copy_marks(const client::Options& destination, client::Admin& admin) {
  constexpr size_t kRecordsAtOnce = 1000;
  constexpr client::Millis kWait{100};
  MILLRACE_RETURN_IF_ERROR(admin.ensure_topic({kCopyMarksTopic, 1, {{"cleanup.policy", "compact"}}}, kAnswerLimit));
  MILLRACE_ASSIGN_OR_RETURN(const auto reader, client::PartitionReader::create(destination));
  const client::TopicPartition source{kCopyMarksTopic, PartitionId{0}};
  MILLRACE_ASSIGN_OR_RETURN(const auto offsets, admin.offsets(std::span(&source, 1), kAnswerLimit));
  MILLRACE_RETURN_IF_ERROR(offsets.front().range);
  const auto range = *offsets.front().range;
  MILLRACE_RETURN_IF_ERROR(
      reader->assign(std::vector{client::ReadRange{source, range.begin, range.end}}, kAnswerLimit));
  std::map<std::string, CopyMark> marks;
  while (!reader->done()) {
    MILLRACE_ASSIGN_OR_RETURN(const auto records, reader->poll(kRecordsAtOnce, kWait));
    for (const auto& partition : records.partitions())
      for (const auto& record : partition.records) {
        const std::string key(as_text(record.key()));
        auto mark = CopyMark::decode(as_text(record.value()));
        if (mark)
          marks[key] = std::move(*mark);
        else
          marks.erase(key);
      }
  }
  return marks;
}

}  // namespace millrace::app
