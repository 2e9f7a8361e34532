#include "scalevec/experiments/compare/compare_command.hpp"

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

#include "scalevec/experiments/compare/analysis.hpp"
#include "scalevec/experiments/compare/record_files.hpp"
#include "scalevec/experiments/compare/report.hpp"
#include "scalevec/experiments/compare/runner.hpp"
#include "scalevec/experiments/compare/tables.hpp"
#include "scalevec/experiments/errors.hpp"

namespace scalevec {
namespace {

namespace fs = std::filesystem;

struct CompareArguments {
  std::string grid, out;
  std::vector<std::string> sets;
  int jobs = 1;
};

std::string shell_quoted(const std::string& word) {
  const bool plain = !word.empty() && word.find_first_not_of(
                                          "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                          "._-+=/,:@%") == std::string::npos;
  if (plain) return word;
  std::string out = "'";
  for (const char c : word) out += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return out + "'";
}

std::string command_text(const CompareArguments& a) {
  std::string text = "scalevec compare " + shell_quoted(a.grid) + " --out " + shell_quoted(a.out) + " --jobs " +
                     std::to_string(a.jobs);
  for (const std::string& set : a.sets) text += " --set " + shell_quoted(set);
  return text;
}

// Finished work that a changed grid no longer names stays in the folder, but not in the report: say so.
void note_dropped_cells(const fs::path& dir, const Grid& grid) {
  const auto before = read_json_if_whole(dir / "compare.json");
  if (!before) return;
  std::set<std::string> names;
  for (const Cell& cell : grid.cells) names.insert(cell.name);
  size_t dropped = 0;
  for (const Cell& cell : grid_from_manifest(*before).cells) dropped += !names.count(cell.name);
  if (dropped)
    std::cerr << "note: " << dropped << " cells of an earlier grid in " << dir.string()
              << " are not in this one and not in its report\n";
}

void compare(const CompareArguments& a) {
  const Grid grid = read_grid(a.grid, a.sets);
  const fs::path dir = a.out;
  if (fs::exists(dir) && !fs::is_directory(dir)) throw UsageError(a.out + ": is not a folder");
  note_dropped_cells(dir, grid);
  RunnerOptions options;
  options.jobs = a.jobs;
  options.cores = std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
  options.terminal = isatty(STDOUT_FILENO) == 1;
  options.progress = &std::cout;
  options.manifest = grid_manifest(grid);
  options.manifest["command"] = command_text(a);
  const RunnerResult result = run_cells(grid, dir, options);
  if (result.skipped)
    std::cout << result.skipped << " of " << grid.cells.size() << " cells were finished before and not run again\n";
  if (result.signal) {
    std::cout << "stopped by a signal; the same command continues\n" << std::flush;
    throw CLI::RuntimeError(128 + result.signal);
  }
  const Analysis analysis = analyse(load_comparison(dir));
  std::cout << '\n' << text_table(analysis) << '\n';
  for (const std::string& sentence : findings(grid, analysis)) std::cout << sentence << '\n';
  const fs::path report = dir / "report.html";
  write_report({dir}, report, "");
  std::cout << "\nreport: " << report.string() << std::endl;
  if (result.failed.empty()) return;
  const auto& [cell, reason] = result.failed.front();
  throw RunError(std::to_string(result.failed.size()) + " of " + std::to_string(grid.cells.size()) +
                 " cells failed (first: " + cell + ": " + reason + "); the same command tries them again");
}

}  // namespace

void add_compare_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("compare", "Train every cell of a grid of variants, and report what differs");
  const auto a = std::make_shared<CompareArguments>();
  command->add_option("GRID", a->grid, "JSON: base configuration, variants, grid axes")->required();
  command->add_option("--out", a->out, "Folder of the comparison; finished cells in it are not run again")->required();
  command->add_option("--jobs", a->jobs, "Cells at a time; each gets its share of the cores as threads")
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  command->add_option("--set", a->sets, "key.path=value: override in the base configuration")->allow_extra_args(false);
  command->footer(
      "Example: scalevec compare grid.json --out runs/grid --jobs 2\n"
      "Stopped or failed cells are taken up again by the same command.");
  command->callback([a] { compare(*a); });
}

}  // namespace scalevec
