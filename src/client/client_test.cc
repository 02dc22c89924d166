#include <gtest/gtest.h>

#include <map>
#include <set>
#include <string>
#include <vector>

#include "client/admin.h"
#include "client/group_consumer.h"
#include "client/internal/mock_cluster.h"
#include "client/partition_reader.h"
#include "client/partitioner.h"
#include "client/producer.h"

namespace millrace::client {
namespace {

// A bound, not a pace: a busy machine takes its time over a rebalance.
constexpr Millis kPatience{60'000};

template <typename T>
T must(Result<T> result) {
  EXPECT_TRUE(result.has_value()) << (result ? "" : result.error().message);
  return std::move(result).value();
}
void must(const Status& status) { ASSERT_TRUE(status.has_value()) << status.error().message; }

// Records "0", "1", ... as values, each under its own text as key.
void produce_numbers(const MockCluster& cluster, const std::string& topic, int count,
                     std::optional<PartitionId> partition = std::nullopt) {
  auto producer = must(Producer::create(cluster.options()));
  const auto handle = must(producer->topic(topic));
  for (int i = 0; i < count; ++i) {
    const std::string text = std::to_string(i);
    must(producer->produce(
        handle,
        {.partition = partition, .key = as_byte_view(text), .value = as_byte_view(text), .timestamp_ms = 1000 + i}));
  }
  must(producer->flush(kPatience));
}

std::vector<Records> read_all(PartitionReader& reader) {
  std::vector<Records> all;
  while (!reader.done()) all.push_back(must(reader.poll(1000, kPatience)));
  return all;
}

TEST(Reader, ReturnsWhatWasProducedWithKeysHeadersAndTimes) {
  MockCluster cluster;
  cluster.create_topic("clicks", 1);
  auto producer = must(Producer::create(cluster.options()));
  const auto topic = must(producer->topic("clicks"));
  const HeaderRef headers[] = {{"origin", as_byte_view("web")}, {"empty", ByteView{}}};
  must(producer->produce(
      topic,
      {.key = as_byte_view("k"), .value = as_byte_view("v"), .headers = headers, .timestamp_ms = 1'522'540'800'000}));
  must(producer->produce(topic, {.key = as_byte_view("tombstone")}));
  must(producer->produce(topic, {.value = as_byte_view("")}));
  must(producer->flush(kPatience));
  EXPECT_EQ(producer->in_flight(), 0u);

  auto reader = must(PartitionReader::create(cluster.options()));
  const TopicPartition source{"clicks", PartitionId(0)};
  const OffsetRange range = must(reader->watermarks(source, kPatience));
  EXPECT_EQ(range.begin, Offset(0));
  EXPECT_EQ(range.end, Offset(3));
  const ReadRange ranges[] = {{source, range.begin, range.end}};
  must(reader->assign(ranges, kPatience));

  std::vector<RecordView> views;
  const std::vector<Records> all = read_all(*reader);
  reader.reset();  // the views must not need it
  for (const Records& records : all)
    for (const PartitionRecords& part : records.partitions())
      views.insert(views.end(), part.records.begin(), part.records.end());
  ASSERT_EQ(views.size(), 3u);
  EXPECT_EQ(as_text(views[0].key()), "k");
  EXPECT_EQ(as_text(views[0].value()), "v");
  EXPECT_EQ(views[0].timestamp_ms, 1'522'540'800'000);
  const auto decoded = views[0].headers();
  ASSERT_EQ(decoded.size(), 2u);
  EXPECT_EQ(decoded[0].name, "origin");
  EXPECT_EQ(as_text(decoded[0].value.value_or(ByteView{})), "web");
  EXPECT_EQ(decoded[1].name, "empty");
  EXPECT_TRUE(decoded[1].value.has_value()) << "empty is not absent";
  EXPECT_TRUE(decoded[1].value.value_or(ByteView{}).empty());
  EXPECT_TRUE(views[1].has_key());
  EXPECT_FALSE(views[1].has_value());
  EXPECT_FALSE(views[2].has_key());
  EXPECT_TRUE(views[2].has_value());
  EXPECT_EQ(views[2].value_bytes, 0u);
}

TEST(Reader, StopsExactlyAtTheNotedEndAndKeepsReadingOthers) {
  MockCluster cluster;
  cluster.create_topic("log", 2);
  produce_numbers(cluster, "log", 500, PartitionId(0));
  produce_numbers(cluster, "log", 100, PartitionId(1));
  auto reader = must(PartitionReader::create(cluster.options()));
  const ReadRange ranges[] = {{{"log", PartitionId(0)}, Offset(10), Offset(250)},
                              {{"log", PartitionId(1)}, Offset(100), Offset(100)}};
  must(reader->assign(ranges, kPatience));
  size_t count = 0;
  for (const Records& records : read_all(*reader))
    for (const PartitionRecords& part : records.partitions()) {
      EXPECT_EQ(part.partition, PartitionId(0));
      for (const RecordView& record : part.records)
        EXPECT_EQ(record.offset.value(), static_cast<int64_t>(10 + count++));
    }
  EXPECT_EQ(count, 240u);
  EXPECT_EQ(reader->position({"log", PartitionId(0)}), Offset(250));

  must(reader->add({{"log", PartitionId(1)}, Offset(98), std::nullopt}, kPatience));
  EXPECT_FALSE(reader->done());
  EXPECT_EQ(must(reader->poll(10, kPatience)).count(), 2u);
  EXPECT_EQ(must(reader->poll(10, Millis(50))).count(), 0u);
  must(reader->remove({"log", PartitionId(1)}));
  EXPECT_TRUE(reader->done());
}

TEST(Reader, RefusesAStartBehindTheEnd) {
  MockCluster cluster;
  cluster.create_topic("log", 1);
  auto reader = must(PartitionReader::create(cluster.options()));
  const ReadRange ranges[] = {{{"log", PartitionId(0)}, Offset(1), std::nullopt}};
  const Status status = reader->assign(ranges, kPatience);
  ASSERT_FALSE(status);
  EXPECT_EQ(status.error().code, Errc::kInvalidArgument);
}

TEST(Producer, PutsKeysWherePartitionForKeySays) {
  MockCluster cluster;
  cluster.create_topic("keyed", 4);
  produce_numbers(cluster, "keyed", 200);
  auto reader = must(PartitionReader::create(cluster.options()));
  std::vector<ReadRange> ranges;
  for (int32_t p = 0; p < 4; ++p) {
    const TopicPartition source{"keyed", PartitionId(p)};
    ranges.push_back({source, Offset(0), must(reader->watermarks(source, kPatience)).end});
  }
  must(reader->assign(ranges, kPatience));
  size_t count = 0;
  for (const Records& records : read_all(*reader))
    for (const PartitionRecords& part : records.partitions())
      for (const RecordView& record : part.records) {
        EXPECT_EQ(partition_for_key(record.key(), 4), part.partition) << as_text(record.key());
        ++count;
      }
  EXPECT_EQ(count, 200u);
}

TEST(Producer, TellsWhatWasNotDelivered) {
  MockCluster cluster;
  cluster.create_topic("full", 1);
  auto producer = must(Producer::create(cluster.options(), {.idempotent = false, .delivery_timeout = Millis(3'000)}));
  const auto topic = must(producer->topic("full"));
  must(producer->produce(topic, {.partition = PartitionId(7), .value = as_byte_view("nowhere")}));
  const Status status = producer->flush(kPatience);
  ASSERT_FALSE(status);
  const auto errors = producer->take_delivery_errors();
  ASSERT_EQ(errors.size(), 1u);
  EXPECT_EQ(errors[0].topic, "full");
  EXPECT_EQ(errors[0].error.code, Errc::kNotFound);
  must(producer->flush(kPatience));
}

TEST(Producer, BlocksRatherThanGrowWhenItsQueueIsFull) {
  MockCluster cluster;
  cluster.create_topic("narrow", 1);
  auto producer = must(Producer::create(cluster.options(), {.queue_records_max = 100}));
  const auto topic = must(producer->topic("narrow"));
  for (int i = 0; i < 5'000; ++i) {
    must(producer->produce(topic, {.value = as_byte_view("x")}));
    ASSERT_LE(producer->in_flight(), 101u);
  }
  must(producer->flush(kPatience));
}

// Polls a member until it was told of an assignment (acknowledged at once) and has this many records.
struct Member {
  std::unique_ptr<GroupConsumer> consumer;
  std::map<PartitionId, std::vector<std::string>> values;
  std::set<PartitionId> partitions;
  std::vector<GroupEvent::Kind> events;

  void poll_once(Millis wait = Millis(50)) {
    Polled polled = must(consumer->poll(1'000, wait, Millis(5)));
    for (const PartitionRecords& part : polled.records.partitions())
      for (const RecordView& record : part.records) values[part.partition].emplace_back(as_text(record.value()));
    if (!polled.event) return;
    events.push_back(polled.event->kind);
    for (const TopicPartition& source : polled.event->partitions) {
      if (polled.event->kind == GroupEvent::Kind::kAssigned)
        partitions.insert(source.partition);
      else
        partitions.erase(source.partition);
    }
    must(consumer->acknowledge());
  }
  size_t count() const {
    size_t n = 0;
    for (const auto& [partition, list] : values) n += list.size();
    return n;
  }
};

// The mock coordinator lets a rebalance take as long as a session, less a second.
GroupOptions group_options(Assignor assignor = Assignor::kCooperativeSticky) {
  return {.group = "g", .assignor = assignor, .session_timeout = Millis(1'200), .heartbeat_interval = Millis(50)};
}

Member join(const MockCluster& cluster, const std::string& topic, const GroupOptions& options) {
  Member member{must(GroupConsumer::create(cluster.options(), options)), {}, {}, {}};
  must(member.consumer->subscribe(std::span(&topic, 1)));
  return member;
}

bool past(std::chrono::steady_clock::time_point begin) { return std::chrono::steady_clock::now() - begin > kPatience; }

// What the group tells the member first, which it does not acknowledge; none in time.
std::optional<GroupEvent::Kind> first_event(Member& member) {
  for (const auto begin = std::chrono::steady_clock::now(); !past(begin);)
    if (const auto event = must(member.consumer->poll(100, Millis(50))).event) return event->kind;
  return std::nullopt;
}

TEST(GroupConsumer, DeliversInOrderCommitsAndGoesOnFromTheCommit) {
  for (const Assignor assignor : {Assignor::kCooperativeSticky, Assignor::kRange}) {
    MockCluster cluster;
    cluster.create_topic("tx", 4);
    for (int32_t p = 0; p < 4; ++p) produce_numbers(cluster, "tx", 50, PartitionId(p));
    {
      Member member = join(cluster, "tx", group_options(assignor));
      for (const auto begin = std::chrono::steady_clock::now(); member.count() < 200 && !past(begin);)
        member.poll_once();
      ASSERT_EQ(member.count(), 200u);
      for (const auto& [partition, values] : member.values)
        for (size_t i = 0; i < values.size(); ++i) EXPECT_EQ(values[i], std::to_string(i));
      EXPECT_EQ(member.consumer->position({"tx", PartitionId(2)}), Offset(50));
      EXPECT_EQ(member.consumer->known_end({"tx", PartitionId(2)}), Offset(50));
      EXPECT_GE(member.consumer->metadata().generation, 1);
      EXPECT_FALSE(member.consumer->metadata().member_id.empty());
      const TopicOffset offsets[] = {{{"tx", PartitionId(0)}, Offset(50)}, {{"tx", PartitionId(1)}, Offset(49)}};
      must(member.consumer->commit(offsets, kPatience));
      const TopicPartition asked[] = {{"tx", PartitionId(0)}, {"tx", PartitionId(1)}, {"tx", PartitionId(2)}};
      EXPECT_EQ(must(member.consumer->committed(asked, kPatience)), std::vector<TopicOffset>(offsets, offsets + 2));
      must(member.consumer->close(kPatience));
    }
    Member next = join(cluster, "tx", group_options(assignor));
    for (const auto begin = std::chrono::steady_clock::now(); next.count() < 101 && !past(begin);) next.poll_once();
    EXPECT_EQ(next.values[PartitionId(0)].size(), 0u);
    EXPECT_EQ(next.values[PartitionId(1)], std::vector<std::string>{"49"});
    EXPECT_EQ(next.values[PartitionId(2)].size(), 50u);
  }
}

TEST(GroupConsumer, KnowsThatItIsAtTheEndWhereNothingIsLeftToRead) {
  MockCluster cluster;
  cluster.create_topic("tx", 2);
  produce_numbers(cluster, "tx", 50, PartitionId(0));
  GroupOptions options = group_options();
  options.reset = OffsetReset::kLatest;
  Member member = join(cluster, "tx", options);
  const TopicPartition full{"tx", PartitionId(0)};
  const TopicPartition empty{"tx", PartitionId(1)};
  for (const auto begin = std::chrono::steady_clock::now();
       !(member.consumer->position(full) && member.consumer->position(empty)) && !past(begin);)
    member.poll_once();
  EXPECT_EQ(member.consumer->position(full), Offset(50));
  EXPECT_EQ(member.consumer->position(empty), Offset(0));
  EXPECT_EQ(member.count(), 0u);
}

TEST(GroupConsumer, ChangesNothingUntilAnEventIsAcknowledged) {
  MockCluster cluster;
  cluster.create_topic("tx", 1);
  produce_numbers(cluster, "tx", 10);
  Member member = join(cluster, "tx", group_options());
  const auto begin = std::chrono::steady_clock::now();
  EXPECT_EQ(first_event(member), GroupEvent::Kind::kAssigned);
  for (int i = 0; i < 3; ++i) {
    const Polled polled = must(member.consumer->poll(100, Millis(50)));
    EXPECT_TRUE(polled.records.empty());
    EXPECT_FALSE(polled.event);
  }
  EXPECT_TRUE(member.consumer->event_pending());
  const TopicOffset start{{"tx", PartitionId(0)}, Offset(7)};
  must(member.consumer->acknowledge(std::span(&start, 1)));
  while (member.count() < 3 && !past(begin)) member.poll_once();
  EXPECT_EQ(member.values[PartitionId(0)], (std::vector<std::string>{"7", "8", "9"}));
}

TEST(GroupConsumer, StaysPausedUntilResumedAndReadsOnFromASeek) {
  MockCluster cluster;
  cluster.create_topic("tx", 1);
  produce_numbers(cluster, "tx", 10);
  Member member = join(cluster, "tx", group_options());
  const auto begin = std::chrono::steady_clock::now();
  ASSERT_EQ(first_event(member), GroupEvent::Kind::kAssigned);
  const TopicPartition source{"tx", PartitionId(0)};
  const TopicOffset start{source, Offset(0)};
  must(member.consumer->acknowledge(std::span(&start, 1), true));
  for (int i = 0; i < 5; ++i) member.poll_once();
  EXPECT_EQ(member.count(), 0u);
  must(member.consumer->seek({source, Offset(4)}, kPatience));
  member.poll_once();
  EXPECT_EQ(member.count(), 0u);
  must(member.consumer->resume(std::span(&source, 1)));
  while (member.count() < 6 && !past(begin)) member.poll_once();
  EXPECT_EQ(member.values[source.partition].front(), "4");

  must(member.consumer->pause(std::span(&source, 1)));
  produce_numbers(cluster, "tx", 3);
  for (int i = 0; i < 5; ++i) member.poll_once();
  EXPECT_EQ(member.count(), 6u);
  must(member.consumer->resume(std::span(&source, 1)));
  while (member.count() < 9 && !past(begin)) member.poll_once();
  EXPECT_EQ(member.count(), 9u);
  must(member.consumer->seek({source, Offset(12)}, kPatience));
  while (member.count() < 10 && !past(begin)) member.poll_once();
  EXPECT_EQ(member.values[source.partition].back(), "2");
}

TEST(GroupConsumer, SharesPartitionsWithASecondMemberAndTakesThemBack) {
  for (const Assignor assignor : {Assignor::kCooperativeSticky, Assignor::kRange}) {
    MockCluster cluster;
    cluster.create_topic("tx", 4);
    const GroupOptions options = group_options(assignor);
    const auto begin = std::chrono::steady_clock::now();
    Member one = join(cluster, "tx", options);
    while (one.partitions.size() < 4 && !past(begin)) one.poll_once();
    Member two = join(cluster, "tx", options);
    while ((one.partitions.size() != 2 || two.partitions.size() != 2) && !past(begin)) {
      one.poll_once();
      two.poll_once();
    }
    ASSERT_EQ(one.partitions.size(), 2u);
    ASSERT_EQ(two.partitions.size(), 2u);
    EXPECT_EQ(one.consumer->assignment().size(), 2u);
    must(two.consumer->close(kPatience));
    while (one.partitions.size() != 4 && !past(begin)) one.poll_once();
    EXPECT_EQ(one.partitions.size(), 4u);
  }
}

TEST(GroupConsumer, KeepsViewsValidAfterItsEnd) {
  MockCluster cluster;
  cluster.create_topic("tx", 1);
  produce_numbers(cluster, "tx", 10);
  std::shared_ptr<const void> owner;
  std::string_view text;
  {
    Member member = join(cluster, "tx", group_options());
    for (const auto begin = std::chrono::steady_clock::now(); text.empty() && !past(begin);) {
      const Polled polled = must(member.consumer->poll(100, Millis(50)));
      if (polled.event) must(member.consumer->acknowledge());
      if (polled.records.empty()) continue;
      owner = polled.records.owner();
      text = as_text(polled.records.partitions().front().records.front().value());
    }
  }
  EXPECT_EQ(text, "0");
}

TEST(Admin, ListsAndDescribesTopics) {
  MockCluster cluster;
  cluster.create_topic("a", 3);
  cluster.create_topic("b", 1);
  produce_numbers(cluster, "b", 5);
  auto admin = must(Admin::create(cluster.options()));
  const auto topics = must(admin->list_topics(kPatience));
  ASSERT_EQ(topics.size(), 2u);
  EXPECT_EQ(topics[0].name, "a");
  EXPECT_EQ(topics[0].partitions.size(), 3u);
  EXPECT_EQ(topics[0].partitions[2].leader, 1);
  EXPECT_EQ(must(admin->describe_cluster(kPatience)).brokers.size(), 1u);
  const TopicPartition asked[] = {{"b", PartitionId(0)}};
  const auto offsets = must(admin->offsets(asked, kPatience));
  ASSERT_EQ(offsets.size(), 1u);
  EXPECT_EQ(must(offsets[0].range).end, Offset(5));
}

TEST(Admin, AsksAgainForOffsetsWhenTheLeaderHasRestarted) {
  constexpr int16_t kListOffsets = 2;
  MockCluster cluster;
  cluster.create_topic("t", 1);
  produce_numbers(cluster, "t", 5);
  auto admin = must(Admin::create(cluster.options()));
  const TopicPartition asked[] = {{"t", PartitionId(0)}};
  for (const auto code : {RD_KAFKA_RESP_ERR_FENCED_LEADER_EPOCH, RD_KAFKA_RESP_ERR_UNKNOWN_LEADER_EPOCH}) {
    cluster.fail_next_request(kListOffsets, code);
    const auto offsets = must(admin->offsets(asked, kPatience));
    ASSERT_EQ(offsets.size(), 1u);
    EXPECT_EQ(must(offsets[0].range).end, Offset(5));
  }
}

TEST(Admin, SaysThatNoBrokerAnswersAndWhere) {
  // Nobody listens on port 1.
  auto admin = must(Admin::create({.bootstrap = "127.0.0.1:1"}));
  const auto topics = admin->list_topics(Millis(10'000));
  ASSERT_FALSE(topics);
  EXPECT_EQ(topics.error().code, Errc::kUnavailable);
  EXPECT_NE(topics.error().message.find("127.0.0.1:1"), std::string::npos);
  EXPECT_FALSE(topics.error().hint.empty());
  EXPECT_TRUE(is_retriable(topics.error()));
  const TopicSpec spec{.name = "t"};
  const auto created = admin->create_topics(std::span(&spec, 1), Millis(10'000));
  ASSERT_FALSE(created);
  EXPECT_EQ(created.error().code, Errc::kUnavailable);
}

TEST(Options, ABrokerWithoutAPortIsRefused) {
  const auto admin = Admin::create({.bootstrap = "127.0.0.1:1,localhost"});
  ASSERT_FALSE(admin);
  EXPECT_EQ(admin.error().code, Errc::kInvalidArgument);
  EXPECT_NE(admin.error().message.find("'localhost' is not HOST:PORT"), std::string::npos) << admin.error().message;
}

TEST(Options, ASettingThatDoesNotExistIsNamed) {
  const auto admin = Admin::create({.bootstrap = "127.0.0.1:1", .extra = {{"no.such.setting", "1"}}});
  ASSERT_FALSE(admin);
  EXPECT_EQ(admin.error().code, Errc::kInvalidArgument);
  EXPECT_NE(admin.error().message.find("no.such.setting"), std::string::npos);
}

}  // namespace
}  // namespace millrace::client
