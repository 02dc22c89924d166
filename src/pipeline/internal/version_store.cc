#include "pipeline/internal/version_store.h"

#include "base/logging.h"

namespace millrace::pipeline {

std::shared_ptr<const ServedModel> Champions::get(const std::string& model) {
  Entry& entry = entries_[model];
  // The revision is read first: a version that comes in between is seen at the next call.
  const uint64_t revision = store_.revision();
  if (entry.asked && entry.revision == revision) return entry.served;
  entry.asked = true;
  entry.revision = revision;
  const registry::VersionPtr champion = store_.champion(model);
  if (!champion || champion->info.version == entry.version) return entry.served;
  entry.version = champion->info.version;
  auto loaded = learn::Model::deserialize(champion->blob);
  if (loaded) {
    entry.served = std::make_shared<const ServedModel>(ServedModel{champion->info.version, std::move(*loaded)});
  } else {
    log_warning("pipeline", "version {} of {} cannot be read and is not served: {}", champion->info.version, model,
                loaded.error().message);
  }
  return entry.served;
}

}  // namespace millrace::pipeline
