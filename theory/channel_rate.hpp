#pragma once

#include "theory/flow.hpp"
#include "theory/holds.hpp"

// T15: a trained scale vector as a per-channel learning rate. Training W with the rate a_j on column j is training it
// behind a scale γ_j = √a_j that does not learn. Trained beside W the rate is γ² orthogonally to w and √(k² + 4r²)
// along it: the same while θ ≪ |k|, to first order in θ/k, and faster from second order on. All throw std::domain_error
// naming the argument outside its domain. Source: ours.
namespace scalevec::theory {

// √(k² + 4r²), the rate along w of a column at signed length r with imbalance k = γ² − ‖w‖²; |k| at r = 0. It grows
// while r moves away from 0: dγ²/dt = −2r ∂L/∂r.
double channel_rate(double imbalance, double r);

// The constant per-channel rate that takes the flow (T3) as far in time t > 0: ln((R − r(0))/(R − r(t)))/(h t). Between
// the rates at its start and at its end: √(k² + 4r(0)²) for t → 0, √(k² + 4R²) for t → ∞. r(0) ≠ R.
double equivalent_rate(const Flow& flow, double t);

// Whether training γ is training W at the fixed rate |k|: then R − r(t) is within 5 % of |R − r(0)| of (R −
// r(0))e^{−h|k|t} at every t. The rate along w grows to at most √(k² + 4r²).
Holds fixed_channel_rate_holds(const Flow& flow);

// Under sign descent (Adam without noise) along one direction with one row: γ − |w| is kept, the rate is γ + |w| and
// θ = γw after time t from w = 0: γ(0)t + t², against γ(0)t where γ does not learn.
double sign_descent_length(double gamma0, double t);

// Which solution of Aθ = y the flow from θ = 0 picks, one row per column (or a fixed direction): the minimum of Σ_j
// Q(θ_j), Q = ½[θ asinh(2θ/|k|) − ½√(k² + 4θ²) + ½|k|] with Q(0) = 0, whose derivative ½ asinh(2θ/|k|) lies in A's row
// space. θ²/(2|k|) for |k| ≫ |θ| (ℓ₂), |θ| ln(…)/2 for |k| ≪ |θ| (ℓ₁). k ≠ 0. Relative error ≤ 1e-12.
double mirror_potential(double theta, double imbalance);
double mirror_slope(double theta, double imbalance);

}  // namespace scalevec::theory
