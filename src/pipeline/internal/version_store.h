#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>

#include "base/result.h"
#include "pipeline/internal/served_model.h"
#include "registry/registry.h"

namespace millrace::pipeline {

// The registry as tasks see it. Thread-safe.
class VersionStore {
 public:
  virtual ~VersionStore() = default;
  // Changes when anything in the store does.
  virtual uint64_t revision() const = 0;
  virtual registry::VersionPtr champion(const std::string& model) const = 0;
  virtual registry::VersionPtr find(const std::string& model, int64_t version) const = 0;
  // See what others have registered up to now.
  virtual Status refresh() = 0;
  virtual Status claim(const std::string& model, const std::string& pipeline) = 0;
  virtual Result<registry::VersionPtr> publish(registry::VersionInfo info, ByteView blob) = 0;
  virtual Status promote(const std::string& model, int64_t version, const std::string& who, const std::string& why) = 0;
};

// The store that is a topic.
class RegistryStore final : public VersionStore {
 public:
  explicit RegistryStore(registry::Registry& registry) : registry_(registry) {}
  uint64_t revision() const override { return registry_.revision(); }
  registry::VersionPtr champion(const std::string& model) const override {
    return registry_.resolve(model, registry::kChampion);
  }
  registry::VersionPtr find(const std::string& model, int64_t version) const override {
    return registry_.find(model, version);
  }
  Status refresh() override { return registry_.refresh(); }
  Status claim(const std::string& model, const std::string& pipeline) override {
    return registry_.claim(model, pipeline);
  }
  Result<registry::VersionPtr> publish(registry::VersionInfo info, ByteView blob) override {
    return registry_.publish(std::move(info), blob);
  }
  Status promote(const std::string& model, int64_t version, const std::string& who, const std::string& why) override {
    return registry_.set_alias(model, std::string(registry::kChampion), version, who, why);
  }

 private:
  registry::Registry& registry_;
};

// The champions as models that can predict, loaded when they change. One thread.
class Champions {
 public:
  explicit Champions(const VersionStore& store) : store_(store) {}
  // Null where `model` has no champion, or one that this build cannot read (logged once).
  std::shared_ptr<const ServedModel> get(const std::string& model);

 private:
  struct Entry {
    bool asked = false;
    uint64_t revision = 0;
    int64_t version = 0;
    std::shared_ptr<const ServedModel> served;
  };
  const VersionStore& store_;
  std::map<std::string, Entry, std::less<>> entries_;
};

}  // namespace millrace::pipeline
