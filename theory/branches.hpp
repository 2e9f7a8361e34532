#pragma once

#include <vector>

#include "theory/holds.hpp"

// T6: C branches read one normalised input, each a mode with curvature h_c and target R_c: one scale γ for all of them,
// or one each (HG).
namespace scalevec::theory {

struct Branches {
  std::vector<double> h;       // > 0
  std::vector<double> target;  // R_c
};

// All throw std::domain_error naming the argument outside its domain. Relative error ≤ 1e-12 where nothing else is
// said.

// Curvatures that gradient descent on the scales and columns meets at the minimum: it is stable below lr = 2/largest,
// and the ratio of the two decides its speed at the best lr. Shared: ends of the spectrum of H^½(γ²I + wwᵀ)H^½, w =
// R/γ, γ² − ‖w‖² = imbalance; own: of h_c√(k² + 4R_c²). Relative error of each end ≤ 1e-13, however far apart they are.
// Domain: imbalance of either sign, but above 0 where every target is 0 (shared), and not 0 where a target is (own).
// Source: T6, ours.
struct CurvatureRange {
  double least = 0.0, largest = 0.0;
  double condition_number() const { return largest / least; }
};
CurvatureRange shared_curvatures(const Branches& branches, double imbalance);
CurvatureRange own_curvatures(const Branches& branches, double imbalance);

// Steps in which gradient descent at its best lr, 2/(least + largest), brings a quadratic's loss to `relative` ∈ (0, 1)
// of what it was: ln(1/relative)/(2 ln((κ + 1)/(κ − 1))), κ ≥ 1. Source: textbook.
double best_descent_steps(double condition_number, double relative);
// Whether the minimum decides a race to `relative` of the loss from w ≈ 0, γ² = imbalance > 0, each at its best lr:
// then the ratio of steps, shared over own, is that of best_descent_steps() within a factor of 1.75 (in 600 races at
// random over this domain the largest was 1.63, and 4 % exceeded 1.5).
Holds branch_race_holds(const Branches& branches, double imbalance, double relative);

// From the start, w = 0 and γ² = imbalance k > 0: the flow time in which the loss Σ½h_c(R_c − θ_c)² comes to `relative`
// ∈ (0, 1) of what it was. Own scales: every branch by T3, exact. Shared: steepest first, each branch while the steeper
// ones, S = ΣR² of theirs, stay at their targets and the flatter ones at 0,
//   dr/dt = h(R − r)P(r),   P = x + r²x/(x² + S),   γ² = x = ½(k + √(k² + 4(S + r²))),
// P what the moving γ leaves of γ²I + wwᵀ with the steeper branches held; branches of equal curvature are one. Exact
// for one curvature; where `holds`, within 10 % of the integrated flow. Relative error ≤ 1e-9 against the formulas.
// Source: T6, ours.
double own_flow_time(const Branches& branches, double imbalance, double relative);
double shared_flow_time(const Branches& branches, double imbalance, double relative);
// Whether curvatures are equal, or six times apart and more.
Holds shared_flow_time_holds(const Branches& branches);
// Steps of gradient descent in which a flow of that time is made at lr ≤ 1/largest, half its edge: time/lr, less what a
// step's 1 − x is faster than e^−x at the least curvature, x = lr · least: time/lr · x/−ln(1 − x). Within 25 % and a
// step for condition numbers from 5 on. Source: ours.
double descent_steps(double flow_time, const CurvatureRange& curvatures, double lr);

// Rates −dL/dt at gradients g_c = ∂L/∂θ_c under the flow: γ²Σg_c² + (Σw_cg_c)² shared, Σ(γ_c²g_c² + (w_cg_c)²) own.
// Error ≤ 1e-15 per branch of the sum of the terms' sizes. Source: T6, ours.
double shared_rate(double gamma, const std::vector<double>& w, const std::vector<double>& grad);
double own_rate(const std::vector<double>& gamma, const std::vector<double>& w, const std::vector<double>& grad);

// Where equal coupled decay λ on scales and columns holds the branches with equal h: θ = R(1 − λ/(h‖R‖)) shared,
// max(0, R_c − λ/h_c) own (of |R_c|, keeping its sign): HG pays more bias. Absolute error ≤ 1e-15 R_c. Source: T6,
// ours.
std::vector<double> shared_decay_equilibrium(const Branches& branches, double weight_decay);
std::vector<double> own_decay_equilibrium(const Branches& branches, double weight_decay);

}  // namespace scalevec::theory
