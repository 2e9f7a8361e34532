#pragma once

#include <vector>

#include "optim/core/scale_form.hpp"

// T8: γ as a function of a magnitude m, unused by forms without one, and a direction a of d elements; its Jacobian J =
// ∂γ/∂(m, a) decides how a step of the flow or of SGD moves γ: dγ/dt = −JJᵀ ∂L/∂γ.
namespace scalevec::theory {

// All throw std::domain_error naming the argument outside its domain: `magnitude` and `direction` finite, d ≥ 1, and
// ‖a‖ > 0 where the form divides by it. Relative error ≤ 1e-12 while exponents stay below 100.

// γ, d elements. Source: T8's table.
std::vector<double> reparameterised(ScaleForm form, double magnitude, const std::vector<double>& direction);

// JJᵀ, d × d, row-major; every element to 1e-12 of the largest. Source: T8's table, ours.
std::vector<double> jacobian_gram(ScaleForm form, double magnitude, const std::vector<double>& direction);

// What the flow of any loss of γ conserves: ‖a‖² (OR, ER), m² − ‖a‖² (product, exp_product), m − Σa (exp_sum), to 1e-15
// of its terms' sizes; std::domain_error for forms without a magnitude, which conserve nothing. Source: T8's table,
// ours.
double conserved_quantity(ScaleForm form, double magnitude, const std::vector<double>& direction);

}  // namespace scalevec::theory
