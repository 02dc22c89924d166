#pragma once

#include <atomic>
#include <initializer_list>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "client/options.h"
#include "client/topic_follower.h"
#include "registry/registry_state.h"
#include "registry/version.h"

namespace millrace::registry {

struct RegistryOptions {
  std::string topic = "__millrace_models";
  // Make the topic where it does not exist: one partition, compacted. Without it, a missing topic is kNotFound.
  bool create_topic = true;
  client::Millis timeout{30'000};  // of each call that asks the broker
};

// The model registry: what RegistryState says, kept in a topic, so that it is the same on our broker, on Apache Kafka
// and for every process of a cluster. A thread follows the topic, so versions and aliases of others show within
// milliseconds; a version handed out stays valid while someone holds it, so a predictor takes a new one between two
// batches and the old one ends with its last batch.
// Thread-safe. Reading asks nobody; writing blocks its caller until the broker has the records and this object has read
// them back.
class Registry {
 public:
  // Returns when everything that is in the topic now has been read. `clock` must outlive it.
  static Result<std::unique_ptr<Registry>> open(const client::Options& client, const Clock& clock,
                                                const RegistryOptions& options = {});
  ~Registry();

  // Grows with every record read: cheap to ask between batches whether there is anything new.
  uint64_t revision() const { return revision_.load(std::memory_order_acquire); }
  // Wait until everything that is in the topic at this moment has been read.
  Status refresh();

  std::vector<std::string> models() const;
  VersionPtr find(std::string_view model, int64_t version) const;
  VersionPtr latest(std::string_view model) const;
  VersionPtr resolve(std::string_view model, std::string_view alias) const;
  std::vector<VersionPtr> versions(std::string_view model) const;
  std::map<std::string, Alias> aliases(std::string_view model) const;
  std::optional<std::string> owner(std::string_view model) const;

  // Say that `pipeline` trains `model`; saying it again changes nothing. kConflict when another pipeline said so first.
  // Call it before training.
  Status claim(const std::string& model, const std::string& pipeline);
  // Give up a claim, so that another pipeline may train the model.
  Status release(const std::string& model, const std::string& pipeline);

  // Register the next version of info.model: fills in version, parent, hash, size and time. A repeat after a crash
  // (RegistryState::repeated) adds nothing: the version that is there is returned. One caller per model at a time, or
  // several with the same round and bytes. kConflict when info.pipeline is not the model's owner; kAlreadyExists when
  // a later round has a version.
  Result<VersionPtr> publish(VersionInfo info, ByteView blob);

  // Point an alias at a version. kNotFound when there is no such version.
  Status set_alias(const std::string& model, const std::string& alias, int64_t version, const std::string& who,
                   const std::string& why);

 private:
  Registry(const client::Options& client, const Clock& clock, const RegistryOptions& options);

  Status check_owner(const std::string& model, const std::string& pipeline) const;
  // Write the groups one after the other, each when the broker has the one before; then read them back.
  Status write(std::initializer_list<std::span<const RegistryRecord>> groups);
  void apply(const client::Records& records);

  const client::Options client_;
  const RegistryOptions options_;
  const Clock& clock_;
  std::atomic<uint64_t> revision_ = 0;

  mutable Mutex mutex_;
  RegistryState state_ GUARDED_BY(mutex_);

  std::unique_ptr<client::TopicFollower> follower_;  // last: joined before anything it uses goes
};

}  // namespace millrace::registry
