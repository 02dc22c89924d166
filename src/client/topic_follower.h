#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "base/clock.h"
#include "base/mutex.h"
#include "base/result.h"
#include "client/options.h"
#include "client/partition_reader.h"

namespace millrace::client {

struct FollowerOptions {
  std::string topic;  // of one partition
  // Make the topic where it does not exist: compacted. Without it, a missing topic is kNotFound.
  bool create_topic = true;
  Millis timeout{30'000};  // of each call that asks the broker or waits for the topic's end
};

// Reads a small topic that holds state, such as the registry's, from its beginning, and follows it: what others write
// shows within milliseconds. A thread of its own. Thread-safe, but for start() and what is marked.
class TopicFollower {
 public:
  // Called on the follower's thread, one at a time, from start() until the destructor has returned.
  struct Callbacks {
    std::function<void(const Records& records)> apply;  // the next ones, in order
    std::function<void()> looked;  // after each look at the topic, with records or without; may be empty
    std::function<void(const Error& error)> ended;  // it cannot be read any more: following is over; may be empty
  };

  // `clock` must outlive the follower.
  static Result<std::unique_ptr<TopicFollower>> create(const Options& client, const Clock& clock,
                                                       FollowerOptions options);
  ~TopicFollower() = default;
  TopicFollower(const TopicFollower&) = delete;
  TopicFollower& operator=(const TopicFollower&) = delete;

  // Once. Returns when everything that is in the topic now has been applied; otherwise kTimedOut, or why the topic
  // cannot be read.
  Status start(Callbacks callbacks);

  // Wait until everything that is in the topic at this moment has been applied. Errors as of start().
  Status refresh();

  // What lies before it has been applied.
  Offset position() const;
  // Where the topic ends now. From a callback only.
  Result<Offset> end();

 private:
  TopicFollower(const Options& client, const Clock& clock, FollowerOptions options)
      : client_(client), options_(std::move(options)), clock_(clock) {}

  TopicPartition source() const { return {options_.topic, PartitionId(0)}; }
  void follow(const std::stop_token& stop);
  Status wait_until(Offset end) const;

  const Options client_;
  const FollowerOptions options_;
  const Clock& clock_;
  Callbacks callbacks_;
  std::unique_ptr<PartitionReader> reader_;  // the thread's, once it runs

  mutable Mutex mutex_;
  mutable CondVar moved_;
  Offset position_ GUARDED_BY(mutex_);
  std::optional<Error> failure_ GUARDED_BY(mutex_);  // following has ended for good

  std::jthread thread_;  // last: joined before anything it uses goes
};

}  // namespace millrace::client
