#include "client/records.h"

#include <algorithm>

#include "client/internal/records_builder.h"

namespace millrace::client {

namespace {

// What keeps a poll's views valid. The handle goes last: messages must not outlive it.
struct MessageOwner {
  std::shared_ptr<Handle> handle;
  std::vector<rd_kafka_message_t*> messages;
  std::vector<RecordView> views;

  MessageOwner(std::shared_ptr<Handle> h, std::vector<rd_kafka_message_t*> m)
      : handle(std::move(h)), messages(std::move(m)) {}
  MessageOwner(const MessageOwner&) = delete;
  MessageOwner& operator=(const MessageOwner&) = delete;
  ~MessageOwner() {
    for (rd_kafka_message_t* message : messages) rd_kafka_message_destroy(message);
  }
};

RecordView view_of(const rd_kafka_message_t& message) {
  RecordView view;
  view.offset = Offset(message.offset);
  rd_kafka_timestamp_type_t type = RD_KAFKA_TIMESTAMP_NOT_AVAILABLE;
  view.timestamp_ms = rd_kafka_message_timestamp(&message, &type);
  view.key_data = static_cast<const std::byte*>(message.key);
  view.key_bytes = static_cast<uint32_t>(message.key_len);
  view.value_data = static_cast<const std::byte*>(message.payload);
  view.value_bytes = static_cast<uint32_t>(message.len);
  view.message = &message;
  return view;
}

struct PartitionCount {
  const rd_kafka_topic_t* topic;
  int32_t partition;
  size_t count;
  size_t filled;
};

}  // namespace

std::vector<HeaderView> RecordView::headers() const {
  std::vector<HeaderView> headers;
  rd_kafka_headers_t* list = nullptr;
  if (rd_kafka_message_headers(static_cast<const rd_kafka_message_t*>(message), &list) != RD_KAFKA_RESP_ERR_NO_ERROR)
    return headers;
  const char* name = nullptr;
  const void* value = nullptr;
  size_t bytes = 0;
  for (size_t i = 0; rd_kafka_header_get_all(list, i, &name, &value, &bytes) == RD_KAFKA_RESP_ERR_NO_ERROR; ++i) {
    HeaderView header{name, std::nullopt};
    if (value != nullptr) header.value = ByteView(static_cast<const std::byte*>(value), bytes);
    headers.push_back(header);
  }
  return headers;
}

Records RecordsBuilder::build(std::shared_ptr<Handle> handle, std::vector<rd_kafka_message_t*> messages) {
  Records records;
  if (messages.empty()) return records;
  auto owner = std::make_shared<MessageOwner>(std::move(handle), std::move(messages));

  // Few partitions, and their records come in runs: a linear search with the last hit first beats a map.
  std::vector<PartitionCount> counts;
  auto find = [&counts, last = size_t{0}](const rd_kafka_message_t& message) mutable -> PartitionCount& {
    const auto same = [&message](const PartitionCount& c) {
      return c.partition == message.partition && c.topic == message.rkt;
    };
    if (last < counts.size() && same(counts[last])) return counts[last];
    last = static_cast<size_t>(std::find_if(counts.begin(), counts.end(), same) - counts.begin());
    if (last == counts.size()) counts.push_back({message.rkt, message.partition, 0, 0});
    return counts[last];
  };
  for (const rd_kafka_message_t* message : owner->messages) ++find(*message).count;
  size_t begin = 0;
  for (PartitionCount& c : counts) {
    c.filled = begin;
    begin += c.count;
  }
  owner->views.resize(owner->messages.size());
  for (const rd_kafka_message_t* message : owner->messages) owner->views[find(*message).filled++] = view_of(*message);

  records.count_ = owner->views.size();
  for (const PartitionCount& c : counts) {
    const std::span<const RecordView> all(owner->views);
    records.partitions_.push_back(
        {rd_kafka_topic_name(c.topic), PartitionId(c.partition), all.subspan(c.filled - c.count, c.count)});
  }
  records.owner_ = std::move(owner);
  return records;
}

}  // namespace millrace::client
