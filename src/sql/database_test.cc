#include "sql/database.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <thread>

namespace millrace::sql {
namespace {

using columns::Batch;
using columns::Column;
using columns::Schema;
using testing::ElementsAre;
using testing::HasSubstr;

class DatabaseTest : public testing::Test {
 protected:
  void SetUp() override {
    auto database = Database::open({});
    ASSERT_TRUE(database.has_value()) << database.error().message;
    database_ = *database;
    connection_ = *database_->connect();
  }

  // All rows, values joined by '|', NULL as nothing.
  std::vector<std::string> all(std::string_view sql, const std::vector<std::string>& parameters = {}) {
    auto stream = connection_->query(sql, parameters);
    if (!stream) return {"error: " + stream.error().message};
    std::vector<std::string> lines;
    while (true) {
      auto batch = stream->next();
      if (!batch) return {"error: " + batch.error().message};
      if (!*batch) return lines;
      for (size_t row = 0; row < (*batch)->rows(); ++row) {
        std::string line;
        for (size_t i = 0; i < (*batch)->schema().size(); ++i) {
          if (i > 0) line += '|';
          (*batch)->column(i).append_text(row, line);
        }
        lines.push_back(line);
      }
    }
  }

  std::shared_ptr<Database> database_;
  std::unique_ptr<Connection> connection_;
};

TEST_F(DatabaseTest, IsThePinnedVersion) { EXPECT_EQ(*Database::library_version(), "v1.5.6"); }

TEST_F(DatabaseTest, QueriesReturnOurTypes) {
  auto stream = connection_->query(
      "SELECT 1 AS a, 1.50::DECIMAL(4,2) AS b, DATE '2026-01-02' AS c, [1, 2] AS d, sum(3) AS e, 'x' AS a");
  ASSERT_TRUE(stream.has_value()) << stream.error().message;
  EXPECT_THAT(stream->schema()->names(), ElementsAre("a", "b", "c", "d", "e", "a_1"));
  EXPECT_EQ(stream->schema()->field(4).type, columns::kBigint);
  EXPECT_EQ(stream->sql_types()[2], "DATE");
  EXPECT_THAT(all("SELECT 1, 1.50::DECIMAL(4,2), DATE '2026-01-02', [1, 2], NULL, INTERVAL 3 DAY -- ends in a comment"),
              ElementsAre("1|1.50|2026-01-02T00:00:00Z|[1, 2]||3 days"));
  // What 64 bits cannot hold fails, rather than being something else.
  EXPECT_THAT(all("SELECT 170141183460469231731687303715884105727::HUGEINT"), ElementsAre(HasSubstr("INT64")));
}

TEST_F(DatabaseTest, LongResultsStreamInOrder) {
  auto stream = connection_->query("SELECT i FROM range(100000) t(i)");
  ASSERT_TRUE(stream.has_value());
  int64_t expected = 0;
  while (true) {
    const auto batch = stream->next();
    ASSERT_TRUE(batch.has_value());
    if (!*batch) break;
    for (size_t row = 0; row < (*batch)->rows(); ++row) {
      ASSERT_EQ((*batch)->column(0).int64s()[row], expected);
      ASSERT_EQ((*batch)->row_id(row).offset, Offset(expected));
      ++expected;
    }
  }
  EXPECT_EQ(expected, 100'000);
}

TEST_F(DatabaseTest, AppendedRowsAreThereWithParametersAndTransactions) {
  ASSERT_TRUE(connection_->execute("CREATE TABLE t (name VARCHAR, n BIGINT, d DECIMAL(4,1), ts TIMESTAMP)"));
  const auto schema = std::make_shared<const Schema>(std::vector<columns::Field>{{"name", columns::kVarchar},
                                                                                 {"n", columns::kBigint},
                                                                                 {"d", {columns::Kind::kDecimal, 4, 1}},
                                                                                 {"ts", columns::kTimestamp}});
  std::vector<std::shared_ptr<Column>> columns;
  for (const auto& field : schema->fields()) columns.push_back(std::make_shared<Column>(field.type));
  for (int64_t i = 0; i < 5'000; ++i) {
    if (i % 2 == 0)
      columns[0]->append_null();
    else
      columns[0]->append_text_copy("a name that is long enough, " + std::to_string(i));
    columns[1]->append_int64(i);
    columns[2]->append_int64(i % 1'000);
    columns[3]->append_int64(i);
  }
  const Batch batch(schema, {columns.begin(), columns.end()}, std::vector<columns::RowId>(5'000));
  ASSERT_TRUE(connection_->execute("BEGIN"));
  ASSERT_TRUE(connection_->append("t", batch));
  ASSERT_TRUE(connection_->execute("ROLLBACK"));
  EXPECT_THAT(all("SELECT count(*) FROM t"), ElementsAre("0"));
  ASSERT_TRUE(connection_->append("t", batch));
  EXPECT_THAT(all("SELECT count(*), count(name), sum(n), sum(d) FROM t"), ElementsAre("5000|2500|12497500|249750"));
  EXPECT_THAT(all("SELECT name, d FROM t WHERE n = $1", {"4999"}),
              ElementsAre("a name that is long enough, 4999|99.9"));
  EXPECT_EQ(*connection_->execute("DELETE FROM t WHERE n < 10"), 10u);
  EXPECT_THAT(connection_->append("missing", batch).error().message, HasSubstr("missing"));
}

TEST_F(DatabaseTest, NothingReachesFilesExtensionsOrSettings) {
  const std::string file = testing::TempDir() + "millrace_sql_leak";
  for (const std::string& sql :
       {std::string("SELECT * FROM read_csv('/etc/passwd')"), std::string("SELECT * FROM read_text('/etc/passwd')"),
        std::string("SELECT * FROM '/etc/passwd'"), "COPY (SELECT 1) TO '" + file + "'",
        "ATTACH '" + file + "' AS other", std::string("INSTALL httpfs"), std::string("LOAD httpfs"),
        std::string("SET threads = 4"), std::string("SET enable_external_access = true"),
        std::string("PRAGMA memory_limit = '10GB'"), std::string("SET TimeZone = 'Europe/Berlin'"),
        "EXPORT DATABASE '" + file + "'", std::string("SELECT * FROM glob('/etc/*')"),
        std::string("SELECT * FROM parquet_scan('/tmp/x.parquet')")}) {
    EXPECT_THAT(all(sql), ElementsAre(HasSubstr("error"))) << sql;
  }
  EXPECT_FALSE(std::filesystem::exists(file));
  EXPECT_THAT(all("SELECT hour(TIMESTAMPTZ '2026-07-01 12:00:00+02')"), ElementsAre("10"));
}

TEST_F(DatabaseTest, ErrorsAreSentencesForPeople) {
  auto error = connection_->query("SELEC 1").error();
  EXPECT_EQ(error.code, Errc::kInvalidArgument);
  EXPECT_EQ(error.message, "syntax error at or near \"SELEC\"");
  error = connection_->query("SELECT st_point(1, 2)").error();
  EXPECT_THAT(error.message, testing::Not(HasSubstr("extension")));
  EXPECT_EQ(connection_->query("SELECT flor(1)").error().hint, "did you mean \"floor\"?");
  EXPECT_EQ(connection_->query("").error().message, "there is no statement");
  EXPECT_EQ(connection_->query("SELECT $1", {"1", "2"}).error().code, Errc::kInvalidArgument);
}

TEST_F(DatabaseTest, MemoryIsBounded) {
  DatabaseOptions options;
  options.memory_bytes_max = 16 << 20;
  const auto small = *Database::open(options);
  const auto connection = *small->connect();
  const auto result = connection->execute("SELECT list(i || 'some text that takes room') FROM range(10000000) t(i)");
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Errc::kTooLarge);
  EXPECT_TRUE(connection->execute("SELECT 1").has_value());
}

TEST_F(DatabaseTest, ARunningStatementCanBeInterrupted) {
  auto stream = connection_->query("SELECT count(*) FROM range(1000000) a(i)");
  ASSERT_TRUE(stream.has_value());
  std::atomic<bool> done = false;
  std::jthread interrupter([&] {
    while (!done) connection_->interrupt();
  });
  const auto result =
      connection_->execute("SELECT count(*) FROM range(100000000) a(i), range(1000) b(j) WHERE i % 7 = j");
  done = true;
  ASSERT_FALSE(result.has_value());
  EXPECT_EQ(result.error().code, Errc::kCancelled);
}

TEST_F(DatabaseTest, FilesSurviveAndAreLocked) {
  const std::filesystem::path directory = std::filesystem::path(testing::TempDir()) / "millrace_sql_file";
  std::filesystem::remove_all(directory);
  std::filesystem::create_directories(directory);
  DatabaseOptions options;
  options.path = directory / "w.duckdb";
  {
    const auto database = *Database::open(options);
    const auto connection = *database->connect();
    ASSERT_TRUE(connection->execute("CREATE TABLE t AS SELECT 42 AS n"))
        << connection->execute("SELECT 1").error().message;
  }
  const auto database = *Database::open(options);
  auto connection = *database->connect();
  EXPECT_EQ(*connection->execute("INSERT INTO t VALUES (1), (2)"), 2u);

  std::filesystem::create_directories(directory / "bad");
  options.path = directory / "bad" / "x.duckdb";
  {
    std::ofstream(options.path) << std::string(20'000, 'x');
  }
  const auto bad = Database::open(options);
  ASSERT_FALSE(bad.has_value());
  EXPECT_EQ(bad.error().code, Errc::kCorruption) << bad.error().message;
  std::filesystem::remove_all(directory);
}

class Numbers final : public TableSource {
 public:
  explicit Numbers(int64_t count) : count_(count), schema_({{"n", columns::kBigint}, {"text", columns::kVarchar}}) {}
  const Schema& schema() const override { return schema_; }
  Status rewind() override {
    next_ = 0;
    return {};
  }
  Result<Batch> next() override {
    auto numbers = std::make_shared<Column>(columns::kBigint);
    auto texts = std::make_shared<Column>(columns::kVarchar);
    const int64_t rows = std::min<int64_t>(3'000, count_ - next_);
    for (int64_t i = 0; i < rows; ++i) {
      numbers->append_int64(next_);
      texts->append_text_copy("a text of the number " + std::to_string(next_++));
    }
    return Batch(std::make_shared<const Schema>(schema_), {numbers, texts},
                 std::vector<columns::RowId>(static_cast<size_t>(rows)));
  }

 private:
  int64_t count_;
  int64_t next_ = 0;
  Schema schema_;
};

TEST_F(DatabaseTest, TableFunctionsReadWhatTheirFactoryMakes) {
  ASSERT_TRUE(connection_->register_table("numbers", 1, {"rows", "from"},
                                          [](const TableArguments& arguments) -> Result<std::shared_ptr<TableSource>> {
                                            int64_t count = 10'000;
                                            for (const auto& [name, value] : arguments.named)
                                              if (name == "rows") count = std::stoll(value);
                                            if (arguments.positional[0] != "all")
                                              return fail(Errc::kNotFound, "there is no such thing", "numbers('all')");
                                            return std::make_shared<Numbers>(count);
                                          }));
  EXPECT_THAT(all("SELECT count(*), sum(n), max(text) FROM numbers('all')"),
              ElementsAre("10000|49995000|a text of the number 9999"));
  EXPECT_THAT(all("SELECT count(*) FROM numbers('all', rows := 7, \"from\" := 'x')"), ElementsAre("7"));
  EXPECT_THAT(all("SELECT a.text FROM numbers('all') a JOIN numbers('all') b ON a.n = b.n + 9999"),
              ElementsAre("a text of the number 9999"));
  EXPECT_THAT(all("SELECT * FROM numbers('some')"),
              ElementsAre(HasSubstr("there is no such thing (try: numbers('all'))")));
}

TEST_F(DatabaseTest, KindsTellSelectsFromTheRest) {
  using Kind = Connection::Kind;
  EXPECT_THAT(*connection_->kinds("SELECT 1; EXPLAIN SELECT 2; CREATE TABLE x (a INT)"),
              ElementsAre(Kind::kSelect, Kind::kExplain, Kind::kOther));
  EXPECT_THAT(*connection_->kinds("  "), ElementsAre());
  EXPECT_FALSE(connection_->kinds("SELEC").has_value());
}

TEST(Quoting, MakesOneTokenOfAnything) {
  EXPECT_EQ(quote_identifier("a\"b"), "\"a\"\"b\"");
  EXPECT_EQ(quote_literal("it's"), "'it''s'");
}

}  // namespace
}  // namespace millrace::sql
