#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <ostream>

#include "app/command_line.h"
#include "app/connection.h"
#include "columns/column.h"
#include "env/system_clock.h"
#include "registry/registry.h"

namespace millrace::app {
namespace {

Result<std::unique_ptr<registry::Registry>> open_registry(const CommandLine& line, const Clock& clock) {
  auto registry = registry::Registry::open(connection(line), clock, {.create_topic = false, .timeout = kAnswerLimit});
  if (!registry && registry.error().code == Errc::kNotFound)
    return fail(Errc::kNotFound, "no model is registered yet: the topic __millrace_models does not exist",
                "run a pipeline with a train step");
  return registry;
}

std::string aliases_text(const registry::Registry& registry, const std::string& model, int64_t version) {
  std::string text;
  for (const auto& [name, alias] : registry.aliases(model))
    if (alias.version == version) text += (text.empty() ? "" : ", ") + name;
  return text;
}

Status list_models(const CommandLine& line) {
  const env::SystemClock clock;
  Listing listing{{"model", "algorithm", "versions", "newest", "champion", "rows", "trained_by"},
                  {},
                  "no models yet; a pipeline with a train step registers them"};
  const auto opened = open_registry(line, clock);
  if (!opened && opened.error().code != Errc::kNotFound) return tl::unexpected(opened.error());
  if (!opened) {
    line.show(listing);
    return {};
  }
  const auto& registry = *opened;
  for (const auto& model : registry->models()) {
    const auto newest = registry->latest(model);
    const auto champion = registry->resolve(model, registry::kChampion);
    listing.rows.push_back(
        {model, newest ? Cell(newest->info.algorithm) : Cell(), static_cast<int64_t>(registry->versions(model).size()),
         newest ? Cell(newest->info.version) : Cell(), champion ? Cell(champion->info.version) : Cell(),
         newest ? Cell(static_cast<int64_t>(newest->info.rows)) : Cell(), registry->owner(model).value_or("")});
  }
  line.show(listing);
  return {};
}

// Without a version: one row a version. With -o json and a version: all that is known of it.
Status show_model(const CommandLine& line, const std::string& model) {
  const env::SystemClock clock;
  MILLRACE_ASSIGN_OR_RETURN(const auto registry, open_registry(line, clock));
  const auto versions = registry->versions(model);
  if (versions.empty())
    return fail(Errc::kNotFound, fmt::format("no model is called {}", model), "millrace model list");
  Listing listing{{"version", "parent", "aliases", "rows", "positives", "created", "bytes", "metrics"}, {}, ""};
  for (const auto& version : versions) {
    const auto& info = version->info;
    listing.rows.push_back({info.version, info.parent, aliases_text(*registry, model, info.version),
                            static_cast<int64_t>(info.rows), static_cast<int64_t>(info.positives),
                            columns::format_timestamp(info.created_at_us), static_cast<int64_t>(info.blob_bytes),
                            info.metrics_json});
  }
  line.show(listing);
  return {};
}

// All that is known of one version, as the registry keeps it.
Status show_version(const CommandLine& line, const std::string& model, int64_t number) {
  const env::SystemClock clock;
  MILLRACE_ASSIGN_OR_RETURN(const auto registry, open_registry(line, clock));
  const auto version = registry->find(model, number);
  if (!version)
    return fail(Errc::kNotFound, fmt::format("{} has no version {}", model, number), "millrace model show " + model);
  std::string text;
  JsonWriter json(text);
  registry::write_json(json, version->info);
  line.out << text << '\n';
  return {};
}

}  // namespace

void add_model_commands(CLI::App& root, CommandLine& line) {
  auto* model = root.add_subcommand("model", "the model registry: list, show");
  model->require_subcommand(1);
  model->add_subcommand("list", "every model, its newest version and its champion")->callback([&line] {
    line.selected = [&line] { return list_models(line); };
  });
  auto name = std::make_shared<std::string>();
  auto version = std::make_shared<int64_t>(0);
  auto* show = model->add_subcommand("show", "a model's versions; with a version, all that is known of it as JSON");
  show->add_option("model", *name, "its name")->required();
  show->add_option("version", *version, "its number");
  show->callback([&line, name, version] {
    line.selected = [&line, name, version] {
      return *version > 0 ? show_version(line, *name, *version) : show_model(line, *name);
    };
  });
}

}  // namespace millrace::app
