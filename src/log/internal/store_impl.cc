#include "log/internal/store_impl.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "base/logging.h"
#include "log/topic_name.h"

namespace millrace::log {

namespace {

Status check_topic(const TopicInfo& info) {
  MILLRACE_RETURN_IF_ERROR(check_topic_name(info.name));
  if (info.partitions < 1 || info.partitions > kPartitionsMax) {
    return fail(Errc::kInvalidArgument, fmt::format("topic {} cannot have {} partitions", info.name, info.partitions),
                fmt::format("1 to {}", kPartitionsMax));
  }
  if (info.id.is_zero()) return fail(Errc::kInvalidArgument, fmt::format("topic {} has no id", info.name));
  return {};
}

}  // namespace

Store::Impl::Impl(const StoreOptions& options, env::FileSystem& files, const Clock& clock)
    : options_(options),
      files_(files),
      clock_(clock),
      wal_({.directory = path("wal"),
            .file_bytes = padded_frame_bytes(std::max<uint64_t>(options.wal_file_bytes, kWalBlockBytes)),
            .buffer_bytes = options.wal_buffer_bytes,
            .reserve_bytes = std::min<uint64_t>(1u << 20, options.wal_file_bytes / 4),
            .single_threaded = options.single_threaded},
           files, clock,
           {.wants_spare =
                [this] {
                  MutexLock lock(background_mutex_);
                  spare_wanted_ = true;
                  background_wake_.notify_one();
                },
            .synced = [this](uint64_t end) { wal_synced(end); },
            .failed = [this](const Error& error) { failed(error); }}),
      shared_(std::make_shared<PartitionLog::Shared>(options_, files_, clock_, wal_)) {
  shared_->closed_to_compact = [this] {
    MutexLock lock(housekeeping_mutex_);
    if (!std::exchange(closed_to_compact_, true)) housekeeping_wake_.notify_one();
  };
  {
    MutexLock lock(background_mutex_);
    checkpointed_at_ = clock.mono_now();
  }
  shared_->remove_later = [this](std::shared_ptr<Partition> partition, std::vector<std::string> paths) {
    remove_later({std::move(partition), std::move(paths)});
  };
}

Store::Impl::~Impl() { static_cast<void>(close()); }

Status Store::Impl::close() {
  {
    MutexLock lock(background_mutex_);
    if (std::exchange(closed_, true)) return {};
    stopping_ = true;
    background_wake_.notify_one();
  }
  // Whoever takes a checkpoint now stops at its next segment.
  wal_.refuse();
  abandon_checkpoint_ = true;
  if (housekeeping_.joinable()) {
    {
      MutexLock lock(housekeeping_mutex_);
      housekeeping_ends_ = true;
      housekeeping_wake_.notify_one();
    }
    housekeeping_.join();
  }
  if (!is_open_) {  // open() failed
    wal_.stop();
    return {};
  }
  if (background_.joinable()) background_.join();
  abandon_checkpoint_ = false;
  const Status last =
      unsynced_bytes() <= options_.closing_checkpoint_bytes ? checkpoint() : wal_.flush().map([](uint64_t) {});
  wal_.stop();
  lock_.reset();
  return last;
}

uint64_t Store::Impl::unsynced_bytes() {
  MutexLock lock(background_mutex_);
  return wal_end_ - checkpoint_position_;
}

uint64_t Store::Impl::replayable_bytes() {
  return wal_end_ - checkpoint_position_ + wal_.bytes_in_segments() - checkpoint_in_segments_;
}

void Store::Impl::make_partitions(uint32_t number, Topic& topic) {
  const TopicInfo& info = topic.info;
  for (auto i = static_cast<int32_t>(topic.partitions.size()); i < info.partitions; ++i) {
    auto log = std::make_unique<PartitionLog>(
        shared_, PartitionLog::Identity{
                     .topic = info.name, .topic_id = info.id, .topic_number = number, .partition = PartitionId{i}});
    topic.partitions.push_back(std::make_shared<Partition>(std::move(log)));
    topic.partitions.back()->impl().set_handle(topic.partitions.back());
  }
}

void Store::Impl::publish_topic(const std::shared_ptr<const Topic>& topic) {
  MutexLock lock(topics_mutex_);
  by_name_[topic->info.name] = topic;
  by_id_[topic->info.id] = topic;
}

Result<std::shared_ptr<const Topic>> Store::Impl::create_topic(const TopicInfo& info) {
  MILLRACE_RETURN_IF_ERROR(check_topic(info));
  MutexLock changes(changes_mutex_);
  if (find_topic(info.name) != nullptr) {
    return fail(Errc::kAlreadyExists, fmt::format("topic {} exists already", info.name));
  }
  if (find_topic(info.id) != nullptr) {
    return fail(Errc::kAlreadyExists, fmt::format("a topic with id {} exists already", info.id.to_string()));
  }
  Bytes encoded;
  encode_topic(info, encoded);
  const WalEntry entry{.type = WalEntryType::kCreateTopic, .topic = next_topic_number_, .body = encoded};
  MILLRACE_RETURN_IF_ERROR(wal_.admit(encoded_size(entry), false));
  auto topic = std::make_shared<Topic>(Topic{.info = info, .partitions = {}});
  make_partitions(next_topic_number_++, *topic);
  apply_policy(*topic);
  MILLRACE_RETURN_IF_ERROR(wal_.wait_durable(wal_.append(entry, nullptr, Offset{0})));
  publish_topic(topic);
  return topic;
}

Result<std::shared_ptr<const Topic>> Store::Impl::add_partitions(const std::string& name, int32_t count) {
  MutexLock changes(changes_mutex_);
  const auto topic = find_topic(name);
  if (topic == nullptr) return fail(Errc::kNotFound, fmt::format("there is no topic {}", name));
  if (count <= topic->info.partitions || count > kPartitionsMax) {
    return fail(Errc::kInvalidArgument,
                fmt::format("topic {} has {} partitions and cannot have {}", name, topic->info.partitions, count),
                fmt::format("more than it has, at most {}", kPartitionsMax));
  }
  const uint32_t number = topic->partitions.front()->impl().identity().topic_number;
  const WalEntry entry{.type = WalEntryType::kAddPartitions, .topic = number, .partitions = count};
  MILLRACE_RETURN_IF_ERROR(wal_.admit(encoded_size(entry), false));
  auto grown = std::make_shared<Topic>(*topic);
  grown->info.partitions = count;
  make_partitions(number, *grown);
  apply_policy(*grown);
  MILLRACE_RETURN_IF_ERROR(wal_.wait_durable(wal_.append(entry, nullptr, Offset{0})));
  publish_topic(grown);
  return grown;
}

Result<std::shared_ptr<const Topic>> Store::Impl::set_topic_config(const std::string& name,
                                                                   std::map<std::string, std::string> config) {
  MutexLock changes(changes_mutex_);
  const auto topic = find_topic(name);
  if (topic == nullptr) return fail(Errc::kNotFound, fmt::format("there is no topic {}", name));
  Bytes encoded;
  encode_config(config, encoded);
  const uint32_t number = topic->partitions.front()->impl().identity().topic_number;
  const WalEntry entry{.type = WalEntryType::kTopicConfig, .topic = number, .body = encoded};
  // From the reserve, too: a shorter retention is what helps when the disk is full.
  MILLRACE_RETURN_IF_ERROR(wal_.admit(encoded_size(entry), true));
  auto changed = std::make_shared<Topic>(*topic);
  changed->info.config = std::move(config);
  MILLRACE_RETURN_IF_ERROR(wal_.wait_durable(wal_.append(entry, nullptr, Offset{0})));
  apply_policy(*changed);
  publish_topic(changed);
  return changed;
}

Status Store::Impl::delete_topic(const std::string& name) {
  MutexLock changes(changes_mutex_);
  const auto topic = find_topic(name);
  if (topic == nullptr) return fail(Errc::kNotFound, fmt::format("there is no topic {}", name));
  const uint32_t number = topic->partitions.front()->impl().identity().topic_number;
  const WalEntry entry{.type = WalEntryType::kDeleteTopic, .topic = number, .body = {}};
  MILLRACE_RETURN_IF_ERROR(wal_.admit(encoded_size(entry), true));
  MILLRACE_RETURN_IF_ERROR(wal_.wait_durable(wal_.append(entry, nullptr, Offset{0})));
  {
    MutexLock lock(topics_mutex_);
    by_name_.erase(name);
    by_id_.erase(topic->info.id);
  }
  Removal leaving;
  for (const auto& partition : topic->partitions) {
    partition->impl().mark_deleted();
    const std::string& directory = partition->impl().directory();
    std::string renamed = fmt::format("{}.{}-delete", directory, topic->info.id.to_string());
    const Status moved = files_.rename(directory, renamed);
    if (moved) {
      leaving.paths.push_back(std::move(renamed));
    } else if (moved.error().code != Errc::kNotFound) {
      log_warning("log", "topic {} is deleted, but its files stay: {}", name, moved.error().message);
    }
  }
  remove_later(std::move(leaving));
  return {};
}

std::vector<std::shared_ptr<const Topic>> Store::Impl::topics() const {
  MutexLock lock(topics_mutex_);
  std::vector<std::shared_ptr<const Topic>> all;
  all.reserve(by_name_.size());
  for (const auto& [name, topic] : by_name_) all.push_back(topic);
  return all;
}

std::shared_ptr<const Topic> Store::Impl::find_topic(std::string_view name) const {
  MutexLock lock(topics_mutex_);
  const auto it = by_name_.find(name);
  return it == by_name_.end() ? nullptr : it->second;
}

std::shared_ptr<const Topic> Store::Impl::find_topic(const Uuid& id) const {
  MutexLock lock(topics_mutex_);
  const auto it = by_id_.find(id);
  return it == by_id_.end() ? nullptr : it->second;
}

// The analysis cannot follow a number of locks that is known only at run time.
[[clang::no_thread_safety_analysis]] std::vector<Result<Appended>> Store::Impl::append_all(std::span<const Item> items,
                                                                                           Room* room) {
  const auto refuse_all = [&](const Error& error) {
    return std::vector<Result<Appended>>(items.size(), Result<Appended>(tl::unexpected(error)));
  };
  std::vector<PartitionLog*> ordered;
  for (const Item& item : items) ordered.push_back(&item.partition->impl());
  std::ranges::sort(ordered);
  if (std::ranges::adjacent_find(ordered) != ordered.end()) {
    return refuse_all({Errc::kInvalidArgument, "a partition may be there only once", {}});
  }
  // Always in the order of their addresses, so that two callers cannot wait for each other.
  std::vector<std::unique_ptr<MutexLock>> locks;
  for (PartitionLog* log : ordered) locks.push_back(std::make_unique<MutexLock>(log->append_mutex()));

  std::vector<PartitionLog::Plan> plans(items.size());
  std::vector<Result<Appended>> results;
  bool refused = false;
  AppendOptions together{.from_reserve = !items.empty(), .room = room};
  size_t bytes = 0;
  for (size_t i = 0; i < items.size(); ++i) {
    PartitionLog& log = items[i].partition->impl();
    const Status prepared = log.prepare(items[i].batches, items[i].options, plans[i]);
    if (prepared) {
      results.emplace_back(plans[i].result);
      const AppendOutcome outcome = plans[i].result.outcome;
      refused |= outcome != AppendOutcome::kAppended && outcome != AppendOutcome::kDuplicate;
      bytes += log.wal_bytes(plans[i]);
      together.from_reserve &= items[i].options.from_reserve;
      if (items[i].options.when_full == WhenFull::kRefuse) together.when_full = WhenFull::kRefuse;
    } else {
      results.emplace_back(tl::unexpected(prepared.error()));
      refused = true;
    }
  }
  if (!refused && bytes > 0) {
    const Result<bool> admitted = wal_.admit(bytes, together);
    if (!admitted) return refuse_all(admitted.error());
    if (!*admitted) return {items.size(), Result<Appended>(Appended{.outcome = AppendOutcome::kNoRoom})};
    const Wal::Hold hold(wal_);
    for (size_t i = 0; i < items.size(); ++i) {
      items[i].partition->impl().commit(plans[i]);
      results[i] = plans[i].result;
    }
  }
  if (!refused) return results;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!plans[i].batches.empty()) {
      results[i] = fail(Errc::kCancelled, "another partition of the same append was refused");
    }
  }
  return results;
}

void Store::Impl::set_fatal_callback(std::function<void(const Error&)> callback) {
  MutexLock lock(background_mutex_);
  fatal_callback_ = std::move(callback);
}

void Store::Impl::failed(const Error& error) {
  failed_ = true;
  std::function<void(const Error&)> callback;
  {
    MutexLock lock(background_mutex_);
    callback = fatal_callback_;
  }
  if (callback) callback(error);
}

Store::Statistics Store::Impl::statistics() {
  Statistics all;
  all.wal_sync_times = wal_.syncs();
  all.wal_syncs = all.wal_sync_times.count;
  all.wal_bytes = wal_.bytes_written();
  all.checkpoints = checkpoints_.value();
  all.checkpoints_failed = checkpoints_failed_.value();
  all.tails_bytes = shared_->tails_bytes.load(std::memory_order_relaxed);
  all.removed_segments = shared_->removed_segments.value();
  all.removed_bytes = shared_->removed_bytes.value();
  all.retention_runs = retention_runs_.value();
  all.retention_failures = retention_failures_.value();
  all.compactions = compactions_.value();
  all.compaction_failures = compaction_failures_.value();
  all.compacted_bytes = compacted_bytes_.value();
  all.compaction_removed_bytes = compaction_removed_bytes_.value();
  MutexLock lock(background_mutex_);
  all.wal_replayable_bytes = replayable_bytes();
  all.since_checkpoint = std::chrono::floor<std::chrono::microseconds>(clock_.mono_now() - checkpointed_at_);
  return all;
}

}  // namespace millrace::log
