#include "record/marker.h"

#include "base/byte_reader.h"
#include "base/check.h"
#include "record/records.h"

namespace millrace::record {
namespace {

constexpr int16_t kVersion = 0;
// A control batch has one small record.
constexpr size_t kPlainBytesMax = 4096;

// What stands behind the version in the key or the value of the control record in `batch`.
template <typename Number>
Result<Number> behind_version(const BatchView& batch, std::optional<ByteView> Record::* field) {
  MILLRACE_ASSIGN_OR_RETURN(auto reader, RecordReader::open(batch, kPlainBytesMax));
  Record record;
  MILLRACE_ASSIGN_OR_RETURN(const bool found, reader.next(record));
  if (!found || !(record.*field)) return fail(Errc::kCorruption, "a control batch without a control record");
  ByteReader bytes(*(record.*field));
  MILLRACE_RETURN_IF_ERROR(bytes.fixed<int16_t>());  // the version: later ones only add fields
  return bytes.fixed<Number>();
}

}  // namespace

Bytes marker_batch(const MarkerOptions& options) {
  BatchBuilder builder({.producer_id = options.producer_id,
                        .producer_epoch = options.producer_epoch,
                        .transactional = true,
                        .control = true});
  Bytes key;
  ByteWriter key_writer(key);
  key_writer.fixed(kVersion);
  key_writer.fixed(static_cast<int16_t>(options.type));
  Bytes value;
  ByteWriter value_writer(value);
  value_writer.fixed(kVersion);
  value_writer.fixed(options.coordinator_epoch);
  builder.add(options.timestamp_ms, ByteView(key), ByteView(value));
  auto batch = builder.finish();
  MILLRACE_CHECK(batch.has_value());  // only compression can fail
  return std::move(*batch);
}

Result<std::optional<MarkerType>> marker_type(const BatchView& batch) {
  MILLRACE_ASSIGN_OR_RETURN(const auto type, behind_version<int16_t>(batch, &Record::key));
  if (type == static_cast<int16_t>(MarkerType::kAbort)) return MarkerType::kAbort;
  if (type == static_cast<int16_t>(MarkerType::kCommit)) return MarkerType::kCommit;
  return std::nullopt;
}

Result<int32_t> marker_coordinator_epoch(const BatchView& batch) {
  return behind_version<int32_t>(batch, &Record::value);
}

}  // namespace millrace::record
