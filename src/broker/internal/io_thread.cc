#include "broker/internal/io_thread.h"

#include <pthread.h>
#include <signal.h>

#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/post.hpp>

#include "base/check.h"

namespace millrace::broker {

IoThread::IoThread(Clock& clock) : clock_(clock), scratch_(kScratchBytes) {}

IoThread::~IoThread() { MILLRACE_CHECK(!thread_.joinable(), "an I/O thread outlives its owner"); }

void IoThread::start() {
  thread_ = std::thread([this] {
    id_ = std::this_thread::get_id();
    on_one_ = true;
    // sendfile(2) to a connection that is gone would raise it, and knows no MSG_NOSIGNAL.
    sigset_t pipe;
    sigemptyset(&pipe);
    sigaddset(&pipe, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe, nullptr);
    const auto keep_running = boost::asio::make_work_guard(context_);
    context_.run();
  });
}

void IoThread::stop() {
  context_.stop();
  if (thread_.joinable()) thread_.join();
}

void IoThread::post(Task task) {
  bool first = false;
  {
    MutexLock lock(mutex_);
    first = inbox_.empty();
    inbox_.push_back(std::move(task));
  }
  if (first) boost::asio::post(context_, [this] { run_inbox(); });
}

void IoThread::run_inbox() {
  std::vector<Task> tasks;
  {
    MutexLock lock(mutex_);
    tasks.swap(inbox_);
  }
  in_inbox_ = true;
  for (Task& task : tasks) task();
  in_inbox_ = false;
  for (Task& task : std::exchange(deferred_, {})) task();
}

void IoThread::defer(Task task) {
  if (!in_inbox_) return post(std::move(task));
  deferred_.push_back(std::move(task));
}

TimerId IoThread::call_at(MonoTime when, Task task) {
  const TimerId id = timers_.add(when, std::move(task));
  if (!armed_for_ || when < *armed_for_) arm();
  return id;
}

void IoThread::run_timers() {
  const MonoTime now = clock_.mono_now();
  while (Task task = timers_.take_due(now)) task();
  arm();
}

// One Asio timer stands for the earliest of ours. It may fire for one that was cancelled, and then finds nothing due:
// cheaper than re-arming at every cancellation, as nearly all timeouts are cancelled.
void IoThread::arm() {
  const auto next = timers_.next();
  if (!next) {
    armed_for_.reset();
    timer_.cancel();
    return;
  }
  armed_for_ = next;
  timer_.expires_after(*next - clock_.mono_now());
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) run_timers();
  });
}

}  // namespace millrace::broker
