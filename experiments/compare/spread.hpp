#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "experiments/compare/grid.hpp"

// Runs of a grid's cells on several machines, started by any scheduler. No cell depends on another: every seed is run
// at every setting, and the learning rate is chosen when the report is made.
namespace scalevec::experiments {

struct Shard {
  size_t index = 1, count = 1;  // index from 1 on
};

// "2/8". Throws UsageError unless 1 ≤ index ≤ count.
Shard parse_shard(const std::string& text);

// The grid with the cells of one shard only, in the order of the grid. The cells of each variant are assigned to the
// shards in turn, so the number of cells of two shards differs by at most one, for each variant and in total. The
// assignment does not depend on which cells are finished.
Grid shard_of(const Grid& grid, const Shard& shard);

// The grid with one cell only, or for "trunk" with the trunk and no cell. Throws UsageError naming the nearest if there
// is none of this name.
Grid only_cell(const Grid& grid, const std::string& name);

// `word` quoted such that a POSIX shell reads the same word.
std::string shell_quoted(const std::string& word);

// The arguments of `compare` that identify the comparison.
struct CompareCall {
  std::string grid, out;
  std::vector<std::string> sets;
  int jobs = 1;
};

// "compare GRID --out DIR --jobs N --set …", quoted for a shell.
std::string call_text(const CompareCall& call);

// "cd FOLDER && exec PROGRAM compare … --cell NAME": one line for a shell on any machine with access to the same files.
std::string cell_command(const CompareCall& call, const std::filesystem::path& folder,
                         const std::filesystem::path& program, const Cell& cell);

}  // namespace scalevec::experiments
