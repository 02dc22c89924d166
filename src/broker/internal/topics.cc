#include "broker/internal/topics.h"

#include <algorithm>
#include <utility>

namespace millrace::broker {

bool is_internal_topic(std::string_view name) {
  return name == kOffsetsTopic || name == kRebalancesTopic || name == kTransactionsTopic;
}

std::shared_ptr<const TopicState> TopicTable::find(std::string_view name) const {
  const auto found = by_name_.find(name);
  return found == by_name_.end() ? nullptr : found->second;
}

std::shared_ptr<const TopicState> TopicTable::find(const Uuid& id) const {
  const auto found = by_id_.find(id);
  return found == by_id_.end() ? nullptr : found->second;
}

std::shared_ptr<const TopicState> TopicTable::find_colliding(std::string_view name) const {
  const auto same = [](char a, char b) { return a == b || ((a == '.' || a == '_') && (b == '.' || b == '_')); };
  // Up to the first of these characters the names are the same, so they stand together.
  const std::string_view beginning = name.substr(0, name.find_first_of("._"));
  if (beginning.size() == name.size()) return nullptr;
  for (auto at = by_name_.lower_bound(beginning); at != by_name_.end() && at->first.starts_with(beginning); ++at)
    if (at->first != name && std::ranges::equal(at->first, name, same)) return at->second;
  return nullptr;
}

std::shared_ptr<log::Partition> TopicTable::find_partition(std::string_view topic, int32_t index) const {
  const auto state = find(topic);
  const auto* found = state == nullptr ? nullptr : state->partition(index);
  return found == nullptr ? nullptr : *found;
}

Topics::Topics(log::Store& store, const Settings& settings, DynamicSettings dynamic, Random random)
    : store_(store), settings_(settings), random_(random) {
  auto table = std::make_shared<TopicTable>();
  table->settings_ = &settings_;
  table->dynamic_ = std::move(dynamic);
  set_policies(table->dynamic_);
  for (const auto& topic : store.topics()) {
    auto state = make_state(topic, table->defaults(), nullptr);
    table->by_id_.emplace(state->id(), state);
    table->by_name_.emplace(state->name(), std::move(state));
  }
  MutexLock lock(mutex_);
  table_ = std::move(table);
}

std::shared_ptr<const TopicTable> Topics::snapshot() const {
  MutexLock lock(mutex_);
  return table_;
}

std::shared_ptr<const TopicState> Topics::make_state(std::shared_ptr<const log::Topic> topic,
                                                     const ConfigDefaults& defaults, const TopicState* known) {
  TopicState state{.topic = topic,
                   .config = parse_topic_config(topic->info.config, defaults),
                   .internal = is_internal_topic(topic->info.name),
                   .traffic = known == nullptr ? std::make_shared<TopicTraffic>() : known->traffic};
  return std::make_shared<const TopicState>(std::move(state));
}

Result<std::shared_ptr<const TopicState>> Topics::create(const std::string& name, int32_t partitions,
                                                         std::map<std::string, std::string> config) {
  log::TopicInfo info{.name = name, .id = {}, .partitions = partitions, .config = std::move(config)};
  {
    MutexLock lock(mutex_);
    info.id = Uuid::random(random_);
  }
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, store_.create_topic(info));
  MutexLock lock(mutex_);
  return put(topic, nullptr);
}

std::shared_ptr<const TopicState> Topics::put(const std::shared_ptr<const log::Topic>& topic, const TopicState* known) {
  auto state = make_state(topic, table_->defaults(), known);
  auto changed = std::make_shared<TopicTable>(*table_);
  changed->by_name_.insert_or_assign(state->name(), state);
  changed->by_id_.insert_or_assign(state->id(), state);
  table_ = std::move(changed);
  return state;
}

Status Topics::update(const std::shared_ptr<const log::Topic>& topic) {
  MutexLock lock(mutex_);
  const auto known = table_->find(topic->info.id);
  if (known == nullptr) return fail(Errc::kNotFound, "topic '" + topic->info.name + "' does not exist");
  put(topic, known.get());
  return {};
}

Result<std::shared_ptr<const TopicState>> Topics::create_internal(std::string_view name) {
  if (name == kRebalancesTopic) {
    return create(std::string(name), 1,
                  {{"cleanup.policy", "delete"},
                   {"retention.ms", "2592000000"},  // 30 days
                   {"retention.bytes", "67108864"}});
  }
  const int64_t partitions =
      name == kOffsetsTopic ? settings_.offsets_topic_partitions : settings_.transactions_topic_partitions;
  // As Kafka makes them: compacted, in segments of 100 MB, whatever the broker's defaults are.
  return create(std::string(name), static_cast<int32_t>(partitions),
                {{"cleanup.policy", "compact"}, {"segment.bytes", "104857600"}, {"compression.type", "producer"}});
}

Status Topics::add_partitions(const std::string& name, int32_t count) {
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, store_.add_partitions(name, count));
  return update(topic);
}

Status Topics::remove(const std::string& name) {
  const auto state = snapshot()->find(name);
  if (!state) return fail(Errc::kNotFound, "topic '" + name + "' does not exist");
  // First in the store, which may refuse: then nothing has changed. Whoever finds it in the table until it leaves that,
  // too, is told by its log that it is gone.
  MILLRACE_RETURN_IF_ERROR(store_.delete_topic(name));
  MutexLock lock(mutex_);
  auto changed = std::make_shared<TopicTable>(*table_);
  // By now another of that name may have been made.
  if (changed->find(name) == state) changed->by_name_.erase(name);
  changed->by_id_.erase(state->id());
  table_ = std::move(changed);
  return {};
}

Status Topics::configure(const std::string& name, ConfigTexts config) {
  MILLRACE_ASSIGN_OR_RETURN(const auto topic, store_.set_topic_config(name, std::move(config)));
  return update(topic);
}

void Topics::set_dynamic(DynamicSettings dynamic) {
  set_policies(dynamic);
  MutexLock lock(mutex_);
  auto changed = std::make_shared<TopicTable>(*table_);
  changed->dynamic_ = std::move(dynamic);
  for (auto& [name, state] : changed->by_name_) {
    state = make_state(state->topic, changed->defaults(), state.get());
    changed->by_id_.insert_or_assign(state->id(), state);
  }
  table_ = std::move(changed);
}

void Topics::set_policies(const DynamicSettings& dynamic) {
  store_.set_policies([&settings = settings_, dynamic](const log::TopicInfo& topic) {
    return parse_topic_policy(topic.config, {settings, dynamic});
  });
}

std::vector<TopicStats> Topics::stats() const {
  std::vector<TopicStats> stats;
  for (const auto& [name, state] : snapshot()->all())
    stats.push_back({.name = name,
                     .internal = state->internal,
                     .partitions = state->partitions(),
                     .records_in = state->traffic->records_in.value(),
                     .bytes_in = state->traffic->bytes_in.value(),
                     .records_out = state->traffic->records_out.value(),
                     .bytes_out = state->traffic->bytes_out.value()});
  return stats;
}

}  // namespace millrace::broker
