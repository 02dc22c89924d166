// What hostile or future peers send, and what a version cannot carry.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

#include "wire/consumer_protocol.h"
#include "wire/describe_topic_partitions.h"
#include "wire/fetch.h"
#include "wire/group_records.h"
#include "wire/heartbeat.h"
#include "wire/internal/codec.h"
#include "wire/join_group.h"
#include "wire/list_groups.h"
#include "wire/metadata.h"
#include "wire/offset_fetch.h"
#include "wire/versioned.h"

namespace millrace::wire {
namespace {

template <typename T>
Result<T> decode(const Bytes& bytes, int16_t version) {
  ByteReader in(bytes);
  return T::decode(in, version);
}

template <typename T>
Result<Bytes> encode(const T& message, int16_t version) {
  Bytes bytes;
  ByteWriter out(bytes);
  MILLRACE_RETURN_IF_ERROR(message.encode(out, version));
  return bytes;
}

template <typename T>
void expect_corrupt(const Result<T>& message, std::string_view why) {
  ASSERT_FALSE(message);
  EXPECT_EQ(message.error().code, Errc::kCorruption);
  EXPECT_THAT(message.error().message, testing::HasSubstr(std::string(why)));
}

TEST(Codec, AVersionOutsideTheRangeIsUnsupportedInBothDirections) {
  for (const int16_t version : {int16_t{-1}, int16_t{5}, std::numeric_limits<int16_t>::max()}) {
    EXPECT_EQ(decode<HeartbeatRequest>({}, version).error().code, Errc::kUnsupported);
    EXPECT_EQ(encode(HeartbeatRequest{}, version).error().code, Errc::kUnsupported);
  }
}

TEST(Codec, DecodingLeavesTheReaderBehindTheMessage) {
  Bytes bytes = encode(HeartbeatResponse{.throttle_time_ms = 3}, 1).value();
  bytes.push_back(std::byte{0x55});
  ByteReader in(bytes);
  EXPECT_EQ(HeartbeatResponse::decode(in, 1).value().throttle_time_ms, 3);
  EXPECT_EQ(in.remaining(), 1u);
}

TEST(Codec, AnArrayLongerThanTheFrameIsRefusedBeforeItIsMade) {
  for (const int32_t count : {1'000, std::numeric_limits<int32_t>::max()}) {
    Bytes bytes;
    ByteWriter out(bytes);
    out.fixed(count);
    expect_corrupt(decode<MetadataRequest>(bytes, 1), "longer than the rest of the frame");
  }
}

TEST(Codec, ACompactArrayLongerThanTheFrameIsRefusedBeforeItIsMade) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.uvarint(std::numeric_limits<uint32_t>::max());
  out.bytes(Bytes(1'000));
  expect_corrupt(decode<MetadataRequest>(bytes, 12), "longer than the rest of the frame");
}

TEST(Codec, ManyTinyElementsMayNotTakeFarMoreMemoryThanTheirFrame) {
  // Empty strings: one byte each in the frame, a std::string each in memory.
  constexpr size_t kElements = 10'000'000;
  Bytes bytes;
  ByteWriter out(bytes);
  out.uvarint(kElements + 1);
  bytes.resize(bytes.size() + kElements + 10, std::byte{1});
  expect_corrupt(decode<ListGroupsRequest>(bytes, 4), "memory");
}

TEST(Codec, AnHonestLongListIsTaken) {
  ListGroupsRequest request;
  for (int i = 0; i < 100'000; ++i) request.states_filter.push_back("group-" + std::to_string(i));
  EXPECT_EQ(decode<ListGroupsRequest>(encode(request, 4).value(), 4).value(), request);
}

TEST(Codec, NegativeLengthsAreRefused) {
  Bytes text;
  ByteWriter(text).fixed(int16_t{-2});
  expect_corrupt(decode<HeartbeatRequest>(text, 0), "negative");
  Bytes array;
  ByteWriter(array).fixed(int32_t{-2});
  expect_corrupt(decode<MetadataRequest>(array, 1), "negative");
}

TEST(Codec, NullIsRefusedWhereTheVersionHasNone) {
  Bytes text;
  ByteWriter(text).fixed(int16_t{-1});
  expect_corrupt(decode<HeartbeatRequest>(text, 0), "null");
  Bytes array;
  ByteWriter(array).fixed(int32_t{-1});
  expect_corrupt(decode<MetadataRequest>(array, 0), "null");
  EXPECT_EQ(decode<MetadataRequest>(array, 1).value().topics, std::nullopt);
}

TEST(Codec, AStructThatMayBeNullIsThereUnlessItsMarkerIsNegative) {
  DescribeTopicPartitionsRequest request;
  request.cursor = DescribeTopicPartitionsRequest::Cursor{"t", 5};
  Bytes bytes = encode(request, 0).value();
  const size_t marker = bytes.size() - 9;  // a name of 2 bytes, a partition of 4, two empty lists of tagged fields
  ASSERT_EQ(bytes[marker], std::byte{1});
  for (const std::byte present : {std::byte{0}, std::byte{1}, std::byte{127}}) {
    bytes[marker] = present;
    EXPECT_EQ(decode<DescribeTopicPartitionsRequest>(bytes, 0).value(), request);
  }
  bytes.resize(marker);
  bytes.push_back(std::byte{0x80});
  bytes.push_back(std::byte{0});
  EXPECT_EQ(decode<DescribeTopicPartitionsRequest>(bytes, 0).value(), DescribeTopicPartitionsRequest());
}

TEST(Codec, AStringLongerThanTheFrameIsRefused) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.fixed(std::numeric_limits<int16_t>::max());
  out.text("short");
  expect_corrupt(decode<HeartbeatRequest>(bytes, 0), "ends in the middle");
}

TEST(Codec, TextThatIsNoUtf8IsReadAsJavaReadsIt) {
  HeartbeatRequest request;
  request.group_id = "caf\xe9";
  EXPECT_EQ(decode<HeartbeatRequest>(encode(request, 0).value(), 0).value().group_id, "caf\ufffd");
  // Three bytes each: longer than a string may be.
  request.group_id.assign(12'000, '\xe9');
  expect_corrupt(decode<HeartbeatRequest>(encode(request, 0).value(), 0), "more than 32767 bytes");
}

TEST(Codec, AVarintOfMoreThan32BitsIsRefused) {
  const Bytes bytes(10, std::byte{0xff});
  expect_corrupt(decode<ListGroupsRequest>(bytes, 4), "varint");
}

// HeartbeatRequest v4 with these tagged fields.
Bytes heartbeat_with_tags(const std::vector<std::pair<uint64_t, std::string>>& tags) {
  Bytes bytes = encode(HeartbeatRequest{.group_id = "g", .generation_id = 1, .member_id = "m"}, 4).value();
  bytes.pop_back();
  ByteWriter out(bytes);
  out.uvarint(tags.size());
  for (const auto& [tag, content] : tags) {
    out.uvarint(tag);
    out.uvarint(content.size());
    out.text(content);
  }
  return bytes;
}

TEST(TaggedFields, UnknownOnesAreSkipped) {
  const auto request = decode<HeartbeatRequest>(heartbeat_with_tags({{0, "new"}, {7, ""}, {100'000, "x"}}), 4);
  ASSERT_TRUE(request);
  EXPECT_EQ(request->group_id, "g");
}

TEST(TaggedFields, OutOfOrderOrTwiceTheyAreRefused) {
  expect_corrupt(decode<HeartbeatRequest>(heartbeat_with_tags({{7, "a"}, {3, "b"}}), 4), "order");
  expect_corrupt(decode<HeartbeatRequest>(heartbeat_with_tags({{7, "a"}, {7, "b"}}), 4), "order");
}

TEST(TaggedFields, LongerThanTheFrameOrInImpossibleNumberTheyAreRefused) {
  Bytes too_long = heartbeat_with_tags({{7, "abc"}});
  too_long.pop_back();
  expect_corrupt(decode<HeartbeatRequest>(too_long, 4), "tagged field");
  Bytes too_many = heartbeat_with_tags({});
  too_many.pop_back();
  ByteWriter(too_many).uvarint(std::numeric_limits<uint32_t>::max());
  expect_corrupt(decode<HeartbeatRequest>(too_many, 4), "ends in the middle");
}

TEST(TaggedFields, AKnownOneMustTakeAllOfItsBytes) {
  // FetchRequest v12 begins with its plain fields; cluster_id is tag 0.
  Bytes bytes = encode(FetchRequest{}, 12).value();
  bytes.pop_back();
  ByteWriter out(bytes);
  out.uvarint(1);
  out.uvarint(0);
  out.uvarint(4);
  out.uvarint(3);  // a string of two characters
  out.text("ab");
  out.text("!");  // and one byte too many
  expect_corrupt(decode<FetchRequest>(bytes, 12), "another length");
}

TEST(TaggedFields, TheirDefaultsAreNotWritten) {
  FetchRequest request;
  const size_t plain = encode(request, 12)->size();
  request.cluster_id = "c";
  EXPECT_EQ(encode(request, 12)->size(), plain + 4);
  EXPECT_EQ(decode<FetchRequest>(encode(request, 12).value(), 12)->cluster_id, "c");
}

TEST(Encoding, IgnorableFieldsAreLeftOutOfVersionsWithoutThem) {
  const JoinGroupRequest request{.rebalance_timeout_ms = 5, .reason = "why"};
  const auto read = decode<JoinGroupRequest>(encode(request, 0).value(), 0);
  EXPECT_EQ(read->rebalance_timeout_ms, -1);
  EXPECT_EQ(read->reason, std::nullopt);
}

TEST(Encoding, OtherFieldsAreRefusedUnlessTheyHaveTheirDefault) {
  const auto bytes = encode(JoinGroupResponse{.skip_assignment = true}, 8);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, Errc::kInvalidArgument);
  EXPECT_THAT(bytes.error().message, testing::HasSubstr("skip_assignment"));
  EXPECT_TRUE(encode(JoinGroupResponse{.protocol_name = "p", .skip_assignment = false}, 8));
}

TEST(Encoding, NullIsRefusedWhereTheVersionHasNone) {
  EXPECT_TRUE(encode(MetadataRequest{.topics = std::nullopt}, 1));
  const auto bytes = encode(MetadataRequest{.topics = std::nullopt}, 0);
  ASSERT_FALSE(bytes);
  EXPECT_EQ(bytes.error().code, Errc::kInvalidArgument);
}

TEST(Encoding, AStringTooLongForItsLengthFieldIsRefusedNotCut) {
  const HeartbeatRequest request{.group_id = std::string(32'768, 'g')};
  const auto old_style = encode(request, 0);
  ASSERT_FALSE(old_style);
  EXPECT_THAT(old_style.error().message, testing::HasSubstr("group_id"));
  // A flexible version could carry it, but nobody takes it, and records could not hold it.
  EXPECT_FALSE(decode<HeartbeatRequest>(encode(request, 4).value(), 4));
  const HeartbeatRequest longest{.group_id = std::string(32'767, 'g')};
  EXPECT_EQ(decode<HeartbeatRequest>(encode(longest, 4).value(), 4).value(), longest);
}

TEST(Versioned, RecordsOfTheOffsetsTopicCarryTheirTypeAndVersion) {
  const OffsetCommitKey key{.group = "g", .topic = "t", .partition = 3};
  const Bytes key_bytes = encode_record_key(key).value();
  EXPECT_EQ(record_type(key_bytes).value(), 1);
  EXPECT_EQ(decode_record_key<OffsetCommitKey>(key_bytes).value(), key);
  EXPECT_EQ(decode_record_key<GroupMetadataKey>(key_bytes).error().code, Errc::kInvalidArgument);

  const OffsetCommitValue value{.offset = 42, .leader_epoch = 1, .metadata = "note", .commit_timestamp = 99};
  for (int16_t version = 3; version <= 4; ++version) {
    EXPECT_EQ(decode_versioned<OffsetCommitValue>(encode_versioned(value, version).value()).value(), value);
  }
}

TEST(Versioned, AFutureVersionIsReadAsTheNewestKnown) {
  Bytes bytes;
  ByteWriter out(bytes);
  out.fixed(int16_t{9});
  ASSERT_TRUE((ConsumerProtocolSubscription{.topics = {"t"}, .rack_id = "r"}.encode(out, 3)));
  out.text("whatever comes then");
  const auto subscription = decode_versioned<ConsumerProtocolSubscription>(bytes).value();
  EXPECT_THAT(subscription.topics, testing::ElementsAre("t"));
  EXPECT_EQ(subscription.rack_id, "r");
}

TEST(Versioned, EmptyOrNegativeOnesAreErrors) {
  EXPECT_FALSE(decode_versioned<ConsumerProtocolAssignment>({}));
  Bytes bytes;
  ByteWriter(bytes).fixed(int16_t{-1});
  EXPECT_FALSE(decode_versioned<ConsumerProtocolAssignment>(bytes));
  EXPECT_FALSE(record_type({}));
}

}  // namespace
}  // namespace millrace::wire
