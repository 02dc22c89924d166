#include <algorithm>
#include <cstdint>
#include <map>
#include <set>
#include <string>

#include "base/byte_reader.h"
#include "base/check.h"
#include "base/logging.h"
#include "log/internal/log_testing.h"
#include "record/marker.h"

// A data folder with several segments, indexes, producers, an aborted transaction, a checkpoint and a write-ahead log
// behind it, damaged as the input says, and opened. Each four bytes are one damage:
//
//   u8   which of its files, modulo their number
//   u16  where, modulo the file's size
//   u8   0: cut there; 1: drop the file; 2: repeat what is behind that place; else: changed by this
//
// Opening succeeds, or says what is wrong; records are read as they were written, or not at all; and what
// was opened can be written to, and opened again.
namespace {

using namespace millrace;       // NOLINT(google-build-using-namespace)
using namespace millrace::log;  // NOLINT(google-build-using-namespace)

using Folder = std::map<std::string, Bytes>;
constexpr const char* kTopics[] = {"plain", "moved"};

void add_files(env::FaultFileSystem& files, const std::string& directory, Folder& folder) {
  const auto entries = files.list(directory).value();
  for (const auto& entry : entries) {
    const std::string path = env::join_path(directory, entry.name);
    if (entry.is_directory) {
      add_files(files, path, folder);
    } else {
      folder[path] = files.content(path);
    }
  }
}

BatchSpec batch_of(int number, int64_t producer) {
  BatchSpec spec{.values = {}, .timestamp_ms = 1000 + number, .options = {}};
  for (int i = 0; i < 3; ++i) spec.values.push_back(std::to_string(number) + std::string(60, 'v'));
  if (producer >= 0) {
    spec.options.producer_id = ProducerId{producer};
    spec.options.producer_epoch = ProducerEpoch{0};
    spec.options.base_sequence = number * 3;
  }
  return spec;
}

void fill(TestStore& test, int from, int to) {
  for (int number = from; number < to; ++number) {
    MILLRACE_CHECK(test.append("plain", batch_of(number, -1)));
    MILLRACE_CHECK(test.append("moved", batch_of(number, 9)));
  }
}

void abort_one(TestStore& test) {
  const ProducerId producer{20};
  const ProducerEpoch epoch{0};
  test.partition("plain")->admit(producer, epoch);
  BatchSpec spec = batch_of(0, producer.value());
  spec.options.transactional = true;
  MILLRACE_CHECK(test.append("plain", spec));
  Bytes marker = record::marker_batch(
      {.producer_id = producer, .producer_epoch = epoch, .type = record::MarkerType::kAbort, .timestamp_ms = 1000});
  MILLRACE_CHECK(test.partition("plain")->append(marker));
}

struct Original {
  Folder folder;
  std::map<std::string, std::set<std::string>> records;  // of each topic
};

Original make_original() {
  TestStore test;
  test.options.segment_bytes = 1500;
  MILLRACE_CHECK(test.open());
  for (const char* topic : kTopics) test.make_topic(topic);
  fill(test, 0, 4);
  abort_one(test);
  fill(test, 4, 8);
  MILLRACE_CHECK(test.partition("moved")->advance_log_start(Offset{4}));
  MILLRACE_CHECK(test.store->checkpoint());
  fill(test, 8, 12);
  Original original;
  for (const char* topic : kTopics) {
    const auto all = read_all(*test.partition(topic), test.partition(topic)->log_start_offset()).value();
    original.records[topic] = {all.begin(), all.end()};
  }
  test.crash(env::FaultFileSystem::Unsynced::kKept);
  add_files(test.files, "/data", original.folder);
  return original;
}

void damage(Folder& folder, ByteReader& how) {
  while (how.remaining() >= 4 && !folder.empty()) {
    const auto file = how.fixed<uint8_t>().value() % folder.size();
    const auto place = how.fixed<uint16_t>().value();
    const auto what = how.fixed<uint8_t>().value();
    const auto at = std::next(folder.begin(), static_cast<ptrdiff_t>(file));
    Bytes& content = at->second;
    const size_t position = content.empty() ? 0 : place % content.size();
    if (what == 1) {
      folder.erase(at);
    } else if (what == 0) {
      content.resize(position);
    } else if (what == 2) {
      const Bytes behind(content.begin() + static_cast<ptrdiff_t>(position), content.end());
      content.insert(content.end(), behind.begin(), behind.end());
    } else if (!content.empty()) {
      content[position] ^= static_cast<std::byte>(what);
    }
  }
}

void put_folder(TestStore& test, const Folder& folder) {
  for (const auto& [path, content] : folder) {
    MILLRACE_CHECK(test.files.make_directories(env::parent_directory(path)));
    MILLRACE_CHECK(test.files.open(path, env::OpenMode::kCreateEmpty));
    test.files.set_content(path, content);
  }
}

void check_records(TestStore& test, const Original& original) {
  for (const auto& topic : test.store->topics()) {
    const auto known = original.records.find(topic->info.name);
    for (const auto& partition : topic->partitions) {
      static_cast<void>(partition->offset_for_time(1005));
      static_cast<void>(partition->aborted_transactions(Offset{0}, Offset{100}));
      const auto all = read_all(*partition, partition->log_start_offset());
      if (!all) continue;
      for (const std::string& record : *all)
        MILLRACE_CHECK(known != original.records.end() && known->second.contains(record), record);
    }
  }
}

void check_goes_on(TestStore& test) {
  for (const auto& topic : test.store->topics()) {
    for (const auto& partition : topic->partitions) {
      Bytes batch = make_batch({.values = {"new"}, .options = {}});
      const auto appended = partition->append(batch);
      if (appended) MILLRACE_CHECK(test.store->wait_durable(appended->position));
    }
  }
  MILLRACE_CHECK(test.store->close());
  MILLRACE_CHECK(test.open(), "what was opened once can be opened again");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Original original = [] {
    MILLRACE_CHECK(init_logging({.file = {}, .level = LogLevel::kError, .stderr_level = LogLevel::kError}));
    return make_original();
  }();
  constexpr size_t kDamagesMax = 8;
  TestStore test;
  test.options.segment_bytes = 1500;
  Folder folder = original.folder;
  ByteReader how(ByteView(reinterpret_cast<const std::byte*>(data), std::min(size, 4 * kDamagesMax)));
  damage(folder, how);
  put_folder(test, folder);
  if (const auto opened = test.open(); !opened) {
    // What is wrong with the folder, never with us; and a missing file is said to be missing.
    const Errc code = opened.error().code;
    MILLRACE_CHECK(code != Errc::kInternal && code != Errc::kInvalidArgument, opened.error().message);
    MILLRACE_CHECK(!opened.error().message.empty());
    return 0;
  }
  check_records(test, original);
  check_goes_on(test);
  return 0;
}
