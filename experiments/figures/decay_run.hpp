#pragma once

#include <cstdint>
#include <vector>

#include "experiments/figures/figure.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/simulate/scaled_map.hpp"

// What T4 and P3 simulate and predict: AdamW with decay λ_w on a column w and λ_γ on its scale γ, loss ½‖γw − Re₁‖²
// with gradient noise σ, from γ = 1, w = Re₁.
namespace scalevec::experiments {

struct DecayRun {
  std::size_t rows;
  std::int64_t steps, replicas;
  double target, sigma, lr;
  std::uint64_t seed;
};

// Of a figure's parameters.
inline DecayRun decay_run(const FigureValues& v) {
  return {static_cast<std::size_t>(v.whole("rows")),
          v.whole("steps"),
          v.whole("replicas"),
          v["target"],
          v["sigma"],
          v["lr"],
          static_cast<std::uint64_t>(v["seed"])};
}

// Results of `replicas` for each decay on γ, one after the other: means over the last third, or of the end of a cosine.
inline std::vector<theory::MapResult> simulated_decay(const DecayRun& s, const std::vector<double>& decays_gamma,
                                                      double decay_w, bool cosine) {
  std::vector<theory::MapReplica> replicas;
  for (const double decay : decays_gamma)
    for (std::int64_t k = 0; k < s.replicas; ++k) {
      theory::MapReplica r;
      r.h = {1.0};
      r.target.assign(s.rows, 0.0);
      r.target[0] = s.target;
      r.initial_w = r.target;
      r.sigma = s.sigma;
      r.weights.lr = s.lr;
      r.weights.weight_decay = decay_w;
      if (cosine) {
        r.weights.schedule.shape = Schedule::Shape::cosine;
        r.weights.schedule.total_steps = s.steps;
      }
      r.scales = r.weights;
      r.scales.weight_decay = decay;
      r.noise = static_cast<std::uint64_t>(k);
      replicas.push_back(r);
    }
  theory::SimulatedMap map;
  map.rows = s.rows;
  theory::MapOptions options;
  options.steps = s.steps;
  options.average_steps = cosine ? 1 : s.steps / 3;
  options.seed = s.seed;
  return theory::simulate_scaled_map(map, replicas, options);
}

struct DecayOutcome {
  double loss = 0.0, curvature = 0.0;
};

// What the closed form says at constant lr.
inline DecayOutcome predicted_decay(const DecayRun& s, double decay_gamma, double decay_w) {
  const theory::AdamWInputScale at =
      theory::adamw_input_scale({1.0, s.target, decay_gamma, decay_w}, s.sigma, s.lr, static_cast<double>(s.rows));
  return {at.bias + at.noise_loss, at.at.gamma_sq + at.at.w_sq};
}

}  // namespace scalevec::experiments
