#include "app/overview_source.h"

#include <algorithm>
#include <unordered_map>

#include "base/utf8.h"

namespace millrace::app {
namespace {

constexpr client::Millis kAnswerLimit{2000};
constexpr client::Millis kReadLimit{200};
// Which last events are shown, and how much of each.
constexpr size_t kEventsMax = 10;
constexpr size_t kPartitionsReadMax = 8;
constexpr int64_t kRecordsReadPerPartition = 3;
constexpr size_t kTextBytesMax = 400;

bool is_shown(const client::TopicInfo& topic) { return !topic.internal && !topic.name.starts_with("__"); }

std::optional<std::string> shown_text(bool present, ByteView bytes) {
  if (!present) return std::nullopt;
  std::string text(as_text(bytes.first(std::min(bytes.size(), kTextBytesMax))));
  // A cut in the middle of a character would look like damage.
  for (int i = 0; i < 3 && bytes.size() > kTextBytesMax && !is_utf8(text); ++i) text.pop_back();
  if (!is_utf8(text)) return "(" + std::to_string(bytes.size()) + " bytes)";
  return bytes.size() > kTextBytesMax ? text + "…" : text;
}

}  // namespace

http::Overview OverviewSource::sample() {
  http::Overview overview;
  overview.at_ms = to_unix_ms(parts_.clock.wall_now());
  overview.version = MILLRACE_VERSION;
  overview.kafka = parts_.kafka;
  if (!admin_) {
    auto admin = client::Admin::create(parts_.connection);
    if (!admin) return overview;
    admin_ = std::move(*admin);
  }
  add_topics(overview);
  add_groups(overview);
  add_events(overview);
  if (parts_.add_rest) parts_.add_rest(overview);
  return overview;
}

void OverviewSource::add_topics(http::Overview& overview) {
  const auto topics = admin_->list_topics(kAnswerLimit);
  if (!topics) return;
  std::vector<client::TopicPartition> partitions;
  for (const auto& topic : *topics)
    if (is_shown(topic))
      for (const auto& partition : topic.partitions) partitions.push_back({topic.name, partition.id});
  const auto offsets = admin_->offsets(partitions, kAnswerLimit);
  if (!offsets) return;

  std::unordered_map<std::string, http::TopicRow> rows;
  advanced_.clear();
  for (const auto& offset : *offsets) {
    if (!offset.range) continue;
    auto& row = rows[offset.source.topic];
    row.name = offset.source.topic;
    ++row.partitions;
    row.records_in += static_cast<uint64_t>(offset.range->end.value());
    Offset& known = ends_[offset.source];
    if (offset.range->end > known) advanced_.push_back(offset.source);
    known = offset.range->end;
  }
  if (parts_.broker != nullptr)
    for (const auto& stats : parts_.broker->stats().topics)
      if (const auto row = rows.find(stats.name); row != rows.end()) {
        row->second.records_in = stats.records_in;
        row->second.records_out = stats.records_out;
      }
  for (auto& [name, row] : rows) overview.topics.push_back(std::move(row));
  std::sort(overview.topics.begin(), overview.topics.end(),
            [](const auto& a, const auto& b) { return a.name < b.name; });
}

void OverviewSource::add_groups(http::Overview& overview) {
  const auto groups = admin_->list_groups(kAnswerLimit);
  if (!groups) return;
  for (const auto& group : *groups) {
    const auto described = admin_->describe_group(group.name, kAnswerLimit);
    if (!described) continue;
    http::GroupRow row{
        .name = group.name, .state = described->state, .members = static_cast<int64_t>(described->members.size())};
    for (const auto& partition : described->offsets) row.lag += std::max<int64_t>(0, partition.lag());
    overview.groups.push_back(std::move(row));
  }
}

// The last few records of some partitions that moved: enough to see the stream live, however fast it is.
void OverviewSource::add_events(http::Overview& overview) {
  if (!advanced_.empty()) {
    if (!reader_) {
      auto reader = client::PartitionReader::create(parts_.connection);
      if (!reader) return;
      reader_ = std::move(*reader);
    }
    std::vector<client::ReadRange> ranges;
    for (const auto& source : advanced_) {
      if (ranges.size() == kPartitionsReadMax) break;
      const Offset end = ends_[source];
      ranges.push_back({source, Offset(std::max<int64_t>(0, end.value() - kRecordsReadPerPartition)), end});
    }
    if (!reader_->assign(ranges, kAnswerLimit)) return;
    std::vector<http::EventRow> fresh;
    while (!reader_->done()) {
      const auto records = reader_->poll(kPartitionsReadMax * kRecordsReadPerPartition, kReadLimit);
      if (!records || records->empty()) break;
      for (const auto& partition : records->partitions())
        for (const auto& record : partition.records)
          fresh.push_back({.topic = std::string(partition.topic),
                           .partition = partition.partition.value(),
                           .offset = record.offset.value(),
                           .timestamp_ms = record.timestamp_ms,
                           .key = shown_text(record.has_key(), record.key()),
                           .value = shown_text(record.has_value(), record.value())});
    }
    events_.insert(events_.begin(), fresh.rbegin(), fresh.rend());
    if (events_.size() > kEventsMax) events_.resize(kEventsMax);
  }
  overview.events.assign(events_.begin(), events_.end());
}

}  // namespace millrace::app
