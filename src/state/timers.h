#pragma once

#include <compare>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/ids.h"
#include "state/page.h"

namespace millrace::state {

// Something that falls due when event time reaches `due_us`. Timers of the same time fall due in the order of `offset`,
// the input offset of the row that set them, then of `key`.
struct Timer {
  int64_t due_us = 0;
  Offset offset;
  std::string key;  // what to do then: any bytes, at most kKeyBytesMax

  friend auto operator<=>(const Timer&, const Timer&) = default;
};

// A partition's timers in event time, as state: kept in pages by the offsets that set them. One thread.
class Timers final : public Paged {
 public:
  // Setting one that is set changes nothing.
  void set(Timer timer);
  // False where there was none.
  bool cancel(const Timer& timer);
  // The next timer if it is due: due_us <= watermark_us. It stays until pop().
  const Timer* due(int64_t watermark_us) const;
  // The next one, due or not; null where there is none.
  const Timer* next() const;
  // Precondition: not empty. Takes the next one out.
  Timer pop();
  size_t size() const { return timers_.size(); }

  void collect(PageSink& sink) override;
  Status restore(ByteView key, uint64_t page, ByteView value) override;

 private:
  static constexpr int64_t kOffsetsPerPage = 256;
  static uint64_t page_of(const Timer& timer);
  void add(Timer timer);
  Timer take(std::set<Timer>::iterator place);

  std::set<Timer> timers_;                                 // by (due, offset, key)
  std::map<uint64_t, std::vector<const Timer*>> by_page_;  // what each page holds
  std::map<uint64_t, uint32_t> written_parts_;             // pages in the changelog, and in how many parts
  std::set<uint64_t> dirty_;
};

}  // namespace millrace::state
