#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <vector>

#include "experiments/compare/analysis.hpp"
#include "experiments/compare/grid.hpp"

// A comparison that tunes every variant with an equal and small number of runs, and trains only what it needs (ours).
namespace scalevec::experiments {

// The cells that the comparison consists of, as far as `outcomes` (one per cell) tell: indices into grid.cells, rising.
// Without `search`: all. With it, for a variant that is tuned itself:
//   1. every lr of search.start, on all tuning seeds;
//   2. one setting after the other, until search.settings are tried. If the best lr lies at an end of those tried: the
//      next lr of the axis beyond this end. If it lies inside: with the last setting the alternative at the best lr, if
//      the variant has one; else the next lr beyond the end on the better side;
//   3. all comparison seeds at the best setting. A setting with a diverged run counts as the worst; if all have one, no
//      seed.
// A cell that is missing holds up only its own variant and those that are trained at its setting. The set only grows
// while cells finish, so that an interrupted search goes on where it was.
std::vector<size_t> needed_cells(const Grid& grid, std::span<const CellOutcome> outcomes);

// The grid with these cells only.
Grid subgrid(const Grid& grid, const std::vector<size_t>& cells);

// One cell of each variant and alternative: their configurations are checked before anything is trained.
Grid samples(const Grid& grid);

}  // namespace scalevec::experiments
