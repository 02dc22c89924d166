#include "state/store.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <utility>

#include "base/random.h"
#include "state/timers.h"

namespace millrace::state {
namespace {

using Pages = std::map<std::pair<std::string, uint64_t>, std::string>;

// Keeps what it is given, as a changelog would.
class MemorySink final : public PageSink {
 public:
  void put(ByteView key, uint64_t page, ByteView value) override {
    pages[{std::string(as_text(key)), page}] = as_text(value);
    ++puts;
  }
  void erase(ByteView key, uint64_t page) override { pages.erase({std::string(as_text(key)), page}); }

  Pages pages;
  int puts = 0;
};

void restore_all(const Pages& pages, Paged& into) {
  for (const auto& [place, value] : pages)
    ASSERT_TRUE(into.restore(as_byte_view(place.first), place.second, as_byte_view(value)));
}

Pages pages_of(const Store& store) {
  Pages pages;
  store.for_each([&pages](ByteView key, uint64_t page, ByteView value) {
    pages[{std::string(as_text(key)), page}] = as_text(value);
    return true;
  });
  return pages;
}

std::string_view text_of(const std::optional<ByteView>& value) { return value ? as_text(*value) : "none"; }

TEST(Store, ReadsItsOverlayFirstAndForgetsItOnAbort) {
  Store store;
  store.put(as_byte_view("k"), 0, as_byte_view("old"));
  store.commit();
  store.put(as_byte_view("k"), 0, as_byte_view("new"));
  store.erase(as_byte_view("k"), 1);
  EXPECT_EQ(text_of(store.get(as_byte_view("k"), 0)), "new");
  store.abort();
  EXPECT_EQ(text_of(store.get(as_byte_view("k"), 0)), "old");
  EXPECT_FALSE(store.dirty());
}

TEST(Store, AValueThatIsThereAlreadyIsNoChange) {
  Store store;
  store.put(as_byte_view("k"), 0, as_byte_view("v"));
  store.commit();
  store.put(as_byte_view("k"), 0, as_byte_view("v"));
  EXPECT_FALSE(store.dirty());
}

TEST(Store, BehavesAsAMapUnderRandomPutsErasesCommitsAndAborts) {
  const uint64_t seed = 20261121;
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  Store store;
  MemorySink changelog;
  Pages now;
  Pages committed;
  for (int step = 0; step < 20'000; ++step) {
    const std::string key(1, static_cast<char>('a' + random.below(6)));
    const uint64_t page = random.below(4);
    switch (random.below(12)) {
      case 0:
        store.collect(changelog);
        store.commit();
        committed = now;
        ASSERT_EQ(changelog.pages, committed);
        break;
      case 1:
        store.abort();
        now = committed;
        break;
      case 2:
      case 3:
        store.erase(as_byte_view(key), page);
        now.erase({key, page});
        break;
      default: {
        const std::string value = std::to_string(random.below(1000));
        store.put(as_byte_view(key), page, as_byte_view(value));
        now[{key, page}] = value;
      }
    }
    ASSERT_EQ(pages_of(store), now) << "step " << step;
    ASSERT_EQ(store.pages(), now.size());
    size_t bytes = 0;
    for (const auto& [place, value] : now) bytes += place.first.size() + value.size();
    ASSERT_EQ(store.bytes(), bytes);
    Pages of_key;
    store.for_each(as_byte_view(key), [&](ByteView, uint64_t p, ByteView value) {
      of_key[{key, p}] = as_text(value);
      return true;
    });
    for (const auto& [place, value] : now) {
      if (place.first == key) {
        ASSERT_EQ(of_key[place], value);
      }
    }
  }
  Store copy;
  restore_all(changelog.pages, copy);
  EXPECT_EQ(pages_of(copy), committed);
}

TEST(BlobPages, WritesOnlyPagesThatChangedAndGivesTheBlobBack) {
  BlobPages blob("model");
  MemorySink sink;
  Bytes bytes(3 * kPageBytesMax, std::byte{7});
  blob.put(bytes, sink);
  EXPECT_EQ(sink.pages.size(), 4u);
  EXPECT_EQ(sink.puts, 4);
  bytes[kPageBytesMax + 10] = std::byte{8};
  blob.put(bytes, sink);
  EXPECT_EQ(sink.puts, 5);
  BlobPages restored("model");
  for (const auto& [place, value] : sink.pages) ASSERT_TRUE(restored.restore(place.second, as_byte_view(value)));
  EXPECT_EQ(restored.take().value(), bytes);

  bytes.resize(5);
  blob.put(bytes, sink);
  EXPECT_EQ(sink.pages.size(), 1u);
}

TEST(BlobPages, AMissingPageIsCorruption) {
  BlobPages blob;
  MemorySink sink;
  blob.put(Bytes(2 * kPageBytesMax), sink);
  sink.pages.erase({"", 1});
  BlobPages restored;
  for (const auto& [place, value] : sink.pages) ASSERT_TRUE(restored.restore(place.second, as_byte_view(value)));
  EXPECT_EQ(restored.take().error().code, Errc::kCorruption);
}

TEST(Timers, FallDueByTimeThenOffset) {
  Timers timers;
  timers.set({20, Offset(1), "late"});
  timers.set({10, Offset(7), "b"});
  timers.set({10, Offset(3), "a"});
  EXPECT_EQ(timers.due(9), nullptr);
  ASSERT_NE(timers.due(10), nullptr);
  EXPECT_EQ(timers.pop().key, "a");
  EXPECT_EQ(timers.pop().key, "b");
  EXPECT_EQ(timers.due(10), nullptr);
  EXPECT_EQ(timers.next()->key, "late");
}

TEST(Timers, SurviveSavingAndRestoringAtAnyPoint) {
  const uint64_t seed = 7;
  SCOPED_TRACE("seed " + std::to_string(seed));
  Random random(seed);
  auto timers = std::make_unique<Timers>();
  std::set<Timer> model;
  MemorySink changelog;
  int64_t offset = 0;
  for (int step = 0; step < 5'000; ++step) {
    const uint64_t action = random.below(10);
    if (action < 6) {
      // A long key now and then: pages must be split.
      const std::string key = random.chance(0.02) ? std::string(20'000, 'x') : std::to_string(random.below(50));
      Timer timer{static_cast<int64_t>(random.below(1000)) - 500, Offset(offset), key};
      offset += static_cast<int64_t>(random.below(2));
      model.insert(timer);
      timers->set(timer);
    } else if (action < 9 && !model.empty()) {
      ASSERT_EQ(timers->pop(), *model.begin());
      model.erase(model.begin());
    } else {
      timers->collect(changelog);
      for (const auto& [place, value] : changelog.pages) ASSERT_LE(value.size(), kPageBytesMax);
      timers = std::make_unique<Timers>();
      restore_all(changelog.pages, *timers);
    }
    ASSERT_EQ(timers->size(), model.size());
  }
}

TEST(Timers, RefuseATimerInAPageNotItsOwn) {
  Timers timers;
  timers.set({1, Offset(1000), "k"});
  MemorySink sink;
  timers.collect(sink);
  ASSERT_EQ(sink.pages.size(), 1u);
  Timers other;
  const auto& value = sink.pages.begin()->second;
  EXPECT_EQ(other.restore({}, 0, as_byte_view(value)).error().code, Errc::kCorruption);
}

}  // namespace
}  // namespace millrace::state
