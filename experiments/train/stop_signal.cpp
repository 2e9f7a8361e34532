#include "experiments/train/stop_signal.hpp"

#include <time.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <cstdint>

#include "experiments/distributed/child_process.hpp"

namespace scalevec::experiments {
namespace {

volatile std::sig_atomic_t g_signal = 0;
volatile std::int64_t g_signal_second = 0;

// A second signal ends the program at once. Not within two seconds: a launcher passes on the Ctrl-C that the terminal
// has sent its processes too. Never SIGPIPE, which comes with every further line to a closed pipe.
void note_signal(int number) {
  struct timespec now {};
  clock_gettime(CLOCK_MONOTONIC, &now);
  if (g_signal == 0) {
    g_signal_second = now.tv_sec;
    g_signal = number;
  } else if (number != SIGPIPE && now.tv_sec > g_signal_second + 2) {
    ::_exit(128 + number);
  }
}

}  // namespace

void install_signal_handlers() { handle_stop_signals(note_signal, SA_RESTART); }

int stop_signal() { return g_signal; }

void LongStepWatch::watch() {
  // A signal is for the thread that trains.
  for (int since = 0; !ended_; std::this_thread::sleep_for(std::chrono::milliseconds(50)))
    if (stop_signal() != 0 && ++since > 20) stop_();
}

}  // namespace scalevec::experiments
