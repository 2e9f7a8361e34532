#pragma once

#include <sys/types.h>

#include <csignal>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace scalevec {

// Starts `arguments` (the first is the program) with stdin from /dev/null and stdout and stderr appended to `log`, in a
// process group of its own, so that a Ctrl-C on the terminal reaches only us. The child gets SIGTERM when the calling
// thread dies. Throws RunError.
pid_t start_child(const std::vector<std::string>& arguments, const std::filesystem::path& log);

// How a child ended.
struct ChildEnd {
  int status = 0;            // exit status, or 0 if a signal ended it
  int signal = 0;            // the signal that ended it, or 0
  std::string text() const;  // "exit status 1", "signal 9 (Killed)"
};

// Empty while it runs.
std::optional<ChildEnd> poll_child(pid_t child);

// What asks a program to end: by Ctrl-C, by a scheduler, with its terminal, and with who read its output.
inline constexpr int kStopSignals[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};

// While it lives, kStopSignals are noted instead of ending the program. SIGHUP and SIGPIPE stay ignored where they
// were.
class SignalGuard {
 public:
  SignalGuard();
  ~SignalGuard();
  SignalGuard(const SignalGuard&) = delete;
  SignalGuard& operator=(const SignalGuard&) = delete;

  int first() const;  // the first signal that came, or 0
  int count() const;

 private:
  struct sigaction before_[4] = {};
};

}  // namespace scalevec
