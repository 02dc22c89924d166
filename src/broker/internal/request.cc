#include "broker/internal/request.h"

#include <span>

namespace millrace::broker {

Result<Bytes> Response::flatten() const {
  Result<Bytes> all{tl::in_place};
  visit(
      [&](ByteView bytes) {
        if (all) all->insert(all->end(), bytes.begin(), bytes.end());
      },
      [&](const env::FileRange& range) {
        if (!all) return;
        const size_t start = all->size();
        all->resize(start + range.bytes);
        const auto read = range.file->read_at(range.position, std::span(*all).subspan(start));
        if (!read) {
          all = tl::unexpected(read.error());
        } else if (*read < range.bytes) {
          all = fail(Errc::kCorruption, range.file->path() + " has become shorter");
        }
      });
  return all;
}

void Reply::deliver(std::optional<Response> response) {
  if (home_->is_current()) {
    if (const auto sink = sink_.lock()) sink->answer(slot_, std::move(response), mute_);
    return;
  }
  home_->post([sink = sink_, slot = slot_, mute = mute_, response = std::move(response)]() mutable {
    if (const auto alive = sink.lock()) alive->answer(slot, std::move(response), mute);
  });
}

void Reply::hold_next() {
  if (const auto sink = sink_.lock()) sink->hold_next(true);
}

void Reply::release_next() {
  if (const auto sink = sink_.lock()) sink->hold_next(false);
}

void Reply::give_up(std::string reason) {
  home_->post([sink = sink_, reason = std::move(reason)] {
    if (const auto alive = sink.lock()) alive->give_up(reason);
  });
}

}  // namespace millrace::broker
