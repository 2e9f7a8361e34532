#pragma once

// T9: weights that a norm follows. The gradient is orthogonal to the weights and shrinks with their length; decay λ and
// the learning rate η set a length at which the direction turns by a constant angle per step.
namespace scalevec {

struct Rotation {
  double norm = 0.0;   // ‖w‖ at equilibrium
  double angle = 0.0;  // per step, radians, root mean square
};

// g̃: root mean square of the gradient's norm at ‖w‖ = 1. Momentum β in [0, 1). All throw std::domain_error naming the
// argument outside its domain. Source: T9 (after arXiv 2305.17212), ours; to leading order in ηλ/(1 − β) and 1/d:
// within 3 % of simulations at β = .9, d ≥ 128 and ηλ ≤ 1e-3. Relative error against the formulas ≤ 1e-12.

// SGD with momentum and decoupled decay w ← (1 − ηλ)w: ‖w‖⁴ = ηg̃²/(2λ(1 − β)²), angle √(2ηλ(1 − β)/(1 + β)).
Rotation sgd_decoupled_rotation(double lr, double weight_decay, double momentum, double grad_norm);
// Coupled decay (added to the gradient before momentum): ‖w‖⁴ = ηg̃²/(2λ(1 − β)), angle √(2ηλ/(1 + β)).
Rotation sgd_coupled_rotation(double lr, double weight_decay, double momentum, double grad_norm);
// AdamW on a block of d weights: ‖w‖² = ηd/(2λ), angle √(2ηλ(1 − β₁)/(1 + β₁)); needs 1/(1 − β₂) ≪ 1/(2ηλ).
Rotation adamw_rotation(double lr, double weight_decay, double beta1, double dimension);

}  // namespace scalevec
