#include "experiments/distributed/rank_watch.hpp"

#include <algorithm>

#include "tests/distributed/launched.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using namespace launched;

namespace {

constexpr double kTimeout = 5.0;

// Three processes with a watch each; `body` of a rank gives its exit status.
struct Watched {
  Folder folder{"scalevec-watch"};
  std::vector<pid_t> pids;

  explicit Watched(const std::function<int(RankWatch&, int)>& body) {
    int port_pipe[2];
    REQUIRE(::pipe(port_pipe) == 0);
    for (int rank = 0; rank < 3; ++rank)
      pids.push_back(start(folder.path / std::to_string(rank), [&] {
        const RankWatch::Options options{rank, 3, kTimeout};
        int port = 0;
        if (rank == 0) {
          RankWatch watch(options);
          port = watch.port();
          for (int i = 0; i < 2; ++i) static_cast<void>(!::write(port_pipe[1], &port, sizeof port));
          return body(watch, rank);
        }
        if (::read(port_pipe[0], &port, sizeof port) != sizeof port) return 99;
        RankWatch watch(options, "127.0.0.1", port);
        return body(watch, rank);
      }));
    ::close(port_pipe[0]);
    ::close(port_pipe[1]);
  }
  std::vector<int> finish() const {
    std::vector<int> out;
    for (const pid_t pid : pids) out.push_back(launched::finish(pid));
    return out;
  }
  std::string errors() const {
    std::string out;
    for (int rank = 0; rank < 3; ++rank) out += content(folder.path / (std::to_string(rank) + ".err"));
    return out;
  }
};

void sleep(double seconds) { std::this_thread::sleep_for(std::chrono::duration<double>(seconds)); }

}  // namespace

TEST_CASE("ranks that finish at different moments end well, and a busy one may keep the others waiting") {
  const Watched run([](RankWatch& watch, int rank) {
    sleep(0.3);
    {
      const RankWatch::Busy busy(watch);
      if (rank != 1) watch.at_collective();
      sleep(rank == 1 ? kTimeout : 0.0);
    }
    if (rank == 1) watch.at_collective();
    sleep(rank == 1 ? 0.0 : kTimeout + 0.2 * rank);
    watch.finish();
    return 0;
  });
  CHECK(run.finish() == std::vector<int>{0, 0, 0});
  CHECK(run.errors().empty());
}

TEST_CASE("ranks beat forty times a timeout and do not answer each beat with one") {
  const Watched run([](RankWatch& watch, int) {
    const auto begin = std::chrono::steady_clock::now();
    sleep(1.0);
    const std::int64_t beats = watch.beats();
    const double intervals =
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() / (kTimeout / 40);
    sleep(0.5);
    watch.finish();
    return beats >= 1 && static_cast<double>(beats) <= intervals + 3 ? 0 : 9;
  });
  CHECK(run.finish() == std::vector<int>{0, 0, 0});
}

TEST_CASE("a rank whose main thread stays behind is named although it beats") {
  const Watched run([](RankWatch& watch, int rank) {
    watch.set_step(7);
    watch.at_collective();
    if (rank != 2) watch.at_collective();
    sleep(4 * kTimeout);
    return 0;
  });
  CHECK(run.finish() == std::vector<int>{1, 1, 1});
  const std::string errors = run.errors();
  INFO(errors);
  CHECK(errors.find("scalevec: rank 2 (process " + std::to_string(run.pids[2]) + " on ") == 0);
  CHECK(errors.find("hangs after step 7") != std::string::npos);
  CHECK(std::count(errors.begin(), errors.end(), '\n') == 1);
}

TEST_CASE("a rank that fails by itself has the others end too") {
  const Watched run([](RankWatch&, int rank) {
    sleep(0.5);
    if (rank == 1) return 3;
    sleep(4 * kTimeout);
    return 0;
  });
  CHECK(run.finish() == std::vector<int>{1, 3, 1});
  CHECK(run.errors().find("scalevec: rank 1 (process") == 0);
  CHECK(run.errors().find("failed") != std::string::npos);
}

TEST_CASE("where rank 0 and another rank die together, each rank that is left says so") {
  const Watched run([](RankWatch& watch, int) {
    watch.set_step(3);
    sleep(0.5);
    std::printf("ready\n");
    std::fflush(stdout);
    sleep(4 * kTimeout);
    return 0;
  });
  for (int rank = 0; rank < 3; ++rank)
    while (content(run.folder.path / (std::to_string(rank) + ".out")).empty()) sleep(0.01);
  // Stopped first, so that neither sees the other's end.
  for (int rank = 0; rank < 2; ++rank) {
    const pid_t pid = run.pids[static_cast<size_t>(rank)];
    REQUIRE(::kill(pid, SIGSTOP) == 0);
    REQUIRE(::waitpid(pid, nullptr, WUNTRACED) == pid);
  }
  for (int rank = 0; rank < 2; ++rank) ::kill(run.pids[static_cast<size_t>(rank)], SIGKILL);
  CHECK(run.finish() == std::vector<int>{256 + SIGKILL, 256 + SIGKILL, 1});
  const std::string errors = run.errors();
  INFO(errors);
  CHECK(errors.find("scalevec: rank 0 (process " + std::to_string(run.pids[0]) + " on ") == 0);
  CHECK(errors.find("died after step 3") != std::string::npos);
  CHECK(std::count(errors.begin(), errors.end(), '\n') == 1);
}
