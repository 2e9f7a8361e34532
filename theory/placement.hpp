#pragma once

#include <cstddef>
#include <vector>

#include "theory/holds.hpp"

// T7: scales on both sides of a map, θ = diag(u) W diag(v) (DP), against the input side alone (u = 1 and fixed).
namespace scalevec::theory {

// A c × d map, row-major, with its scales and a gradient G = ∂L/∂θ.
struct TwoSided {
  std::size_t rows = 0, columns = 0;
  std::vector<double> u, v;  // c, d
  std::vector<double> w, g;  // c·d

  double theta(std::size_t i, std::size_t j) const { return u[i] * w[i * columns + j] * v[j]; }
};

// Rates −dL/dt. Flow: Σ(u_iv_jg_ij)² + Σ_i(Σ_jW_ijv_jg_ij)² + Σ_j(Σ_iu_iW_ijg_ij)²; sign descent: the same with
// absolute values in place of squares. The second term is u's and missing for the input side alone. Source: T7, ours;
// the paper's Theorem 3.1 says that DP is instantaneously at least as fast, which holds at u = 1 and equal (W, v).
// std::domain_error for vectors of wrong length or not finite. Error ≤ 1e-15 rows·columns of the sum of the terms'
// sizes.
double both_sides_flow_rate(const TwoSided& map);
double both_sides_sign_rate(const TwoSided& map);
double input_side_flow_rate(const TwoSided& map);
double input_side_sign_rate(const TwoSided& map);

// Whether a scale on both sides is instantaneously at least as fast as on the input side, under the flow and under sign
// descent, by the two rates above: at equal (W, v, G) it is where every u_i is 1, as then only u's own term is more.
// Along trajectories u moves, and at equal θ either can be faster.
Holds both_sides_faster_holds(const TwoSided& map);

// Conserved by the flow: u_i² − Σ_jW_ij² for each row, v_j² − Σ_iW_ij² for each column, to 1e-15 of the squares' sum.
// Source: T7, ours.
std::vector<double> row_imbalances(const TwoSided& map);
std::vector<double> column_imbalances(const TwoSided& map);

}  // namespace scalevec::theory
