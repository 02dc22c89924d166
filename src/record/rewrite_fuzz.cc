#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/check.h"
#include "base/crc32c.h"
#include "record/batch.h"
#include "record/records.h"
#include "record/rewrite.h"

// What brokers do to batches that arrived whole: another codec, some of the records, none. The first byte chooses what
// is kept, the rest is a batch, whose checksum and length are made good.
namespace {

using namespace millrace;          // NOLINT(google-build-using-namespace)
using namespace millrace::record;  // NOLINT(google-build-using-namespace)

constexpr size_t kPlainBytesMax = 1u << 18;

std::string text_of(const Record& record) {
  std::string text = std::to_string(record.offset.value()) + " " + std::to_string(record.timestamp_ms);
  const auto add = [&text](std::optional<ByteView> bytes) {
    text += bytes ? " " + std::to_string(bytes->size()) + ":" + std::string(as_text(*bytes)) : " null";
  };
  add(record.key);
  add(record.value);
  for (const RecordHeader& header : record.headers) {
    add(as_byte_view(header.key));
    add(header.value);
  }
  return text;
}

std::optional<std::vector<std::string>> read_all(const BatchView& batch) {
  auto reader = RecordReader::open(batch, kPlainBytesMax);
  if (!reader) return std::nullopt;
  std::vector<std::string> all;
  Record record;
  while (true) {
    const auto more = reader->next(record);
    if (!more) return std::nullopt;
    if (!*more) return all;
    all.push_back(text_of(record));
  }
}

void check_same_but_records(const BatchView& batch, const BatchView& made) {
  MILLRACE_CHECK(made.checksum_matches());
  MILLRACE_CHECK(made.base_offset() == batch.base_offset() && made.last_offset() == batch.last_offset());
  MILLRACE_CHECK(made.producer_id() == batch.producer_id() && made.producer_epoch() == batch.producer_epoch());
  MILLRACE_CHECK(made.base_sequence() == batch.base_sequence() && made.leader_epoch() == batch.leader_epoch());
  MILLRACE_CHECK(made.is_control() == batch.is_control() && made.is_transactional() == batch.is_transactional());
}

void recompress_all(const BatchView& batch, const std::optional<std::vector<std::string>>& records) {
  for (int codec = 0; codec < kCodecs; ++codec) {
    Bytes out;
    if (!recompress(batch, static_cast<Codec>(codec), kPlainBytesMax, out)) {
      MILLRACE_CHECK(!records, "what can be read can be recompressed");
      continue;
    }
    const auto made = BatchView::first_of(out);
    MILLRACE_CHECK(made && made->codec() == static_cast<Codec>(codec));
    check_same_but_records(batch, *made);
    MILLRACE_CHECK(read_all(*made) == records, "recompressed it has the same records");
  }
}

void filter_some(const BatchView& batch, const std::optional<std::vector<std::string>>& records, uint8_t choice) {
  const Filter filter{.keep = [choice](const Record& record) { return (record.offset.value() & 7) % 3 != choice % 4; },
                      .delete_horizon_ms = 1'767'225'600'000,
                      .always = (choice & 4) != 0,
                      .plain_bytes_max = kPlainBytesMax};
  Bytes out;
  const auto kept = append_filtered(batch, filter, out);
  MILLRACE_CHECK(kept.has_value() == records.has_value(), "what can be read can be filtered, nothing else");
  if (!kept || *kept == Kept::kNone) return MILLRACE_CHECK(out.empty());
  const auto made = BatchView::first_of(out);
  MILLRACE_CHECK(made, made.error().message);
  check_same_but_records(batch, *made);
  const auto left = read_all(*made);
  MILLRACE_CHECK(left && std::ssize(*left) == made->record_count(), "what is kept can be read");
  size_t next = 0;
  for (const std::string& record : *left) {
    while (next < records->size() && (*records)[next] != record) ++next;
    MILLRACE_CHECK(next++ < records->size(), "what is kept was there, in its order");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1 + kBatchHeaderBytes) return 0;
  Bytes bytes(reinterpret_cast<const std::byte*>(data) + 1, reinterpret_cast<const std::byte*>(data) + size);
  ByteWriter writer(bytes);
  bytes[16] = std::byte{2};
  writer.patch(8, static_cast<int32_t>(bytes.size() - kBatchPrefixBytes));
  writer.patch(17, crc32c(ByteView(bytes).subspan(21)));
  const auto batch = check_batch(bytes);
  if (!batch) return 0;
  const auto records = read_all(*batch);
  recompress_all(*batch, records);
  filter_some(*batch, records, data[0]);
  Bytes emptied;
  append_emptied(*batch, emptied);
  const auto empty = BatchView::first_of(emptied);
  MILLRACE_CHECK(empty && empty->record_count() == 0);
  check_same_but_records(*batch, *empty);
  return 0;
}
