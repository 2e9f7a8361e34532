#pragma once

#include "theory/holds.hpp"

// T14: the largest learning rate at which a scale and its column stay at their minimum. All throw std::domain_error
// naming the argument outside its domain. Source: ours unless said otherwise.
namespace scalevec::theory {

// 2(1 + β)/λ_max: gradient descent with momentum β ∈ [0, 1), m ← βm + g, p ← p − ηm, on a quadratic.
double momentum_edge(double top_curvature, double momentum);
// 2(1 + β₁)/((1 − β₁)λ_max), λ_max of D^{−1/2}HD^{−1/2} with D = diag √v̂: Adam, its second moment held (38/λ_max at β₁
// = .9). Source: arXiv 2207.14484.
double adam_edge(double preconditioned_curvature, double beta1);

// Adam whose second moment lives: gradient noise keeps the error swinging, and its gradients enter v̂ too. With φ = lr
// over the edge at the noise's own v̂ = σ² (`held_share`), the share that is left at the v̂ that results: the root of x
// √(1 + x(1 + β₁)/((1 − β₁)(1 − x))) = φ, always below 1: along one coordinate Adam under noise never reaches its edge.
// For β₂ → 1. v̂ is (φ/x)² σ². Source: ours.
double adam_live_share(double held_share, double beta1);
// Whether v̂ is the noise's, within 20 %, at this lr over the edge: then adam_edge() with √v̂ = σ is the coordinate's
// edge as it runs; else only that of v̂ held where it is.
Holds adam_edge_holds(double held_share, double beta1);
// Whether a pair displaced from its minimum by `displacement` (length of the step of (w, γ)) is next to it: then its
// error shrinks below the edges of this header and grows above them, each within 3 %.
Holds pair_edge_holds(double gamma, double w_norm, double displacement);

// h(γ² + ‖w‖²), the largest curvature of a scale and its column at a minimum with isotropic curvature h.
double pair_curvature(double h, double gamma, double w_norm);
// The same under Adam's preconditioner where gradient noise σ sets the second moments, √v̂ = σγ for w and σ‖w‖ for γ:
// h(γ + ‖w‖)/σ, least where both are √R.
double pair_adam_curvature(double h, double sigma, double gamma, double w_norm);

// Gradient descent beyond its edge shrinks |k| = |γ² − ‖w‖²| by the factor 1 − η²g² at every step along w (T2), and
// with it the curvature h√(k² + 4R²). It can come to rest where 2h|R| is within the edge: below this lr, 1/(h|R|)
// (infinite at R = 0); what is left of |k| then is at most √((2/(ηh))² − 4R²), and 0 says that there is none.
double self_stabilising_lr(double h, double target);
double largest_stable_imbalance(double h, double target, double lr);

// How many times the stable lr grows, or shrinks, where coupled decays λ_γ, λ_w > 0 bring a pair from imbalance k to
// T4's balance γ²/‖w‖² = λ_w/λ_γ at r = R − √(λ_γλ_w)/h > 0: √(k² + 4R²)/(r(√(λ_w/λ_γ) + √(λ_γ/λ_w))).
double decay_lr_gain(double h, double target, double imbalance, double decay_gamma, double decay_w);

}  // namespace scalevec::theory
