#include "state/timers.h"

#include <algorithm>
#include <tuple>

#include "base/byte_reader.h"
#include "base/check.h"

namespace millrace::state {

namespace {

// A page of timers may need several parts to stay within its bound; the part is the page number's low byte.
constexpr int kPartBits = 8;
constexpr uint32_t kPartsMax = 1u << kPartBits;

uint64_t part_number(uint64_t page, uint32_t part) { return page << kPartBits | part; }

void append(const Timer& timer, Bytes& out) {
  ByteWriter writer(out);
  writer.varint(timer.due_us);
  writer.varint(timer.offset.value());
  writer.uvarint(timer.key.size());
  writer.text(timer.key);
}

Result<Timer> read(ByteReader& reader) {
  Timer timer;
  MILLRACE_ASSIGN_OR_RETURN(timer.due_us, reader.varint());
  MILLRACE_ASSIGN_OR_RETURN(const int64_t offset, reader.varint());
  timer.offset = Offset(offset);
  MILLRACE_ASSIGN_OR_RETURN(const uint64_t size, reader.uvarint());
  MILLRACE_ASSIGN_OR_RETURN(const std::string_view key, reader.text(size));
  timer.key = key;
  return timer;
}

}  // namespace

uint64_t Timers::page_of(const Timer& timer) { return static_cast<uint64_t>(timer.offset.value() / kOffsetsPerPage); }

void Timers::add(Timer timer) {
  MILLRACE_CHECK(timer.offset >= Offset(0) && timer.key.size() <= kKeyBytesMax, "timer out of bounds");
  const auto [place, added] = timers_.insert(std::move(timer));
  if (added) by_page_[page_of(*place)].push_back(&*place);
}

Timer Timers::take(std::set<Timer>::iterator place) {
  const auto page = by_page_.find(page_of(*place));
  std::erase(page->second, &*place);
  if (page->second.empty()) by_page_.erase(page);
  dirty_.insert(page_of(*place));
  return std::move(timers_.extract(place).value());
}

void Timers::set(Timer timer) {
  dirty_.insert(page_of(timer));
  add(std::move(timer));
}

bool Timers::cancel(const Timer& timer) {
  const auto found = timers_.find(timer);
  if (found == timers_.end()) return false;
  take(found);
  return true;
}

const Timer* Timers::next() const { return timers_.empty() ? nullptr : &*timers_.begin(); }

const Timer* Timers::due(int64_t watermark_us) const {
  const Timer* first = next();
  return first != nullptr && first->due_us <= watermark_us ? first : nullptr;
}

Timer Timers::pop() {
  MILLRACE_CHECK(!timers_.empty(), "no timer is set");
  return take(timers_.begin());
}

void Timers::collect(PageSink& sink) {
  for (const uint64_t page : dirty_) {
    uint32_t parts = 0;
    Bytes bytes;
    const auto flush = [&] {
      if (bytes.empty()) return;
      MILLRACE_CHECK(parts < kPartsMax, "too many timers of the same input rows");
      sink.put({}, part_number(page, parts++), bytes);
      bytes.clear();
    };
    if (const auto found = by_page_.find(page); found != by_page_.end()) {
      std::sort(found->second.begin(), found->second.end(), [](const Timer* a, const Timer* b) {
        return std::tie(a->offset, a->due_us, a->key) < std::tie(b->offset, b->due_us, b->key);
      });
      Bytes one;
      for (const Timer* timer : found->second) {
        one.clear();
        append(*timer, one);
        if (bytes.size() + one.size() > kPageBytesMax) flush();
        bytes.insert(bytes.end(), one.begin(), one.end());
      }
      flush();
    }
    uint32_t& written = written_parts_[page];
    for (uint32_t part = parts; part < written; ++part) sink.erase({}, part_number(page, part));
    written = parts;
    if (parts == 0) written_parts_.erase(page);
  }
  dirty_.clear();
}

Status Timers::restore(ByteView key, uint64_t page, ByteView value) {
  if (!key.empty()) return fail(Errc::kCorruption, "timers are not keyed");
  ByteReader reader(value);
  while (reader.remaining() > 0) {
    MILLRACE_ASSIGN_OR_RETURN(Timer timer, read(reader));
    if (timer.offset < Offset(0) || timer.key.size() > kKeyBytesMax || page_of(timer) != page >> kPartBits)
      return fail(Errc::kCorruption, "a timer lies in a page that is not its own");
    add(std::move(timer));
  }
  uint32_t& written = written_parts_[page >> kPartBits];
  written = std::max(written, static_cast<uint32_t>(page % kPartsMax) + 1);
  return {};
}

}  // namespace millrace::state
