#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "base/logging.h"
#include "log/internal/store_impl.h"

namespace millrace::log {

namespace {

constexpr std::string_view kFormatPrefix = "millrace-data ";
constexpr std::string_view kFormatVersion = "1";
constexpr uint64_t kFormatBytesMax = 4096;

// "millrace-data <version>\ncluster <id>\n": the version alone where it is not ours.
Result<Uuid> parse_format(std::string_view text, const std::string& path) {
  const size_t line = text.find('\n');
  if (!text.starts_with(kFormatPrefix) || line == text.npos) {
    return fail(Errc::kCorruption, fmt::format("{} is not a format file", path));
  }
  const std::string_view version = text.substr(kFormatPrefix.size(), line - kFormatPrefix.size());
  if (version != kFormatVersion) {
    return fail(
        Errc::kConflict,
        fmt::format("{}: the data folder is of version {}, this program reads {}", path, version, kFormatVersion),
        "use the program that wrote it, or another data folder");
  }
  std::string_view rest = text.substr(line + 1);
  constexpr std::string_view kCluster = "cluster ";
  if (!rest.starts_with(kCluster) || !rest.ends_with('\n')) {
    return fail(Errc::kCorruption, fmt::format("{} names no cluster", path));
  }
  rest.remove_prefix(kCluster.size());
  rest.remove_suffix(1);
  const auto cluster = Uuid::parse(rest);
  if (!cluster) return fail(Errc::kCorruption, fmt::format("{} names no cluster: {}", path, cluster.error().message));
  return *cluster;
}

}  // namespace

Status Store::Impl::open(Random& random) {
  bool is_new = false;
  {
    MutexLock lock(tidy_mutex_);
    cleaner_random_ = random.fork();
  }
  MILLRACE_RETURN_IF_ERROR(open_folder(random, is_new));
  MILLRACE_RETURN_IF_ERROR(recover());
  if (is_new) {
    // Last of all: where it is, the rest has to be.
    const std::string format =
        fmt::format("{}{}\ncluster {}\n", kFormatPrefix, kFormatVersion, cluster_id_.to_string());
    MILLRACE_RETURN_IF_ERROR(env::write_file_atomically(files_, path("FORMAT"), as_byte_view(format)));
  }
  if (!options_.single_threaded) background_ = std::thread([this] { run_background(); });
  is_open_ = true;
  return {};
}

Status Store::Impl::open_folder(Random& random, bool& is_new) {
  MILLRACE_RETURN_IF_ERROR(files_.make_directories(options_.dir));
  MILLRACE_ASSIGN_OR_RETURN(lock_, files_.lock(path("LOCK")));
  MILLRACE_ASSIGN_OR_RETURN(const bool exists, files_.exists(path("FORMAT")));
  is_new = !exists;
  if (is_new) return make_folder(random);
  for (const char* part : {"checkpoint", "wal", "topics"}) {
    MILLRACE_ASSIGN_OR_RETURN(const bool is_there, files_.exists(path(part)));
    if (is_there) continue;
    return fail(Errc::kCorruption, fmt::format("{} is missing", path(part)),
                "restore the data folder from a copy; starting without it would lose acknowledged records");
  }
  MILLRACE_ASSIGN_OR_RETURN(const Bytes format, env::read_file(files_, path("FORMAT"), kFormatBytesMax));
  MILLRACE_ASSIGN_OR_RETURN(cluster_id_, parse_format(as_text(format), path("FORMAT")));
  return {};
}

Status Store::Impl::make_folder(Random& random) {
  // Without a format file there may only be what a start that did not get this far has left.
  if (files_.exists(path("topics")).value_or(false)) {
    MILLRACE_ASSIGN_OR_RETURN(const auto entries, files_.list(path("topics")));
    if (!entries.empty()) {
      return fail(Errc::kCorruption, fmt::format("{} holds topics, but no FORMAT file", options_.dir),
                  "restore the data folder from a copy, or use another one");
    }
  }
  cluster_id_ = Uuid::random(random);
  MILLRACE_RETURN_IF_ERROR(files_.remove_all(path("wal")));
  MILLRACE_RETURN_IF_ERROR(files_.make_directories(path("wal")));
  MILLRACE_RETURN_IF_ERROR(files_.make_directories(path("topics")));
  // Recovery expects a file at the checkpoint's position: an empty one, which the log then replaces.
  MILLRACE_RETURN_IF_ERROR(files_.open(path("wal/" + wal_file_name(0)), env::OpenMode::kCreateEmpty));
  MILLRACE_RETURN_IF_ERROR(files_.sync_directory(path("wal")));
  MILLRACE_RETURN_IF_ERROR(files_.sync_directory(options_.dir));
  const std::string parent = env::parent_directory(options_.dir);
  if (parent != ".") MILLRACE_RETURN_IF_ERROR(files_.sync_directory(parent));
  return write_checkpoint(files_, path("checkpoint"), {});
}

// The topics that exist at the end of the write-ahead log, and where that is; the files of those it deletes are
// removed.
Result<Store::Impl::RecoveredTopics> Store::Impl::recover_topics(const CheckpointContent& checkpoint, uint64_t& end) {
  RecoveredTopics topics;
  for (const TopicSnapshot& topic : checkpoint.topics) topics[topic.number] = {topic.info, topic.partitions, {}};
  uint32_t next_number = checkpoint.next_topic_number;
  std::vector<TopicInfo> deleted;
  uint64_t entries = 0;
  const auto visit = [&](const WalEntry& entry) -> Status {
    ++entries;
    switch (entry.type) {
      case WalEntryType::kBatches:
        return {};
      case WalEntryType::kBatchInSegment: {
        const auto it = topics.find(entry.topic);
        if (it == topics.end()) return {};
        Offset& end = it->second.ahead[entry.partition].batches_in[entry.segment];
        end = std::max(end, record::BatchView::of_header(entry.body).last_offset() + 1);
        return {};
      }
      case WalEntryType::kCreateTopic: {
        MILLRACE_ASSIGN_OR_RETURN(TopicInfo info, decode_topic(entry.body));
        next_number = std::max(next_number, entry.topic + 1);
        topics.try_emplace(entry.topic, Recovered{std::move(info), {}, {}});
        return {};
      }
      case WalEntryType::kDeleteTopic: {
        const auto it = topics.find(entry.topic);
        if (it == topics.end()) return {};
        deleted.push_back(std::move(it->second.info));
        topics.erase(it);
        return {};
      }
      case WalEntryType::kAddPartitions: {
        const auto it = topics.find(entry.topic);
        if (it == topics.end()) return {};
        if (entry.partitions < 1 || entry.partitions > kPartitionsMax) {
          return fail(Errc::kCorruption, fmt::format("a topic of {} partitions", entry.partitions));
        }
        it->second.info.partitions = std::max(it->second.info.partitions, entry.partitions);
        return {};
      }
      case WalEntryType::kTopicConfig: {
        MILLRACE_ASSIGN_OR_RETURN(auto config, decode_config(entry.body));
        if (const auto it = topics.find(entry.topic); it != topics.end()) it->second.info.config = std::move(config);
        return {};
      }
      case WalEntryType::kAdvanceLogStart: {
        const auto it = topics.find(entry.topic);
        if (it == topics.end()) return {};
        Offset& start = it->second.ahead[entry.partition].log_start;
        start = std::max(start, entry.log_start);
        return {};
      }
    }
    return {};
  };
  MILLRACE_ASSIGN_OR_RETURN(end, read_wal(files_, path("wal"), checkpoint.position, visit));
  MILLRACE_RETURN_IF_ERROR(remove_directories(deleted, topics));
  recovered_from_crash_ = entries > 0;
  MutexLock lock(changes_mutex_);
  next_topic_number_ = next_number;
  return topics;
}

Status Store::Impl::remove_directories(const std::vector<TopicInfo>& deleted, const RecoveredTopics& living) {
  const auto directory_of = [&](const TopicInfo& info, int32_t partition) {
    return path(fmt::format("topics/{}-{}", info.name, partition));
  };
  // One of the same name that lives was made later: the write-ahead log has everything that was written to it, or says
  // that its directory has.
  std::set<std::string> needed;
  for (const auto& [number, topic] : living) {
    for (const auto& [partition, ahead] : topic.ahead) {
      if (!ahead.batches_in.empty()) needed.insert(directory_of(topic.info, partition));
    }
  }
  for (const TopicInfo& info : deleted) {
    for (int32_t p = 0; p < info.partitions; ++p) {
      const std::string directory = directory_of(info, p);
      if (!needed.contains(directory)) MILLRACE_RETURN_IF_ERROR(files_.remove_all(directory));
    }
  }
  return {};
}

Status Store::Impl::recover() {
  MILLRACE_ASSIGN_OR_RETURN(const CheckpointContent checkpoint, read_checkpoint(files_, path("checkpoint")));
  uint64_t end = 0;
  MILLRACE_ASSIGN_OR_RETURN(const RecoveredTopics recovered, recover_topics(checkpoint, end));
  std::map<uint32_t, std::shared_ptr<const Topic>> by_number;
  for (const auto& [number, topic] : recovered) {
    const auto made = std::make_shared<Topic>(Topic{.info = topic.info, .partitions = {}});
    make_partitions(number, *made);
    for (size_t p = 0; p < made->partitions.size(); ++p) {
      const PartitionSnapshot fresh{.epochs = {{}}};
      const auto ahead = topic.ahead.find(static_cast<int32_t>(p));
      MILLRACE_RETURN_IF_ERROR(
          made->partitions[p]->impl().restore(p < topic.partitions.size() ? topic.partitions[p] : fresh,
                                              ahead == topic.ahead.end() ? WalAhead{} : ahead->second));
    }
    by_number[number] = made;
  }
  const auto visit = [&](const WalEntry& entry) -> Status {
    const bool is_of_partition = entry.type == WalEntryType::kBatches || entry.type == WalEntryType::kBatchInSegment ||
                                 entry.type == WalEntryType::kAdvanceLogStart;
    if (!is_of_partition) return {};
    const auto it = by_number.find(entry.topic);
    if (it == by_number.end()) return {};  // deleted later
    const auto& partitions = it->second->partitions;
    if (entry.partition < 0 || static_cast<size_t>(entry.partition) >= partitions.size()) {
      return fail(Errc::kCorruption,
                  fmt::format("topic {} has no partition {}", it->second->info.name, entry.partition));
    }
    PartitionLog& log = partitions[static_cast<size_t>(entry.partition)]->impl();
    if (entry.type == WalEntryType::kBatchInSegment) return log.replay_from_segment(entry);
    return entry.type == WalEntryType::kBatches ? log.replay(entry.body) : log.replay_log_start(entry.log_start);
  };
  MILLRACE_RETURN_IF_ERROR(read_wal(files_, path("wal"), checkpoint.position, visit, end));
  for (const auto& [number, topic] : by_number) {
    for (const auto& partition : topic->partitions) {
      MILLRACE_RETURN_IF_ERROR(partition->impl().finish_recovery(recovered_from_crash_));
    }
    publish_topic(topic);
  }
  {
    MutexLock lock(background_mutex_);
    checkpoint_position_ = checkpoint.position;
    wal_end_ = end;
    // A checkpoint is due at once, so that what was replayed is not replayed again. Nobody waits for it.
    if (recovered_from_crash_) dirty_since_ = clock_.mono_now() - options_.checkpoint_interval;
  }
  MILLRACE_RETURN_IF_ERROR(remove_leftovers());
  return wal_.start(end, !recovered_from_crash_);
}

Status Store::Impl::remove_leftovers() {
  MILLRACE_ASSIGN_OR_RETURN(const auto entries, files_.list(path("topics")));
  MutexLock lock(background_mutex_);
  for (const auto& entry : entries) {
    if (entry.is_directory && entry.name.ends_with("-delete"))
      removals_.push_back({nullptr, {path("topics/" + entry.name)}});
  }
  return {};
}

}  // namespace millrace::log
