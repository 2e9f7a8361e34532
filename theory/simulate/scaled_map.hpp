#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "optim/core/scale_form.hpp"
#include "theory/simulate/batch_optimizer.hpp"

// One linear map with scale vectors around it, θ = diag(u) W diag(v), loss Σ ½h_ij(θ_ij − R_ij)², gradients ∂L/∂θ_ij
// with noise σ: the toy of T2 to T7 in one, simulated with the library's update rules on many replicas.
namespace scalevec::theory {

// What every replica of a simulation shares.
struct SimulatedMap {
  enum class Input { none, shared, own };  // v: none, one for all rows, one per branch (HG)

  std::size_t rows = 1, columns = 1;
  std::size_t branches = 1;  // divides the rows into runs of equal length, each with its own v under `own`
  Input input = Input::shared;
  ScaleForm form = ScaleForm::plain;  // of v: plain, original, product or exponential_radial
  bool output = false;                // u, one per row (DP)
  bool frozen = false;                // W stays at initial_w: the scales alone learn

  std::string error() const;
};

// γ = 1, u = 1, W = 0 at the start, except where `initial_w` and `initial_input` say otherwise.
struct MapReplica {
  std::vector<double> h, target;     // rows·columns, row-major; one element stands for all
  std::vector<double> initial_w;     // the same; empty: 0
  double initial_input = 1.0;        // of every element of v; 1 where its form is not plain
  double sigma = 0.0;                // ≥ 0
  std::vector<double> noise_factor;  // as h: on σ of each element; empty: 1
  double growth = 0.0;               // > −1: every step multiplies the target by 1 + growth
  SimulatedRule weights;             // of W
  SimulatedRule scales;              // of every scale vector's parameters; the same method as `weights`
  std::uint64_t noise = 0;           // replicas with one number see the same noise, whatever else they differ in
  double goal = 0.0;                 // loss to reach, see MapResult::arrival
};

struct MapOptions {
  std::int64_t steps = 0;  // ≥ 1
  std::int64_t average_steps =
      1;  // results are means over the last so many states: before the last average_steps − 1 steps and at the end
  std::uint64_t seed = 0;
  bool until_arrival = false;  // stop a replica's block when all of it arrived or diverged: only `arrival` is given
  double limit = 1e6;          // > 0: a loss above limit · (1 + its start) counts as diverged
  std::int64_t hold = 1;       // consecutive losses at or below `goal` that make an arrival
  std::vector<std::int64_t> course_steps = {};  // ascending, in [0, steps]: states that MapResult::course gives

  std::string error() const;
};

// Σv², over branches and columns, and ΣW² before a step.
struct MapState {
  double input_sq = 0.0, weight_sq = 0.0;
};

struct MapResult {
  double loss = 0.0;  // mean over the window; infinite where it diverged; NaN, as the next, until_arrival
  double input_sum = 0.0, input_sq = 0.0;  // Σv and Σv² over branches and columns: means over the window
  double weight_sq = 0.0;                  // ΣW²: the same
  double arrival = 0.0;               // steps before the first of `hold` losses at or below goal, whatever came after;
                                      // infinite: never
  std::vector<MapState> course = {};  // one per course_steps; fewer where until_arrival ended before
};

// One result per replica, the same in any batch: noise of replica r on θ_ij at step t is random_normal_of_pair(seed,
// stream_of("map.noise") + r.noise, t·rows·columns + i·columns + j). Throws std::invalid_argument naming
// what is wrong.
std::vector<MapResult> simulate_scaled_map(const SimulatedMap& map, std::span<const MapReplica> replicas,
                                           const MapOptions& options);

}  // namespace scalevec::theory
