#include "experiments/system/cpu_load.hpp"

#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "experiments/errors.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

// proc(5): the name is in parentheses and may have any character; 11 fields later stand the two times.
void add_process(const fs::path& stat, double tick, CpuTimes& out) {
  std::ifstream in(stat);
  std::string line;
  if (!std::getline(in, line)) return;  // it has ended
  const size_t open = line.find('('), close = line.rfind(')');
  if (open == std::string::npos || close == std::string::npos || close < open) return;
  std::istringstream fields(line.substr(close + 1));
  std::string skipped;
  for (int i = 0; i < 11; ++i) fields >> skipped;
  double user = 0.0, system = 0.0;
  if (fields >> user >> system) out.programs[line.substr(open + 1, close - open - 1)] += (user + system) * tick;
}

}  // namespace

CpuTimes read_cpu_times(const fs::path& proc) {
  std::ifstream in(proc / "stat");
  std::string word;
  // user, nice, system, idle, iowait, irq, softirq, steal
  double value[8] = {};
  bool good = in >> word && word == "cpu";
  for (double& v : value) good = good && in >> v;
  if (!good) throw RunError((proc / "stat").string() + ": cannot be read; it says how busy the machine is");
  const double tick = 1.0 / static_cast<double>(sysconf(_SC_CLK_TCK));
  CpuTimes out;
  for (const double v : value) out.all += v * tick;
  out.busy = out.all - (value[3] + value[4]) * tick;
  std::error_code error;
  for (const auto& entry : fs::directory_iterator(proc, error)) {
    const std::string name = entry.path().filename().string();
    if (const auto pid = whole_number(name); pid && *pid != getpid()) add_process(entry.path() / "stat", tick, out);
  }
  return out;
}

double busy_share(const CpuTimes& before, const CpuTimes& after, double own) {
  const double all = after.all - before.all;
  return all > 0.0 ? std::clamp((after.busy - before.busy - own) / all, 0.0, 1.0) : 0.0;
}

std::vector<std::pair<std::string, double>> busiest(const CpuTimes& before, const CpuTimes& after, size_t most) {
  // Seconds that passed: `all` counts those of every core.
  const double cores = static_cast<double>(std::max(1L, sysconf(_SC_NPROCESSORS_ONLN)));
  const double seconds = (after.all - before.all) / cores;
  std::vector<std::pair<std::string, double>> out;
  for (const auto& [name, now] : after.programs) {
    const auto then = before.programs.find(name);
    const double used = now - (then == before.programs.end() ? 0.0 : then->second);
    if (seconds > 0.0 && used >= 0.01 * seconds) out.emplace_back(name, used / seconds);
  }
  std::sort(out.begin(), out.end(), [](const auto& a, const auto& b) { return a.second > b.second; });
  if (out.size() > most) out.resize(most);
  return out;
}

}  // namespace scalevec::experiments
