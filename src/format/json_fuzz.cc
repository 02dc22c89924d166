#include <cstddef>
#include <cstdint>
#include <string>

#include "base/check.h"
#include "base/fake_clock.h"
#include "base/utf8.h"
#include "format/decoder.h"
#include "format/encoder.h"

// Any bytes as a JSON record: decoded, and if taken written and read again with the same result.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace millrace;
  using namespace millrace::format;
  static FakeClock clock;
  static Decoder decoder = [] {
    DecoderOptions options;
    options.columns = columns::Schema({{"id", columns::kVarchar},
                                       {"n", columns::kBigint},
                                       {"x", columns::kDouble},
                                       {"d", {columns::Kind::kDecimal, 12, 2}},
                                       {"b", columns::kBoolean},
                                       {"t", columns::kTimestamp}});
    options.time = TimeColumn{"t", TimeFormat()};
    options.wanted = {"id", "n", "x", "d", "b", "t", "_rest"};
    return *Decoder::make(std::move(options), clock);
  }();
  static const Encoder encoder = *Encoder::make(Format::kJson, decoder.schema(), {"id", "n", "x", "d", "b", "t"});

  const std::string_view value(reinterpret_cast<const char*>(data), size);
  RecordView record;
  record.key = "k";
  record.value = value;
  const RecordView records[] = {record, record};
  const Decoded decoded = decoder.decode(records);
  MILLRACE_CHECK(decoded.batch.rows() + decoded.rejects.size() == 2);
  MILLRACE_CHECK(decoded.batch.rows() != 1, "the same bytes were judged differently");
  if (decoded.batch.rows() == 0) return 0;
  for (const std::string_view text : decoded.batch.column(0).texts()) MILLRACE_CHECK(is_utf8(text));
  std::string first, second;
  encoder.append_row(decoded.batch, 0, first);
  record.value = first;
  const Decoded again = decoder.decode({&record, 1});
  MILLRACE_CHECK(again.batch.rows() == 1, first);
  encoder.append_row(again.batch, 0, second);
  MILLRACE_CHECK(first == second, first);
  return 0;
}
