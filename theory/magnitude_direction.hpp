#pragma once

#include <span>

#include "theory/holds.hpp"

// T8: γ as a function of a magnitude and a direction, and what that does to its learning rate. d is γ's dimension.
namespace scalevec::theory {

// Amplification of a step of γ against the plain parametrisation at equal lr: along γ and orthogonally to it. With β =
// 1 and ‖α‖² = d, where the forms start: the eigenvalues of JJᵀ, J = ∂γ/∂(parameters).
struct Amplification {
  double magnitude = 1.0, orthogonal = 1.0;
};

// All throw std::domain_error naming the argument outside its domain (d ≥ 1, alpha_sq > 0 …). Relative error ≤ 1e-12
// against the formula; how far the formula is from a simulation is said where it is one of low order.

// γ = β√d α/‖α‖: d and β²d/‖α‖². Source: T8, ours; the paper says the magnitude direction is amplified d-fold.
Amplification or_amplification(double d, double beta, double alpha_sq);
// γ = βα: β² + ‖α‖² along α, β² orthogonally. Source: T8, ours.
Amplification product_amplification(double beta, double alpha_sq);
// γ = e^b √d α/‖α‖: ‖γ‖² = d e^{2b} along, ‖γ‖²/‖α‖² orthogonally. Source: T8, ours.
Amplification er_amplification(double d, double b, double alpha_sq);

// Adam, at one signal-to-noise ratio s ≥ 0 for every coordinate (|mean|/std of its gradient, gradients independent over
// coordinates): how many times further OR's magnitude moves than plain γ moves along the same direction, √((s² + 1)/(s²
// + 1/d)). Between 1 (s large) and √d (s = 0), never d. For lr → 0 and 1/(1 − β₂) long against a step; within 10 % of
// simulations for s ≥ 0.03. Source: T8, ours.
double or_adam_amplification(double d, double snr);
// Whether the movement over `steps` steps is small beside γ, so that the gradient's signal and ‖α‖ stay, the second
// moments forget many steps and the run is long against both moments' memory: then within 10 % of simulations.
Holds or_adam_amplification_holds(double d, double snr, double lr, double beta1, double beta2, double steps);
// The same with a ratio of its own for each coordinate, signed like its gradient's mean, γ's direction (1, …, 1)/√d:
// d S/√(S² + 1) / Σ s_i/√(s_i² + 1) with S = Σ s_i/√d. A signal on one coordinate alone is amplified up to d times.
double or_adam_amplification(std::span<const double> snr);

// How long OR's direction takes under the flow from the start, an angle φ away from the target, tan φ = tan_from > 0,
// to tan_to ∈ (0, tan_from]: of a loss with curvature h_mag > 0 of γ along γ*, ‖γ*‖ = β*√d, and h_dir > 0 across it.
// While d is large the magnitude is, soon after the start, where its gradient is 0, β = β*h_mag cos φ/D, D = h_mag
// cos²φ + h_dir sin²φ, and with u = tan²φ and ρ = h_dir/h_mag
//   du/dt = −2β*²h_dir u(1 + u)²/(1 + ρu)²,   so that
//   t = [ln(u₀/u) + (ρ² − 1) ln((1 + u₀)/(1 + u)) + (1 − ρ)²(1/(1 + u₀) − 1/(1 + u))]/(2β*²h_dir).
// Gradient descent makes it in t/lr steps, lr below 1/(d max D), half the edge along the way. Where `holds` within 10 %
// of simulations. Source: T8, ours.
double or_turn_time(double h_mag, double h_dir, double beta_target, double tan_from, double tan_to);
// Whether the magnitude follows: its rate dD is at least 10 times the direction's all along.
Holds or_turn_time_holds(double d, double h_mag, double h_dir, double beta_target, double tan_from, double tan_to);
// max D over angles up to φ: d times this is the largest curvature along the way.
double or_turn_curvature(double h_mag, double h_dir, double tan_from);

// d ≥ 2: ‖α‖² of OR after t ≥ 0 steps of Adam with lr η, from ‖α‖² = d, its gradients noise: d(1 + η²t); with decoupled
// decay λ > 0 on α it tends to ηd/(2λ), the leading order of adamw_rotation()'s length. Where `holds`, and
// adamw_rotation_holds() with ηλ ≪ 1 − β₁ for the limit, within 6 % of simulations. Source: T8, ours.
double or_alpha_sq(double d, double lr, double steps);
Holds or_alpha_sq_holds(double d, double lr, double beta1, double beta2, double steps);
double or_alpha_sq_limit(double d, double lr, double weight_decay);

// Where decay λ on OR's β holds the RMS of γ under the flow: hdβ*/(hd + λ), h the curvature of γ's coordinates. Source:
// T8, ours. Under AdamW it is T5's equilibrium with σ/√d.
double or_beta_flow_equilibrium(double h, double d, double beta_target, double weight_decay);

// The same for ER's b, whose decay pulls the RMS e^b to 1: the root of hd(e^b − R)e^b + λb = 0 between 0 and ln R, as
// e^b. R, the RMS without decay, in (0, 4e^{3/2}]: above there can be several. Source: T8, ours.
double er_rms_flow_equilibrium(double h, double d, double rms_target, double weight_decay);

}  // namespace scalevec::theory
