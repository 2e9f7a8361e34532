#pragma once

#include <vector>

// T6: C branches read one normalised input, each a mode with curvature h_c and target R_c: one scale γ for all of them, or one
// each (HG).
namespace scalevec {

struct Branches {
  std::vector<double> h;       // > 0
  std::vector<double> target;  // R_c
};

// All throw std::domain_error naming the argument outside its domain.

// What gradient descent at its best stable lr has to overcome at the minimum, the ratio of largest to least rate. Shared:
// the eigenvalues of H^½(γ²I + wwᵀ)H^½ with w = R/γ, γ² − ‖w‖² = imbalance (Eigen). Own: h_c√(k² + 4R_c²).
// Source: T6, ours.
double shared_condition_number(const Branches& branches, double imbalance);
double own_condition_number(const Branches& branches, double imbalance);

// Rates −dL/dt at gradients g_c = ∂L/∂θ_c under the flow: γ²Σg_c² + (Σw_cg_c)² shared, Σ(γ_c²g_c² + (w_cg_c)²) own.
// Source: T6, ours.
double shared_rate(double gamma, const std::vector<double>& w, const std::vector<double>& grad);
double own_rate(const std::vector<double>& gamma, const std::vector<double>& w, const std::vector<double>& grad);

// Where equal coupled decay λ on scales and columns holds the branches with equal h: θ = R(1 − λ/(h‖R‖)) shared,
// max(0, R_c − λ/h_c) own (of |R_c|, keeping its sign): HG pays more bias. Source: T6, ours.
std::vector<double> shared_decay_equilibrium(const Branches& branches, double weight_decay);
std::vector<double> own_decay_equilibrium(const Branches& branches, double weight_decay);

}  // namespace scalevec
