#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "base/byte_writer.h"
#include "base/result.h"
#include "state/page.h"

namespace millrace::state {

// One step's pages in memory, as bytes, with the changes since the last commit laid over them. Reads see the overlay,
// then the store; commit() applies the overlay, abort() drops it. Pages are ordered by (key, page). One thread.
class Store final : public Paged {
 public:
  // The page's bytes, or none. Valid until the next change.
  std::optional<ByteView> get(ByteView key, uint64_t page) const;
  // Preconditions: key and value within kKeyBytesMax and kPageBytesMax. A value equal to the page's changes nothing.
  void put(ByteView key, uint64_t page, ByteView value);
  void erase(ByteView key, uint64_t page);

  // Call `visit` for each page in order of (key, page): all of them, or one key's, until it returns false. `visit` must
  // not change the store.
  using Visit = std::function<bool(ByteView key, uint64_t page, ByteView value)>;
  void for_each(const Visit& visit) const;
  void for_each(ByteView key, const Visit& visit) const;

  bool dirty() const { return !overlay_.empty(); }
  // What the pages and their keys hold, overlay included; for bounds and metrics.
  size_t bytes() const { return bytes_; }
  size_t pages() const { return pages_; }

  // Hand over the overlay, which stays in force until commit() or abort(). May be called again.
  void collect(PageSink& sink) override;
  void commit();
  void abort();
  Status restore(ByteView key, uint64_t page, ByteView value) override;

 private:
  struct Place {
    std::string key;
    uint64_t page;
  };
  struct PlaceView {
    std::string_view key;
    uint64_t page;
  };
  struct Order {
    using is_transparent = void;  // NOLINT(readability-identifier-naming): the standard library's name
    template <typename A, typename B>
    bool operator()(const A& a, const B& b) const {
      const int order = std::string_view(a.key).compare(std::string_view(b.key));
      return order != 0 ? order < 0 : a.page < b.page;
    }
  };
  void visit_from(PlaceView from, bool one_key, const Visit& visit) const;
  void account(size_t key_bytes, const std::optional<ByteView>& before, const std::optional<ByteView>& after);

  std::map<Place, Bytes, Order> store_;
  std::map<Place, std::optional<Bytes>, Order> overlay_;  // none: erased
  size_t bytes_ = 0;
  size_t pages_ = 0;
};

}  // namespace millrace::state
