#pragma once

#include <filesystem>
#include <iosfwd>
#include <string>
#include <utility>
#include <vector>

#include "scalevec/experiments/compare/grid.hpp"

// Runs a grid's cells as separate processes, so that one that dies takes no other along.
namespace scalevec {

struct RunnerOptions {
  std::filesystem::path program = "/proc/self/exe";  // is called `program train CONFIG --out CELL --resume`
  int jobs = 1;                                      // cells at a time
  // Shared by the jobs: a configuration without "threads", or with 0, gets max(1, cores/jobs), and fewer cells run at a
  // time where theirs add up to more.
  int cores = 1;
  bool terminal = false;             // one progress line that redraws itself in place of a line per cell
  std::ostream* progress = nullptr;  // null: silent
  nlohmann::json manifest;           // written as compare.json once the checks have passed; null: not written
};

struct RunnerResult {
  size_t skipped = 0;                                       // were finished before
  size_t finished = 0;                                      // finished now, diverged ones included
  std::vector<std::pair<std::string, std::string>> failed;  // cell and the last line of its log
  std::vector<std::string> busy;                            // cells that another process is at work on: left to it
  int signal = 0;                                           // the signal that stopped the comparison, else 0
};

// Runs every cell that is not finished (a summary.json that says done or diverged). A cell's folder holds cell.json
// (what the cell is, its hash and its data's), config-in.json, log.txt and what the run writes; a cell that was started
// keeps its config-in.json, so that it resumes with the thread count it began with. Several processes, on several
// machines too, may run the same cells at once: the run's lock lets one of them train a cell. Before anything is
// written, throws UsageError if a cell's folder holds something else or a run of other data, and ConfigError if
// `program train CONFIG --check` refuses a configuration (checked once per variant and setting: seeds don't matter to
// it). On SIGINT, SIGTERM, SIGHUP or a closed pipe the children get SIGTERM, to write their checkpoints, and are waited
// for; a second signal kills them. If this process dies they get SIGTERM too.
RunnerResult run_cells(const Grid& grid, const std::filesystem::path& dir, const RunnerOptions& options);

// The cells that run_cells() would run, with its checks and their errors; writes nothing.
std::vector<Cell> unfinished_cells(const Grid& grid, const std::filesystem::path& dir, const RunnerOptions& options);

// DIR/compare.json, left alone where it says the same already. Throws RunError.
void write_manifest(const std::filesystem::path& dir, const nlohmann::json& manifest);

}  // namespace scalevec
