#pragma once

#include <filesystem>
#include <string>

#include "experiments/figures/figure.hpp"

namespace scalevec::experiments {

// The figure with the traces of a run in place of its simulation: T11 and T12 (matrices before a norm, or the groups
// where there are none), T13, T5, and T14 where the run has a probe.json. The agreement is the largest factor
// by which measured and predicted differ over the run, of T14 curvature/limit; required 1.1, of T14 1. Throws
// UsageError for other figures, for a folder that has nothing of the kind, and for T12 where nothing is trained by
// Muon.
FigureResult draw_over_run(const std::string& figure, const std::filesystem::path& run);

// How far the run is: "run: runs/one, interrupted after step 120 of 400". Throws UsageError where it has no traces.
std::string steps_of_run(const std::filesystem::path& run);

}  // namespace scalevec::experiments
