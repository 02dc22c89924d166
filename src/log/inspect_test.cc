#include "log/inspect.h"

#include <gtest/gtest.h>

#include "log/internal/log_testing.h"

namespace millrace::log {
namespace {

// A folder with a topic of several segments, closed cleanly.
class Inspection : public ::testing::Test {
 protected:
  static constexpr int kBatches = 120;

  void SetUp() override {
    ASSERT_EQ(error_of(disk.open()), "");
    disk.make_topic("t", 2);
    for (int i = 0; i < kBatches; ++i)
      ASSERT_EQ(error_of(disk.append("t", {.values = {std::string(100, 'a'), std::to_string(i)},
                                           .timestamp_ms = 1000 + 10 * i,
                                           .options = {}})),
                "");
    ASSERT_EQ(error_of(disk.store->checkpoint()), "");
    ASSERT_EQ(error_of(disk.store->close()), "");
    disk.store.reset();
  }

  FolderReport inspect(const InspectOptions& options = {}) {
    return inspect_folder(disk.files, "/data", options).value();
  }

  static std::vector<Finding> problems(const FolderReport& report) {
    std::vector<Finding> all = report.findings;
    for (const auto& partition : report.partitions)
      all.insert(all.end(), partition.findings.begin(), partition.findings.end());
    std::erase_if(all, [](const Finding& finding) { return finding.severity == Severity::kNote; });
    return all;
  }

  void expect_well(const FolderReport& report) const {
    for (const auto& finding : problems(report)) ADD_FAILURE() << finding.where << ": " << finding.what;
  }

  std::string file(const std::string& name) const { return "/data/topics/t-0/" + name; }

  void write(const std::string& path, uint64_t position, std::string_view bytes) {
    auto opened = disk.files.open(path, env::OpenMode::kCreate).value();
    ASSERT_EQ(error_of(opened->write_at(position, as_byte_view(bytes))), "");
  }

  TestStore disk;
};

constexpr const char* kFirst = "00000000000000000000";

TEST_F(Inspection, FindsNothingWrongWithAHealthyFolder) {
  const FolderReport report = inspect({.all_records = true});
  expect_well(report);
  ASSERT_EQ(report.partitions.size(), 2u);
  const PartitionReport& first = report.partitions[0];
  EXPECT_EQ(first.topic, "t");
  EXPECT_GT(first.segments, 2u);
  EXPECT_EQ(first.records, 2 * kBatches);
  EXPECT_EQ(first.end, Offset(2 * kBatches));
  EXPECT_EQ(report.partitions[1].end, Offset(0));
}

TEST_F(Inspection, CountsWhatOnlyTheWriteAheadLogHas) {
  ASSERT_EQ(error_of(disk.open()), "");
  ASSERT_EQ(error_of(disk.append("t", {.values = {"late"}, .timestamp_ms = 9000, .options = {}}, 1)), "");
  disk.crash();
  const FolderReport report = inspect();
  expect_well(report);
  EXPECT_EQ(report.partitions[1].wal_records, 1);
  EXPECT_EQ(report.partitions[1].end, Offset(1));
  EXPECT_GT(report.wal_bytes, 0u);
}

TEST_F(Inspection, NamesFileAndByteOfEveryDamagedBatchAndGoesOn) {
  std::vector<uint64_t> positions;
  ASSERT_EQ(error_of(walk_batches(disk.files, file(std::string(kFirst) + ".log"),
                                  [&](uint64_t position, const record::BatchView&) -> Status {
                                    positions.push_back(position);
                                    return {};
                                  })),
            "");
  ASSERT_GT(positions.size(), 4u);
  for (const size_t i : {1u, 3u}) write(file(std::string(kFirst) + ".log"), positions[i] + 70, "!");
  const FolderReport report = inspect();
  const auto found = problems(report);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].where, file(std::string(kFirst) + ".log") + " at byte " + std::to_string(positions[1]));
  EXPECT_EQ(found[1].where, file(std::string(kFirst) + ".log") + " at byte " + std::to_string(positions[3]));
  EXPECT_EQ(found[0].severity, Severity::kDamage);
  EXPECT_EQ(report.partitions[0].records, 2 * kBatches);
}

TEST_F(Inspection, SeesASegmentThatIsMissingOrCutShort) {
  auto opened = disk.files.open(file(std::string(kFirst) + ".log"), env::OpenMode::kReadWrite).value();
  ASSERT_EQ(error_of(opened->truncate(opened->size().value() - 5)), "");
  const auto cut = problems(inspect());
  ASSERT_GE(cut.size(), 1u);
  EXPECT_NE(cut[0].where.find(std::string(kFirst) + ".log at byte"), std::string::npos) << cut[0].where;
  ASSERT_EQ(error_of(disk.files.remove(file(std::string(kFirst) + ".log"))), "");
  const auto missing = problems(inspect());
  ASSERT_GE(missing.size(), 1u);
  EXPECT_EQ(missing[0].what, "lacks the segment of offset 0");
}

TEST_F(Inspection, HoldsIndexesAgainstTheSegmentAndOnlyWarnsOfThem) {
  using std::string_view_literals::operator""sv;
  write(file(std::string(kFirst) + ".index"), 4, "\0\0\0\1"sv);
  write(file(std::string(kFirst) + ".timeindex"), 8, "\0\0\0\7"sv);
  const auto found = problems(inspect());
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].where, file(std::string(kFirst) + ".index"));
  EXPECT_EQ(found[1].where, file(std::string(kFirst) + ".timeindex"));
  for (const auto& finding : found) EXPECT_EQ(finding.severity, Severity::kWarning);
  ASSERT_EQ(error_of(disk.files.remove(file(std::string(kFirst) + ".index"))), "");
  EXPECT_EQ(problems(inspect()).size(), 2u);
}

TEST_F(Inspection, ListsFilesAndFoldersThatBelongToNothing) {
  ASSERT_EQ(error_of(disk.files.make_directories("/data/topics/gone-0")), "");
  write(file("notes.txt"), 0, "x");
  write(file("00000000000000000000.log.cleaned"), 0, "x");
  const FolderReport report = inspect();
  const auto found = problems(report);
  ASSERT_EQ(found.size(), 2u);
  EXPECT_EQ(found[0].where, "/data/topics/gone-0");
  EXPECT_EQ(found[1].where, file("notes.txt"));
}

TEST_F(Inspection, SeesDamageInTheWriteAheadLogAndTheCheckpoint) {
  ASSERT_EQ(error_of(disk.open()), "");
  for (int i = 0; i < 5; ++i)
    ASSERT_EQ(error_of(disk.append("t", {.values = {std::string(100, 'w')}, .timestamp_ms = 9000, .options = {}})), "");
  disk.crash();
  expect_well(inspect());
  const auto entries = disk.files.list("/data/wal").value();
  for (const auto& entry : entries)
    if (entry.name.ends_with(".wal")) write("/data/wal/" + entry.name, 100, "!");
  const auto wal = problems(inspect());
  ASSERT_GE(wal.size(), 1u);
  EXPECT_NE(wal[0].what.find("is damaged at byte"), std::string::npos) << wal[0].what;
  write("/data/checkpoint", 30, "!");
  const auto checkpoint = problems(inspect());
  ASSERT_EQ(checkpoint.size(), 1u);
  EXPECT_EQ(checkpoint[0].where, "/data/checkpoint");
}

TEST_F(Inspection, ChecksRecordsOfInternalTopicsAndOfOnePartitionWhereAsked) {
  ASSERT_EQ(error_of(disk.open()), "");
  disk.make_topic("__internal");
  ASSERT_EQ(error_of(disk.append("__internal", {.values = {"good", "bad"}, .timestamp_ms = 1000, .options = {}})), "");
  ASSERT_EQ(error_of(disk.store->checkpoint()), "");
  disk.store.reset();
  InspectOptions options;
  int checked = 0;
  options.check = [&](std::string_view topic, const record::BatchView&, const record::Record& record) -> Status {
    EXPECT_EQ(topic, "__internal");
    ++checked;
    if (as_text(*record.value) == "bad") return fail(Errc::kCorruption, "no offset");
    return {};
  };
  const auto found = problems(inspect(options));
  EXPECT_EQ(checked, 2);
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].what, "the record of offset 1: no offset");
  options.topic = "t";
  options.partition = 1;
  const FolderReport one = inspect(options);
  ASSERT_EQ(one.partitions.size(), 1u);
  EXPECT_EQ(one.partitions[0].partition, 1);
}

TEST_F(Inspection, TellsAnotherTopicsFolderFromOneThatWasNotSynced) {
  auto metadata = disk.files.open(file("partition.metadata"), env::OpenMode::kReadWrite).value();
  ASSERT_EQ(error_of(metadata->truncate(0)), "");
  expect_well(inspect());
  write(file("partition.metadata"), 0, "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAA\n");
  const auto found = problems(inspect());
  ASSERT_EQ(found.size(), 1u);
  EXPECT_EQ(found[0].where, file("partition.metadata"));
}

TEST_F(Inspection, RefusesWhatIsNoDataFolderOrAnotherVersions) {
  EXPECT_EQ(inspect_folder(disk.files, "/elsewhere", {}).error().code, Errc::kNotFound);
  write("/data/FORMAT", 0, "millrace-data 9\n");
  EXPECT_EQ(inspect_folder(disk.files, "/data", {}).error().code, Errc::kConflict);
}

TEST_F(Inspection, ChangesNothing) {
  const auto all_files = [this] {
    std::map<std::string, std::string> found;
    for (const std::string folder : {"/data", "/data/wal", "/data/topics", "/data/topics/t-0"}) {
      const auto entries = disk.files.list(folder).value();
      for (const auto& entry : entries) {
        const std::string path = env::join_path(folder, entry.name);
        if (entry.is_directory) continue;
        const Bytes bytes = env::read_file(disk.files, path, 1u << 30).value();
        found[path] = std::string(as_text(bytes));
      }
    }
    return found;
  };
  const auto before = all_files();
  inspect({.all_records = true});
  EXPECT_EQ(all_files(), before);
}

TEST(PartitionFolder, IsATopicAndANumber) {
  EXPECT_EQ(parse_partition_folder("a-b-12"), std::pair(std::string("a-b"), 12));
  EXPECT_EQ(parse_partition_folder("a-01"), std::nullopt);
  EXPECT_EQ(parse_partition_folder("-1"), std::nullopt);
  EXPECT_EQ(parse_partition_folder("a-0-delete"), std::nullopt);
}

}  // namespace
}  // namespace millrace::log
