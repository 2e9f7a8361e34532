#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace scalevec::experiments {

// Detects that a rank has died or hangs, and then stops this process. Every rank has a separate connection to rank 0
// and regularly sends a sign of life (a beat) over it, from a thread that the training does not block. Rank 0 sends
// beats back and tells the other ranks which rank is missing.
// - A connection that closes without a goodbye: that rank has died.
// - No beat for 0.8·timeout: the rank hangs (it was stopped, or its machine is gone).
// - Beats, but for 0.8·timeout its main thread has not reached a collective operation that others have reached: it
// hangs.
// Rank 0 prints the line, or every other rank if rank 0 is the missing one, since none of them knows which others are
// left. Each rank exits with status 1 by _exit; the files that they write survive a kill at any moment. Needs no
// LibTorch.
class RankWatch {
 public:
  struct Options {
    int rank = 0;
    int size = 1;
    double timeout = 60.0;  // seconds within which the other ranks are stopped
  };

  // For rank 0: listens at port(). Throws RunError.
  explicit RankWatch(const Options& options);
  // For the other ranks: connects to rank 0. Throws RunError.
  RankWatch(const Options& options, const std::string& address, int port);
  // If finish() was not called, tells the other ranks that this rank failed.
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  int port() const { return port_; }

  // Call this before every collective operation; every rank must reach the same ones.
  void at_collective() { ++collectives_; }
  void set_step(std::int64_t step) { step_ = step; }

  // While an object exists, this rank may keep the others waiting, for example while it writes a checkpoint.
  class Busy {
   public:
    explicit Busy(RankWatch& watch) : watch_(watch) { ++watch_.busy_; }
    ~Busy() { --watch_.busy_; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    RankWatch& watch_;
  };

  // Call this when a collective operation has failed because of another rank. The process ends as soon as it is known
  // which rank. Returns if this is not known after the timeout.
  void wait_for_verdict();

  // The number of beats sent so far.
  std::int64_t beats() const { return beats_; }

  // The run is over on every rank.
  void finish();

 private:
  struct Message;
  struct Peer;
  struct Finding {
    int rank = -1;
    bool says_why = false;  // the rank itself, in a line of its own
    std::string text;
  };

  Message message(int kind, const std::string& text = {}) const;
  void run_first();
  void run_other();
  Finding inspect(std::vector<Peer>& peers) const;  // what is wrong with whom; empty text: nothing
  bool grace(const Finding& finding) const;
  [[noreturn]] void stop(const Finding& finding);
  double interval() const;  // seconds between beats
  bool beat_is_due();       // and is counted as sent
  void wait_for_input(const std::vector<Peer>& peers, int listener) const;
  void say_goodbye(std::vector<Peer>& peers) const;

  const Options options_;
  const double limit_;  // seconds without a sign
  int port_ = 0;
  int socket_ = -1;  // rank 0: the listener
  std::atomic<std::int64_t> collectives_{0}, step_{0}, beats_{0};
  std::chrono::steady_clock::time_point last_beat_;  // the thread's
  std::atomic<int> busy_{0};
  std::atomic<bool> ending_{false}, finished_{false};
  std::thread thread_;
};

}  // namespace scalevec::experiments
