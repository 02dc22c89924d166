#include "broker/internal/request.h"

namespace millrace::broker {

void Reply::deliver(std::optional<Response> response) {
  if (home_->is_current()) {
    if (const auto sink = sink_.lock()) sink->answer(slot_, std::move(response));
    return;
  }
  home_->post([sink = sink_, slot = slot_, response = std::move(response)]() mutable {
    if (const auto alive = sink.lock()) alive->answer(slot, std::move(response));
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
