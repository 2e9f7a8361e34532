#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "experiments/figures/phase.hpp"
#include "theory/branches.hpp"
#include "theory/simulate/scaled_map.hpp"

// Branches that read one scale or their own from γ = 1, w = 1e-3, each design at its best learning rate.
namespace scalevec::experiments {

struct Race {
  theory::SimulatedRule rule;  // without its lr
  double relative = 1e-10;     // the loss to reach, as a share of the first
  std::int64_t most = 20000;   // steps after which a learning rate is given up
  std::int64_t hold = 2;       // consecutive losses below that make an arrival: one can be a crossing by chance
};

// The fewest steps at any of `rates`; infinite where none arrives.
inline double best_steps(const theory::Branches& b, bool own, const Race& race, const std::vector<double>& rates) {
  constexpr double start = 1e-3;
  theory::MapReplica r;
  r.h = b.h;
  r.target = b.target;
  r.initial_w = {start};
  r.weights = r.scales = race.rule;
  for (std::size_t c = 0; c < b.h.size(); ++c)
    r.goal += race.relative * 0.5 * b.h[c] * std::pow(start - b.target[c], 2);
  theory::SimulatedMap map;
  map.rows = map.branches = b.h.size();
  map.input = own ? theory::SimulatedMap::Input::own : theory::SimulatedMap::Input::shared;
  return least(arrivals(map, r, rates, race.hold, race.most));
}

// By gradient descent, at shares of the edge of stability.
inline double best_descent_steps(const theory::Branches& b, bool own, Race race, std::vector<double> shares) {
  race.rule.method = theory::SimulatedMethod::sgd;
  for (double& lr : shares)
    lr *= 2.0 / (own ? theory::own_curvatures(b, 1.0) : theory::shared_curvatures(b, 1.0)).largest;
  return best_steps(b, own, race, shares);
}

}  // namespace scalevec::experiments
