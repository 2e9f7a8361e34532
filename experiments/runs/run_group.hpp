#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

namespace scalevec::experiments {

// Runs shown as one curve: a variant's seeds at its best setting, or a single run.
struct RunGroup {
  std::string label;
  std::vector<std::filesystem::path> runs;  // finished ones only; the first stands for the group where one run is shown
  std::vector<std::int64_t> seeds;          // of the runs
  int color = 0;                            // in every picture
};

}  // namespace scalevec::experiments
