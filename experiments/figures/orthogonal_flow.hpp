#pragma once

#include <cmath>
#include <vector>

#include "theory/integrate.hpp"

namespace scalevec::experiments {

// (γ, w along the target, w across it) after flow time t, from γ = 1 and w of square length w_sq orthogonal to the
// target of that length, loss ½‖γw − θ*‖²: what T2 and P2 integrate.
inline std::vector<double> orthogonal_flow(double w_sq, double length, double t, double tolerance) {
  std::vector<double> s{1.0, 0.0, std::sqrt(w_sq)};
  const auto slope = [&](const std::vector<double>& at, std::vector<double>& d) {
    const double g1 = at[0] * at[1] - length, g2 = at[0] * at[2];
    d[0] = -(at[1] * g1 + at[2] * g2);
    d[1] = -at[0] * g1;
    d[2] = -at[0] * g2;
  };
  theory::integrate_flow(slope, s, t, tolerance);
  return s;
}

}  // namespace scalevec::experiments
