#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/result.h"
#include "client/options.h"
#include "env/file_system.h"
#include "http/overview.h"
#include "pipeline/worker.h"
#include "warehouse/warehouse.h"

namespace millrace::app {

// The pipelines that run inside the server, a thread each. One that fails is shown as failed, with its error, and the
// others go on.
class PipelineHost final : public warehouse::TopicSchemas {
 public:
  PipelineHost() = default;
  ~PipelineHost() override { stop(); }
  PipelineHost(const PipelineHost&) = delete;
  PipelineHost& operator=(const PipelineHost&) = delete;

  // Read and check the files; all findings of the first bad one. Before start().
  Status load(env::FileSystem& files, const std::vector<std::string>& paths);
  // The same from a text: `name` stands in messages. Schema files lie beside it in `files`; null: it cannot name any.
  Status load_text(const std::string& yaml, const std::string& name, env::FileSystem* files = nullptr);

  // Make the workers and run them; then declare their tables. `clock` and `tables` must outlive the host.
  Status start(const client::Options& client, const Clock& clock, warehouse::Warehouse& tables);
  // Let every pipeline commit and leave its group; join the threads. Idempotent.
  void stop();

  // As of the last commits; thread-safe once started.
  std::vector<pipeline::PipelineStatus> statuses() const;
  // Fill in pipelines and models.
  void add_to(http::Overview& overview) const;

  // How a source's topic is read, where a loaded pipeline declares it. Thread-safe once loaded.
  std::optional<warehouse::TopicSchema> find(const std::string& topic) const override;

 private:
  std::vector<pipeline::ResolvedPlan> plans_;
  std::map<std::string, warehouse::TopicSchema, std::less<>> topics_;
  std::vector<std::unique_ptr<pipeline::Worker>> workers_;
  std::vector<std::jthread> threads_;
};

}  // namespace millrace::app
