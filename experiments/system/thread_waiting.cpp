#include "experiments/system/thread_waiting.hpp"

#include <unistd.h>

#include <climits>
#include <cstdlib>

namespace scalevec::experiments {

void wait_with_short_spins(char** argv) {
  if (std::getenv("OMP_WAIT_POLICY") || std::getenv("GOMP_SPINCOUNT")) return;
  // By its path, so that the process keeps its name.
  char path[PATH_MAX];
  const ssize_t length = ::readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = '\0';
  // Turns of the spin, some nanoseconds each: longer than threads of a busy step are apart, shorter than a time slice.
  if (::setenv("GOMP_SPINCOUNT", "3000", 1) != 0) return;
  ::execv(path, argv);
}

}  // namespace scalevec::experiments
