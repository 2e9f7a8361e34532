#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "scalevec/experiments/compare/grid.hpp"

// Spreading a grid's cells over machines with the schedulers people have. No cell depends on another: every seed is run
// at every setting, and the learning rate is chosen when the report is made.
namespace scalevec {

struct Shard {
  size_t index = 1, count = 1;  // index from 1 on
};

// "2/8". Throws UsageError unless 1 ≤ index ≤ count.
Shard parse_shard(const std::string& text);

// The grid with the cells of one shard only, in the grid's order. Each variant's cells are dealt out in turn, so that
// shards differ by at most one cell, of each variant and in all, whatever a variant costs. Finished cells do not move
// the others.
Grid shard_of(const Grid& grid, const Shard& shard);

// The grid with one cell only. Throws UsageError naming the nearest if there is none of this name.
Grid only_cell(const Grid& grid, const std::string& name);

// A word as a POSIX shell reads it back.
std::string shell_quoted(const std::string& word);

// What `compare` was asked for, as far as it names the comparison.
struct CompareCall {
  std::string grid, out;
  std::vector<std::string> sets;
  int jobs = 1;
};

// "compare GRID --out DIR --jobs N --set …", quoted for a shell.
std::string call_text(const CompareCall& call);

// "cd FOLDER && PROGRAM compare … --cell NAME": one line that a shell on any machine which sees the same files can run.
std::string cell_command(const CompareCall& call, const std::filesystem::path& folder,
                         const std::filesystem::path& program, const Cell& cell);

}  // namespace scalevec
