#include "experiments/distributed/child_process.hpp"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <iterator>
#include <string_view>

#include "experiments/distributed/rendezvous.hpp"
#include "experiments/errors.hpp"

namespace scalevec::experiments {
namespace {

volatile std::sig_atomic_t first_signal = 0;
volatile std::sig_atomic_t signal_count = 0;

// Every further line to a closed pipe raises SIGPIPE again: it does not count as a person's second wish.
void note_signal(int signal) {
  if (signal == SIGPIPE && first_signal) return;
  if (!first_signal) first_signal = signal;
  signal_count = signal_count + 1;
}

}  // namespace

pid_t start_child(const std::vector<std::string>& arguments, const std::filesystem::path& log,
                  const std::vector<std::string>& more) {
  std::vector<char*> argv;
  for (const std::string& a : arguments) argv.push_back(const_cast<char*>(a.c_str()));
  argv.push_back(nullptr);
  // A child is one process by itself, also where a launcher started this one.
  std::vector<char*> variables;
  const auto replaced = [&](std::string_view name) {
    return std::any_of(more.begin(), more.end(), [&](const std::string& entry) {
      return entry.size() > name.size() && entry.starts_with(name) && entry[name.size()] == '=';
    });
  };
  for (char** entry = environ; *entry; ++entry) {
    const std::string_view text = *entry, name = text.substr(0, text.find('='));
    if (!is_launcher_variable(name) && !replaced(name)) variables.push_back(*entry);
  }
  for (const std::string& entry : more) variables.push_back(const_cast<char*>(entry.c_str()));
  variables.push_back(nullptr);
  const int out = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
  if (out < 0) throw RunError(log.string() + ": cannot be written: " + std::strerror(errno));
  const int in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child == 0) {
    // Between fork and exec only calls that are safe in a signal handler: other threads may have held locks.
    setpgid(0, 0);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(127);
    std::signal(SIGINT, SIG_DFL);
    std::signal(SIGTERM, SIG_DFL);
    dup2(in, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(out, STDERR_FILENO);
    execve(argv[0], argv.data(), variables.data());
    const char text[] = "the program cannot be started\n";
    [[maybe_unused]] const auto written = write(STDERR_FILENO, text, sizeof text - 1);
    _exit(127);
  }
  const int error = errno;
  close(in);
  close(out);
  if (child < 0) throw RunError(std::string("cannot start a process: ") + std::strerror(error));
  return child;
}

std::string ChildEnd::text() const {
  if (signal) return "signal " + std::to_string(signal) + " (" + strsignal(signal) + ")";
  return "exit status " + std::to_string(status);
}

std::optional<ChildEnd> poll_child(pid_t child) {
  int status = 0;
  const pid_t ended = waitpid(child, &status, WNOHANG);
  if (ended == 0 || (ended < 0 && errno == EINTR)) return std::nullopt;
  if (ended < 0) return ChildEnd{127, 0};
  if (WIFSIGNALED(status)) return ChildEnd{0, WTERMSIG(status)};
  return ChildEnd{WEXITSTATUS(status), 0};
}

void handle_stop_signals(void (*handler)(int), int flags, struct sigaction* before) {
  struct sigaction action {};
  action.sa_handler = handler;
  action.sa_flags = flags;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < std::size(kStopSignals); ++i) {
    struct sigaction old {};
    sigaction(kStopSignals[i], nullptr, &old);
    const bool optional = kStopSignals[i] == SIGHUP || kStopSignals[i] == SIGPIPE;
    if (!(optional && old.sa_handler == SIG_IGN)) sigaction(kStopSignals[i], &action, nullptr);
    if (before != nullptr) before[i] = old;
  }
}

SignalGuard::SignalGuard() {
  first_signal = 0;
  signal_count = 0;
  handle_stop_signals(note_signal, 0, before_);
}

SignalGuard::~SignalGuard() {
  for (size_t i = 0; i < std::size(kStopSignals); ++i) sigaction(kStopSignals[i], &before_[i], nullptr);
}

int SignalGuard::first() const { return first_signal; }
int SignalGuard::count() const { return signal_count; }

}  // namespace scalevec::experiments
