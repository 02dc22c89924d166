#include "env/fault_file_system.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

#include "base/check.h"

namespace millrace::env {

namespace {

constexpr uint64_t kSectorBytes = 512;

// A change of a file's content that no sync has made durable.
struct Change {
  uint64_t position = 0;
  Bytes data;              // written at position …
  bool is_resize = false;  // … or, where set, the size becomes position
};

void apply_change(Bytes& content, const Change& change) {
  if (change.is_resize) {
    content.resize(change.position);
    return;
  }
  content.resize(std::max<size_t>(content.size(), change.position + change.data.size()));
  std::ranges::copy(change.data, content.begin() + static_cast<std::ptrdiff_t>(change.position));
}

struct Node {
  bool is_directory = false;
  Bytes content;  // what readers see
  Bytes durable;  // what is on the platter
  std::vector<Change> unsynced;
};

using Names = std::map<std::string, std::shared_ptr<Node>, std::less<>>;

std::string clean(std::string_view path) {
  while (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  return std::string(path);
}

bool is_inside(std::string_view path, std::string_view directory) {
  if (directory == "/") return path.size() > 1;
  return path.size() > directory.size() + 1 && path.starts_with(directory) && path[directory.size()] == '/';
}

bool is_entry_of(std::string_view path, std::string_view directory) {
  return is_inside(path, directory) && path.find('/', directory == "/" ? 1 : directory.size() + 1) == path.npos;
}

}  // namespace

struct FaultFileSystem::Disk {
  mutable Mutex mutex;
  Names names GUARDED_BY(mutex);
  Names durable_names GUARDED_BY(mutex);
  std::set<std::string> locked GUARDED_BY(mutex);
  uint64_t boot GUARDED_BY(mutex) = 0;
  uint64_t operations GUARDED_BY(mutex) = 0;
  uint64_t power_off_at GUARDED_BY(mutex) = std::numeric_limits<uint64_t>::max();
  uint64_t writes_to_fault GUARDED_BY(mutex) = 0;  // 0: none planned
  uint64_t syncs_to_fault GUARDED_BY(mutex) = 0;
  Fault write_fault GUARDED_BY(mutex) = Fault::kIo;
  std::string unreadable GUARDED_BY(mutex);  // "": nothing is
  bool read_only GUARDED_BY(mutex) = false;
  uint64_t capacity GUARDED_BY(mutex) = std::numeric_limits<uint64_t>::max();
  CondVar holding_changed;
  bool holding_syncs GUARDED_BY(mutex) = false;
  uint64_t held_syncs GUARDED_BY(mutex) = 0;

  void wait_while_held() REQUIRES(mutex) {
    if (!holding_syncs) return;
    ++held_syncs;
    holding_changed.notify_all();
    while (holding_syncs) holding_changed.wait(mutex);
    --held_syncs;
  }

  // Every changing call begins here.
  Status begin_change(const std::string& path) REQUIRES(mutex) {
    if (read_only) return fail(Errc::kPermissionDenied, fmt::format("{}: the file system is read-only", path));
    if (++operations > power_off_at) return fail(Errc::kIo, fmt::format("{}: the power is off", path));
    return {};
  }
  Status check_alive(uint64_t boot_of_handle, const std::string& path) const REQUIRES(mutex) {
    if (boot_of_handle != boot) return fail(Errc::kIo, fmt::format("{} was opened before the crash", path));
    return {};
  }
  Status check_parent(const std::string& path) const REQUIRES(mutex) {
    const std::string parent = parent_directory(path);
    if (parent == "." || parent == "/") return {};
    const auto it = names.find(parent);
    if (it == names.end() || !it->second->is_directory) {
      return fail(Errc::kNotFound, fmt::format("{}: its directory does not exist", path));
    }
    return {};
  }
  uint64_t used() const REQUIRES(mutex) {
    uint64_t bytes = 0;
    std::set<const Node*> seen;
    for (const auto& [name, node] : names) {
      if (seen.insert(node.get()).second) bytes += node->content.size();
    }
    return bytes;
  }
  Status check_room(const std::string& path, uint64_t old_size, uint64_t new_size) const REQUIRES(mutex) {
    if (new_size > old_size && capacity != std::numeric_limits<uint64_t>::max() &&
        used() + (new_size - old_size) > capacity) {
      return fail(Errc::kOutOfSpace, fmt::format("{}: no space left", path));
    }
    return {};
  }
};

namespace {

bool is_direct(uint64_t position, std::span<const ByteView> pieces) {
  return pieces.size() == 1 && position % kDirectBlockBytes == 0 && pieces[0].size() % kDirectBlockBytes == 0 &&
         reinterpret_cast<uintptr_t>(pieces[0].data()) % kDirectBlockBytes == 0;
}

class FaultFile final : public File {
 public:
  FaultFile(std::shared_ptr<FaultFileSystem::Disk> disk, std::shared_ptr<Node> node, std::string path, OpenMode mode,
            uint64_t boot)
      : disk_(std::move(disk)), node_(std::move(node)), path_(std::move(path)), mode_(mode), boot_(boot) {}

  Result<size_t> read_at(uint64_t position, std::span<std::byte> out) const override {
    MutexLock lock(disk_->mutex);
    MILLRACE_RETURN_IF_ERROR(disk_->check_alive(boot_, path_));
    if (!disk_->unreadable.empty() && path_.starts_with(disk_->unreadable)) {
      return fail(Errc::kIo, fmt::format("{}: injected read failure", path_));
    }
    if (position >= node_->content.size()) return size_t{0};
    const size_t count = std::min<size_t>(out.size(), node_->content.size() - position);
    std::copy_n(node_->content.begin() + static_cast<std::ptrdiff_t>(position), count, out.begin());
    return count;
  }

  Status write_at(uint64_t position, std::span<const ByteView> pieces) override {
    MILLRACE_CHECK(mode_ != OpenMode::kDirect || is_direct(position, pieces), "a direct write is not of whole blocks");
    MutexLock lock(disk_->mutex);
    MILLRACE_RETURN_IF_ERROR(begin_change());
    Change change{.position = position, .data = {}};
    for (const ByteView piece : pieces) change.data.insert(change.data.end(), piece.begin(), piece.end());
    Status outcome;
    if (disk_->writes_to_fault > 0 && --disk_->writes_to_fault == 0) {
      outcome = fail(disk_->write_fault == FaultFileSystem::Fault::kIo ? Errc::kIo : Errc::kOutOfSpace,
                     fmt::format("{}: injected write failure", path_));
      change.data.resize(change.data.size() / 2);
    } else {
      outcome = disk_->check_room(path_, node_->content.size(), position + change.data.size());
      if (!outcome) return outcome;
    }
    if (change.data.empty()) return outcome;
    apply_change(node_->content, change);
    node_->unsynced.push_back(std::move(change));
    return outcome;
  }

  Status sync_data() override {
    MutexLock lock(disk_->mutex);
    disk_->wait_while_held();
    MILLRACE_RETURN_IF_ERROR(begin_change());
    if (disk_->syncs_to_fault > 0 && --disk_->syncs_to_fault == 0) {
      return fail(Errc::kIo, fmt::format("{}: injected sync failure", path_));
    }
    for (const Change& change : node_->unsynced) apply_change(node_->durable, change);
    node_->unsynced.clear();
    return {};
  }

  Status truncate(uint64_t size) override {
    MutexLock lock(disk_->mutex);
    MILLRACE_RETURN_IF_ERROR(begin_change());
    return resize(size);
  }

  Status allocate(uint64_t position, uint64_t size) override {
    MutexLock lock(disk_->mutex);
    MILLRACE_RETURN_IF_ERROR(begin_change());
    if (position + size <= node_->content.size()) return {};
    return resize(position + size);
  }

  Result<uint64_t> size() const override {
    MutexLock lock(disk_->mutex);
    MILLRACE_RETURN_IF_ERROR(disk_->check_alive(boot_, path_));
    return node_->content.size();
  }

  const std::string& path() const override { return path_; }

 private:
  Status begin_change() REQUIRES(disk_->mutex) {
    MILLRACE_RETURN_IF_ERROR(disk_->check_alive(boot_, path_));
    if (mode_ == OpenMode::kRead)
      return fail(Errc::kPermissionDenied, fmt::format("{} is open for reading only", path_));
    return disk_->begin_change(path_);
  }
  Status resize(uint64_t size) REQUIRES(disk_->mutex) {
    MILLRACE_RETURN_IF_ERROR(disk_->check_room(path_, node_->content.size(), size));
    Change change{.position = size, .data = {}, .is_resize = true};
    apply_change(node_->content, change);
    node_->unsynced.push_back(std::move(change));
    return {};
  }

  const std::shared_ptr<FaultFileSystem::Disk> disk_;
  const std::shared_ptr<Node> node_;
  const std::string path_;
  const OpenMode mode_;
  const uint64_t boot_;
};

class FaultFileLock final : public FileLock {
 public:
  FaultFileLock(std::shared_ptr<FaultFileSystem::Disk> disk, std::string path, uint64_t boot)
      : disk_(std::move(disk)), path_(std::move(path)), boot_(boot) {}
  ~FaultFileLock() override {
    MutexLock lock(disk_->mutex);
    if (disk_->boot == boot_) disk_->locked.erase(path_);
  }

 private:
  const std::shared_ptr<FaultFileSystem::Disk> disk_;
  const std::string path_;
  const uint64_t boot_;
};

// What is left of a write that was under way when the power went: some of its sectors.
void tear(Bytes& content, const Change& change, Random& random) {
  uint64_t position = change.position;
  const uint64_t end = change.position + change.data.size();
  while (position < end) {
    const uint64_t next = std::min(end, (position / kSectorBytes + 1) * kSectorBytes);
    if (random.chance(0.5)) {
      const auto begin = change.data.begin() + static_cast<std::ptrdiff_t>(position - change.position);
      apply_change(content,
                   {.position = position, .data = Bytes(begin, begin + static_cast<std::ptrdiff_t>(next - position))});
    }
    position = next;
  }
}

}  // namespace

FaultFileSystem::FaultFileSystem() : disk_(std::make_shared<Disk>()) {}
FaultFileSystem::~FaultFileSystem() = default;

Result<std::unique_ptr<File>> FaultFileSystem::open(const std::string& raw_path, OpenMode mode) {
  const std::string path = clean(raw_path);
  MutexLock lock(disk_->mutex);
  auto it = disk_->names.find(path);
  if (it != disk_->names.end() && it->second->is_directory) {
    return fail(Errc::kIo, fmt::format("{} is a directory", path));
  }
  const bool is_emptied = mode == OpenMode::kCreateEmpty || mode == OpenMode::kCreatePrivate;
  const bool may_create = mode == OpenMode::kCreate || is_emptied;
  if (it == disk_->names.end()) {
    if (!may_create) return fail(Errc::kNotFound, fmt::format("{} does not exist", path));
    MILLRACE_RETURN_IF_ERROR(disk_->check_parent(path));
    MILLRACE_RETURN_IF_ERROR(disk_->begin_change(path));
    it = disk_->names.emplace(path, std::make_shared<Node>()).first;
  } else if (is_emptied) {
    MILLRACE_RETURN_IF_ERROR(disk_->begin_change(path));
    it->second->content.clear();
    it->second->unsynced.push_back({.position = 0, .data = {}, .is_resize = true});
  }
  return std::make_unique<FaultFile>(disk_, it->second, path, mode, disk_->boot);
}

Result<bool> FaultFileSystem::exists(const std::string& path) {
  MutexLock lock(disk_->mutex);
  return disk_->names.contains(clean(path));
}

Result<std::vector<DirectoryEntry>> FaultFileSystem::list(const std::string& raw_directory) {
  const std::string directory = clean(raw_directory);
  MutexLock lock(disk_->mutex);
  const auto it = disk_->names.find(directory);
  if (it == disk_->names.end() || !it->second->is_directory) {
    return fail(Errc::kNotFound, fmt::format("directory {} does not exist", directory));
  }
  std::vector<DirectoryEntry> entries;
  for (const auto& [name, node] : disk_->names) {
    if (is_entry_of(name, directory)) entries.push_back({name.substr(directory.size() + 1), node->is_directory});
  }
  return entries;
}

Status FaultFileSystem::make_directories(const std::string& raw_directory) {
  const std::string directory = clean(raw_directory);
  MutexLock lock(disk_->mutex);
  for (size_t slash = directory.find('/', 1);; slash = directory.find('/', slash + 1)) {
    const std::string part = directory.substr(0, slash);
    const auto it = disk_->names.find(part);
    if (it == disk_->names.end()) {
      MILLRACE_RETURN_IF_ERROR(disk_->begin_change(part));
      auto node = std::make_shared<Node>();
      node->is_directory = true;
      disk_->names.emplace(part, std::move(node));
    } else if (!it->second->is_directory) {
      return fail(Errc::kIo, fmt::format("{} is a file", part));
    }
    if (slash == std::string::npos) return {};
  }
}

Status FaultFileSystem::rename(const std::string& raw_from, const std::string& raw_to) {
  const std::string from = clean(raw_from);
  const std::string to = clean(raw_to);
  MutexLock lock(disk_->mutex);
  const auto it = disk_->names.find(from);
  if (it == disk_->names.end()) return fail(Errc::kNotFound, fmt::format("{} does not exist", from));
  MILLRACE_RETURN_IF_ERROR(disk_->check_parent(to));
  MILLRACE_RETURN_IF_ERROR(disk_->begin_change(from));
  Names moved;
  for (auto entry = disk_->names.begin(); entry != disk_->names.end();) {
    if (entry->first == from || is_inside(entry->first, from)) {
      moved.emplace(to + entry->first.substr(from.size()), entry->second);
      entry = disk_->names.erase(entry);
    } else {
      ++entry;
    }
  }
  // What lies inside a directory moves with it on the disk, too: only the directory's own name is not durable.
  Names durable_inside;
  for (const auto& [name, node] : disk_->durable_names) {
    if (is_inside(name, from)) durable_inside.emplace(to + name.substr(from.size()), node);
  }
  disk_->durable_names.merge(durable_inside);
  for (auto& [name, node] : moved) disk_->names.insert_or_assign(name, node);
  return {};
}

Status FaultFileSystem::remove(const std::string& raw_path) {
  const std::string path = clean(raw_path);
  MutexLock lock(disk_->mutex);
  if (!disk_->names.contains(path)) return fail(Errc::kNotFound, fmt::format("{} does not exist", path));
  for (const auto& [name, node] : disk_->names) {
    if (is_inside(name, path)) return fail(Errc::kIo, fmt::format("directory {} is not empty", path));
  }
  MILLRACE_RETURN_IF_ERROR(disk_->begin_change(path));
  disk_->names.erase(path);
  return {};
}

Status FaultFileSystem::remove_all(const std::string& raw_path) {
  const std::string path = clean(raw_path);
  MutexLock lock(disk_->mutex);
  MILLRACE_RETURN_IF_ERROR(disk_->begin_change(path));
  std::erase_if(disk_->names, [&](const auto& entry) { return entry.first == path || is_inside(entry.first, path); });
  return {};
}

Status FaultFileSystem::sync_directory(const std::string& raw_directory) {
  const std::string directory = clean(raw_directory);
  MutexLock lock(disk_->mutex);
  if (directory != "/" && directory != "." && !disk_->names.contains(directory)) {
    return fail(Errc::kNotFound, fmt::format("directory {} does not exist", directory));
  }
  MILLRACE_RETURN_IF_ERROR(disk_->begin_change(directory));
  if (disk_->syncs_to_fault > 0 && --disk_->syncs_to_fault == 0) {
    return fail(Errc::kIo, fmt::format("{}: injected sync failure", directory));
  }
  std::erase_if(disk_->durable_names, [&](const auto& entry) REQUIRES(disk_->mutex) {
    return is_entry_of(entry.first, directory) && !disk_->names.contains(entry.first);
  });
  for (const auto& [name, node] : disk_->names) {
    if (is_entry_of(name, directory)) disk_->durable_names.insert_or_assign(name, node);
  }
  return {};
}

Result<uint64_t> FaultFileSystem::free_bytes(const std::string& directory) {
  MutexLock lock(disk_->mutex);
  static_cast<void>(directory);
  const uint64_t used = disk_->used();
  return disk_->capacity > used ? disk_->capacity - used : 0;
}

Result<std::unique_ptr<FileLock>> FaultFileSystem::lock(const std::string& raw_path) {
  const std::string path = clean(raw_path);
  MILLRACE_RETURN_IF_ERROR(open(path, OpenMode::kCreate));
  MutexLock guard(disk_->mutex);
  if (!disk_->locked.insert(path).second) return fail(Errc::kConflict, fmt::format("{} is locked", path));
  return std::make_unique<FaultFileLock>(disk_, path, disk_->boot);
}

void FaultFileSystem::crash(Unsynced unsynced, Random& random) {
  MutexLock lock(disk_->mutex);
  std::set<std::string> lucky;  // directories whose changes survive
  if (unsynced == Unsynced::kKept) {
    disk_->durable_names = disk_->names;
  } else if (unsynced == Unsynced::kRandom) {
    std::set<std::string> directories{"/", "."};
    for (const auto& [name, node] : disk_->names) directories.insert(parent_directory(name));
    for (const std::string& directory : directories) {
      if (random.chance(0.5)) continue;
      std::erase_if(disk_->durable_names, [&](const auto& entry) REQUIRES(disk_->mutex) {
        return parent_directory(entry.first) == directory && !disk_->names.contains(entry.first);
      });
      for (const auto& [name, node] : disk_->names) {
        if (parent_directory(name) == directory) disk_->durable_names.insert_or_assign(name, node);
      }
    }
  }
  // A name is reachable only through directories that exist.
  for (auto it = disk_->durable_names.begin(); it != disk_->durable_names.end();) {
    const std::string parent = parent_directory(it->first);
    const bool reachable = parent == "." || parent == "/" || disk_->durable_names.contains(parent);
    it = reachable ? std::next(it) : disk_->durable_names.erase(it);
  }
  std::set<Node*> done;
  for (auto& [name, node] : disk_->durable_names) {
    if (!done.insert(node.get()).second) continue;
    for (const Change& change : node->unsynced) {
      const bool kept = unsynced == Unsynced::kKept || (unsynced == Unsynced::kRandom && random.chance(0.5));
      if (kept) {
        apply_change(node->durable, change);
      } else if (unsynced == Unsynced::kRandom && !change.is_resize && random.chance(0.5)) {
        tear(node->durable, change, random);
      }
    }
    node->unsynced.clear();
    node->content = node->durable;
  }
  disk_->names = disk_->durable_names;
  disk_->locked.clear();
  ++disk_->boot;
  disk_->power_off_at = std::numeric_limits<uint64_t>::max();
  disk_->writes_to_fault = 0;
  disk_->syncs_to_fault = 0;
  disk_->unreadable.clear();
  disk_->read_only = false;
  disk_->holding_syncs = false;
  disk_->holding_changed.notify_all();
}

void FaultFileSystem::power_off_after(uint64_t operations) {
  MutexLock lock(disk_->mutex);
  disk_->power_off_at = disk_->operations + operations;
}

uint64_t FaultFileSystem::operations() const {
  MutexLock lock(disk_->mutex);
  return disk_->operations;
}

void FaultFileSystem::fail_write(uint64_t nth, Fault fault) {
  MutexLock lock(disk_->mutex);
  disk_->writes_to_fault = nth;
  disk_->write_fault = fault;
}

void FaultFileSystem::fail_sync(uint64_t nth) {
  MutexLock lock(disk_->mutex);
  disk_->syncs_to_fault = nth;
}

void FaultFileSystem::fail_reads(const std::string& prefix) {
  MutexLock lock(disk_->mutex);
  disk_->unreadable = prefix;
}

void FaultFileSystem::set_read_only(bool read_only) {
  MutexLock lock(disk_->mutex);
  disk_->read_only = read_only;
}

void FaultFileSystem::hold_syncs() {
  MutexLock lock(disk_->mutex);
  disk_->holding_syncs = true;
}

void FaultFileSystem::release_syncs() {
  MutexLock lock(disk_->mutex);
  disk_->holding_syncs = false;
  disk_->holding_changed.notify_all();
}

void FaultFileSystem::await_held_sync() {
  MutexLock lock(disk_->mutex);
  while (disk_->held_syncs == 0) disk_->holding_changed.wait(disk_->mutex);
}

void FaultFileSystem::set_capacity(uint64_t bytes) {
  MutexLock lock(disk_->mutex);
  disk_->capacity = bytes;
}

Bytes FaultFileSystem::content(const std::string& path) const {
  MutexLock lock(disk_->mutex);
  const auto it = disk_->names.find(clean(path));
  MILLRACE_CHECK(it != disk_->names.end(), path);
  return it->second->content;
}

void FaultFileSystem::set_content(const std::string& path, Bytes content) {
  MutexLock lock(disk_->mutex);
  const auto it = disk_->names.find(clean(path));
  MILLRACE_CHECK(it != disk_->names.end(), path);
  it->second->content = content;
  it->second->durable = std::move(content);
  it->second->unsynced.clear();
}

}  // namespace millrace::env
