#pragma once

#include <atomic>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>

namespace scalevec::experiments {

// From now on, kStopSignals (child_process.hpp) ask for a stop at the next step. SIGHUP and SIGPIPE stay ignored if
// they were ignored before.
void install_signal_handlers();
int stop_signal();  // the signal that was received; 0: none

// Closed while the thread that trains may change the run's state; its owner opens it for the long passes that don't.
class StateGate {
 public:
  StateGate() = default;
  ~StateGate() { open(); }
  StateGate(const StateGate&) = delete;
  StateGate& operator=(const StateGate&) = delete;

  void open() {
    if (closed_) mutex_.unlock();
    closed_ = false;
  }
  void close() {
    if (!closed_) mutex_.lock();
    closed_ = true;
  }
  // For another thread: closes the gate behind itself if it is open.
  bool try_pass() { return mutex_.try_lock(); }

 private:
  std::mutex mutex_;
  bool closed_ = false;  // of the thread that trains
};

// Calls `stop` from a thread of its own when a signal has come and the step that was running then is still not done a
// second later.
class LongStepWatch {
 public:
  explicit LongStepWatch(std::function<void()> stop) : stop_(std::move(stop)), thread_([this] { watch(); }) {}
  ~LongStepWatch() {
    ended_ = true;
    thread_.join();
  }
  LongStepWatch(const LongStepWatch&) = delete;
  LongStepWatch& operator=(const LongStepWatch&) = delete;

 private:
  void watch();

  std::function<void()> stop_;
  std::atomic<bool> ended_ = false;
  std::thread thread_;
};

}  // namespace scalevec::experiments
