#include "wire/frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "wire/api_versions.h"
#include "wire/fetch.h"
#include "wire/heartbeat.h"
#include "wire/messages.h"
#include "wire/metadata.h"

namespace millrace::wire {
namespace {

ByteView without_length(const Bytes& frame) { return ByteView(frame).subspan(4); }

int32_t length_of(const Bytes& frame) { return ByteReader(frame).fixed<int32_t>().value(); }

TEST(Frame, ARequestIsReadAsItWasWritten) {
  HeartbeatRequest request;
  request.group_id = "g";
  request.generation_id = 7;
  request.member_id = "m";
  for (int16_t version = HeartbeatRequest::kMinVersion; version <= HeartbeatRequest::kMaxVersion; ++version) {
    request.group_instance_id = version >= 3 ? std::optional<std::string>("i") : std::nullopt;
    const Bytes frame = encode_request(request, 42, "client", version).value().flatten();
    EXPECT_EQ(length_of(frame), static_cast<int32_t>(frame.size()) - 4);

    ByteReader in(without_length(frame));
    const RequestHeader header = decode_request_header(in).value();
    EXPECT_EQ(header, (RequestHeader{ApiKey::kHeartbeat, version, 42, "client"}));
    EXPECT_EQ(HeartbeatRequest::decode(in, version).value(), request);
    EXPECT_EQ(in.remaining(), 0u);
  }
}

TEST(Frame, AnApiThatIsNotServedIsUnsupported) {
  for (const int16_t key : {int16_t{4}, int16_t{-1}, int16_t{999}}) {
    Bytes bytes;
    ByteWriter out(bytes);
    ASSERT_TRUE(encode_request_header({static_cast<ApiKey>(key), 0, 1, "client"}, out, 1));
    ByteReader in(bytes);
    const auto header = decode_request_header(in);
    ASSERT_FALSE(header);
    EXPECT_EQ(header.error().code, Errc::kUnsupported);
  }
}

TEST(Frame, AHeaderOfAFutureVersionIsReadSoThatTheServerCanRefuseItByName) {
  const RequestHeader header{ApiKey::kApiVersions, 99, 5, "new"};
  Bytes bytes;
  ByteWriter out(bytes);
  ASSERT_TRUE(encode_request_header(header, out, 2));
  ByteReader in(bytes);
  EXPECT_EQ(decode_request_header(in).value(), header);
}

TEST(Frame, TheAnswerToApiVersionsHasTheOldHeaderInEveryVersion) {
  EXPECT_EQ(response_header_version(ApiKey::kApiVersions, 4, ApiVersionsResponse::kFlexibleFrom), 0);
  EXPECT_EQ(response_header_version(ApiKey::kMetadata, 8, MetadataResponse::kFlexibleFrom), 0);
  EXPECT_EQ(response_header_version(ApiKey::kMetadata, 9, MetadataResponse::kFlexibleFrom), 1);
}

TEST(Frame, TaggedFieldsOfAHeaderAreSkipped) {
  Bytes bytes;
  ByteWriter out(bytes);
  ASSERT_TRUE(encode_request_header({ApiKey::kHeartbeat, 4, 1, std::nullopt}, out, 1));
  out.uvarint(2);
  for (const uint64_t tag : {3u, 200u}) {
    out.uvarint(tag);
    out.uvarint(5);
    out.text("later");
  }
  out.text("message");
  ByteReader in(bytes);
  ASSERT_TRUE(decode_request_header(in));
  EXPECT_EQ(in.text(in.remaining()).value(), "message");
}

TEST(Frame, LargeBatchesAreSentFromWhereTheyLie) {
  const Bytes large(kSliceBytesMin, std::byte{0xaa});
  const Bytes small(10, std::byte{0xbb});
  FetchResponse response;
  auto& topic = response.responses.emplace_back();
  topic.topic = "t";
  for (const Bytes* records : {&large, &small, &large}) {
    auto& partition = topic.partitions.emplace_back();
    partition.records = ByteView(*records);
  }
  const OutgoingFrame frame = encode_response(response, 9, 11).value();
  ASSERT_EQ(frame.slices.size(), 2u);
  EXPECT_EQ(frame.slices[0].records.data(), large.data());
  EXPECT_LT(frame.bytes.size(), 300u);

  const Bytes flat = frame.flatten();
  EXPECT_EQ(flat.size(), frame.size());
  EXPECT_EQ(length_of(flat), static_cast<int32_t>(flat.size()) - 4);
  ByteReader in(without_length(flat));
  const FetchResponse read = decode_response<FetchResponse>(in, 11).value();
  EXPECT_EQ(in.remaining(), 0u);
  ASSERT_EQ(read.responses.size(), 1u);
  ASSERT_EQ(read.responses[0].partitions.size(), 3u);
  EXPECT_EQ(as_text(read.responses[0].partitions[0].records.value_or(ByteView())), as_text(large));
  EXPECT_EQ(as_text(read.responses[0].partitions[1].records.value_or(ByteView())), as_text(small));
  EXPECT_EQ(as_text(read.responses[0].partitions[2].records.value_or(ByteView())), as_text(large));
}

TEST(Frame, AClientIdThatTheHeaderCannotCarryIsRefused) {
  const auto frame = encode_request(HeartbeatRequest{}, 1, std::string(40'000, 'c'), 4);
  ASSERT_FALSE(frame);
  EXPECT_EQ(frame.error().code, Errc::kInvalidArgument);
}

TEST(Messages, TheDescribedApisAreThoseOfTheirKeys) {
  EXPECT_EQ(find_api(1)->key, ApiKey::kFetch);
  EXPECT_EQ(find_api(4), nullptr);
  EXPECT_STREQ(api_name(ApiKey::kLeaderAndIsr), "LeaderAndIsr");
  EXPECT_STREQ(api_name(static_cast<ApiKey>(999)), "?");
  int16_t last = -1;
  for (const ApiRange& api : supported_apis()) {
    EXPECT_GT(static_cast<int16_t>(api.key), last);
    EXPECT_LE(api.min, api.decodable_min);
    EXPECT_LE(api.max, api.decodable_max);
    last = static_cast<int16_t>(api.key);
  }
}

TEST(Messages, ProduceIsAdvertisedFromZeroButDecodedFromThree) {
  const ApiRange* produce = find_api(0);
  EXPECT_EQ(produce->min, 0);
  EXPECT_EQ(produce->decodable_min, 3);
  EXPECT_EQ(produce->max, 12);
  EXPECT_EQ(produce->decodable_max, 12);
}

}  // namespace
}  // namespace millrace::wire
