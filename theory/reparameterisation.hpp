#pragma once

#include <vector>

// T8: γ as a function of a magnitude m and a direction a of d elements; its Jacobian J = ∂γ/∂(m, a) decides how a step
// of the flow or of SGD moves γ: dγ/dt = −JJᵀ ∂L/∂γ.
namespace scalevec::theory {

enum class Reparameterisation {
  plain,        // γ = a, m unused
  unit,         // OR: γ = m√d a/‖a‖
  product,      // γ = m a
  exponential,  // ER: γ = e^m √d a/‖a‖
  exp_sum,      // γ_j = e^{m + a_j}
  exp_product   // γ_j = e^{m a_j}
};

// All throw std::domain_error naming the argument outside its domain: `magnitude` and `direction` finite, d ≥ 1, and
// ‖a‖ > 0 where the form divides by it. Relative error ≤ 1e-12 while exponents stay below 100.

// γ, d elements. Source: T8's table.
std::vector<double> reparameterised(Reparameterisation form, double magnitude, const std::vector<double>& direction);

// JJᵀ, d × d, row-major; every element to 1e-12 of the largest. Source: T8's table, ours.
std::vector<double> jacobian_gram(Reparameterisation form, double magnitude, const std::vector<double>& direction);

// What the flow of any loss of γ conserves: ‖a‖² (unit, exponential), m² − ‖a‖² (product, exp_product), m − Σa
// (exp_sum), to 1e-15 of its terms' sizes; std::domain_error for plain, which conserves nothing. Source: T8's table,
// ours.
double conserved_quantity(Reparameterisation form, double magnitude, const std::vector<double>& direction);

}  // namespace scalevec::theory
