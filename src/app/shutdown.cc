#include "app/shutdown.h"

#include <pthread.h>
#include <signal.h>
#include <unistd.h>

namespace millrace::app {
namespace {

sigset_t shutdown_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  return signals;
}

}  // namespace

ShutdownSignal::ShutdownSignal() {
  const sigset_t signals = shutdown_signals();
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  // A client that hangs up must not end the process; the write reports it.
  signal(SIGPIPE, SIG_IGN);
}

int ShutdownSignal::wait() const {
  const sigset_t signals = shutdown_signals();
  int received = 0;
  sigwait(&signals, &received);
  return received;
}

int ShutdownSignal::wait_for(std::chrono::milliseconds timeout) const {
  const sigset_t signals = shutdown_signals();
  const timespec limit{timeout.count() / 1000, (timeout.count() % 1000) * 1'000'000};
  const int received = sigtimedwait(&signals, nullptr, &limit);
  return received > 0 ? received : 0;
}

StopOnSignal::StopOnSignal() {
  static constexpr std::chrono::milliseconds kLookEvery{100};
  watcher_ = std::jthread([this](std::stop_token done) {
    while (!done.stop_requested())
      if (signal_.wait_for(kLookEvery) != 0) source_.request_stop();
  });
}

void exit_within(std::chrono::milliseconds limit, int exit_code) {
  // Detached on purpose: it must not be waited for, and it ends with the process.
  std::thread([limit, exit_code] {
    std::this_thread::sleep_for(limit);
    ::_exit(exit_code);
  }).detach();
}

}  // namespace millrace::app
