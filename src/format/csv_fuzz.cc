#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/fake_clock.h"
#include "format/decoder.h"
#include "format/encoder.h"

// Any bytes as a CSV record: decoded, and if taken written and read again with the same result.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  using namespace millrace::format;
  static FakeClock clock;
  static Decoder decoder = [] {
    DecoderOptions options;
    options.format = Format::kCsv;
    options.columns = columns::Schema({{"id", columns::kVarchar},
                                       {"n", columns::kBigint},
                                       {"x", columns::kDouble},
                                       {"d", {columns::Kind::kDecimal, 12, 2}},
                                       {"t", columns::kTimestamp}});
    options.time = TimeColumn{"t", *TimeFormat::parse("%d/%b/%Y:%H:%M:%S", "Europe/Berlin")};
    return *Decoder::make(std::move(options), clock);
  }();
  static const Encoder encoder = *Encoder::make(Format::kJson, decoder.schema());

  RecordView record;
  record.key = "k";
  record.value = std::string_view(reinterpret_cast<const char*>(data), size);
  const RecordView records[] = {record, record};
  const Decoded decoded = decoder.decode(records);
  MILLRACE_CHECK(decoded.batch.rows() + decoded.rejects.size() == 2);
  if (decoded.batch.rows() == 0) return 0;
  MILLRACE_CHECK(decoded.batch.rows() == 2, "the same bytes were judged differently");
  std::string first, second;
  encoder.append_row(decoded.batch, 0, first);
  encoder.append_row(decoded.batch, 1, second);
  MILLRACE_CHECK(first == second, first);
  return 0;
}
