#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "theory/simulate/replica_optimizer.hpp"

// What T8 and P6 simulate: gradient descent on a scale γ of d elements whose loss, ½h_mag m² + ½h_dir‖o‖², is of the
// parts of γ − γ* along and across γ*. γ(0) = 1 stands at an angle to γ*, ‖γ*‖ = length·√d; γ and α stay in the plane
// of the two, so that two components stand for d.
namespace scalevec::experiments {

struct PlaneProblem {
  double h_mag, h_dir, d, length, angle;
};

struct PlaneState {
  double along, across;  // of γ, or of α
  double loss;
};

// Replica i on problems[i] at rates[i], plain or `apart` as γ = β√d α/‖α‖ (OR) from β = 1; before every
// step go_on(steps made, states) says whether to make it, up to `most`.
template <class Continue>
void descend_in_plane(const std::vector<PlaneProblem>& problems, const std::vector<double>& rates, bool apart,
                      std::int64_t most, const Continue& go_on) {
  std::vector<theory::SimulatedRule> rules(problems.size());
  for (std::size_t i = 0; i < rules.size(); ++i) {
    rules[i].method = theory::SimulatedMethod::sgd;
    rules[i].lr = rates[i];
  }
  theory::ReplicaOptimizer optimizer(rules, apart ? 3 : 2);
  std::vector<double> state(optimizer.size(), 1.0), grad(optimizer.size(), 0.0);
  std::vector<PlaneState> seen(rules.size());
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const double root = std::sqrt(problems[i].d), tangent = std::tan(problems[i].angle),
                 cosine = 1.0 / std::hypot(1.0, tangent);
    state[optimizer.index(i, 0)] = root * cosine;
    state[optimizer.index(i, 1)] = root * cosine * tangent;
  }
  for (std::int64_t t = 0; t <= most; ++t) {
    for (std::size_t i = 0; i < rules.size(); ++i) {
      const PlaneProblem& p = problems[i];
      const double root = std::sqrt(p.d), x = state[optimizer.index(i, 0)], y = state[optimizer.index(i, 1)];
      const double beta = apart ? state[optimizer.index(i, 2)] : 1.0, norm = std::hypot(x, y),
                   scale = apart ? root / norm : 1.0;
      const double off = beta * scale * x - p.length * root, gx = p.h_mag * off, gy = p.h_dir * (beta * scale * y);
      seen[i] = {x, y, 0.5 * (gx * off + gy * (beta * scale * y))};
      if (!apart) {
        grad[optimizer.index(i, 0)] = gx;
        grad[optimizer.index(i, 1)] = gy;
        continue;
      }
      const double along = (x * gx + y * gy) / norm;
      grad[optimizer.index(i, 0)] = beta * scale * (gx - along * x / norm);
      grad[optimizer.index(i, 1)] = beta * scale * (gy - along * y / norm);
      grad[optimizer.index(i, 2)] = root * along;
    }
    if (!go_on(t, seen)) return;
    optimizer.step(state.data(), grad.data());
  }
}

}  // namespace scalevec::experiments
