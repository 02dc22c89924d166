#include "warehouse/warehouse.h"

#include <fmt/core.h>

#include <array>
#include <atomic>
#include <deque>
#include <thread>

#include "base/mutex.h"
#include "base/text.h"
#include "warehouse/internal/carrier.h"
#include "warehouse/internal/render.h"
#include "warehouse/internal/statement_guard.h"
#include "warehouse/internal/store.h"
#include "warehouse/internal/topic_source.h"
#include "warehouse/internal/watchdog.h"

namespace millrace::warehouse {

class Warehouse::Impl {
 public:
  Impl(Options options, const Clock& clock, env::FileSystem& files, Metrics& metrics, const TopicSchemas* schemas)
      : options_(std::move(options)), clock_(clock), files_(files), metrics_(metrics), schemas_(schemas) {}
  ~Impl() { stop(); }

  Status open_if_there() {
    MILLRACE_ASSIGN_OR_RETURN(const bool there, files_.exists(path()));
    if (!there) return {};
    return ensure_open();
  }

  Status start() {
    MutexLock lock(mutex_);
    started_ = true;
    if (carrier_) carrier_->start();
    return {};
  }

  void stop() {
    stop_source_.request_stop();
    watchdog_.stop();
    {
      MutexLock lock(queue_mutex_);
      stopping_ = true;
      queue_changed_.notify_all();
    }
    if (worker_.joinable()) worker_.join();
    Carrier* carrier = nullptr;
    {
      MutexLock lock(mutex_);
      carrier = carrier_.get();
    }
    if (carrier != nullptr) carrier->stop();
  }

  Status declare(const TableSpec& spec) {
    MILLRACE_RETURN_IF_ERROR(ensure_open());
    Store* store = nullptr;
    Carrier* carrier = nullptr;
    {
      MutexLock lock(mutex_);
      store = store_.get();
      carrier = carrier_.get();
    }
    MutexLock one_by_one(declaring_);
    MILLRACE_ASSIGN_OR_RETURN(TableSpec now, store->declare(spec));
    carrier->add(std::move(now));
    return {};
  }

  std::vector<TableStatus> tables() const {
    MutexLock lock(mutex_);
    return carrier_ ? carrier_->tables() : std::vector<TableStatus>{};
  }

  Status catch_up(std::chrono::milliseconds timeout) {
    Carrier* carrier = nullptr;
    {
      MutexLock lock(mutex_);
      carrier = carrier_.get();
    }
    return carrier == nullptr ? Status() : carrier->catch_up(timeout);
  }

  Result<Answer> query(const std::string& sql, const QueryOptions& options) {
    MILLRACE_RETURN_IF_ERROR(ensure_open());
    MILLRACE_ASSIGN_OR_RETURN(const auto connection, database()->connect());
    const auto watch = watchdog_.watch(*connection, options.timeout.value_or(options_.query_timeout), options.cancel);
    if (stop_source_.stop_requested()) return fail(Errc::kCancelled, "the warehouse is stopping");
    auto answer = run(*connection, quote_from_argument(sql), options);
    if (answer) return answer;
    switch (watch->verdict()) {
      case Watchdog::Verdict::kInTime:
        return answer;
      case Watchdog::Verdict::kCancelled:
        return fail(Errc::kCancelled, "the statement was cancelled");
      case Watchdog::Verdict::kTimedOut:
        return fail(Errc::kTimedOut,
                    fmt::format("the statement ran longer than {}",
                                format_duration(options.timeout.value_or(options_.query_timeout))),
                    "select less, or give it more time");
    }
    return answer;
  }

  void query_async(std::string sql, QueryOptions options, std::function<void(Result<Answer>)> done) {
    bool stopping = false;
    {
      MutexLock lock(queue_mutex_);
      stopping = stopping_;
      if (!stopping && waiting_.size() < kQueriesWaitingMax) {
        waiting_.push_back({std::move(sql), std::move(options), std::move(done)});
        if (!worker_.joinable()) worker_ = std::jthread([this] { answer_queries(); });
        queue_changed_.notify_all();
        return;
      }
    }
    done(stopping ? fail(Errc::kCancelled, "the warehouse is stopping")
                  : fail(Errc::kUnavailable, "too many statements are waiting", "try again in a moment"));
  }

 private:
  struct Waiting {
    std::string sql;
    QueryOptions options;
    std::function<void(Result<Answer>)> done;
  };

  std::string path() const { return env::join_path(options_.directory, "warehouse.duckdb"); }

  std::shared_ptr<sql::Database> database() {
    MutexLock lock(mutex_);
    return store_->database();
  }

  // Opening is the one thing done under the lock that takes long: everybody who comes needs it.
  Status ensure_open() {
    MutexLock lock(mutex_);
    if (store_) return {};
    MILLRACE_ASSIGN_OR_RETURN(auto store, Store::open(path(), options_.memory_bytes_max));
    MILLRACE_ASSIGN_OR_RETURN(const auto connection, store->database()->connect());
    MILLRACE_RETURN_IF_ERROR(connection->register_table(
        "topic", 1, {"from", "rows"},
        [this](const sql::TableArguments& arguments) -> Result<std::shared_ptr<sql::TableSource>> {
          return TopicSource::make(arguments, options_.cluster, schemas_, clock_, stop_source_.get_token());
        }));
    MILLRACE_ASSIGN_OR_RETURN(const auto tables, store->tables());
    store_ = std::move(store);
    carrier_ = std::make_unique<Carrier>(options_, *store_, clock_, metrics_);
    for (const TableSpec& table : tables) carrier_->add(table);
    if (started_) carrier_->start();
    return {};
  }

  Result<Answer> run(sql::Connection& connection, const std::string& sql, const QueryOptions& options) {
    MILLRACE_RETURN_IF_ERROR(check_only_reads(connection, sql));
    MILLRACE_RETURN_IF_ERROR(connection.execute("BEGIN TRANSACTION READ ONLY"));
    // Closing the connection ends the transaction.
    MILLRACE_ASSIGN_OR_RETURN(sql::ResultStream stream, connection.query(sql));
    const std::string parquet = env::join_path(options_.directory, fmt::format("answer-{}.parquet", ++answers_));
    return render(stream, options.format, options.answer_bytes_max, files_, parquet);
  }

  void answer_queries() {
    while (true) {
      std::optional<Waiting> next;
      bool stopping = false;
      {
        MutexLock lock(queue_mutex_);
        while (waiting_.empty() && !stopping_) queue_changed_.wait(queue_mutex_);
        if (waiting_.empty()) return;
        next = std::move(waiting_.front());
        waiting_.pop_front();
        stopping = stopping_;
      }
      next->done(stopping ? Result<Answer>(fail(Errc::kCancelled, "the warehouse is stopping"))
                          : query(next->sql, next->options));
    }
  }

  const Options options_;
  const Clock& clock_;
  env::FileSystem& files_;
  Metrics& metrics_;
  const TopicSchemas* schemas_;

  std::stop_source stop_source_;
  std::atomic<uint64_t> answers_{0};

  mutable Mutex mutex_;
  std::unique_ptr<Store> store_ GUARDED_BY(mutex_);      // set once
  std::unique_ptr<Carrier> carrier_ GUARDED_BY(mutex_);  // set once, behind the store
  bool started_ GUARDED_BY(mutex_) = false;
  // Held over the database's work: two declarations at once would be a conflict to it. Nobody else waits for it.
  Mutex declaring_;

  Watchdog watchdog_;
  Mutex queue_mutex_;
  CondVar queue_changed_;
  std::deque<Waiting> waiting_ GUARDED_BY(queue_mutex_);
  bool stopping_ GUARDED_BY(queue_mutex_) = false;
  std::jthread worker_;
};

std::string_view content_type(AnswerFormat format) {
  switch (format) {
    case AnswerFormat::kJson:
      return "application/json";
    case AnswerFormat::kCsv:
      return "text/csv; charset=utf-8";
    case AnswerFormat::kParquet:
      return "application/vnd.apache.parquet";
  }
  return {};
}

Result<AnswerFormat> parse_answer_format(std::string_view name) {
  if (name == "json") return AnswerFormat::kJson;
  if (name == "csv") return AnswerFormat::kCsv;
  if (name == "parquet") return AnswerFormat::kParquet;
  return fail(Errc::kInvalidArgument, fmt::format("'{}' is no format of an answer", name), "json, csv or parquet");
}

Warehouse::Warehouse(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Warehouse::~Warehouse() = default;

Result<std::unique_ptr<Warehouse>> Warehouse::open(Options options, const Clock& clock, env::FileSystem& files,
                                                   Metrics& metrics, const TopicSchemas* schemas) {
  auto impl = std::make_unique<Impl>(std::move(options), clock, files, metrics, schemas);
  MILLRACE_RETURN_IF_ERROR(impl->open_if_there());
  return std::unique_ptr<Warehouse>(new Warehouse(std::move(impl)));
}

Status Warehouse::start() { return impl_->start(); }
void Warehouse::stop() { impl_->stop(); }
Status Warehouse::declare(const TableSpec& spec) { return impl_->declare(spec); }
std::vector<TableStatus> Warehouse::tables() const { return impl_->tables(); }
Status Warehouse::catch_up(std::chrono::milliseconds timeout) { return impl_->catch_up(timeout); }
Result<Answer> Warehouse::query(const std::string& sql, const QueryOptions& options) {
  return impl_->query(sql, options);
}
void Warehouse::query_async(std::string sql, QueryOptions options, std::function<void(Result<Answer>)> done) {
  impl_->query_async(std::move(sql), std::move(options), std::move(done));
}

}  // namespace millrace::warehouse
