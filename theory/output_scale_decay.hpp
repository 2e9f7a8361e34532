#pragma once

#include "theory/holds.hpp"

// T5: where weight decay holds an output-norm scale. A scale that no later weight can compensate sees the loss
// ½h(γ − γ*)² through a gradient with noise of standard deviation σ, and decay λ toward p̂.
namespace scalevec::theory {

struct OutputScaleDecay {
  double h = 1.0;       // curvature, > 0
  double target = 2.0;  // γ*, the minimum without decay
  double sigma = 0.0;   // standard deviation of the gradient noise, ≥ 0; the flow ignores it
  double weight_decay = 0.0;  // λ ≥ 0 per unit of lr (coupling `lr`; for `independent` pass λ/η₀, for `lr2` λη_t/η₀)
  double decay_target = 0.0;  // p̂
};

// Every function of this header throws std::domain_error naming the field that is outside its domain.
struct DecayEquilibrium {
  double gamma = 0.0;        // γ∞
  double offset = 0.0;       // γ* − γ∞, to relative accuracy even where λ is tiny
  double excess_loss = 0.0;  // ½h(γ∞ − γ*)²: the harm, without the loss of fluctuations around γ∞
};

// Gradient flow and SGD (any σ, `lr` or `l2` coupling): γ∞ = (hγ* + λp̂)/(h + λ). Relative error of the offset ≤ 4e-16
// beyond the rounding of γ* − p̂. Source: T5; the harm of decay is the paper's (arXiv 2605.26895), the formula ours.
DecayEquilibrium flow_equilibrium(const OutputScaleDecay& problem);

// AdamW with decoupled decay, lr → 0 and 1/(1 − β₂) long against one step but short against the relaxation, so that
// √v̂ ≈ √E[g²]: the root of h(γ* − γ)/√(h²(γ* − γ)² + σ²) = λ(γ − p̂). At σ = 0 the left side is a sign, see below.
// Offset to 1e-14 relative. Source: T5, ours.
DecayEquilibrium adamw_equilibrium(const OutputScaleDecay& problem);
// Whether lr is small beside σ/h, γ's fluctuation with it, and AdamW's second moment short against the relaxation: then
// the mean offset is within 3 % of simulations, or 3 % of σ/h.
Holds adamw_equilibrium_holds(const OutputScaleDecay& problem, double lr, double beta2);

// signSGD with Gaussian noise, lr → 0: the root of erf(h(γ* − γ)/(√2 σ)) = λ(γ − p̂). At σ = 0 the step is a sign and
// decay wins only where λ|γ* − p̂| > 1: γ∞ = p̂ ± 1/λ, else γ∞ = γ*. Offset to 1e-14 relative. Source: T5, ours.
DecayEquilibrium sign_sgd_equilibrium(const OutputScaleDecay& problem);
Holds sign_sgd_equilibrium_holds(const OutputScaleDecay& problem, double lr);  // the same

// Rates at which a small distance from γ∞ decays in flow time t = lr × steps: h + λ; the derivative of the left sides
// above at γ∞ plus λ (infinite at σ = 0 unless decay wins). Source: T5, ours.
double flow_relaxation_rate(const OutputScaleDecay& problem);
double adamw_relaxation_rate(const OutputScaleDecay& problem);
double sign_sgd_relaxation_rate(const OutputScaleDecay& problem);

// γ(t) of the flow from γ(0) = gamma0: γ∞ + (gamma0 − γ∞)e^{−(h+λ)t}, t ≥ 0. Source: T5, ours.
double flow_gamma(const OutputScaleDecay& problem, double gamma0, double t);

}  // namespace scalevec::theory
