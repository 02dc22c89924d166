#include <cstddef>
#include <cstdint>

#include "features/keyed_windows.h"
#include "features/tumbling.h"

// The first byte is the page's number, the second the length of the key; then the key, then the page. What is taken
// must be handed back without harm.
namespace {

class NullSink final : public millrace::state::PageSink {
 public:
  void put(millrace::ByteView, uint64_t, millrace::ByteView) override {}
  void erase(millrace::ByteView, uint64_t) override {}
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  if (size < 2 || size - 2 < data[1]) return 0;
  const ByteView all(reinterpret_cast<const std::byte*>(data), size);
  const ByteView key = all.subspan(2, data[1]);
  const ByteView page = all.subspan(2 + data[1]);
  const auto schema = std::make_shared<const columns::Schema>(std::vector<columns::Field>{
      {"card", columns::kVarchar}, {"amount", columns::kBigint}, {"score", columns::kDouble}});
  NullSink sink;

  features::FeatureSpec spec;
  spec.keys = {"card"};
  spec.windows = {{"1", 1'000}, {"2", 100'000}};
  spec.aggregates = {{{"sum", features::Function::kSum, "amount", "", {}}, {}},
                     {{"sd", features::Function::kStddev, "score", "", {}}, {}}};
  spec.last = {{"last_card", "card"}, {"last_score", "score"}};
  auto windows = features::KeyedWindows::create(spec, schema).value();
  if (windows->restore(key, data[0], page)) {
    windows->expire(1'000'000, 10);
    windows->collect(sink);
  }

  features::TumblingSpec tumbling;
  tumbling.by = {"card", "amount"};
  tumbling.size_us = 100;
  tumbling.gaps = features::Gaps::kZero;
  tumbling.aggregates = {{"sum", features::Function::kSum, "amount", "", {}}};
  auto aggregate = features::TumblingAggregate::create(tumbling, schema).value();
  if (aggregate->restore(key, data[0], page)) {
    (void)aggregate->advance(1'000, PartitionId(0), Offset(0));
    aggregate->collect(sink);
  }
  return 0;
}
