#include "experiments/distributed/rank_watch.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <vector>

#include "experiments/errors.hpp"

namespace scalevec::experiments {
namespace {

using Clock = std::chrono::steady_clock;

double since(Clock::time_point then) { return std::chrono::duration<double>(Clock::now() - then).count(); }

constexpr double kGrace = 1.0;  // seconds

// The last is the verdict on a rank that says itself why it failed.
enum Kind : std::int32_t { kBeat, kBye, kFailed, kVerdict, kVerdictOnFailure };

std::string seconds_text(double seconds) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g s", seconds);
  return text;
}

void set_non_blocking(int fd) {
  ::fcntl(fd, F_SETFL, ::fcntl(fd, F_GETFL) | O_NONBLOCK);
  const int on = 1;
  ::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

}  // namespace

// What goes over a connection, in either direction: both ends are the same program on the same kind of machine.
struct RankWatch::Message {
  std::int32_t kind = kBeat;
  std::int32_t rank = 0;
  std::int32_t busy = 0;
  std::int32_t process = 0;
  std::int64_t collectives = 0;
  std::int64_t step = 0;
  char host[64] = {};
  char text[160] = {};
};

// One end of a connection.
struct RankWatch::Peer {
  int fd = -1;
  Message last;  // rank −1 until the first message
  std::vector<char> bytes;
  bool closed = false, failed = false, bye = false;
  Clock::time_point heard = Clock::now();
  bool behind = false;
  Clock::time_point behind_since;
  Finding verdict;

  void read() {
    char chunk[4096];
    while (fd >= 0 && !closed) {
      const ssize_t n = ::recv(fd, chunk, sizeof chunk, 0);
      if (n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)) closed = true;
      if (n <= 0) break;
      heard = Clock::now();
      bytes.insert(bytes.end(), chunk, chunk + n);
    }
    size_t at = 0;
    for (; bytes.size() - at >= sizeof(Message); at += sizeof(Message)) {
      const std::int64_t before = last.collectives;
      std::memcpy(&last, bytes.data() + at, sizeof last);
      if (last.collectives != before) behind = false;
      if (last.kind == kBye) bye = true;
      if (last.kind == kFailed) failed = true;
      if (last.kind == kVerdict || last.kind == kVerdictOnFailure)
        verdict = {last.rank, last.kind == kVerdictOnFailure, last.text};
    }
    bytes.erase(bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(at));
  }
  void send(const Message& message) const {
    if (fd >= 0 && !closed) static_cast<void>(::send(fd, &message, sizeof message, MSG_NOSIGNAL | MSG_DONTWAIT));
  }

  std::string name() const {
    return "rank " + std::to_string(last.rank) + " (process " + std::to_string(last.process) + " on " + last.host + ")";
  }
  std::string after() const { return last.step > 0 ? " after step " + std::to_string(last.step) : std::string(); }
};

RankWatch::RankWatch(const Options& options) : options_(options), limit_(0.8 * options.timeout) {
  socket_ = ::socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_storage address = {};
  socklen_t length = sizeof(sockaddr_in6);
  const int off = 0;
  if (socket_ >= 0 && ::setsockopt(socket_, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof off) == 0) {
    address.ss_family = AF_INET6;
  } else {  // a kernel without IPv6
    if (socket_ >= 0) ::close(socket_);
    socket_ = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    address.ss_family = AF_INET;
    length = sizeof(sockaddr_in);
  }
  if (socket_ < 0 || ::bind(socket_, reinterpret_cast<sockaddr*>(&address), length) != 0 ||
      ::listen(socket_, options.size) != 0 ||
      ::getsockname(socket_, reinterpret_cast<sockaddr*>(&address), &length) != 0)
    throw RunError(std::string("rank 0 cannot listen to the other ranks: ") + std::strerror(errno));
  port_ = ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6*>(&address)->sin6_port
                                              : reinterpret_cast<sockaddr_in*>(&address)->sin_port);
  set_non_blocking(socket_);
  thread_ = std::thread([this] { run_first(); });
}

RankWatch::RankWatch(const Options& options, const std::string& address, int port)
    : options_(options), limit_(0.8 * options.timeout), port_(port) {
  addrinfo hints = {}, *found = nullptr;
  hints.ai_socktype = SOCK_STREAM;
  if (const int error = ::getaddrinfo(address.c_str(), std::to_string(port).c_str(), &hints, &found))
    throw RunError("rank 0's address " + address + ": " + ::gai_strerror(error));
  for (const addrinfo* a = found; a && socket_ < 0; a = a->ai_next) {
    const int fd = ::socket(a->ai_family, a->ai_socktype | SOCK_CLOEXEC, a->ai_protocol);
    if (fd < 0) continue;
    if (::connect(fd, a->ai_addr, a->ai_addrlen) == 0)
      socket_ = fd;
    else
      ::close(fd);
  }
  ::freeaddrinfo(found);
  if (socket_ < 0)
    throw RunError("rank 0 cannot be reached at " + address + " port " + std::to_string(port) + ": " +
                   std::strerror(errno));
  set_non_blocking(socket_);
  thread_ = std::thread([this] { run_other(); });
}

RankWatch::~RankWatch() {
  if (!thread_.joinable()) return;
  ending_ = true;
  thread_.join();
}

void RankWatch::finish() {
  finished_ = true;
  ending_ = true;
  if (thread_.joinable()) thread_.join();
}

void RankWatch::wait_for_verdict() {
  const auto start = Clock::now();
  while (since(start) < options_.timeout) std::this_thread::sleep_for(std::chrono::milliseconds(20));
}

RankWatch::Message RankWatch::message(int kind, const std::string& text) const {
  Message m;
  m.kind = kind;
  m.rank = options_.rank;
  m.busy = busy_;
  m.process = static_cast<std::int32_t>(::getpid());
  m.collectives = collectives_;
  m.step = step_;
  ::gethostname(m.host, sizeof m.host - 1);
  std::snprintf(m.text, sizeof m.text, "%s", text.c_str());
  return m;
}

void RankWatch::stop(const Finding& finding) {
  if (options_.rank == 0 || finding.rank == 0)
    std::fprintf(stderr, "%sscalevec: %s; the other ranks stop, and --resume continues from the last checkpoint\n",
                 ::isatty(STDERR_FILENO) ? "\n" : "", finding.text.c_str());
  std::fflush(stderr);
  ::_exit(1);
}

RankWatch::Finding RankWatch::inspect(std::vector<Peer>& peers) const {
  std::int64_t furthest = 0;
  for (const Peer& p : peers) furthest = std::max(furthest, p.last.collectives);
  for (Peer& p : peers) {
    if (p.bye || p.last.rank < 0) continue;
    const auto found = [&](const std::string& what, bool says_why = false) {
      return Finding{p.last.rank, says_why, p.name() + " " + what};
    };
    if (p.failed) return found("failed" + p.after() + ", as its own line says", true);
    if (p.closed) return found("died" + p.after());
    if (since(p.heard) > limit_) return found("hangs" + p.after() + ": no sign of it for " + seconds_text(limit_));
    if (p.last.busy || p.last.collectives >= furthest) {
      p.behind = false;
    } else if (!p.behind) {
      p.behind = true;
      p.behind_since = Clock::now();
    } else if (since(p.behind_since) > limit_) {
      return found("hangs" + p.after() + ": the others have waited for it for " + seconds_text(limit_));
    }
  }
  return {};
}

// A rank that failed says why in a line of its own, which may be everyone's: the others get the time to end by theirs.
// True if this process should end here.
bool RankWatch::grace(const Finding& finding) const {
  const auto start = Clock::now();
  while (finding.says_why && !ending_ && since(start) < kGrace)
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  return !ending_;
}

// A beat at each turn would answer a beat with a beat for ever.
bool RankWatch::beat_is_due() {
  if (beats_ > 0 && since(last_beat_) < interval()) return false;
  last_beat_ = Clock::now();
  ++beats_;
  return true;
}

void RankWatch::run_first() {
  std::vector<Peer> peers(1);  // the first is this rank itself
  while (!ending_) {
    wait_for_input(peers, socket_);
    for (int fd; (fd = ::accept4(socket_, nullptr, nullptr, SOCK_CLOEXEC)) >= 0;) {
      set_non_blocking(fd);
      peers.emplace_back();
      peers.back().fd = fd;
      peers.back().last.rank = -1;
    }
    for (Peer& p : peers) p.read();
    if (peers[0].last.collectives != collectives_) peers[0].behind = false;
    peers[0].last = message(kBeat);
    peers[0].heard = Clock::now();
    if (const Finding finding = inspect(peers); !finding.text.empty()) {
      Message verdict = message(finding.says_why ? kVerdictOnFailure : kVerdict, finding.text);
      verdict.rank = finding.rank;
      for (const Peer& p : peers) p.send(verdict);
      if (grace(finding)) stop(finding);
      break;
    }
    if (!beat_is_due()) continue;
    for (const Peer& p : peers) p.send(peers[0].last);
  }
  say_goodbye(peers);
  ::close(socket_);
}

void RankWatch::run_other() {
  std::vector<Peer> first(1);
  Peer& peer = first[0];
  peer.fd = socket_;
  std::snprintf(peer.last.host, sizeof peer.last.host, "a machine not known yet");
  while (!ending_) {
    if (beat_is_due()) peer.send(message(kBeat));
    wait_for_input(first, -1);
    peer.read();
    if (peer.bye) break;
    // Rank 0 may stay behind in its collectives too, but it is rank 0 that knows.
    const Finding finding = peer.verdict.text.empty() ? inspect(first) : peer.verdict;
    if (finding.text.empty()) continue;
    if (grace(finding)) stop(finding);
    break;
  }
  say_goodbye(first);
}

void RankWatch::wait_for_input(const std::vector<Peer>& peers, int listener) const {
  std::vector<pollfd> inputs{{listener, POLLIN, 0}};
  for (const Peer& p : peers) inputs.push_back({p.closed ? -1 : p.fd, POLLIN, 0});
  ::poll(inputs.data(), inputs.size(), static_cast<int>(1000 * interval()));
}

double RankWatch::interval() const { return std::clamp(options_.timeout / 40, 0.02, 1.0); }

// A connection closed with unread bytes in it would take back the last message: each side reads to the other's end.
void RankWatch::say_goodbye(std::vector<Peer>& peers) const {
  const auto start = Clock::now();
  for (const Peer& p : peers) {
    p.send(message(finished_ ? kBye : kFailed));
    ::shutdown(p.fd, SHUT_WR);
  }
  const auto open = [](const Peer& p) { return p.fd >= 0 && !p.closed; };
  while (std::any_of(peers.begin(), peers.end(), open) && since(start) < 2 * kGrace) {
    wait_for_input(peers, -1);
    for (Peer& p : peers) p.read();
  }
  for (const Peer& p : peers)
    if (p.fd >= 0) ::close(p.fd);
}

}  // namespace scalevec::experiments
