#include "experiments/record/run_lock.hpp"

#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include "experiments/errors.hpp"
#include "tests/compare/scratch.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::experiments;

TEST_CASE("one process at a time holds a run's lock, and a killed one gives it back") {
  const Scratch scratch;
  CHECK(lock_holder(scratch.path()).empty());
  int ready[2];
  REQUIRE(pipe(ready) == 0);
  const pid_t child = fork();
  if (child == 0) {
    const RunLock lock(scratch.path());
    const char held = lock.held() ? 'y' : 'n';
    [[maybe_unused]] const auto written = write(ready[1], &held, 1);
    for (;;) pause();
  }
  char held = 0;
  REQUIRE(read(ready[0], &held, 1) == 1);
  CHECK(held == 'y');
  CHECK(lock_holder(scratch.path()).find("process " + std::to_string(child) + " on ") == 0);
  CHECK(!RunLock(scratch.path()).held());
  // Who looked, or tried, has not taken the holder's name off.
  CHECK(lock_holder(scratch.path()).find("process " + std::to_string(child) + " on ") == 0);
  kill(child, SIGKILL);
  waitpid(child, nullptr, 0);
  close(ready[0]);
  close(ready[1]);
  CHECK(lock_holder(scratch.path()).empty());
  {
    const RunLock lock(scratch.path());
    CHECK(lock.held());
    CHECK(lock_holder(scratch.path()).find("process " + std::to_string(getpid()) + " on ") == 0);
  }
  CHECK(lock_holder(scratch.path()).empty());
  CHECK(message_of<RunError>([&] { RunLock lock(scratch / "absent"); }).find("cannot be written") != std::string::npos);
}
