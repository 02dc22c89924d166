#include "warehouse/warehouse.h"

#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <librdkafka/rdkafka.h>

#include <librdkafka/rdkafka_mock.h>  // needs the one above before it

#include <filesystem>
#include <future>

#include "client/producer.h"
#include "env/posix_file_system.h"
#include "env/system_clock.h"
#include "warehouse/internal/statement_guard.h"
#include "warehouse/internal/store.h"
#include "warehouse/internal/topic_source.h"

namespace millrace::warehouse {
namespace {

using columns::Schema;
using testing::ElementsAre;
using testing::HasSubstr;
using namespace std::chrono_literals;

constexpr std::chrono::milliseconds kPatience = 20s;

class Schemas final : public TopicSchemas {
 public:
  std::optional<TopicSchema> find(const std::string& topic) const override {
    if (topic != "payments") return std::nullopt;
    return TopicSchema{format::Format::kJson,
                       Schema({{"id", columns::kVarchar}, {"amount", {columns::Kind::kDecimal, 8, 2}}}), std::nullopt};
  }
};

// Against librdkafka's mock of a cluster: a broker that none of our code wrote.
class WarehouseTest : public testing::Test {
 protected:
  WarehouseTest() {
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "2", nullptr, 0);
    host_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, nullptr, 0);
    cluster_ = rd_kafka_mock_cluster_new(host_, 1);
    rd_kafka_mock_topic_create(cluster_, "payments", 2, 1);
    rd_kafka_mock_topic_create(cluster_, "balances", 1, 1);
    directory_ =
        std::filesystem::path(testing::TempDir()) /
        fmt::format("warehouse_{}_{}", testing::UnitTest::GetInstance()->current_test_info()->name(), ::getpid());
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  ~WarehouseTest() override {
    rd_kafka_mock_cluster_destroy(cluster_);
    rd_kafka_destroy(host_);
    std::filesystem::remove_all(directory_);
  }

  client::Options cluster() const { return {.bootstrap = rd_kafka_mock_cluster_bootstraps(cluster_)}; }
  std::unique_ptr<Warehouse> open() {
    Options options;
    options.directory = directory_;
    options.cluster = cluster();
    auto warehouse = Warehouse::open(std::move(options), clock_, files_, metrics_, &schemas_);
    EXPECT_TRUE(warehouse) << warehouse.error().message;
    return std::move(warehouse).value();
  }
  void produce(const std::string& topic, const std::vector<std::pair<int32_t, std::string>>& values) {
    auto producer = *client::Producer::create(cluster());
    const auto handle = *producer->topic(topic);
    for (const auto& [partition, value] : values) {
      const Status status = producer->produce(handle, {.partition = PartitionId(partition),
                                                       .key = as_byte_view("k"),
                                                       .value = as_byte_view(value),
                                                       .timestamp_ms = 1'756'728'000'000});
      ASSERT_TRUE(status) << status.error().message;
    }
    const Status status = producer->flush(kPatience);
    ASSERT_TRUE(status) << status.error().message;
  }
  static std::string csv(Warehouse& warehouse, const std::string& sql) {
    QueryOptions options;
    options.format = AnswerFormat::kCsv;
    const auto answer = warehouse.query(sql, options);
    return answer ? answer->body : "error: " + answer.error().message;
  }
  static TableSpec payments() {
    return {"paid",
            "payments",
            Schema({{"id", columns::kVarchar}, {"amount", {columns::Kind::kDecimal, 8, 2}}}),
            Mode::kAppend,
            {}};
  }

  env::SystemClock clock_;
  env::PosixFileSystem files_;
  Metrics metrics_;
  Schemas schemas_;
  std::filesystem::path directory_;
  rd_kafka_t* host_ = nullptr;
  rd_kafka_mock_cluster_t* cluster_ = nullptr;
};

TEST_F(WarehouseTest, RecordsGoIntoTheirTableExactlyOnceAcrossRestarts) {
  produce("payments", {{0, R"({"id":"a","amount":1.50})"}, {1, R"({"id":"b","amount":2.25})"}});
  {
    const auto warehouse = open();
    ASSERT_TRUE(warehouse->declare(payments()));
    ASSERT_TRUE(warehouse->start());
    const Status status = warehouse->catch_up(kPatience);
    ASSERT_TRUE(status) << status.error().message;
    EXPECT_EQ(csv(*warehouse, "SELECT * FROM paid ORDER BY id"), "id,amount\na,1.50\nb,2.25\n");
  }
  produce("payments", {{0, R"({"id":"c","amount":3})"}, {0, "no row"}, {1, R"({"id":"d","amount":"4"})"}});
  const auto warehouse = open();
  ASSERT_TRUE(warehouse->start());
  const Status status = warehouse->catch_up(kPatience);
  ASSERT_TRUE(status) << status.error().message;
  EXPECT_EQ(csv(*warehouse, "SELECT string_agg(id, '' ORDER BY id) AS ids, sum(amount) AS sum FROM paid"),
            "ids,sum\nabc,6.75\n");
  const auto tables = warehouse->tables();
  ASSERT_EQ(tables.size(), 1u);
  EXPECT_EQ(tables[0].spec, payments());
  EXPECT_EQ(tables[0].rows_carried, 1u);
  EXPECT_EQ(tables[0].rejected, 2u);
  EXPECT_EQ(tables[0].trouble, "");
  EXPECT_EQ(csv(*warehouse, "SELECT partition, next_offset FROM _offsets ORDER BY partition"),
            "partition,next_offset\n0,3\n1,2\n");
}

TEST_F(WarehouseTest, UpsertKeepsTheNewestRowOfEachKey) {
  std::vector<std::pair<int32_t, std::string>> values;
  for (int i = 0; i < 1'000; ++i)
    values.emplace_back(0, fmt::format(R"({{"card":"c{}","day":{},"n":{}}})", i % 7, i % 2, i));
  values.emplace_back(0, R"({"card":null,"day":0,"n":-1})");
  values.emplace_back(0, R"({"card":null,"day":0,"n":-2})");
  produce("balances", values);
  const auto warehouse = open();
  ASSERT_TRUE(
      warehouse->declare({"balances",
                          "balances",
                          Schema({{"card", columns::kVarchar}, {"day", columns::kBigint}, {"n", columns::kBigint}}),
                          Mode::kUpsert,
                          {"card", "day"}}));
  ASSERT_TRUE(warehouse->start());
  ASSERT_TRUE(warehouse->catch_up(kPatience));
  EXPECT_EQ(csv(*warehouse,
                "SELECT count(*) AS n, count(DISTINCT card) AS cards, sum(n) AS sum, min(n) AS least FROM balances"),
            // The newest n of (i % 7, i % 2) are 986 … 999.
            "n,cards,sum,least\n15,7,13893,-2\n");
  produce("balances", {{0, R"({"card":"c1","day":1,"n":5})"}});
  ASSERT_TRUE(warehouse->catch_up(kPatience));
  EXPECT_EQ(csv(*warehouse, "SELECT n FROM balances WHERE card = 'c1' AND day = 1"), "n\n5\n");
}

TEST_F(WarehouseTest, TopicsAreReadToTheEndsTheyHadWithTheirDeclaredColumns) {
  produce("payments",
          {{0, R"({"id":"a","amount":1.50})"}, {1, R"({"id":"b","amount":"x"})"}, {1, R"({"id":"c","amount":2})"}});
  const auto warehouse = open();
  EXPECT_EQ(csv(*warehouse, "SELECT * FROM topic('payments') ORDER BY _partition, _offset"),
            "_partition,_offset,_timestamp,_key,value,id,amount\n"
            "0,0,2025-09-01T12:00:00Z,k,\"{\"\"id\"\":\"\"a\"\",\"\"amount\"\":1.50}\",a,1.50\n"
            "1,0,2025-09-01T12:00:00Z,k,\"{\"\"id\"\":\"\"b\"\",\"\"amount\"\":\"\"x\"\"}\",,\n"
            "1,1,2025-09-01T12:00:00Z,k,\"{\"\"id\"\":\"\"c\"\",\"\"amount\"\":2}\",c,2.00\n");
  EXPECT_EQ(csv(*warehouse, "SELECT count(*) AS n FROM topic('payments', from := 1)"), "n\n1\n");
  EXPECT_EQ(csv(*warehouse, "SELECT id FROM topic('payments', from := -1) ORDER BY 1"), "id\na\nc\n");
  EXPECT_EQ(csv(*warehouse, "SELECT count(*) AS n FROM topic('payments', from := 'earliest', rows := 2)"), "n\n2\n");
  EXPECT_EQ(csv(*warehouse, "SELECT count(*) AS n FROM topic('balances')"), "n\n0\n");
  EXPECT_THAT(csv(*warehouse, "SELECT * FROM topic('payments', from := 'soon')"),
              HasSubstr("'soon' is no place to read from"));
  EXPECT_THAT(csv(*warehouse, "SELECT * FROM topic('nowhere')"), HasSubstr("nowhere"));
  EXPECT_THAT(csv(*warehouse, "SELECT * FROM topic()"), HasSubstr("error"));
}

TEST_F(WarehouseTest, OnlyStatementsThatReadAreRun) {
  const auto warehouse = open();
  ASSERT_TRUE(warehouse->declare(payments()));
  const std::string file = directory_ / "leak";
  for (const std::string& sql :
       {"COPY paid TO '" + file + "'", "ATTACH '" + file + "'", std::string("INSTALL httpfs"), std::string("LOAD x"),
        std::string("PRAGMA database_list"), std::string("SET threads = 2"), std::string("DROP TABLE paid"),
        std::string("INSERT INTO paid VALUES ('x', 1)"), std::string("CREATE TABLE x (a INT)"), std::string("BEGIN"),
        std::string("-- SELECT\nDELETE FROM paid"), std::string("CHECKPOINT"), std::string("CALL pragma_version()")}) {
    EXPECT_THAT(csv(*warehouse, sql), HasSubstr("is refused: SQL here only reads")) << sql;
  }
  for (const std::string& sql :
       {std::string("SELECT 1; DROP TABLE paid"), std::string("SELECT 1; COMMIT; DROP TABLE paid"),
        std::string("WITH x AS (SELECT 1) INSERT INTO paid SELECT 'x', 1"),
        std::string("EXPLAIN ANALYZE DELETE FROM paid"), std::string("SELECT * FROM read_text('/etc/passwd')"),
        std::string("SELECT * FROM '/etc/passwd'"), std::string("SELECT * FROM glob('*')"), std::string(""),
        std::string("SELECT"), std::string("FROM _millrace_staged()"), std::string("SELECT * FROM _millrace_staged()"),
        std::string("DESCRIBE FROM _millrace_staged()")}) {
    EXPECT_THAT(csv(*warehouse, sql), HasSubstr("error")) << sql;
  }
  EXPECT_FALSE(std::filesystem::exists(file));
  EXPECT_EQ(csv(*warehouse, "/* a comment */ (SELECT count(*) AS n FROM paid);"), "n\n0\n");
  EXPECT_THAT(csv(*warehouse, "DESCRIBE paid"), HasSubstr("amount,\"DECIMAL(8,2)\""));
  EXPECT_THAT(csv(*warehouse, "EXPLAIN SELECT * FROM paid"), HasSubstr("paid"));
}

TEST_F(WarehouseTest, AnswersComeAsJsonCsvAndParquet) {
  const auto warehouse = open();
  const std::string sql =
      "SELECT 1 AS n, 1.50::DECIMAL(4,2) AS d, NULL AS x, 'a\"b' AS s, TIMESTAMP '2026-01-02 03:04:05' AS t, "
      "'nan'::DOUBLE AS q, true AS b";
  const auto json = warehouse->query(sql);
  ASSERT_TRUE(json) << json.error().message;
  EXPECT_EQ(json->body,
            R"j({"columns":[{"name":"n","type":"INTEGER"},{"name":"d","type":"DECIMAL(4,2)"},)j"
            R"j({"name":"x","type":"INTEGER"},{"name":"s","type":"VARCHAR"},{"name":"t","type":"TIMESTAMP"},)j"
            R"j({"name":"q","type":"DOUBLE"},{"name":"b","type":"BOOLEAN"}],)j"
            R"j("rows":[[1,1.50,null,"a\"b","2026-01-02T03:04:05Z",null,true]]})j");
  QueryOptions options;
  options.format = AnswerFormat::kParquet;
  const auto parquet =
      warehouse->query("SELECT i, 'text ' || i AS s, i::DECIMAL(9,1) AS d FROM range(5000) r(i)", options);
  ASSERT_TRUE(parquet) << parquet.error().message;
  EXPECT_EQ(parquet->rows, 5'000u);
  EXPECT_TRUE(parquet->body.starts_with("PAR1"));
  EXPECT_TRUE(parquet->body.ends_with("PAR1"));
  // Nothing is left of the file.
  for (const auto& entry : std::filesystem::directory_iterator(directory_))
    EXPECT_THAT(entry.path().filename().string(), testing::StartsWith("warehouse.duckdb"));
  // Read back by a database that may read files.
  const std::string path = directory_ / "again.parquet";
  ASSERT_TRUE(env::write_file_atomically(files_, path, as_byte_view(parquet->body)));
  sql::DatabaseOptions open;
  open.external_access = true;
  const auto reader = *(*sql::Database::open(open))->connect();
  auto stream = *reader->query(fmt::format("SELECT sum(i), max(s), sum(d)::DECIMAL(18,1) FROM '{}'", path));
  const auto batch = **stream.next();
  EXPECT_EQ(batch.column(0).int64s()[0], 12'497'500);
  EXPECT_EQ(batch.column(1).texts()[0], "text 999");
  EXPECT_EQ(batch.column(2).int64s()[0], 124'975'000);
  options.format = AnswerFormat::kJson;
  options.answer_bytes_max = 1'000;
  EXPECT_EQ(warehouse->query("SELECT i FROM range(5000) r(i)", options).error().code, Errc::kTooLarge);
}

TEST_F(WarehouseTest, StatementsEndWithTheirTimeOrTheirCaller) {
  const auto warehouse = open();
  const std::string endless = "SELECT count(*) FROM range(1000000000) a(i), range(1000000000) b(j) WHERE i * j % 7 = 3";
  QueryOptions options;
  options.timeout = 100ms;
  EXPECT_EQ(warehouse->query(endless, options).error().code, Errc::kTimedOut);
  options.timeout.reset();
  std::stop_source caller;
  options.cancel = caller.get_token();
  std::promise<Result<Answer>> promise;
  warehouse->query_async(endless, options, [&](Result<Answer> answer) { promise.set_value(std::move(answer)); });
  caller.request_stop();
  EXPECT_EQ(promise.get_future().get().error().code, Errc::kCancelled);
  std::promise<Result<Answer>> stopped;
  warehouse->query_async(endless, {}, [&](Result<Answer> answer) { stopped.set_value(std::move(answer)); });
  warehouse->stop();
  EXPECT_EQ(stopped.get_future().get().error().code, Errc::kCancelled);
  std::promise<Result<Answer>> late;
  warehouse->query_async("SELECT 1", {}, [&](Result<Answer> answer) { late.set_value(std::move(answer)); });
  EXPECT_EQ(late.get_future().get().error().code, Errc::kCancelled);
}

TEST_F(WarehouseTest, TablesGrowColumnsButNeverChangeTheirMeaning) {
  const auto warehouse = open();
  ASSERT_TRUE(warehouse->declare(payments()));
  TableSpec wider = payments();
  wider.schema =
      Schema({{"id", columns::kVarchar}, {"amount", {columns::Kind::kDecimal, 8, 2}}, {"score", columns::kDouble}});
  ASSERT_TRUE(warehouse->declare(wider));
  ASSERT_TRUE(warehouse->declare(payments()));
  EXPECT_EQ(csv(*warehouse, "SELECT * FROM paid"), "id,amount,score\n");
  TableSpec other = payments();
  other.topic = "balances";
  EXPECT_EQ(warehouse->declare(other).error().code, Errc::kConflict);
  other = payments();
  other.schema = Schema({{"id", columns::kBigint}});
  EXPECT_EQ(warehouse->declare(other).error().message, "column id of table paid is varchar, not bigint");
  other = payments();
  other.name = "second";
  EXPECT_EQ(warehouse->declare(other).error().message, "topic payments fills table paid already");
  other = {"t", "balances", payments().schema, Mode::kUpsert, {"idd"}};
  EXPECT_EQ(warehouse->declare(other).error().hint, "did you mean id?");
  other.name = "_offsets";
  EXPECT_EQ(warehouse->declare(other).error().code, Errc::kInvalidArgument);
  other = {"odd \"name",
           "balances",
           Schema({{"select", columns::kBigint}, {"a b", columns::kVarchar}}),
           Mode::kUpsert,
           {"select"}};
  ASSERT_TRUE(warehouse->declare(other));
  EXPECT_EQ(csv(*warehouse, "SELECT * FROM \"odd \"\"name\""), "select,a b\n");
}

TEST_F(WarehouseTest, ATableWhoseTopicWasMadeAnewSaysSo) {
  {
    auto store = *Store::open(directory_ / "warehouse.duckdb", 256 << 20);
    ASSERT_TRUE(store->declare(payments()));
    const Carried part{PartitionId(0), Offset(0), Offset(50), {}};
    ASSERT_TRUE(store->commit(payments(), {&part, 1}));
  }
  const auto warehouse = open();
  ASSERT_TRUE(warehouse->start());
  produce("payments", {{0, R"({"id":"a","amount":1})"}});
  EXPECT_FALSE(warehouse->catch_up(500ms));
  EXPECT_THAT(warehouse->tables()[0].trouble, HasSubstr("made anew"));
}

TEST(Store, CommitsComeOnceAndInOrder) {
  const std::filesystem::path path =
      std::filesystem::path(testing::TempDir()) / fmt::format("store_{}.duckdb", ::getpid());
  std::filesystem::remove(path);
  {
    auto store = *Store::open(path, 256 << 20);
    const TableSpec spec{"t", "t", Schema({{"n", columns::kBigint}}), Mode::kAppend, {}};
    ASSERT_TRUE(store->declare(spec));
    const auto rows = [&](int64_t from, int64_t next) {
      auto column = std::make_shared<columns::Column>(columns::kBigint);
      for (int64_t n = from; n < next; ++n) column->append_int64(n);
      const auto count = static_cast<size_t>(next - from);
      return Carried{
          PartitionId(3),
          Offset(from),
          Offset(next),
          {columns::Batch(std::make_shared<const Schema>(spec.schema), {column}, std::vector<columns::RowId>(count))}};
    };
    const auto commit = [&](const Carried& part) { return store->commit(spec, {&part, 1}); };
    ASSERT_TRUE(commit(rows(0, 10)));
    // Again, from the past, and with a gap: nothing happens.
    EXPECT_EQ(commit(rows(0, 10)).error().code, Errc::kConflict);
    EXPECT_EQ(commit(rows(5, 15)).error().code, Errc::kConflict);
    EXPECT_EQ(commit(rows(11, 12)).error().code, Errc::kConflict);
    ASSERT_TRUE(commit(rows(10, 12)));
    EXPECT_THAT(*store->offsets("t"), ElementsAre(std::pair(PartitionId(3), Offset(12))));
    const auto connection = *store->database()->connect();
    auto stream = *connection->query("SELECT count(*), sum(n) FROM t");
    const auto batch = **stream.next();
    EXPECT_EQ(batch.column(0).int64s()[0], 12);
    EXPECT_EQ(batch.column(1).int64s()[0], 66);
  }
  std::filesystem::remove(path);
}

TEST(TopicSource, AnyNumberThatAProducerGaveAsItsTimeIsATime) {
  client::RecordView record;
  record.timestamp_ms = 1'700'000'000'123;
  EXPECT_EQ(to_format(PartitionId(0), record).timestamp_us, 1'700'000'000'123'000);
  record.timestamp_ms = std::numeric_limits<int64_t>::max();
  EXPECT_EQ(to_format(PartitionId(0), record).timestamp_us, 9'223'372'036'854'775'000);
  record.timestamp_ms = std::numeric_limits<int64_t>::min();
  EXPECT_EQ(to_format(PartitionId(0), record).timestamp_us, -9'223'372'036'854'775'000);
}

TEST(StatementGuard, QuotesFromWhereItNamesAnArgumentOnly) {
  EXPECT_EQ(quote_from_argument("SELECT * FROM topic('from := 1', from := 1, rows:=2) -- from := 3"),
            "SELECT * FROM topic('from := 1', \"from\" := 1, rows:=2) -- from := 3");
  EXPECT_EQ(quote_from_argument("SELECT 'it''s from := 1', \"from\" FROM t WHERE a = $$from := 1$$"),
            "SELECT 'it''s from := 1', \"from\" FROM t WHERE a = $$from := 1$$");
  EXPECT_EQ(quote_from_argument("topic('a', FROM => 2)"), "topic('a', \"from\" => 2)");
  EXPECT_EQ(quote_from_argument("'open"), "'open");
  EXPECT_EQ(quote_from_argument(""), "");
}

}  // namespace
}  // namespace millrace::warehouse
