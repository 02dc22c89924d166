#include "format/file_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <filesystem>
#include <fstream>

#include "format/infer.h"

namespace millrace::format {
namespace {

using columns::Kind;
using columns::Schema;
using testing::ElementsAre;
using testing::HasSubstr;

class FileReaderTest : public testing::Test {
 protected:
  void SetUp() override {
    directory_ =
        std::filesystem::path(testing::TempDir()) / testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  std::string write(const std::string& name, std::string_view content) {
    const std::string path = directory_ / name;
    std::ofstream(path, std::ios::binary) << content;
    return path;
  }
  std::string write_gzip(const std::string& name, std::string_view content) {
    const std::string path = directory_ / name;
    const gzFile file = ::gzopen(path.c_str(), "wb");
    ::gzwrite(file, content.data(), static_cast<unsigned>(content.size()));
    ::gzclose(file);
    return path;
  }
  static FileReaderOptions options(const std::string& path) { return {path, *file_kind_of(path)}; }
  // Records as "line:text", then the error, if any.
  static std::vector<std::string> read(FileReaderOptions options) {
    auto reader = FileReader::open(std::move(options));
    if (!reader) return {reader.error().message};
    std::vector<std::string> records;
    std::string_view record;
    while (true) {
      const auto found = (*reader)->next(record);
      if (!found) records.push_back(found.error().message);
      if (!found || !*found) return records;
      records.push_back(std::to_string((*reader)->line()) + ":" + std::string(record));
    }
  }
  static std::vector<std::string> feed(SourceFile::Options options) {
    auto file = SourceFile::open(std::move(options));
    if (!file) return {file.error().message + " / " + file.error().hint};
    std::vector<std::string> values;
    std::string value;
    while (true) {
      const auto found = (*file)->next(value);
      if (!found) values.push_back(found.error().message);
      if (!found || !*found) return values;
      values.push_back(value);
    }
  }

  std::filesystem::path directory_;
};

TEST_F(FileReaderTest, JsonLinesAreReadWithTheirNumbers) {
  EXPECT_THAT(read(options(write("a.jsonl", "\xEF\xBB\xBF{\"a\":1}\r\n\n{\"a\":2}\n  \n{\"a\":3}"))),
              ElementsAre("1:{\"a\":1}", "3:{\"a\":2}", "5:{\"a\":3}"));
  EXPECT_THAT(read(options(write("empty.jsonl", ""))), ElementsAre());
}

TEST_F(FileReaderTest, CsvRowsMaySpanLinesInsideOfQuotes) {
  const std::string path = write("a.csv", "id,\"the \"\"text\"\"\"\r\n1,\"two\nlines, \"\"quoted\"\"\"\r\n2,plain\n");
  const auto reader = *FileReader::open(options(path));
  EXPECT_THAT(reader->header(), ElementsAre("id", "the \"text\""));
  EXPECT_THAT(read(options(path)), ElementsAre("2:1,\"two\nlines, \"\"quoted\"\"\"", "4:2,plain"));
}

TEST_F(FileReaderTest, LinesOfTextAreAllKept) {
  EXPECT_THAT(read(options(write("a.log", "one\n\n two \n"))), ElementsAre("1:one", "2:", "3: two "));
}

TEST_F(FileReaderTest, GzipIsToldByItsFirstBytes) {
  std::string content;
  for (int i = 0; i < 100'000; ++i) content += "{\"n\":" + std::to_string(i) + "}\n";
  const auto records = read(options(write_gzip("big.jsonl.gz", content)));
  ASSERT_EQ(records.size(), 100'000u);
  EXPECT_EQ(records.back(), "100000:{\"n\":99999}");
  const auto reader = *FileReader::open(options(write_gzip("big2.jsonl", content)));
  std::string_view record;
  while (*reader->next(record)) {
  }
  EXPECT_EQ(reader->bytes_read(), reader->bytes_total());
}

TEST_F(FileReaderTest, BadFilesAreRefusedByNameAndLine) {
  EXPECT_THAT(read({directory_ / "absent.csv", FileKind::kCsv}), ElementsAre(HasSubstr("absent.csv: No such file")));
  EXPECT_THAT(read({directory_, FileKind::kCsv}), ElementsAre(HasSubstr("Is a directory")));
  EXPECT_THAT(read(options(write("empty.csv", ""))), ElementsAre(HasSubstr("no header line")));
  EXPECT_THAT(read(options(write("twice.csv", "a,b,a\n1,2,3\n"))),
              ElementsAre(HasSubstr("twice.csv:1: the header names column 'a' twice")));
  EXPECT_THAT(read(options(write("open.csv", "a,b\n1,2\n3,\"4\n5,6\n"))),
              ElementsAre("2:1,2", HasSubstr("open.csv:3: a quoted field does not end")));
  FileReaderOptions small = options(write("long.jsonl", "{}\n" + std::string(2'000'000, ' ') + "\n"));
  small.record_bytes_max = 1'000'000;
  EXPECT_THAT(read(small), ElementsAre("1:{}", HasSubstr("long.jsonl:2: a record of more than 1000000 bytes")));
  std::string zip;
  {
    std::string content(1'000'000, 'x');
    for (size_t i = 0; i < content.size(); i += 50) content[i] = '\n';
    std::ifstream file(write_gzip("whole.log.gz", content), std::ios::binary);
    zip.assign(std::istreambuf_iterator<char>(file), {});
  }
  EXPECT_THAT(read(options(write("cut.log.gz", zip.substr(0, zip.size() / 2)))).back(),
              HasSubstr("not a complete gzip file"));
}

TEST_F(FileReaderTest, CsvFeedsAJsonSourceByTheDeclaredTypes) {
  SourceFile::Options source;
  source.file = options(write("a.csv",
                              "id,amount,ok,at,note\n007,1.50,True,1756728000,\"say \"\"hi\"\"\"\n8,,0,,\n"
                              "9,\"1,5\",maybe,x,y\nonly two,fields\n"));
  source.columns = Schema({{"id", columns::kVarchar},
                           {"amount", columns::kDouble},
                           {"ok", columns::kBoolean},
                           {"at", columns::kTimestamp}});
  source.time = TimeColumn{"at", *TimeFormat::parse("unix_s")};
  EXPECT_THAT(feed(source),
              ElementsAre(R"({"id":"007","amount":1.50,"ok":true,"at":1756728000,"note":"say \"hi\""})",
                          R"({"id":"8","amount":null,"ok":false,"at":null,"note":null})",
                          R"({"id":"9","amount":"1,5","ok":"maybe","at":"x","note":"y"})", "only two,fields"));
}

TEST_F(FileReaderTest, CsvFeedsACsvSourceInTheDeclaredOrder) {
  SourceFile::Options source;
  source.file = options(write("a.tsv", "b\ta\textra\n1\tx, y\tz\n\"q\"\"\"\t\t\n"));
  source.format = Format::kCsv;
  source.columns = Schema({{"a", columns::kVarchar}, {"b", columns::kVarchar}});
  EXPECT_THAT(feed(source), ElementsAre("\"x, y\",1", ",\"q\"\"\""));
  source.columns = Schema({{"aa", columns::kVarchar}});
  EXPECT_THAT(feed(source), ElementsAre(HasSubstr("a.tsv:1: there is no column aa / is a meant?")));
}

TEST_F(FileReaderTest, LinesFeedARawSourceAndUnfitFilesAreRefused) {
  SourceFile::Options source;
  source.file = options(write("a.log", "x\ny\n"));
  source.format = Format::kRaw;
  EXPECT_THAT(feed(source), ElementsAre("x", "y"));
  source.format = Format::kJson;
  EXPECT_THAT(feed(source), ElementsAre(HasSubstr("cannot become json")));
  source.file = options(write("b.jsonl", "{}\n"));
  source.format = Format::kCsv;
  EXPECT_THAT(feed(source), ElementsAre(HasSubstr("cannot become csv")));
}

TEST_F(FileReaderTest, InferenceReadsTypesFromCsv) {
  const auto inferred = *infer_file(options(
      write("a.csv",
            "InvoiceNo,Quantity,UnitPrice,InvoiceDate,Postcode,Gift,Empty\n536365,6,2.55,12/1/2010 8:26,01234,true,\n"
            "C536366,-1,3,12/13/2010 18:05,99999,false,\n")));
  EXPECT_EQ(to_source_yaml(inferred, "orders", "orders"),
            "  orders:\n"
            "    topic: orders\n"
            "    format: csv\n"
            "    columns:\n"
            "      InvoiceNo: varchar\n"
            "      Quantity: bigint\n"
            "      UnitPrice: double\n"
            "      InvoiceDate: timestamp\n"
            "      Postcode: varchar\n"
            "      Gift: boolean\n"
            "      Empty: varchar\n"
            "    time: {column: InvoiceDate, format: \"%m/%d/%Y %H:%M\"}\n");
  EXPECT_EQ(inferred.rows, 2u);
}

TEST_F(FileReaderTest, InferenceReadsTypesFromJson) {
  const auto inferred = *infer_file(
      options(write("a.jsonl",
                    "{\"n\":1,\"x\":1,\"ts\":1756728000000,\"s\":\"1\",\"o\":{\"a\":1}}\nnot json\n"
                    "{\"x\":1.5,\"n\":null,\"ts\":1756728001000,\"on\":true,\"big\":18446744073709551615}\n")));
  EXPECT_EQ(inferred.unreadable, 1u);
  EXPECT_EQ(to_source_yaml(inferred, "s", "t"),
            "  s:\n"
            "    topic: t\n"
            "    format: json\n"
            "    columns:\n"
            "      \"n\": bigint\n"
            "      x: double\n"
            "      ts: timestamp\n"
            "      s: varchar\n"
            "      o: varchar\n"
            "      \"on\": boolean\n"
            "      big: double\n"
            "    time: {column: ts, format: unix_ms}\n");
  EXPECT_EQ(infer_file(options(write("b.jsonl", "plain\nlines\n")))->format, Format::kRaw);
}

}  // namespace
}  // namespace millrace::format
