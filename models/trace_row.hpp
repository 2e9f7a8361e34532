#pragma once

#include <vector>

#include "optim/core/traces.hpp"

namespace scalevec::models {

inline constexpr double kGammaQuantiles[] = {0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0};

// Whether `count` values of this mean vary, by the sum of their squared deviations from it: their standard deviation is
// above 1e-12 of the mean. Below, it is rounding.
inline bool varies(double squared_deviations, double mean, double count) {
  return squared_deviations > 1e-24 * count * mean * mean;
}

// The traces of the optimizer's step and those that need the model (docs/traces.md); NaN where one is not defined.
struct ModelTraceRow : TraceRow {
  double directional_lr = kNoTrace;       // η/‖p‖² (SGD) or η/‖p‖ (Adam-type) of a matrix before a norm
  double precond_min = kNoTrace;          // min_j γ_j²
  double precond_max = kNoTrace;          // max_j (γ_j² + ‖w_j‖²)
  double imbalance = kNoTrace;            // mean_j (γ_j² − ‖w_j‖²)
  double w_gamma_ratio = kNoTrace;        // √(Σ_j ‖w_j‖² / Σ_j γ_j²)
  double gamma_w_correlation = kNoTrace;  // over j, of γ_j² with ‖w_j‖²; NaN where either is constant to 1e-12
  double gamma_update_norm = kNoTrace;    // ‖Δγ‖ of the γ in effect
  double gamma_update_along = kNoTrace;   // γ·Δγ/‖γ‖, how far its magnitude moved
  std::vector<double> gamma_quantiles;    // of the effective γ at kGammaQuantiles; scales only
};

}  // namespace scalevec::models
