#include <fmt/format.h>

#include <algorithm>
#include <future>
#include <utility>

#include "base/check.h"
#include "log/internal/wal.h"

// Who may put how much into the write-ahead log's buffer, and who waits for that.
namespace millrace::log {

Room::Room(Room&& other) noexcept : wal_(other.wal_), bytes_(std::exchange(other.bytes_, 0)) {}

Room& Room::operator=(Room&& other) noexcept {
  if (this == &other) return *this;
  if (bytes_ > 0) wal_->give_back(bytes_);
  wal_ = other.wal_;
  bytes_ = std::exchange(other.bytes_, 0);
  return *this;
}

Room::~Room() {
  if (bytes_ > 0) wal_->give_back(bytes_);
}

bool Wal::fits(size_t bytes, bool from_reserve) const {
  // However large: it will not fit better later.
  if (filling_.entries == 0 && admitted_bytes_ == 0 && aside_bytes_ == 0) return true;
  const uint64_t pending = filling_.bytes() + admitted_bytes_ + aside_bytes_ + bytes;
  return pending <= options_.buffer_bytes * (from_reserve ? 2 : 1);
}

bool Wal::fits_on_disk(size_t bytes, bool from_reserve) const {
  const uint64_t pending = filling_.frame.size() + admitted_bytes_ + bytes;
  const uint64_t reserve = from_reserve ? 0 : options_.reserve_bytes;
  return !disk_full_ || !spares_.empty() || padded_frame_bytes(pending) + reserve <= file_room_;
}

bool Wal::has_disk_room(size_t bytes) {
  MutexLock lock(mutex_);
  return fits_on_disk(bytes, true);
}

Result<bool> Wal::try_admit(size_t bytes, bool from_reserve, Room* room) {
  if (bytes > kAppendBytesMax + (1u << 20)) {
    return fail(Errc::kTooLarge, fmt::format("{} bytes are more than one append may have", bytes));
  }
  bool ask_for_spare = false;
  {
    MutexLock lock(mutex_);
    MILLRACE_RETURN_IF_ERROR(refusal());
    if (fits_on_disk(bytes, from_reserve)) {
      if (room != nullptr && room->bytes_ >= bytes) {
        room->bytes_ -= bytes;
        aside_bytes_ -= bytes;
      } else if ((!from_reserve && !line_.empty()) || !fits(bytes, from_reserve)) {
        return false;
      }
      admitted_bytes_ += bytes;
      return true;
    }
    ask_for_spare = clock_.mono_now() >= next_spare_ && !std::exchange(spare_wanted_, true);
  }
  if (ask_for_spare && events_.wants_spare) events_.wants_spare();
  return fail(Errc::kOutOfSpace, fmt::format("{}: no space left for the write-ahead log", options_.directory),
              "free space on this disk");
}

Status Wal::admit(size_t bytes, bool from_reserve) {
  Room room;
  while (true) {
    MILLRACE_ASSIGN_OR_RETURN(const bool admitted, try_admit(bytes, from_reserve, &room));
    if (admitted) return {};
    const auto given = std::make_shared<std::promise<Room>>();
    when_room(bytes, from_reserve, [given](Room one) { given->set_value(std::move(one)); });
    room = given->get_future().get();
  }
}

Result<bool> Wal::admit(size_t bytes, const AppendOptions& options) {
  if (options.when_full == WhenFull::kRefuse) return try_admit(bytes, options.from_reserve, options.room);
  MILLRACE_RETURN_IF_ERROR(admit(bytes, options.from_reserve));
  return true;
}

void Wal::when_room(size_t bytes, bool from_reserve, Store::RoomCallback callback) {
  Room room;
  {
    MutexLock lock(mutex_);
    if (refusal()) {
      const auto place = from_reserve ? std::ranges::find(line_, false, &InLine::from_reserve) : line_.end();
      if (place != line_.begin() || !fits(bytes, from_reserve)) {
        line_.insert(place, {bytes, from_reserve, std::move(callback)});
        crowded_.store(true, std::memory_order_relaxed);
        return;
      }
      room = set_aside(bytes);
    }
  }
  callback(std::move(room));
}

Room Wal::set_aside(size_t bytes) {
  aside_bytes_ += bytes;
  return {*this, bytes};
}

std::vector<Wal::Served> Wal::serve_line() {
  std::vector<Served> served;
  while (!line_.empty() && fits(line_.front().bytes, line_.front().from_reserve)) {
    served.push_back({std::move(line_.front().callback), set_aside(line_.front().bytes)});
    line_.pop_front();
  }
  crowded_.store(!line_.empty(), std::memory_order_relaxed);
  return served;
}

std::vector<Wal::Served> Wal::dismiss_line() {
  std::vector<Served> dismissed;
  for (InLine& one : line_) dismissed.push_back({std::move(one.callback), Room()});
  line_.clear();
  crowded_.store(false, std::memory_order_relaxed);
  return dismissed;
}

void Wal::tell(std::vector<Served> served) {
  for (Served& one : served) one.callback(std::move(one.room));
}

void Wal::give_back(size_t bytes) {
  std::vector<Served> served;
  {
    MutexLock lock(mutex_);
    MILLRACE_CHECK(aside_bytes_ >= bytes, "room was given back twice");
    aside_bytes_ -= bytes;
    served = serve_line();
  }
  tell(std::move(served));
}

}  // namespace millrace::log
