#include "record/marker.h"

#include <gtest/gtest.h>

#include "record/records.h"

namespace millrace::record {
namespace {

TEST(Marker, IsAControlBatchOfItsProducerThatReadsBack) {
  for (const MarkerType type : {MarkerType::kAbort, MarkerType::kCommit}) {
    const Bytes bytes = marker_batch({.producer_id = ProducerId{4711},
                                      .producer_epoch = ProducerEpoch{3},
                                      .type = type,
                                      .coordinator_epoch = 9,
                                      .timestamp_ms = 1'700'000'000'123});
    const auto batch = BatchView::first_of(bytes);
    ASSERT_TRUE(batch);
    EXPECT_TRUE(batch->is_control());
    EXPECT_TRUE(batch->is_transactional());
    EXPECT_TRUE(batch->checksum_matches());
    EXPECT_EQ(batch->producer_id(), ProducerId{4711});
    EXPECT_EQ(batch->producer_epoch(), ProducerEpoch{3});
    EXPECT_EQ(batch->base_sequence(), kNoSequence);
    EXPECT_EQ(batch->record_count(), 1);
    EXPECT_EQ(marker_type(*batch).value(), type);
  }
}

// The record's bytes as Kafka 4.3's EndTransactionMarker writes them: key 0000 0001, value 0000 00000009.
TEST(Marker, HasKafkasBytes) {
  const Bytes bytes = marker_batch({.producer_id = ProducerId{1},
                                    .producer_epoch = ProducerEpoch{0},
                                    .type = MarkerType::kCommit,
                                    .coordinator_epoch = 9,
                                    .timestamp_ms = 5});
  const auto batch = BatchView::first_of(bytes);
  ASSERT_TRUE(batch);
  auto reader = RecordReader::open(*batch, 4096).value();
  Record record;
  ASSERT_TRUE(reader.next(record).value());
  EXPECT_EQ(as_text(*record.key), std::string_view("\0\0\0\1", 4));
  EXPECT_EQ(as_text(*record.value), std::string_view("\0\0\0\0\0\t", 6));
}

TEST(Marker, OtherControlRecordsAreNoMarkersAndOthersAreDamage) {
  const auto control = [](std::optional<ByteView> key) {
    BatchBuilder builder({.producer_id = ProducerId{1}, .producer_epoch = ProducerEpoch{0}, .control = true});
    builder.add(5, key, std::nullopt);
    return builder.finish().value();
  };
  const Bytes leader_change = control(as_byte_view(std::string_view("\0\0\0\2", 4)));
  EXPECT_EQ(marker_type(BatchView::first_of(leader_change).value()).value(), std::nullopt);
  for (const Bytes& damaged : {control(std::nullopt), control(as_byte_view(std::string_view("\0\0\0", 3)))}) {
    const auto type = marker_type(BatchView::first_of(damaged).value());
    ASSERT_FALSE(type);
    EXPECT_EQ(type.error().code, Errc::kCorruption);
  }
}

}  // namespace
}  // namespace millrace::record
