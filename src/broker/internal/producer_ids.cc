#include "broker/internal/producer_ids.h"

#include <fmt/core.h>

#include "base/text.h"

namespace millrace::broker {

ProducerIds::ProducerIds(env::FileSystem& files, const std::string& data_dir)
    : files_(files), path_(env::join_path(data_dir, "producer-ids")) {}

std::optional<ProducerId> ProducerIds::take() {
  MutexLock lock(mutex_);
  if (next_ == end_) return std::nullopt;
  return ProducerId{next_++};
}

bool ProducerIds::is_empty() const {
  MutexLock lock(mutex_);
  return next_ == end_;
}

Status ProducerIds::refill_if_empty() {
  MutexLock lock(refill_mutex_);
  if (!is_empty()) return {};
  return refill();
}

Result<ProducerId> ProducerIds::take_waiting() {
  MutexLock lock(refill_mutex_);
  while (true) {
    if (const auto id = take()) return *id;
    MILLRACE_RETURN_IF_ERROR(refill());
  }
}

Status ProducerIds::refill() {
  constexpr uint64_t kFileBytesMax = 64;
  int64_t first = 0;
  const auto content = env::read_file(files_, path_, kFileBytesMax);
  if (content) {
    const auto number = parse_int64(trim(as_text(*content)));
    if (!number || *number < 0) return fail(Errc::kCorruption, fmt::format("{} does not hold a number", path_));
    first = *number;
  } else if (content.error().code != Errc::kNotFound) {
    return tl::unexpected(content.error());
  }
  const int64_t end = first + kBlock;
  MILLRACE_RETURN_IF_ERROR(env::write_file_atomically(files_, path_, as_byte_view(fmt::format("{}\n", end))));
  MutexLock lock(mutex_);
  next_ = first;
  end_ = end;
  return {};
}

}  // namespace millrace::broker
