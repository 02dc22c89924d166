#include <cstdint>
#include <vector>

#include "base/check.h"
#include "base/fake_clock.h"
#include "broker/internal/group_records.h"
#include "broker/internal/rebalance_history.h"
#include "broker/internal/transaction_records.h"
#include "coord/group_coordinator.h"
#include "coord/transaction_coordinator.h"

// Records of __consumer_offsets and __transaction_state as a start reads them, whoever wrote them. Each is
//
//   u8  lowest bit: the topic; 0x2: there is a value; 0x4: written in a transaction; 0x8: no record but its end
//   u8  bytes of the key, which follow
//   u8  bytes of the value, which follow, where there is one
//
// What can be read is written again the same, coordinators start with it, show it, and live on; and what members held,
// whatever they wrote, is told as JSON.
namespace {

using namespace millrace;          // NOLINT(google-build-using-namespace)
using namespace millrace::broker;  // NOLINT(google-build-using-namespace)

constexpr uint8_t kTransactions = 1;
constexpr uint8_t kHasValue = 2;
constexpr uint8_t kTransactional = 4;
constexpr uint8_t kEnd = 8;

const coord::Producer kProducer{ProducerId{5}, ProducerEpoch{0}};

template <typename Record, typename Encode, typename Decode>
void check_written_again(const Record& record, Encode encode, Decode decode) {
  const auto encoded = encode(record);
  // Kafka has no place for some of what can be read, but nothing of it makes a record.
  if (!encoded) return;
  const auto again =
      decode(encoded->key, encoded->value ? std::optional<ByteView>(*encoded->value) : std::optional<ByteView>());
  MILLRACE_CHECK(again && *again, "what was written can be read");
  const auto once_more = encode(**again);
  MILLRACE_CHECK(once_more && once_more->key == encoded->key && once_more->value == encoded->value,
                 "written again it is the same");
}

void tell_rebalance(const coord::Record& record) {
  const auto* group = std::get_if<coord::GroupRecord>(&record);
  if (group == nullptr || !group->value) return;
  coord::Rebalance rebalance{
      .group = group->group, .protocol_type = "consumer", .causes = {}, .before = {}, .after = {}};
  for (const auto& member : group->value->members) {
    auto& side = rebalance.before.size() > rebalance.after.size() ? rebalance.after : rebalance.before;
    side.push_back({member.member_id, member.instance_id, member.client_id, member.client_host, member.assignment});
  }
  MILLRACE_CHECK(rebalance_json(rebalance).starts_with("{\"group\":"));
}

// Lets time pass until nothing is due any more, or for a while.
template <typename Coordinator>
void live_on(Coordinator& coordinator, FakeClock& clock) {
  const auto now = [&clock] { return coord::Instant{clock.mono_now(), clock.wall_now()}; };
  static_cast<void>(coordinator.start(now()));
  for (int i = 0; i < 50; ++i) {
    const auto next = coordinator.next_deadline();
    if (!next) return;
    if (*next > clock.mono_now())
      clock.advance(std::chrono::duration_cast<std::chrono::microseconds>(*next - clock.mono_now()));
    static_cast<void>(coordinator.on_time(now()));
  }
}

struct Coordinators {
  coord::GroupCoordinator groups{{}, Random(1)};
  coord::TransactionCoordinator transactions{{}, [next = int64_t{1000}]() mutable { return ProducerId{next++}; }};

  void apply(uint8_t flags, ByteView key, std::optional<ByteView> value) {
    if ((flags & kEnd) != 0) {
      groups.apply(coord::TransactionEnded{kProducer.id, (flags & kTransactional) != 0,
                                           [](const std::string& group) { return group_partition(group, 2) == 0; }});
      return;
    }
    if ((flags & kTransactions) != 0) {
      auto record = decode_transaction_record(key, value);
      if (!record || !*record) return;
      check_written_again(**record, encode_transaction_record, decode_transaction_record);
      transactions.apply(std::move(**record));
      return;
    }
    auto record = decode_group_record(key, value);
    if (!record || !*record) return;
    check_written_again(**record, encode_group_record, decode_group_record);
    tell_rebalance(**record);
    if (auto* offset = std::get_if<coord::OffsetRecord>(&**record); offset != nullptr && (flags & kTransactional) != 0)
      offset->transaction = kProducer;
    groups.apply(std::move(**record));
  }

  void start_and_show() {
    FakeClock clock;
    live_on(groups, clock);
    for (const auto& listed : groups.list({})) {
      MILLRACE_CHECK(groups.describe(listed.group), listed.group);
      static_cast<void>(groups.committed_offsets(listed.group));
    }
    live_on(transactions, clock);
    for (const auto& listed : transactions.list({}, clock.wall_now()))
      MILLRACE_CHECK(transactions.describe(listed.transactional_id), listed.transactional_id);
  }
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  ByteReader in(ByteView(reinterpret_cast<const std::byte*>(data), size));
  Coordinators coordinators;
  while (true) {
    const auto flags = in.fixed<uint8_t>();
    const auto key_bytes = in.fixed<uint8_t>();
    const auto value_bytes = flags && (*flags & kHasValue) != 0 ? in.fixed<uint8_t>() : Result<uint8_t>(0);
    if (!flags || !key_bytes || !value_bytes) break;
    const ByteView key = in.bytes(std::min<size_t>(*key_bytes, in.remaining())).value();
    const ByteView value = in.bytes(std::min<size_t>(*value_bytes, in.remaining())).value();
    coordinators.apply(*flags, key, (*flags & kHasValue) != 0 ? std::optional(value) : std::nullopt);
  }
  coordinators.start_and_show();
  return 0;
}
