#include "registry/registry_state.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/text.h"

// Keys: MODEL/VERSION/chunk/I, MODEL/VERSION, MODEL/alias/NAME, MODEL/owner/PIPELINE.
namespace millrace::registry {
namespace {

constexpr size_t kChunksMax = kBlobBytesMax / kChunkBytes;

uint64_t chunk_count(uint64_t blob_bytes) { return (blob_bytes + kChunkBytes - 1) / kChunkBytes; }

tl::unexpected<Error> bad_key(std::string_view key) {
  return fail(Errc::kCorruption, fmt::format("\"{}\" is no key of a model registry", key.substr(0, 100)));
}

}  // namespace

std::string version_key(std::string_view model, int64_t version) { return fmt::format("{}/{}", model, version); }
std::string chunk_key(std::string_view model, int64_t version, uint32_t chunk) {
  return fmt::format("{}/{}/chunk/{}", model, version, chunk);
}
std::string alias_key(std::string_view model, std::string_view alias) {
  return fmt::format("{}/alias/{}", model, alias);
}
std::string owner_key(std::string_view model, std::string_view pipeline) {
  return fmt::format("{}/owner/{}", model, pipeline);
}

Status RegistryState::apply(int64_t offset, std::string_view key, std::optional<ByteView> value) {
  const auto parts = split(key, '/');
  if (parts.size() < 2 || !check_name("model", parts[0])) return bad_key(key);
  if (parts.size() == 3 && parts[1] == "alias" && check_name("alias", parts[2]))
    return apply_alias(parts[0], parts[2], value);
  if (parts.size() == 3 && parts[1] == "owner" && check_name("pipeline", parts[2]))
    return apply_claim(parts[0], parts[2], offset, value.has_value());
  const auto version = parse_int64(parts[1]);
  if (!version || *version <= 0) return bad_key(key);
  if (parts.size() == 2) return apply_version(parts[0], *version, value);
  if (parts.size() != 4 || parts[2] != "chunk") return bad_key(key);
  const auto chunk = parse_int64(parts[3]);
  if (!chunk || *chunk < 0 || *chunk >= static_cast<int64_t>(kChunksMax)) return bad_key(key);
  return apply_chunk(parts[0], *version, static_cast<uint32_t>(*chunk), value);
}

Status RegistryState::apply_version(std::string_view model, int64_t version, std::optional<ByteView> value) {
  if (!value) {
    // Its chunks, if some are left, go by tombstones of their own.
    Entry& entry = model_for(model).versions[version];
    entry.info.reset();
    entry.complete.reset();
    if (entry.chunks.empty()) model_for(model).versions.erase(version);
    return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(VersionInfo info, parse_version_info(as_text(*value)));
  if (info.model != model || info.version != version)
    return fail(Errc::kCorruption,
                fmt::format("the record of {}/{} is about {}/{}", model, version, info.model, info.version));
  if (info.blob_bytes > kBlobBytesMax)
    return fail(Errc::kTooLarge, fmt::format("{}/{} says that it has {} bytes", model, version, info.blob_bytes));
  Entry& entry = model_for(model).versions[version];
  // A repeat of what is known already.
  if (entry.complete && entry.complete->info == info) return {};
  entry.info = std::move(info);
  return complete(entry);
}

Status RegistryState::apply_chunk(std::string_view model, int64_t version, uint32_t chunk,
                                  std::optional<ByteView> value) {
  if (!value) {
    const auto found = models_.find(model);
    if (found == models_.end()) return {};
    auto& versions = found->second.versions;
    const auto entry = versions.find(version);
    if (entry == versions.end()) return {};
    entry->second.chunks.erase(chunk);
    if (!entry->second.info && entry->second.chunks.empty()) versions.erase(entry);
    return {};
  }
  if (value->size() > kChunkBytes)
    return fail(Errc::kTooLarge, fmt::format("chunk {} of {}/{} has {} bytes", chunk, model, version, value->size()));
  Entry& entry = model_for(model).versions[version];
  entry.chunks[chunk] = Bytes(value->begin(), value->end());
  return complete(entry);
}

// Makes the version visible once it and all chunks are there, in whatever order: a compacted topic may hold a chunk
// that was written again behind its version.
Status RegistryState::complete(Entry& entry) {
  if (!entry.info) return {};
  const uint64_t chunks = chunk_count(entry.info->blob_bytes);
  Bytes blob;
  for (uint32_t i = 0; i < chunks; ++i) {
    const auto chunk = entry.chunks.find(i);
    if (chunk == entry.chunks.end()) return {};
    blob.insert(blob.end(), chunk->second.begin(), chunk->second.end());
  }
  if (blob.size() != entry.info->blob_bytes || sha256_hex(blob) != entry.info->blob_sha256)
    return fail(Errc::kCorruption, fmt::format("the bytes of {}/{} are not those that were registered",
                                               entry.info->model, entry.info->version));
  entry.complete = std::make_shared<const Version>(Version{*entry.info, std::move(blob)});
  entry.chunks.clear();
  return {};
}

Status RegistryState::apply_alias(std::string_view model, std::string_view alias, std::optional<ByteView> value) {
  if (!value) {
    if (const auto found = models_.find(model); found != models_.end()) {
      auto& aliases = found->second.aliases;
      if (const auto known = aliases.find(alias); known != aliases.end()) aliases.erase(known);
    }
    return {};
  }
  MILLRACE_ASSIGN_OR_RETURN(Alias parsed, parse_alias(as_text(*value)));
  model_for(model).aliases.insert_or_assign(std::string(alias), std::move(parsed));
  return {};
}

Status RegistryState::apply_claim(std::string_view model, std::string_view pipeline, int64_t offset, bool claimed) {
  auto& claims = model_for(model).claims;
  if (claimed)
    claims.insert_or_assign(std::string(pipeline), offset);
  else if (const auto found = claims.find(pipeline); found != claims.end())
    claims.erase(found);
  return {};
}

const RegistryState::Model* RegistryState::find_model(std::string_view name) const {
  const auto found = models_.find(name);
  return found == models_.end() ? nullptr : &found->second;
}

std::vector<std::string> RegistryState::models() const {
  std::vector<std::string> names;
  for (const auto& [name, model] : models_)
    if (!model.versions.empty() || !model.claims.empty()) names.push_back(name);
  return names;
}

VersionPtr RegistryState::find(std::string_view name, int64_t version) const {
  const Model* model = find_model(name);
  if (model == nullptr) return nullptr;
  const auto found = model->versions.find(version);
  return found == model->versions.end() ? nullptr : found->second.complete;
}

VersionPtr RegistryState::latest(std::string_view name) const {
  const auto all = versions(name);
  return all.empty() ? nullptr : all.back();
}

VersionPtr RegistryState::resolve(std::string_view name, std::string_view alias) const {
  const Model* model = find_model(name);
  if (model == nullptr) return nullptr;
  const auto found = model->aliases.find(alias);
  return found == model->aliases.end() ? nullptr : find(name, found->second.version);
}

std::vector<VersionPtr> RegistryState::versions(std::string_view name) const {
  std::vector<VersionPtr> all;
  if (const Model* model = find_model(name))
    for (const auto& [_, entry] : model->versions)
      if (entry.complete) all.push_back(entry.complete);
  return all;
}

Result<VersionPtr> RegistryState::repeated(const VersionInfo& info, std::string_view blob_sha256) const {
  if (!info.round) {
    const VersionPtr newest = latest(info.model);
    const bool same = newest && newest->info.blob_sha256 == blob_sha256 && newest->info.learned == info.learned;
    return same ? newest : nullptr;
  }
  for (const VersionPtr& version : versions(info.model)) {
    if (!version->info.round || version->info.round->series != info.round->series) continue;
    if (version->info.round->boundary == info.round->boundary) return version;
    if (version->info.round->boundary > info.round->boundary)
      return fail(Errc::kAlreadyExists,
                  fmt::format("model {}: version {} is of a later round", info.model, version->info.version));
  }
  return nullptr;
}

std::map<std::string, Alias> RegistryState::aliases(std::string_view name) const {
  const Model* model = find_model(name);
  if (model == nullptr) return {};
  return {model->aliases.begin(), model->aliases.end()};
}

std::optional<std::string> RegistryState::owner(std::string_view name) const {
  const Model* model = find_model(name);
  if (model == nullptr || model->claims.empty()) return std::nullopt;
  return std::ranges::min_element(model->claims, {}, [](const auto& claim) { return claim.second; })->first;
}

Result<RegistryState::Publication> RegistryState::publication(VersionInfo info, ByteView blob) const {
  MILLRACE_RETURN_IF_ERROR(check_name("model", info.model));
  MILLRACE_RETURN_IF_ERROR(check_name("pipeline", info.pipeline));
  if (blob.empty()) return fail(Errc::kInvalidArgument, "a model without bytes cannot be registered");
  if (blob.size() > kBlobBytesMax)
    return fail(Errc::kTooLarge, fmt::format("the model {} has {} bytes, more than the {} that the registry takes",
                                             info.model, blob.size(), kBlobBytesMax));
  const Model* model = find_model(info.model);
  const VersionPtr parent = latest(info.model);
  info.parent = parent ? parent->info.version : 0;
  info.version = 1;
  if (model != nullptr)
    for (const auto& [version, entry] : model->versions)
      // Chunks without their version are of a writer that crashed: its number is taken over.
      if (entry.info) info.version = version + 1;
  info.blob_bytes = blob.size();
  info.blob_sha256 = sha256_hex(blob);

  std::string json;
  JsonWriter writer(json);
  write_json(writer, info);
  auto as_read = parse_version_info(json);
  if (!as_read) return fail(Errc::kInvalidArgument, "a version's JSON does not parse: " + as_read.error().message);

  Publication publication{std::move(*as_read), {}, {version_key(info.model, info.version), to_bytes(json)}, {}};
  for (size_t begin = 0; begin < blob.size(); begin += kChunkBytes) {
    const ByteView chunk = blob.subspan(begin, std::min(kChunkBytes, blob.size() - begin));
    publication.chunks.push_back(
        {chunk_key(info.model, info.version, static_cast<uint32_t>(begin / kChunkBytes)), to_bytes(chunk)});
  }
  if (model != nullptr) append_retired(*model, info.model, publication.retired);
  return publication;
}

// With the version to come, kVersionsKept stay.
void RegistryState::append_retired(const Model& model, std::string_view name, std::vector<RegistryRecord>& out) {
  const size_t known = model.versions.size();
  size_t retired = known < kVersionsKept ? 0 : known - (kVersionsKept - 1);
  for (const auto& [version, entry] : model.versions) {
    if (retired-- == 0) return;
    const auto points_here = [number = version](const auto& alias) { return alias.second.version == number; };
    const bool aliased = std::ranges::any_of(model.aliases, points_here);
    if (aliased) continue;
    out.push_back({version_key(name, version), std::nullopt});
    uint64_t chunks = entry.info ? chunk_count(entry.info->blob_bytes) : 0;
    if (!entry.chunks.empty()) chunks = std::max<uint64_t>(chunks, entry.chunks.rbegin()->first + 1);
    for (uint32_t i = 0; i < chunks; ++i) out.push_back({chunk_key(name, version, i), std::nullopt});
  }
}

}  // namespace millrace::registry
