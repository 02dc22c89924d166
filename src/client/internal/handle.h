#pragma once

#include <librdkafka/rdkafka.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "base/mutex.h"
#include "base/result.h"
#include "client/options.h"

namespace millrace::client {

using Settings = std::map<std::string, std::string>;

// Deleters for what librdkafka hands out.
template <auto kFree>
struct FreeWith {
  template <typename T>
  void operator()(T* pointer) const {
    kFree(pointer);
  }
};
using QueuePtr = std::unique_ptr<rd_kafka_queue_t, FreeWith<rd_kafka_queue_destroy>>;
using EventPtr = std::unique_ptr<rd_kafka_event_t, FreeWith<rd_kafka_event_destroy>>;
using ErrorPtr = std::unique_ptr<rd_kafka_error_t, FreeWith<rd_kafka_error_destroy>>;
using PartitionListPtr =
    std::unique_ptr<rd_kafka_topic_partition_list_t, FreeWith<rd_kafka_topic_partition_list_destroy>>;
using AdminOptionsPtr = std::unique_ptr<rd_kafka_AdminOptions_t, FreeWith<rd_kafka_AdminOptions_destroy>>;
using GroupMetadataPtr =
    std::unique_ptr<rd_kafka_consumer_group_metadata_t, FreeWith<rd_kafka_consumer_group_metadata_destroy>>;

// `code` as an Error of ours; `what` is the sentence's beginning: "cannot commit offsets of group g".
Error to_error(rd_kafka_resp_err_t code, std::string_view what, std::string_view bootstrap,
               std::string_view detail = {});

// What happens inside librdkafka's callbacks beyond errors and log lines. Called on the thread that polls.
struct HandleCallbacks {
  void (*rebalance)(rd_kafka_t*, rd_kafka_resp_err_t, rd_kafka_topic_partition_list_t*, void*) = nullptr;
  void (*delivery)(rd_kafka_t*, const rd_kafka_message_t*, void*) = nullptr;
  void* context = nullptr;  // their last argument is the Handle; it leads here
};

// One librdkafka instance: its settings, what its callbacks reported, and its end. Shared by the object that uses it
// and by the records that point into its buffers: the last one ends it.
class Handle {
 public:
  // `settings` are ours; Options::extra wins over them. kInvalidArgument names a setting librdkafka refuses.
  static Result<std::shared_ptr<Handle>> create(rd_kafka_type_t type, const Options& options, Settings settings,
                                                const HandleCallbacks& callbacks = {});
  ~Handle();
  Handle(const Handle&) = delete;
  Handle& operator=(const Handle&) = delete;

  rd_kafka_t* get() const { return handle_; }
  const std::string& bootstrap() const { return bootstrap_; }
  void* context() const { return callbacks_.context; }

  // The last error that librdkafka reported and went on after; taken once.
  std::optional<Error> take_trouble() EXCLUDES(mutex_);
  // The fatal error after which this instance is of no use, if there was one.
  std::optional<Error> fatal() const;
  // No broker could be reached when last tried.
  bool all_brokers_down() const { return all_down_; }
  // A request was answered: brokers are there (again).
  void note_answer() { all_down_ = false; }
  // The Error for a call that got no answer in time: unreachable, where that is known, else too slow.
  Error no_answer(std::string_view what) const;

 private:
  explicit Handle(std::string bootstrap) : bootstrap_(std::move(bootstrap)) {}
  static void on_error(rd_kafka_t* handle, int code, const char* reason, void* self);
  static void on_log(const rd_kafka_t* handle, int level, const char* facility, const char* text);
  void log(int level, std::string_view facility, std::string_view text) EXCLUDES(mutex_);

  rd_kafka_t* handle_ = nullptr;
  const std::string bootstrap_;
  HandleCallbacks callbacks_;
  std::atomic<bool> all_down_ = false;
  Mutex mutex_;
  std::optional<Error> trouble_ GUARDED_BY(mutex_);
  int64_t log_window_s_ GUARDED_BY(mutex_) = 0;
  int lines_in_window_ GUARDED_BY(mutex_) = 0;
};

// A C call's error object as a Status; takes it over.
Status to_status(rd_kafka_error_t* error, std::string_view what, std::string_view bootstrap);

// Ours as theirs. Milliseconds that fit their int; negative ones count as none.
int to_ms(Millis timeout);

}  // namespace millrace::client
