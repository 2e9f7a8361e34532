#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <utility>
#include <vector>

// How busy the machine is, from the counters of Linux's /proc.
namespace scalevec::experiments {

// The counters at one moment, in seconds of one core since the machine started.
struct CpuTimes {
  double busy =
      0.0;           // of all cores: everything but idle and waiting for devices; what a hypervisor took counts as busy
  double all = 0.0;  // busy and idle
  std::map<std::string, double> programs;  // by name, of the processes that exist; without this process
};

// Throws RunError if `proc` has no such counters.
CpuTimes read_cpu_times(const std::filesystem::path& proc = "/proc");

// Between two readings: the share of all cores' time that was used, without `own` seconds. In [0, 1].
double busy_share(const CpuTimes& before, const CpuTimes& after, double own = 0.0);

// The programs that used most, as shares of one core, largest first; at most `most`, none below 1 %.
std::vector<std::pair<std::string, double>> busiest(const CpuTimes& before, const CpuTimes& after,
                                                    std::size_t most = 3);

}  // namespace scalevec::experiments
