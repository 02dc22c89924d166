#pragma once

#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/byte_writer.h"
#include "base/result.h"
#include "registry/version.h"

namespace millrace::registry {

// Blobs are cut into chunks of this size, and are at most so large.
inline constexpr size_t kChunkBytes = 512 << 10;
inline constexpr size_t kBlobBytesMax = 256 << 20;
// So many of a model's newest versions are kept, and all that an alias points at.
inline constexpr size_t kVersionsKept = 20;

// A record of the registry's topic.
struct RegistryRecord {
  std::string key;
  std::optional<Bytes> value;  // none: a tombstone
};

// What the records of the registry's topic, applied in offset order, say: models, versions, aliases, owners. Pure: no
// topic, no clock. The topic may be compacted, so any record may be gone that a later one with its key replaced.
// Not thread-safe; what it hands out is immutable and lives as long as someone holds it.
class RegistryState {
 public:
  // Take in the next record. An error is for the log only: a record that says nothing this build understands is
  // skipped, and the state is as before.
  Status apply(int64_t offset, std::string_view key, std::optional<ByteView> value);

  std::vector<std::string> models() const;
  // Null where there is none, or its bytes are not all there.
  VersionPtr find(std::string_view model, int64_t version) const;
  VersionPtr latest(std::string_view model) const;
  VersionPtr resolve(std::string_view model, std::string_view alias) const;
  std::vector<VersionPtr> versions(std::string_view model) const;  // ascending
  // The version that `info` is a repeat of: of the same round, or, without a round, the newest where it has the same
  // bytes and learned from the same ranges. Null: it is new. kAlreadyExists: a later round of the series has a version,
  // so that this one was registered and retired since.
  Result<VersionPtr> repeated(const VersionInfo& info, std::string_view blob_sha256) const;
  std::map<std::string, Alias> aliases(std::string_view model) const;
  // The pipeline that trains the model: of those that claimed it, the one whose claim came first.
  std::optional<std::string> owner(std::string_view model) const;

  // What to write to register the next version of info.model. Fills in its number, parent, hash and size. To be written
  // group after group, each when the one before is safe: a version is there once its own record is.
  // kInvalidArgument for names or JSON that cannot be, kTooLarge for a blob over kBlobBytesMax.
  struct Publication {
    VersionInfo info;
    std::vector<RegistryRecord> chunks;
    RegistryRecord version;
    std::vector<RegistryRecord> retired;  // tombstones of versions that are too many now
  };
  Result<Publication> publication(VersionInfo info, ByteView blob) const;

 private:
  struct Entry {
    std::optional<VersionInfo> info;
    std::map<uint32_t, Bytes> chunks;  // until they make up the blob
    VersionPtr complete;
  };
  struct Model {
    std::map<int64_t, Entry> versions;
    std::map<std::string, Alias, std::less<>> aliases;
    std::map<std::string, int64_t, std::less<>> claims;  // pipeline -> offset of its claim
  };

  Status apply_version(std::string_view model, int64_t version, std::optional<ByteView> value);
  Status apply_chunk(std::string_view model, int64_t version, uint32_t chunk, std::optional<ByteView> value);
  Status apply_alias(std::string_view model, std::string_view alias, std::optional<ByteView> value);
  Status apply_claim(std::string_view model, std::string_view pipeline, int64_t offset, bool claimed);
  static Status complete(Entry& entry);
  static void append_retired(const Model& model, std::string_view name, std::vector<RegistryRecord>& out);
  const Model* find_model(std::string_view name) const;
  Model& model_for(std::string_view name) { return models_.try_emplace(std::string(name)).first->second; }

  std::map<std::string, Model, std::less<>> models_;
};

// Keys of the topic.
std::string version_key(std::string_view model, int64_t version);
std::string chunk_key(std::string_view model, int64_t version, uint32_t chunk);
std::string alias_key(std::string_view model, std::string_view alias);
std::string owner_key(std::string_view model, std::string_view pipeline);

}  // namespace millrace::registry
