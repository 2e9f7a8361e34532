#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "experiments/compare/grid.hpp"

// Runs the cells of a grid as separate processes, so that one that dies does not affect the others.
namespace scalevec::experiments {

struct RunnerOptions {
  std::filesystem::path program = "/proc/self/exe";  // is called `program train CONFIG --out CELL --resume`
  int jobs = 1;                                      // cells at a time
  // Cores shared by the jobs. A configuration without "threads", or with 0, gets max(1, cores/jobs). If the threads of
  // the cells add up to more than `cores`, fewer cells run at a time.
  int cores = 1;
  // GPUs by what CUDA_VISIBLE_DEVICES calls them. Of several, each cell sees the one that has the fewest cells.
  std::vector<std::string> gpus;
  bool terminal = false;             // true: one progress line that is redrawn; false: a line per cell
  std::ostream* progress = nullptr;  // null: silent
  nlohmann::json manifest;           // written as compare.json after the checks have passed; null: not written
};

struct RunnerResult {
  size_t skipped = 0;                                       // cells that were finished before
  size_t finished = 0;                                      // cells finished now, including diverged ones
  std::vector<std::pair<std::string, std::string>> failed;  // cell and the last line of its log
  std::vector<std::string> busy;  // cells that another process trains, and which were left to it
  int signal = 0;                 // the signal that stopped the comparison, else 0
};

// Runs every cell that is not finished (finished: its summary.json says done or diverged). The folder of a cell
// contains cell.json (what the cell is, the hash of its configuration and of its data), config-in.json, log.txt and the
// files of the run. A cell that was started keeps its config-in.json, so it resumes with the same number of threads.
// Several processes, also on several machines, may run the same cells at the same time: the lock of the run lets only
// one of them train a cell.
// Before anything is written, throws ConfigError if `program train CONFIG --check` refuses a configuration, and else
// UsageError if the folder, or that of a cell, contains something else or a run on other data. The check is made once
// per variant and setting, since it does not depend on the seed. A grid with a trunk: it is trained first, unless all
// cells are finished; other processes wait for the one that trains it. The configurations of all cells are checked
// before. A trunk that fails or diverges is in `failed`, as "trunk". On SIGINT, SIGTERM, SIGHUP or a closed pipe the
// children get SIGTERM, write their checkpoints, and are waited for; a second signal kills them. If this process dies,
// they get SIGTERM too.
RunnerResult run_cells(const Grid& grid, const std::filesystem::path& dir, const RunnerOptions& options);

// The cells that run_cells() would run, the trunk first, after the same checks with the same errors. Writes nothing.
std::vector<Cell> unfinished_cells(const Grid& grid, const std::filesystem::path& dir, const RunnerOptions& options);

// Throws UsageError, naming the file, if the folder has no compare.json and holds what neither a comparison of this
// manifest nor a launcher leaves there.
void refuse_foreign(const std::filesystem::path& dir, const nlohmann::json& manifest);

// Writes DIR/compare.json, unless it has this content already. Throws RunError.
void write_manifest(const std::filesystem::path& dir, const nlohmann::json& manifest);

}  // namespace scalevec::experiments
