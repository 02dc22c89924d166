#include "registry/registry.h"

#include <fmt/format.h>

#include <array>

#include "base/logging.h"
#include "client/producer.h"

namespace millrace::registry {
namespace {

template <typename T>
Bytes to_json_bytes(const T& value) {
  std::string json;
  JsonWriter writer(json);
  write_json(writer, value);
  return to_bytes(json);
}

}  // namespace

Registry::Registry(const client::Options& client, const Clock& clock, const RegistryOptions& options)
    : client_(client), options_(options), clock_(clock) {}

Registry::~Registry() = default;

Result<std::unique_ptr<Registry>> Registry::open(const client::Options& client, const Clock& clock,
                                                 const RegistryOptions& options) {
  std::unique_ptr<Registry> registry(new Registry(client, clock, options));
  MILLRACE_ASSIGN_OR_RETURN(
      registry->follower_,
      client::TopicFollower::create(
          client, clock, {.topic = options.topic, .create_topic = options.create_topic, .timeout = options.timeout}));
  MILLRACE_RETURN_IF_ERROR(registry->follower_->start(
      {.apply = [self = registry.get()](const client::Records& records) { self->apply(records); }}));
  return registry;
}

void Registry::apply(const client::Records& records) {
  std::vector<std::string> skipped;
  {
    MutexLock lock(mutex_);
    for (const client::PartitionRecords& part : records.partitions())
      for (const client::RecordView& record : part.records) {
        const Status applied = state_.apply(record.offset.value(), as_text(record.key()),
                                            record.has_value() ? std::optional(record.value()) : std::nullopt);
        if (!applied) skipped.push_back(fmt::format("offset {}: {}", record.offset.value(), applied.error().message));
        revision_.fetch_add(1, std::memory_order_release);
      }
  }
  for (const std::string& reason : skipped)
    log_warning("registry", "skipped a record of {} at {}", options_.topic, reason);
}

Status Registry::refresh() { return follower_->refresh(); }

// A producer of its own: writes are rare, and callers on several threads need no lock. It need not be idempotent: a
// record that is there twice says the same, and groups keep the order that matters.
Status Registry::write(std::initializer_list<std::span<const RegistryRecord>> groups) {
  MILLRACE_ASSIGN_OR_RETURN(const auto producer, client::Producer::create(client_, {.idempotent = false}));
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, producer->topic(options_.topic));
  for (const auto records : groups) {
    for (const RegistryRecord& record : records) {
      const client::OutRecord out{.partition = PartitionId(0),
                                  .key = as_byte_view(record.key),
                                  .value = record.value ? std::optional<ByteView>(*record.value) : std::nullopt,
                                  .timestamp_ms = to_unix_ms(clock_.wall_now())};
      MILLRACE_RETURN_IF_ERROR(producer->produce(topic, out));
    }
    MILLRACE_RETURN_IF_ERROR(producer->flush(options_.timeout));
  }
  return refresh();
}

Status Registry::claim(const std::string& model, const std::string& pipeline) {
  MILLRACE_RETURN_IF_ERROR(check_name("model", model));
  MILLRACE_RETURN_IF_ERROR(check_name("pipeline", pipeline));
  MILLRACE_RETURN_IF_ERROR(refresh());
  if (!owner(model)) {
    const std::array records = {RegistryRecord{owner_key(model, pipeline), to_bytes("{}")}};
    MILLRACE_RETURN_IF_ERROR(write({records}));
    // Another may have claimed it at the same time: the topic's order decides.
    if (owner(model) != pipeline) MILLRACE_RETURN_IF_ERROR(release(model, pipeline));
  }
  return check_owner(model, pipeline);
}

Status Registry::check_owner(const std::string& model, const std::string& pipeline) const {
  const auto current = owner(model);
  if (current == pipeline) return {};
  return fail(Errc::kConflict,
              current ? fmt::format("model {} is trained by pipeline {}, not by {}", model, *current, pipeline)
                      : fmt::format("pipeline {} trains model {} without having claimed it", pipeline, model),
              "give one of the models another name");
}

Status Registry::release(const std::string& model, const std::string& pipeline) {
  const std::array records = {RegistryRecord{owner_key(model, pipeline), std::nullopt}};
  return write({records});
}

Result<VersionPtr> Registry::publish(VersionInfo info, ByteView blob) {
  MILLRACE_RETURN_IF_ERROR(refresh());
  MILLRACE_RETURN_IF_ERROR(check_owner(info.model, info.pipeline));
  info.created_at_us = to_unix_us(clock_.wall_now());
  Result<RegistryState::Publication> publication = [&] {
    MutexLock lock(mutex_);
    return state_.publication(std::move(info), blob);
  }();
  if (!publication) return tl::unexpected<Error>(publication.error());
  const Result<VersionPtr> repeated = [&] {
    MutexLock lock(mutex_);
    return state_.repeated(publication->info, publication->info.blob_sha256);
  }();
  if (!repeated || *repeated) return repeated;
  MILLRACE_RETURN_IF_ERROR(write({publication->chunks, std::span(&publication->version, 1), publication->retired}));
  if (VersionPtr version = find(publication->info.model, publication->info.version)) return version;
  return fail(Errc::kCorruption, fmt::format("{}/{} was written, but did not come back whole from {}",
                                             publication->info.model, publication->info.version, options_.topic));
}

Status Registry::set_alias(const std::string& model, const std::string& alias, int64_t version, const std::string& who,
                           const std::string& why) {
  MILLRACE_RETURN_IF_ERROR(check_name("model", model));
  MILLRACE_RETURN_IF_ERROR(check_name("alias", alias));
  MILLRACE_RETURN_IF_ERROR(refresh());
  if (!find(model, version)) return fail(Errc::kNotFound, fmt::format("model {} has no version {}", model, version));
  const Alias value{version, who, why, to_unix_us(clock_.wall_now())};
  const std::array records = {RegistryRecord{alias_key(model, alias), to_json_bytes(value)}};
  return write({records});
}

std::vector<std::string> Registry::models() const {
  MutexLock lock(mutex_);
  return state_.models();
}
VersionPtr Registry::find(std::string_view model, int64_t version) const {
  MutexLock lock(mutex_);
  return state_.find(model, version);
}
VersionPtr Registry::latest(std::string_view model) const {
  MutexLock lock(mutex_);
  return state_.latest(model);
}
VersionPtr Registry::resolve(std::string_view model, std::string_view alias) const {
  MutexLock lock(mutex_);
  return state_.resolve(model, alias);
}
std::vector<VersionPtr> Registry::versions(std::string_view model) const {
  MutexLock lock(mutex_);
  return state_.versions(model);
}
std::map<std::string, Alias> Registry::aliases(std::string_view model) const {
  MutexLock lock(mutex_);
  return state_.aliases(model);
}
std::optional<std::string> Registry::owner(std::string_view model) const {
  MutexLock lock(mutex_);
  return state_.owner(model);
}

}  // namespace millrace::registry
