#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <string>
#include <thread>
#include <vector>

namespace scalevec {

// Notices that a rank has died or hangs, and stops this process then. Every rank beats over a connection of its own to
// rank 0, from a thread that the training does not block; rank 0 beats back and tells the others whom it misses.
// - A connection that closes without a goodbye: that rank died.
// - No beat for 0.8·timeout: it hangs (stopped, or its machine is gone).
// - Beats, but its main thread stays behind the collectives that others have come to for 0.8·timeout: it hangs.
// One rank prints the line, rank 0 or rank 1 in place of it, and each exits with status 1 by _exit: what they write
// survives a kill at any moment. Needs no LibTorch.
class RankWatch {
 public:
  struct Options {
    int rank = 0;
    int size = 1;
    double timeout = 60.0;  // seconds within which the others are stopped
  };

  // Rank 0: listens at port(). Throws RunError.
  explicit RankWatch(const Options& options);
  // The others connect to it. Throws RunError.
  RankWatch(const Options& options, const std::string& address, int port);
  // Without finish() before, tells the others that this rank failed.
  ~RankWatch();
  RankWatch(const RankWatch&) = delete;
  RankWatch& operator=(const RankWatch&) = delete;

  int port() const { return port_; }

  // The main thread comes to a collective; every rank comes to the same ones.
  void at_collective() { ++collectives_; }
  void set_step(std::int64_t step) { step_ = step; }

  // While one exists, this rank may keep the others waiting: it writes a checkpoint, say.
  class Busy {
   public:
    explicit Busy(RankWatch& watch) : watch_(watch) { ++watch_.busy_; }
    ~Busy() { --watch_.busy_; }
    Busy(const Busy&) = delete;
    Busy& operator=(const Busy&) = delete;

   private:
    RankWatch& watch_;
  };

  // A collective failed here, because of some rank: the process ends when it is known which. Returns if it is not known
  // after the timeout.
  void wait_for_verdict();

  // Rounds of beats sent so far.
  std::int64_t beats() const { return beats_; }

  // The run is over on every rank.
  void finish();

 private:
  struct Message;
  struct Peer;
  struct Finding {
    int rank = -1;
    std::string text;
  };

  Message message(int kind, const std::string& text = {}) const;
  void run_first();
  void run_other();
  Finding look(std::vector<Peer>& peers) const;  // what is wrong with whom; empty text: nothing
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

}  // namespace scalevec
