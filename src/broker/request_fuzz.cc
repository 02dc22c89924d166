// Sequences of requests, of every API and version, against a broker that is new for each of them
// (internal/request_sequence.h says how they are written). Whatever they hold: each is answered or its connection is
// closed, an answer is one that a client of that version can read and no larger than what is there to tell explains,
// and a broker that starts over the same folder takes up what they left.
#include <fmt/core.h>

#include <algorithm>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/crc32c.h"
#include "base/logging.h"
#include "base/random.h"
#include "broker/internal/fuzzed_broker.h"
#include "broker/internal/request_sequence.h"
#include "record/batch.h"
#include "wire/create_partitions.h"
#include "wire/create_topics.h"
#include "wire/frame.h"
#include "wire/heartbeat.h"
#include "wire/join_group.h"
#include "wire/leave_group.h"
#include "wire/offset_commit.h"
#include "wire/produce.h"
#include "wire/sync_group.h"
#include "wire/txn_offset_commit.h"

extern "C" __attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t* data, size_t size, size_t size_max);

namespace {

using namespace millrace;          // NOLINT(google-build-using-namespace)
using namespace millrace::broker;  // NOLINT(google-build-using-namespace)

constexpr size_t kRequestsMax = 24;
constexpr int32_t kPartitionsMax = 64;  // of a topic: more would only take time
constexpr size_t kAnswerBytesMax = 4 << 20;

Settings settings() {
  Settings small;
  small.offsets_topic_partitions = 2;
  small.transactions_topic_partitions = 2;
  small.message_bytes_max = 65'536;
  small.fetch_bytes_max = 1 << 20;
  small.group_initial_rebalance_delay_ms = 0;
  small.group_rebalance_debounce_ms = 0;
  return small;
}

Bytes frame_of(const FuzzedRequest& request) {
  if (request.is_whole_frame()) return request.body;
  Bytes frame;
  ByteWriter out(frame);
  const wire::RequestHeader header{request.range().key, request.api_version(), 7, "fuzzer"};
  const int16_t version = wire::request_header_version(request.api_version(), request.range().flexible_from);
  MILLRACE_CHECK(wire::encode_request_header(header, out, version));
  out.bytes(request.body);
  return frame;
}

// Behind the header, where the frame is one of `Message`.
template <typename Message>
std::optional<Message> decode(ByteView frame) {
  ByteReader in(frame);
  const auto header = wire::decode_request_header(in);
  if (!header || header->api_key != Message::kApiKey) return std::nullopt;
  auto message = Message::decode(in, header->api_version);
  if (!message) return std::nullopt;
  return std::move(*message);
}

void make_checksums_good(Bytes& frame) {
  const auto request = decode<wire::ProduceRequest>(frame);
  if (!request) return;
  for (const auto& topic : request->topic_data) {
    for (const auto& partition : topic.partition_data) {
      if (!partition.records || partition.records->size() < record::kBatchHeaderBytes) continue;
      const auto at = static_cast<size_t>(partition.records->data() - frame.data());
      const size_t size = partition.records->size();
      ByteWriter writer(frame);
      frame[at + 16] = std::byte{2};
      writer.patch(at + 8, static_cast<int32_t>(size - record::kBatchPrefixBytes));
      writer.patch(at + 17, crc32c(ByteView(frame).subspan(at + 21, size - 21)));
    }
  }
}

bool takes_too_long(ByteView frame) {
  if (const auto request = decode<wire::CreateTopicsRequest>(frame)) {
    return std::ranges::any_of(request->topics,
                               [](const auto& topic) { return topic.num_partitions > kPartitionsMax; });
  }
  if (const auto request = decode<wire::CreatePartitionsRequest>(frame)) {
    return std::ranges::any_of(request->topics, [](const auto& topic) { return topic.count > kPartitionsMax; });
  }
  return false;
}

void check_answer(ByteView frame, ByteView asked) {
  ByteReader key_reader(asked);
  const auto key = static_cast<wire::ApiKey>(key_reader.fixed<int16_t>().value());
  int16_t version = key_reader.fixed<int16_t>().value();
  const wire::ApiRange* api = wire::find_api(static_cast<int16_t>(key));
  MILLRACE_CHECK(api != nullptr, "an answer to an API that is not there");
  if (version < api->decodable_min || version > api->decodable_max) {
    MILLRACE_CHECK(key == wire::ApiKey::kApiVersions, "an answer in a version that is not there");
    version = 0;
  }
  MILLRACE_CHECK(frame.size() <= kAnswerBytesMax,
                 fmt::format("{} v{} answers {} bytes to {}", api->name, version, frame.size(), asked.size()));
  ByteReader in(frame);
  MILLRACE_CHECK(in.fixed<uint32_t>().value() == frame.size() - 4, "the length of a frame");
  const auto header = wire::decode_response_header(in, wire::response_header_version(key, version, api->flexible_from));
  MILLRACE_CHECK(header && header->correlation_id == key_reader.fixed<int32_t>().value(), "the header of an answer");
  const std::string name = std::string(api->name) + "Response";
  const auto messages = wire::all_messages();
  const auto message = std::ranges::find(messages, name, &wire::MessageInfo::name);
  MILLRACE_CHECK(message != messages.end(), name);
  const ByteView body = frame.subspan(in.position());
  const auto again = message->recode(body, version);
  MILLRACE_CHECK(again, fmt::format("{} v{}: {}", name, version, again.error().message));
  MILLRACE_CHECK(std::ranges::equal(*again, body), fmt::format("{} v{} is written otherwise", name, version));
}

// Members' ids are the broker's to give. "m" stands for the last one it gave, and generation -2 for the last it told.
class Members {
 public:
  void note(ByteView answer, ByteView asked) {
    ByteReader request(asked);
    const auto header = wire::decode_request_header(request);
    if (!header || header->api_key != wire::ApiKey::kJoinGroup) return;
    ByteReader in(answer.subspan(4));
    const auto joined = wire::decode_response<wire::JoinGroupResponse>(in, header->api_version);
    if (!joined || joined->member_id.empty()) return;
    member_id_ = joined->member_id;
    if (joined->generation_id >= 0) generation_ = joined->generation_id;
  }

  void put_into(Bytes& frame) const {
    put<wire::JoinGroupRequest>(frame, [this](auto& message) { put_id(message.member_id); });
    put<wire::HeartbeatRequest>(frame, [this](auto& message) { put_both(message.member_id, message.generation_id); });
    put<wire::TxnOffsetCommitRequest>(frame,
                                      [this](auto& message) { put_both(message.member_id, message.generation_id); });
    put<wire::OffsetCommitRequest>(
        frame, [this](auto& message) { put_both(message.member_id, message.generation_id_or_member_epoch); });
    put<wire::SyncGroupRequest>(frame, [this](auto& message) {
      put_both(message.member_id, message.generation_id);
      for (auto& assigned : message.assignments) put_id(assigned.member_id);
    });
    put<wire::LeaveGroupRequest>(frame, [this](auto& message) {
      put_id(message.member_id);
      for (auto& member : message.members) put_id(member.member_id);
    });
  }

 private:
  template <typename Message, typename Change>
  static void put(Bytes& frame, const Change& change) {
    auto message = decode<Message>(frame);
    if (!message) return;
    const int16_t version = ByteReader(ByteView(frame).subspan(2)).fixed<int16_t>().value();
    change(*message);
    const auto changed = wire::encode_request(*message, 7, "fuzzer", version);
    if (!changed) return;
    const Bytes with_length = changed->flatten();
    frame.assign(with_length.begin() + 4, with_length.end());
  }
  void put_id(std::string& id) const {
    if (id == "m") id = member_id_;
  }
  void put_both(std::string& id, int32_t& generation) const {
    put_id(id);
    if (generation == -2) generation = generation_;
  }

  std::string member_id_;
  int32_t generation_ = -1;
};

// Whether a client that knows the protocol could have sent it.
bool is_well_formed(ByteView frame) {
  constexpr size_t kPlainFrameBytesMax = 8 << 20;
  ByteReader in(frame);
  const auto header = wire::decode_request_header(in);
  if (!header || frame.size() > kPlainFrameBytesMax) return false;
  const wire::ApiRange* api = wire::find_api(static_cast<int16_t>(header->api_key));
  const std::string name = std::string(api->name) + "Request";
  const auto messages = wire::all_messages();
  const auto message = std::ranges::find(messages, name, &wire::MessageInfo::name);
  return message->recode(frame.subspan(in.position()), header->api_version).has_value();
}

void ask(FuzzedBroker& broker, Members& members, const FuzzedRequest& request) {
  Bytes frame = frame_of(request);
  constexpr size_t kFrameBytesMin = 8;  // sessions let no shorter one through
  if (frame.size() < kFrameBytesMin || takes_too_long(frame)) return;
  if ((request.version & FuzzedRequest::kMakeChecksumsGood) != 0) make_checksums_good(frame);
  if (!request.is_whole_frame()) members.put_into(frame);
  const auto outcome = broker.ask(frame);
  // A produce without acknowledgement has no answer that could say what is wrong.
  if (!outcome.answer) {
    const auto produce = decode<wire::ProduceRequest>(frame);
    MILLRACE_CHECK((produce && produce->acks == 0) || !is_well_formed(frame), "a well-formed request is answered");
    return;
  }
  check_answer(*outcome.answer, frame);
  members.note(*outcome.answer, frame);
}

// What the requests leave must be what a start can take up.
void run(std::span<const FuzzedRequest> requests) {
  env::FaultFileSystem files;
  {
    FuzzedBroker broker(settings(), files, 1);
    Members members;
    for (const FuzzedRequest& request : requests.first(std::min(requests.size(), kRequestsMax)))
      ask(broker, members, request);
  }
  const FuzzedBroker again(settings(), files, 2);
}

void be_quiet() {
  static const bool done = [] {
    MILLRACE_CHECK(init_logging({.file = {}, .level = LogLevel::kError, .stderr_level = LogLevel::kError}));
    return true;
  }();
  static_cast<void>(done);
}

void mutate_body(FuzzedRequest& request) {
  constexpr size_t kGrowth = 64;
  std::vector<uint8_t> bytes(request.body.size() + kGrowth);
  std::ranges::transform(request.body, bytes.begin(), [](std::byte byte) { return std::to_integer<uint8_t>(byte); });
  bytes.resize(LLVMFuzzerMutate(bytes.data(), request.body.size(), bytes.size()));
  request.body.resize(bytes.size());
  std::ranges::transform(bytes, request.body.begin(), [](uint8_t byte) { return std::byte{byte}; });
}

}  // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t* data, size_t size, size_t size_max, unsigned int seed) {
  auto requests = read_sequence(ByteView(reinterpret_cast<const std::byte*>(data), size));
  Random random(seed);
  if (requests.empty() || random.below(20) == 0) return LLVMFuzzerMutate(data, size, size_max);
  const size_t at = random.below(requests.size());
  const size_t other = random.below(requests.size());
  switch (random.below(10)) {
    case 0:
      requests[at].version = static_cast<uint8_t>(random.next());
      break;
    case 1:
      requests[at].api = static_cast<uint8_t>(random.next());
      break;
    case 2:
      requests.insert(requests.begin() + static_cast<ptrdiff_t>(at), requests[other]);
      break;
    case 3:
      requests.erase(requests.begin() + static_cast<ptrdiff_t>(at));
      break;
    case 4:
      std::swap(requests[at], requests[other]);
      break;
    default:
      mutate_body(requests[at]);
  }
  const Bytes mutated = write_sequence(requests);
  const size_t kept = std::min(mutated.size(), size_max);
  std::transform(mutated.begin(), mutated.begin() + static_cast<ptrdiff_t>(kept), data,
                 [](std::byte byte) { return std::to_integer<uint8_t>(byte); });
  return kept;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  be_quiet();
  run(read_sequence(ByteView(reinterpret_cast<const std::byte*>(data), size)));
  return 0;
}
