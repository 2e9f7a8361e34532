#pragma once

#include "theory/holds.hpp"

// T9: weights that a norm follows. The gradient is orthogonal to the weights and shrinks with their length; decay λ and
// the learning rate η set a length at which the direction turns by a constant angle per step.
namespace scalevec::theory {

struct Rotation {
  double norm = 0.0;   // ‖w‖ at equilibrium
  double angle = 0.0;  // per step, radians, root mean square
};

// g̃: root mean square of the gradient's norm at ‖w‖ = 1; momentum β in [0, 1); x = ηλ in (0, 1). Gradients orthogonal
// to w and independent from step to step: then these are exact in x, where T9's leading order needs x ≪ 1 − β (SGD's
// length oscillates more and more as x → 1 at β = 0). All
// throw std::domain_error naming the argument outside its domain. Relative error against the formulas ≤ 1e-12.
// Gradients with autocorrelation ρ = .9 lengthen the weights 1.7 (SGD) and 2.9 times (AdamW) and leave the angle within
// 1 %. Source: T9 (after arXiv 2305.17212), ours.

// SGD with momentum and decoupled decay w ← (1 − x)w: cos = (1 + β − x)/(1 + β − βx), angle ≈ √(2x(1 − β)/(1 + β));
// ‖w‖⁴ = ηg̃²/(2λ(1 − β)²) · f, f = (1 − β)(1 + β(1 − x))/[(1 + β)(1 − β(1 − x))(1 − x/2)].
Rotation sgd_decoupled_rotation(double lr, double weight_decay, double momentum, double grad_norm);
// Coupled decay (added to the gradient before momentum): cos = 1 − x/(1 + β), ‖w‖⁴ = ηg̃²/(2λ(1 − β))/(1 − x/(2(1 +
// β))).
Rotation sgd_coupled_rotation(double lr, double weight_decay, double momentum, double grad_norm);
// AdamW on a block of d ≥ 2 weights: ‖w‖² = ηd/(2λ) · f and the angle of SGD with decoupled decay, for β₂ → 1; within 3
// % of simulations where `holds`.
Rotation adamw_rotation(double lr, double weight_decay, double beta1, double dimension);
Holds adamw_rotation_holds(double lr, double weight_decay, double beta2, double dimension);
// Adam with λw added to the gradient, which its own second moment divides: ‖w‖³ = η√d g̃/(2λ), angle η√d/‖w‖ √((1 −
// β₁)/(1 + β₁)), to leading order in the decay; within 8 % of simulations where `holds`.
Rotation adam_l2_rotation(double lr, double weight_decay, double beta1, double dimension, double grad_norm);
Holds adam_l2_rotation_holds(double lr, double weight_decay, double beta1, double beta2, double dimension,
                             double grad_norm);

// Root mean square of Adam's update over lr, per coordinate whose gradient has signal-to-noise ratio s ≥ 0 (|mean|/std,
// independent from step to step): √((s² + (1 − β₁)/(1 + β₁))/(s² + 1)), for β₂ → 1. Source: ours.
double adam_update_rms(double snr, double beta1);

}  // namespace scalevec::theory
