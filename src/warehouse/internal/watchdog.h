#pragma once

#include <chrono>
#include <condition_variable>
#include <list>
#include <memory>
#include <stop_token>
#include <thread>

#include "base/mutex.h"
#include "sql/database.h"

namespace millrace::warehouse {

// Interrupts statements that run past their time, or that nobody waits for any more. One thread, begun with the first
// watch. Thread-safe.
class Watchdog {
 public:
  enum class Verdict { kInTime, kTimedOut, kCancelled };

  // A statement being watched, from its making to its end.
  class Watch {
   public:
    ~Watch();
    Watch(const Watch&) = delete;
    Watch& operator=(const Watch&) = delete;
    Verdict verdict() const;

   private:
    friend class Watchdog;
    Watch(Watchdog& dog, sql::Connection& connection, std::chrono::steady_clock::time_point deadline,
          std::stop_token cancel)
        : dog_(dog), connection_(connection), deadline_(deadline), cancel_(std::move(cancel)) {}

    Watchdog& dog_;
    sql::Connection& connection_;
    const std::chrono::steady_clock::time_point deadline_;
    const std::stop_token cancel_;
    Verdict verdict_ = Verdict::kInTime;  // guarded by the dog's mutex
  };

  Watchdog() = default;
  ~Watchdog() { stop(); }

  // `connection` must outlive the watch.
  std::unique_ptr<Watch> watch(sql::Connection& connection, std::chrono::milliseconds timeout, std::stop_token cancel);
  // Cancels everything that is watched and all that will be; joins the thread. Idempotent.
  void stop();

 private:
  // How long a statement may run past its time or its caller.
  static constexpr std::chrono::milliseconds kInterval{50};

  void run();

  mutable Mutex mutex_;
  CondVar changed_;
  std::list<Watch*> watched_ GUARDED_BY(mutex_);
  bool stopping_ GUARDED_BY(mutex_) = false;
  std::jthread thread_;
  bool started_ GUARDED_BY(mutex_) = false;
};

}  // namespace millrace::warehouse
