#include "experiments/commands/compare_command.hpp"

#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <memory>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "experiments/compare/analysis.hpp"
#include "experiments/compare/gpus.hpp"
#include "experiments/compare/ranking.hpp"
#include "experiments/compare/report.hpp"
#include "experiments/compare/runner.hpp"
#include "experiments/compare/search.hpp"
#include "experiments/compare/spread.hpp"
#include "experiments/compare/tables.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/record/run_lock.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;

struct CompareArguments {
  CompareCall call;
  std::string shard, cell;
  bool list_cells = false, collect = false;
};

// Finished work that a changed grid no longer names stays in the folder, but not in the report: say so.
void note_dropped_cells(const fs::path& dir, const Grid& grid) {
  const auto before = read_record(dir / "compare.json");
  if (!before) return;
  std::set<std::string> names;
  for (const Cell& cell : grid.cells) names.insert(cell.name);
  size_t dropped = 0;
  for (const Cell& cell : grid_from_manifest(*before).cells) dropped += !names.count(cell.name);
  if (dropped)
    std::cerr << "note: " << dropped << " cells of an earlier grid in " << dir.string()
              << " are not in this one and not in its report\n";
}

// What is missing or was cut short, then the ranking and the report's path last, where they are read.
void conclude(const Grid& grid, const CompareCall& call) {
  const fs::path dir = call.out;
  const Comparison comparison = load_comparison(dir);
  const Analysis analysis = analyse(comparison);
  std::cout << warnings_text(grid, analysis);
  if (!analysis.missing.empty()) std::cout << "a command for each: scalevec " << call_text(call) << " --list-cells\n";
  const fs::path report = dir / "report.html";
  write_report(comparison, analysis, report, "");
  std::cout << '\n' << ranking_text(analysis) << "\nreport: " << report.string() << std::endl;
}

void list_cells(const CompareArguments& a, const Grid& grid, const RunnerOptions& options) {
  const Grid needed = subgrid(grid, needed_cells(grid, read_outcomes(a.call.out, grid)));
  const std::vector<Cell> cells = unfinished_cells(needed, a.call.out, options);
  size_t running = 0, trunk = 0;
  for (const Cell& cell : cells) {
    trunk += cell.name == kTrunk;
    std::cout << cell_command(a.call, fs::current_path(), fs::read_symlink(options.program), cell) << '\n';
    running += !lock_holder(fs::path(a.call.out) / cell.name).empty();
  }
  std::cout << std::flush;
  if (trunk) std::cerr << "the trunk, which the cells wait for, is not finished; ";
  std::cerr << needed.cells.size() + trunk - cells.size() << " of " << needed.cells.size() << " cells are finished";
  if (running) std::cerr << ", " << running << " of the others are running now";
  if (grid.search && !cells.empty()) std::cerr << "; the search names more when they are finished";
  std::cerr << '\n';
}

// Stage by stage, as the search asks; without one it is one stage.
RunnerResult run_needed(const Grid& grid, const fs::path& dir, const RunnerOptions& options) {
  if (grid.search) {
    const Grid each = samples(grid);
    *options.progress << "checking " << each.cells.size() << " configurations" << std::endl;
    unfinished_cells(each, dir, options);
  }
  RunnerResult all;
  for (std::vector<size_t> before;;) {
    std::vector<size_t> needed = needed_cells(grid, read_outcomes(dir, grid));
    if (needed == before) return all;
    RunnerResult result = run_cells(subgrid(grid, needed), dir, options);
    if (before.empty()) all.skipped = result.skipped;
    all.finished += result.finished;
    all.signal = result.signal;
    all.failed.insert(all.failed.end(), result.failed.begin(), result.failed.end());
    all.busy.insert(all.busy.end(), result.busy.begin(), result.busy.end());
    if (all.signal || !all.failed.empty() || !all.busy.empty()) return all;
    before = std::move(needed);
  }
}

void compare(const CompareArguments& a) {
  Grid grid = read_grid(a.call.grid, a.call.sets);
  const fs::path dir = a.call.out;
  if (fs::exists(dir) && !fs::is_directory(dir)) throw UsageError(a.call.out + ": is not a folder");
  RunnerOptions options;
  options.jobs = a.call.jobs;
  options.cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.gpus = visible_gpus();
  options.terminal = isatty(STDOUT_FILENO) == 1;
  options.progress = &std::cout;
  options.manifest = grid_manifest(grid);
  options.manifest["command"] = "scalevec " + call_text(a.call);
  if (a.list_cells) return list_cells(a, grid, options);
  note_dropped_cells(dir, grid);
  if (a.collect) {
    if (!fs::is_directory(dir)) throw UsageError(a.call.out + ": is not there, so there is nothing to collect");
    refuse_foreign(dir, options.manifest);
    write_manifest(dir, options.manifest);
    return conclude(grid, a.call);
  }
  const bool part = !a.shard.empty() || !a.cell.empty();
  if (!a.shard.empty()) grid = shard_of(grid, parse_shard(a.shard));
  if (!a.cell.empty()) grid = only_cell(grid, a.cell);
  const RunnerResult result = a.cell.empty() ? run_needed(grid, dir, options) : run_cells(grid, dir, options);
  const size_t cells = result.skipped + result.finished + result.failed.size() + result.busy.size();
  if (result.skipped)
    std::cout << result.skipped << " of " << cells << " cells were finished before and not run again\n";
  if (!result.busy.empty())
    std::cout << result.busy.size() << " of " << cells
              << " cells are in other processes' hands (first: " << result.busy.front() << ")\n";
  if (result.signal) {
    std::cout << "stopped by a signal; the same command continues\n" << std::flush;
    throw CLI::RuntimeError(128 + result.signal);
  }
  if (!part) conclude(grid, a.call);
  if (result.failed.empty()) return;
  const auto& [cell, reason] = result.failed.front();
  throw RunError(std::to_string(result.failed.size()) + " of " + std::to_string(cells) +
                 " cells failed (first: " + cell + ": " + reason + "); the same command tries them again");
}

}  // namespace

void add_compare_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("compare", "Train every cell of a grid of variants, and report what differs");
  const auto a = std::make_shared<CompareArguments>();
  command->add_option("GRID", a->call.grid, "JSON: base configuration, variants, grid axes")->required();
  command->add_option("--out", a->call.out, "Folder of the comparison; finished cells in it are not run again")
      ->required();
  command->add_option("--jobs", a->call.jobs, "Cells at a time; each gets its share of the cores as threads")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("--set", a->call.sets, "key.path=value: override in the base configuration")
      ->allow_extra_args(false);
  CLI::Option* list =
      command->add_flag("--list-cells", a->list_cells, "Print one shell command per unfinished cell, and run nothing");
  CLI::Option* shard = command->add_option("--shard", a->shard, "I/N: run the I-th of N parts of the grid");
  CLI::Option* cell = command->add_option("--cell", a->cell, "Run the one cell of this name");
  CLI::Option* collect =
      command->add_flag("--collect", a->collect, "Run nothing: report what is there, name what is not");
  for (CLI::Option* one : {list, shard, cell, collect})
    for (CLI::Option* other : {list, shard, cell, collect})
      if (one != other) one->excludes(other);
  command->footer(
      "Example: scalevec compare grid.json --out runs/grid --jobs 2\n"
      "Stopped or failed cells are taken up again by the same command.\n"
      "Over many machines: scalevec compare grid.json --out runs/grid --list-cells | parallel\n"
      "                    scalevec compare grid.json --out runs/grid --collect");
  command->callback([a] { compare(*a); });
}

}  // namespace scalevec::experiments
