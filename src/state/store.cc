#include "state/store.h"

#include <algorithm>

#include "base/check.h"

namespace millrace::state {

std::optional<ByteView> Store::get(ByteView key, uint64_t page) const {
  const PlaceView place{as_text(key), page};
  if (const auto changed = overlay_.find(place); changed != overlay_.end()) {
    const std::optional<Bytes>& value = changed->second;
    if (!value) return std::nullopt;
    return ByteView(*value);
  }
  const auto found = store_.find(place);
  if (found == store_.end()) return std::nullopt;
  return ByteView(found->second);
}

void Store::account(size_t key_bytes, const std::optional<ByteView>& before, const std::optional<ByteView>& after) {
  if (before) {
    bytes_ -= key_bytes + before->size();
    --pages_;
  }
  if (after) {
    bytes_ += key_bytes + after->size();
    ++pages_;
  }
}

void Store::put(ByteView key, uint64_t page, ByteView value) {
  MILLRACE_CHECK(key.size() <= kKeyBytesMax && !value.empty() && value.size() <= kPageBytesMax, "page out of bounds");
  const auto before = get(key, page);
  if (before && std::equal(before->begin(), before->end(), value.begin(), value.end())) return;
  account(key.size(), before, value);
  overlay_[{std::string(as_text(key)), page}] = Bytes(value.begin(), value.end());
}

void Store::erase(ByteView key, uint64_t page) {
  const auto before = get(key, page);
  if (!before) return;
  account(key.size(), before, std::nullopt);
  // Also where it was never committed: collect() may have handed it over for a commit that is tried again.
  overlay_[{std::string(as_text(key)), page}] = std::nullopt;
}

// Walks both maps side by side; where they have the same place, the overlay's counts.
void Store::visit_from(PlaceView from, bool one_key, const Visit& visit) const {
  auto base = store_.lower_bound(from);
  auto over = overlay_.lower_bound(from);
  const Order before;
  while (base != store_.end() || over != overlay_.end()) {
    const bool take_over = over != overlay_.end() && (base == store_.end() || !before(base->first, over->first));
    const Place& place = take_over ? over->first : base->first;
    if (one_key && place.key != from.key) return;
    const Bytes* value = nullptr;
    if (take_over) {
      if (const std::optional<Bytes>& changed = over->second) value = &*changed;
      if (base != store_.end() && !before(over->first, base->first)) ++base;
      ++over;
    } else {
      value = &base->second;
      ++base;
    }
    if (value != nullptr && !visit(as_byte_view(place.key), place.page, *value)) return;
  }
}

void Store::for_each(const Visit& visit) const { visit_from({{}, 0}, false, visit); }
void Store::for_each(ByteView key, const Visit& visit) const { visit_from({as_text(key), 0}, true, visit); }

void Store::collect(PageSink& sink) {
  for (const auto& [place, value] : overlay_) {
    if (value)
      sink.put(as_byte_view(place.key), place.page, *value);
    else
      sink.erase(as_byte_view(place.key), place.page);
  }
}

void Store::commit() {
  for (auto& [place, value] : overlay_) {
    if (value)
      store_.insert_or_assign(place, std::move(*value));
    else
      store_.erase(place);
  }
  overlay_.clear();
}

void Store::abort() {
  overlay_.clear();
  bytes_ = 0;
  pages_ = store_.size();
  for (const auto& [place, value] : store_) bytes_ += place.key.size() + value.size();
}

Status Store::restore(ByteView key, uint64_t page, ByteView value) {
  if (value.empty() || value.size() > kPageBytesMax || key.size() > kKeyBytesMax)
    return fail(Errc::kCorruption, "a page of state is out of bounds");
  account(key.size(), get(key, page), value);
  store_.insert_or_assign({std::string(as_text(key)), page}, Bytes(value.begin(), value.end()));
  return {};
}

}  // namespace millrace::state
