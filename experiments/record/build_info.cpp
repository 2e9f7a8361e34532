#include "experiments/record/build_info.hpp"

#include <fstream>
#include <thread>

#include "scalevec_git_commit.hpp"

namespace scalevec::experiments::build_info {

std::string version() { return SCALEVEC_VERSION; }
std::string git_commit() { return SCALEVEC_GIT_COMMIT; }
std::string compiler() { return "g++ " __VERSION__; }

std::string machine() {
  std::string model = "unknown processor";
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (!line.starts_with("model name")) continue;
    model = line.substr(line.find(':') + 2);
    break;
  }
  return model + ", " + std::to_string(std::thread::hardware_concurrency()) + " cores";
}

}  // namespace scalevec::experiments::build_info
