#include "log/inspect.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/text.h"
#include "log/internal/checkpoint_file.h"
#include "log/internal/segment_inspection.h"
#include "log/internal/wal_format.h"

namespace millrace::log {

namespace {

constexpr const char* kRestoreHint = "restore the data folder from a copy";
constexpr uint64_t kSmallFileBytesMax = 64u << 20;

// What the write-ahead log says of a topic beyond the checkpoint, and of its partitions.
struct KnownPartition {
  std::optional<PartitionSnapshot> snapshot;
  Offset log_start{0};
  std::optional<Offset> wal_end;
  int64_t wal_records = 0;
  // Batches that the write-ahead log points at, by their last offset, and why they cannot be read.
  std::vector<std::pair<Offset, Error>> unreadable;
};

struct KnownTopic {
  TopicInfo info;
  std::map<int32_t, KnownPartition> partitions;
};

class FolderInspection {
 public:
  FolderInspection(env::FileSystem& files, std::string dir, const InspectOptions& options)
      : files_(files), dir_(std::move(dir)), options_(options) {}

  Result<FolderReport> run() {
    MILLRACE_RETURN_IF_ERROR(check_format());
    if (const auto room = files_.free_bytes(dir_)) report_.free_bytes = *room;
    if (!read_catalogue()) return std::move(report_);
    read_wal_entries();
    MILLRACE_RETURN_IF_ERROR(check_folders());
    measure();
    for (const auto& [number, topic] : topics_)
      for (int32_t partition = 0; partition < topic.info.partitions; ++partition)
        if (is_asked_for(topic.info.name, partition)) inspect_partition(topic, partition);
    std::ranges::sort(report_.partitions, [](const auto& a, const auto& b) {
      return std::tie(a.topic, a.partition) < std::tie(b.topic, b.partition);
    });
    return std::move(report_);
  }

 private:
  std::string path(std::string_view name) const { return env::join_path(dir_, name); }

  void add(Severity severity, std::string where, std::string what, std::string advice) {
    report_.findings.push_back({severity, std::move(where), std::move(what), std::move(advice)});
  }

  bool is_asked_for(const std::string& topic, int32_t partition) const {
    return (!options_.topic || *options_.topic == topic) && (!options_.partition || *options_.partition == partition);
  }

  Status check_format() {
    const auto text = env::read_file(files_, path("FORMAT"), kSmallFileBytesMax);
    if (!text && text.error().code == Errc::kNotFound)
      return fail(Errc::kNotFound, fmt::format("{} is no data folder: it has no FORMAT file", dir_),
                  "name one with --data FOLDER");
    MILLRACE_RETURN_IF_ERROR(text);
    constexpr std::string_view kPrefix = "millrace-data ";
    const std::string_view first = split(as_text(*text), '\n').front();
    if (!first.starts_with(kPrefix)) {
      add(Severity::kDamage, path("FORMAT"), "is not a format file", kRestoreHint);
    } else if (first.substr(kPrefix.size()) != "1") {
      return fail(Errc::kConflict,
                  fmt::format("{}: the data folder is of version {}, this program reads 1", path("FORMAT"),
                              first.substr(kPrefix.size())),
                  "use the program that wrote it");
    }
    return {};
  }

  bool read_catalogue() {
    auto checkpoint = read_checkpoint(files_, path("checkpoint"));
    if (!checkpoint) {
      add(Severity::kDamage, path("checkpoint"), checkpoint.error().message, kRestoreHint);
      return false;
    }
    wal_from_ = checkpoint->position;
    for (TopicSnapshot& topic : checkpoint->topics) {
      KnownTopic& known = topics_[topic.number];
      known.info = std::move(topic.info);
      int32_t number = 0;
      for (PartitionSnapshot& partition : topic.partitions) {
        auto& one = known.partitions[number++];
        one.log_start = partition.log_start_offset;
        one.snapshot = std::move(partition);
      }
    }
    return true;
  }

  void read_wal_entries() {
    const auto end = read_wal(files_, path("wal"), wal_from_, [this](const WalEntry& entry) { return note(entry); });
    if (!end) return add(Severity::kDamage, path("wal"), end.error().message, end.error().hint);
    report_.wal_bytes = *end - wal_from_;
  }

  Status note(const WalEntry& entry) {
    if (entry.type == WalEntryType::kCreateTopic) {
      MILLRACE_ASSIGN_OR_RETURN(TopicInfo info, decode_topic(entry.body));
      topics_.try_emplace(entry.topic, KnownTopic{std::move(info), {}});
      return {};
    }
    const auto it = topics_.find(entry.topic);
    if (it == topics_.end()) return {};
    KnownTopic& topic = it->second;
    switch (entry.type) {
      case WalEntryType::kBatches:
        return note_batches(topic, entry);
      case WalEntryType::kBatchInSegment:
        return note_batch_in_segment(topic, entry);
      case WalEntryType::kDeleteTopic:
        deleted_.insert(topic.info.name);
        topics_.erase(it);
        return {};
      case WalEntryType::kAddPartitions:
        topic.info.partitions = std::max(topic.info.partitions, entry.partitions);
        return {};
      case WalEntryType::kAdvanceLogStart: {
        Offset& start = topic.partitions[entry.partition].log_start;
        start = std::max(start, entry.log_start);
        return {};
      }
      case WalEntryType::kCreateTopic:
      case WalEntryType::kTopicConfig:
        return {};
    }
    return {};
  }

  Status note_batch_in_segment(KnownTopic& topic, const WalEntry& entry) {
    KnownPartition& partition = topic.partitions[entry.partition];
    const auto header = record::BatchView::of_header(entry.body);
    if (partition.snapshot && header.last_offset() < partition.snapshot->log_end_offset) return {};
    note_batch(topic, entry.partition, header);
    const auto bytes = read_batch_in_segment(files_, directory(topic.info.name, entry.partition), entry);
    if (!bytes) partition.unreadable.push_back({header.last_offset(), bytes.error()});
    return {};
  }

  // In the write-ahead log and not in the checkpoint.
  void note_batch(KnownTopic& topic, int32_t number, const record::BatchView& batch) {
    KnownPartition& partition = topic.partitions[number];
    const Offset durable = partition.snapshot ? partition.snapshot->log_end_offset : Offset{0};
    const Offset expected = partition.wal_end.value_or(durable);
    if (batch.base_offset() != expected)
      add(Severity::kDamage, fmt::format("{}-{} in {}", topic.info.name, number, path("wal")),
          fmt::format("offset {} follows {}", batch.base_offset().value(), expected.value() - 1), kRestoreHint);
    partition.wal_end = batch.last_offset() + 1;
    partition.wal_records += batch.record_count();
  }

  Status note_batches(KnownTopic& topic, const WalEntry& entry) {
    KnownPartition& partition = topic.partitions[entry.partition];
    const Offset durable = partition.snapshot ? partition.snapshot->log_end_offset : Offset{0};
    record::BatchReader reader(entry.body);
    while (true) {
      MILLRACE_ASSIGN_OR_RETURN(const auto batch, reader.next());
      if (!batch) return {};
      const std::string where = fmt::format("{}-{} in {}", topic.info.name, entry.partition, path("wal"));
      if (!batch->checksum_matches())
        add(Severity::kDamage, where,
            fmt::format("the checksum of the batch of offset {} is wrong", batch->base_offset().value()), kRestoreHint);
      if (batch->last_offset() >= durable) note_batch(topic, entry.partition, *batch);
    }
  }

  // Folders without a partition, and other files that nobody asks for.
  Status check_folders() {
    std::set<std::string> wanted;
    for (const auto& [number, topic] : topics_)
      for (int32_t partition = 0; partition < topic.info.partitions; ++partition)
        wanted.insert(fmt::format("{}-{}", topic.info.name, partition));
    MILLRACE_ASSIGN_OR_RETURN(const auto entries, files_.list(path("topics")));
    for (const auto& entry : entries) {
      const std::string where = env::join_path(path("topics"), entry.name);
      const auto parsed = parse_partition_folder(entry.name);
      if (wanted.contains(entry.name)) continue;
      if (entry.name.ends_with("-delete") || (parsed && deleted_.contains(parsed->first)))
        add(Severity::kNote, where, "belongs to a deleted topic", "nothing: the next start removes it");
      else
        add(Severity::kWarning, where, "belongs to no topic", "move it away if nobody needs it");
    }
    return {};
  }

  // How much there is to read, for progress.
  void measure() {
    for (const auto& [number, topic] : topics_)
      for (const auto& [partition, known] : topic.partitions)
        if (known.snapshot && is_asked_for(topic.info.name, partition))
          for (const auto& [base, size] : segments_of(directory(topic.info.name, partition))) total_bytes_ += size;
  }

  std::string directory(const std::string& topic, int32_t partition) const {
    return env::join_path(path("topics"), fmt::format("{}-{}", topic, partition));
  }

  std::map<Offset, uint64_t> segments_of(const std::string& directory) const {
    std::map<Offset, uint64_t> found;
    const auto entries = files_.list(directory);
    if (!entries) return found;
    for (const auto& entry : *entries) {
      const auto base = base_offset_of(entry.name);
      if (!base || !entry.name.ends_with(kLogSuffix)) continue;
      const auto file = files_.open(env::join_path(directory, entry.name), env::OpenMode::kRead);
      found[*base] = file ? (*file)->size().value_or(0) : 0;
    }
    return found;
  }

  void inspect_partition(const KnownTopic& topic, int32_t number) {
    PartitionReport& report = report_.partitions.emplace_back();
    report.topic = topic.info.name;
    report.partition = number;
    const auto it = topic.partitions.find(number);
    if (it != topic.partitions.end()) {
      const KnownPartition& known = it->second;
      report.wal_records = known.wal_records;
      report.begin = known.log_start;
      report.end = known.log_start;
      if (known.snapshot && known.snapshot->has_directory && known.log_start < known.snapshot->log_end_offset)
        inspect_files(topic, *known.snapshot, report);
      report.records += known.wal_records;
      for (const auto& [last_offset, error] : known.unreadable) {
        // What lies before the log start may be gone.
        if (last_offset >= known.log_start)
          report.findings.push_back(
              {Severity::kDamage, directory(topic.info.name, number), error.message, kRestoreHint});
      }
      if (known.wal_end) report.end = *known.wal_end;
    }
  }

  void inspect_files(const KnownTopic& topic, const PartitionSnapshot& snapshot, PartitionReport& report) {
    const std::string folder = directory(report.topic, report.partition);
    const auto note = [&](Severity severity, std::string where, std::string what, std::string advice) {
      report.findings.push_back({severity, std::move(where), std::move(what), std::move(advice)});
    };
    const auto entries = files_.list(folder);
    if (!entries) return note(Severity::kDamage, folder, entries.error().message, kRestoreHint);
    for (const auto& entry : *entries) check_name(env::join_path(folder, entry.name), entry.name, report);
    check_metadata(topic, folder, report);

    const auto segments = segments_of(folder);
    auto first = segments.upper_bound(report.begin);
    if (first == segments.begin())
      return note(Severity::kDamage, folder, fmt::format("lacks the segment of offset {}", report.begin.value()),
                  kRestoreHint);
    --first;
    // Batches are whole: what is before the log start in the first one counts for the file, not for readers.
    report.end = first->first;
    const Offset active = snapshot.active.base_offset;
    if (snapshot.active.bytes > 0 && !segments.contains(active))
      note(Severity::kDamage, segment_path(folder, active, kLogSuffix), "is missing", kRestoreHint);
    for (auto it = first; it != segments.end() && it->first <= active; ++it) {
      if (it->first > report.end && it != first)
        note(Severity::kDamage, segment_path(folder, it->first, kLogSuffix),
             fmt::format("offsets {} to {} are missing before it", report.end.value(), it->first.value() - 1),
             kRestoreHint);
      SegmentInspection segment{
          .directory = folder, .base_offset = it->first, .bytes = {}, .index_entries = {}, .time_index_entries = {}};
      if (it->first == active) {
        segment.bytes = snapshot.active.bytes;
        segment.index_entries = snapshot.active.index_entries;
        segment.time_index_entries = snapshot.active.time_index_entries;
      }
      inspect_segment(files_, segment, options_, report);
      done_bytes_ += it->second;
      if (options_.progress) options_.progress(done_bytes_, total_bytes_);
    }
    if (report.end < snapshot.log_end_offset)
      note(Severity::kDamage, folder,
           fmt::format("ends at offset {}, but was durable up to {}", report.end.value(),
                       snapshot.log_end_offset.value()),
           kRestoreHint);
    report.end = snapshot.log_end_offset;
  }

  static void check_name(const std::string& where, std::string_view name, PartitionReport& report) {
    static constexpr std::array kPlain = {std::string_view("leader-epoch-checkpoint"),
                                          std::string_view("partition.metadata")};
    static constexpr std::array kOfSegments = {kLogSuffix, kIndexSuffix, kTimeIndexSuffix, kTransactionIndexSuffix};
    if (std::ranges::find(kPlain, name) != kPlain.end()) return;
    const auto add = [&](Severity severity, std::string what, std::string advice) {
      report.findings.push_back({severity, where, std::move(what), std::move(advice)});
    };
    if (base_offset_of(name)) {
      const std::string_view suffix = name.substr(name.find('.'));
      if (std::ranges::find(kOfSegments, suffix) != kOfSegments.end()) return;
      if (suffix == kCleanedSuffix)
        return add(Severity::kNote, "compaction was interrupted", "nothing: the next start removes it");
      if (suffix == kSwapSuffix)
        return add(Severity::kNote, "compaction was interrupted", "nothing: the next start finishes it");
    }
    if (name.ends_with(".tmp")) return add(Severity::kNote, "was being written", "nothing: it is written anew");
    add(Severity::kWarning, "is no file of a partition", "move it away if nobody needs it");
  }

  void check_metadata(const KnownTopic& topic, const std::string& folder, PartitionReport& report) const {
    const std::string where = env::join_path(folder, "partition.metadata");
    const auto text = env::read_file(files_, where, kSmallFileBytesMax);
    const bool is_written = text && as_text(*text).find("topic_id:") != std::string_view::npos;
    if (!is_written) {
      report.findings.push_back(
          {Severity::kNote, where, "has no topic's id", "nothing: only Kafka's tools read it, and it is not synced"});
    } else if (as_text(*text).find(topic.info.id.to_string()) == std::string_view::npos) {
      report.findings.push_back(
          {Severity::kDamage, where,
           fmt::format("is of another topic than {}, whose id is {}", topic.info.name, topic.info.id.to_string()),
           kRestoreHint});
    }
  }

  env::FileSystem& files_;
  const std::string dir_;
  const InspectOptions& options_;
  FolderReport report_;
  uint64_t wal_from_ = 0;
  std::map<uint32_t, KnownTopic> topics_;  // by the store's number
  std::set<std::string> deleted_;
  uint64_t done_bytes_ = 0;
  uint64_t total_bytes_ = 0;
};

}  // namespace

Result<FolderReport> inspect_folder(env::FileSystem& files, const std::string& dir, const InspectOptions& options) {
  return FolderInspection(files, dir, options).run();
}

}  // namespace millrace::log
