#pragma once

#include <compare>
#include <cstdint>
#include <functional>

namespace millrace {

// An integer that is not interchangeable with other integers: an Offset is never passed where a ProducerId is meant.
template <typename Tag, typename Rep>
class StrongId {
 public:
  using Value = Rep;

  constexpr StrongId() = default;
  constexpr explicit StrongId(Rep value) : value_(value) {}

  constexpr Rep value() const { return value_; }
  friend constexpr auto operator<=>(StrongId, StrongId) = default;

  // Positions move by plain distances; the distance of two positions is a plain number.
  friend constexpr StrongId operator+(StrongId id, Rep distance) {
    return StrongId(static_cast<Rep>(id.value_ + distance));
  }
  friend constexpr Rep operator-(StrongId a, StrongId b) { return static_cast<Rep>(a.value_ - b.value_); }
  constexpr StrongId& operator++() {
    ++value_;
    return *this;
  }

 private:
  Rep value_{};
};

// The position of a record in a partition, from 0.
using Offset = StrongId<struct OffsetTag, int64_t>;
// A partition's number in its topic, from 0.
using PartitionId = StrongId<struct PartitionIdTag, int32_t>;
// Identifies an idempotent producer; -1 where there is none.
using ProducerId = StrongId<struct ProducerIdTag, int64_t>;
// Fences earlier incarnations of the same producer id; -1 where there is none.
using ProducerEpoch = StrongId<struct ProducerEpochTag, int16_t>;
// Grows by one each time a broker takes over a partition: here, at every start after a crash.
using LeaderEpoch = StrongId<struct LeaderEpochTag, int32_t>;

inline constexpr ProducerId kNoProducerId{-1};
inline constexpr ProducerEpoch kNoProducerEpoch{-1};

}  // namespace millrace

template <typename Tag, typename Rep>
struct std::hash<millrace::StrongId<Tag, Rep>> {
  size_t operator()(millrace::StrongId<Tag, Rep> id) const noexcept { return std::hash<Rep>{}(id.value()); }
};
