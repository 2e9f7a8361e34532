#pragma once

#include <sys/types.h>

#include <csignal>
#include <filesystem>
#include <iterator>
#include <optional>
#include <string>
#include <vector>

namespace scalevec::experiments {

// Starts `arguments` (the first is the program) with stdin from /dev/null, and with stdout and stderr appended to
// `log`, and with `more` ("NAME=value") in its environment in place of variables of those names. The child has its own
// process group, so a Ctrl-C on the terminal reaches only this process. It gets SIGTERM when the calling thread dies.
// Throws RunError.
pid_t start_child(const std::vector<std::string>& arguments, const std::filesystem::path& log,
                  const std::vector<std::string>& more = {});

// How a child ended.
struct ChildEnd {
  int status = 0;            // exit status, or 0 if a signal ended it
  int signal = 0;            // the signal that ended it, or 0
  std::string text() const;  // "exit status 1", "signal 9 (Killed)"
};

// How the child ended; empty while it runs.
std::optional<ChildEnd> poll_child(pid_t child);

// The signals that ask a program to end: Ctrl-C, a scheduler, the end of its terminal, the end of the reader of its
// output.
inline constexpr int kStopSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

// `handler` gets kStopSignals from now on. SIGHUP and SIGPIPE stay ignored if they are: nohup has the one ignored, and
// who starts a program may have the other. `before`, if given, is filled with what was in their place.
void handle_stop_signals(void (*handler)(int), int flags, struct sigaction* before = nullptr);

// As long as an object exists, kStopSignals are recorded and do not end the program.
class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

  int first() const;  // the first signal that was received, or 0
  int count() const;  // how many were received

 private:
  struct sigaction before_[std::size(kStopSignals)] = {};
};

}  // namespace scalevec::experiments
