#pragma once

#include <vector>

#include "theory/holds.hpp"

// T4: weight decay on an input-norm scale γ and on the column w that reads it, θ = γw, loss ½h(‖θ‖ − R)², decays λ_γ
// and λ_w.
namespace scalevec::theory {

struct InputScaleDecay {
  double h = 1.0;            // curvature, > 0
  double target = 1.0;       // R > 0
  double decay_gamma = 0.0;  // λ_γ ≥ 0
  double decay_w = 0.0;      // λ_w ≥ 0
};

struct InputScaleEquilibrium {
  double length = 0.0;  // r = γ‖w‖
  double gamma_sq = 0.0, w_sq = 0.0;
};

// All throw std::domain_error naming the argument outside its domain. Relative error ≤ 1e-12 where nothing else is
// said.

// dk/dt = −2λ_γγ² + 2λ_w‖w‖² of the imbalance k = γ² − ‖w‖² under the flow, to 1e-15 of the terms' sizes. Source: T4,
// ours.
double imbalance_rate(const InputScaleDecay& problem, double gamma_sq, double w_sq);

// k(t) = k(0)e^{−2λt} under equal coupled decays λ, whatever the loss, t ≥ 0. Source: T4, ours.
double equal_decay_imbalance(double imbalance, double decay, double t);

// The flow's equilibrium with coupled decay, both decays positive: the penalty √(λ_γλ_w)‖θ‖, a group lasso:
// r = max(0, R − √(λ_γλ_w)/h), γ²/‖w‖² = λ_w/λ_γ. Error ≤ 1e-15 of what each would be at r = R. Source: T4, ours.
InputScaleEquilibrium group_lasso_equilibrium(const InputScaleDecay& problem);

// γ² at flow time t ≥ 0 with λ_γ = 0 < λ_w, from a minimum γ(0)‖w(0)‖ = R with γ(0)² = gamma0_sq: the root of
//   γ⁴ + 2R² ln γ² = γ(0)⁴ + 2R² ln γ(0)² + 4λ_wR²t,
// which grows without bound, as √(4λ_wR²t) once that is ≫ γ(0)⁴ and R². Where `holds` within 4 %; the balance of k is
// exact, that γ‖w‖ stays at R is to first order in λ_w/(hγ²). Source: T4, ours.
double unchecked_gamma_sq(const InputScaleDecay& problem, double gamma0_sq, double t);
Holds unchecked_gamma_sq_holds(const InputScaleDecay& problem, double gamma0_sq);

// AdamW with decoupled decay at constant lr η, gradient noise σ ≫ the gradient, c rows, λ_w > 0, λ_γ ≥ 0. With w the
// column's mean length and ‖w‖² = E of the total:
//   w = hR/(hγ + σλ_w),   ‖w‖² = w² + ½cησ/(hγ + σλ_w),   λ_w‖w‖² − ½cη = λ_γ γ‖w‖,
// the last γ's equation times γ beside the balance of ‖w‖², both with the one force w·∂L/∂w = γ∂L/∂γ. One root in γ,
// always. For η → 0 it is ‖w‖/γ = λ_γ/λ_w; for λ_γ = 0 ‖w‖² = ηc/(2λ_w). `bias` = ½h(R − γw)², `noise_loss` =
// ¼ησ[cγ²/(γ + σλ_w/h) + ‖w‖²/(‖w‖ + σλ_γ/h)]. Relative error ≤ 1e-12 against the equations; where `holds`, ‖w‖², γ²
// and bias + noise_loss within 20 % of simulations. Source: T4, ours.
struct AdamWInputScale {
  InputScaleEquilibrium at;  // length γw with the mean, w_sq the total ‖w‖²
  double bias = 0.0, noise_loss = 0.0;
};
AdamWInputScale adamw_input_scale(const InputScaleDecay& problem, double sigma, double lr, double rows);
Holds adamw_input_scale_holds(const InputScaleDecay& problem, double sigma, double lr, double rows);

// Largest curvature in (w, γ) at a minimum with isotropic h: h(γ² + ‖w‖²) = h√(k² + 4R²), least at k = 0; and the trace
// h(cγ² + ‖w‖²). Source: T4, ours.
double top_curvature(double h, double target, double imbalance);
double curvature_trace(double h, double target, double imbalance, double rows);

// Eigenvalues, ascending, of the Hessian in (w, γ) at the minimum θ* of ½(θ − θ*)ᵀ diag(h) (θ − θ*): [γI, w]ᵀ diag(h)
// [γI, w] with γ² − ‖w‖² = imbalance. One is 0. Absolute error ≤ 1e-13 of the largest. Source: T4, ours.
std::vector<double> curvature_spectrum(const std::vector<double>& h, const std::vector<double>& theta,
                                       double imbalance);

// γ² and ‖w‖² with γ‖w‖ = `length` ≥ 0 and γ² − ‖w‖² = `imbalance`, without cancellation: ½(√(k² + 4r²) ± k). Source:
// ours. Relative error ≤ 1e-15.
InputScaleEquilibrium split_length(double length, double imbalance);

}  // namespace scalevec::theory
