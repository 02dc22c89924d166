#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "client/options.h"
#include "env/file_system.h"
#include "http/overview.h"
#include "pipeline/worker.h"
#include "warehouse/warehouse.h"

namespace millrace::app {

// The pipelines that run inside the server, a thread each. One that fails is shown as failed, with its error, and the
// others go on; one that cannot be made because the cluster does not answer is tried again, and shown as starting.
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

  // Make the workers, declare their tables, and run them: when this returns, each of them has been tried. `clock` and
  // `tables` must outlive the host.
  void start(const client::Options& client, const Clock& clock, warehouse::Warehouse& tables);
  // Let every pipeline commit and leave its group; join the threads. Idempotent.
  void stop();

  // Fill in pipelines and models, as of the last commits. Thread-safe once started.
  void add_to(http::Overview& overview) const;

  // How a source's topic is read, where a loaded pipeline declares it. Thread-safe once loaded.
  std::optional<warehouse::TopicSchema> find(const std::string& topic) const override;

 private:
  struct Hosted {
    explicit Hosted(pipeline::ResolvedPlan resolved) : plan(std::move(resolved)) {}

    const pipeline::ResolvedPlan plan;
    mutable Mutex mutex;
    std::shared_ptr<pipeline::Worker> worker GUARDED_BY(mutex);  // set once
    Error failure GUARDED_BY(mutex);                             // why there is no worker
    bool given_up GUARDED_BY(mutex) = false;
  };

  // Tries to make the worker and to declare its tables; what comes of it stands in `hosted`.
  static void make(Hosted& hosted, const client::Options& client, const Clock& clock, warehouse::Warehouse& tables);

  std::map<std::string, warehouse::TopicSchema, std::less<>> topics_;
  std::vector<std::unique_ptr<Hosted>> hosted_;
  std::vector<std::jthread> threads_;
};

}  // namespace millrace::app
