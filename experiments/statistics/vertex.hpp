#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "experiments/statistics/statistics.hpp"

// The best learning rate of a variant, by a fit through all of its tuning runs.
namespace scalevec::experiments {

struct TuningRun {
  double lr;
  std::int64_t seed;
  double loss;  // in any unit; NaN or infinite: the run diverged or is missing
};

// The quadratic loss(lr, seed) = offset(seed) + ½c·(log2 lr − v)² through tuning runs, by ordinary least squares. Seeds
// have offsets because every lr is tried on the same ones, so what they share is no error.
struct VertexFit {
  enum class State {
    inside,     // the vertex lies among the lrs
    below,      // it lies below the lowest
    above,      // it lies above the highest
    no_minimum  // the curvature is not positive at one-sided 97.5 %
  };
  State state = State::no_minimum;
  double log2_lr = kNaN;        // v
  double se = kNaN;             // of v, in octaves, by the delta method
  double curvature = kNaN;      // c, in units of the loss per octave²
  double least = kNaN;          // the loss at v, mean over the seeds
  double residual_sd = kNaN;    // of a run around the fit
  std::int64_t freedom = 0;     // runs − seeds − 2: degrees of freedom of Student's t for v
  double lack_of_fit_p = kNaN;  // of the F test of the quadratic through all lrs against the scatter; NaN with one seed
  bool local = false;           // fitted to the lrs near the lowest mean only
  std::vector<double> lrs;      // those used, rising
  double lowest = kNaN;         // of those that could be used, the lr with the lowest mean loss

  // The loss that is lost by training at v in place of the true vertex: its expectation ½c·se², and what it does not
  // exceed at this two-sided confidence, ½c·(t·se)².
  double expected_excess() const { return 0.5 * curvature * se * se; }
  double excess(double confidence) const;
};

// Fewer lrs than this determine no quadratic with an error.
inline constexpr size_t kFewestLrs = 4;

// Fits the runs. An lr without a finite loss on every seed is left out. Rule for what is used (fixed): all lrs; but if
// the quadratic through them does not fit (F test against the scatter at level 0.05, two seeds or more), those within
// 1.5 octaves of the lr with the lowest mean loss, and at least the four nearest to it. Throws std::invalid_argument
// for an lr that is not positive, a run given twice, or fewer than kFewestLrs lrs that can be used.
VertexFit fit_vertex(std::span<const TuningRun> runs);

}  // namespace scalevec::experiments
