#pragma once

#include <functional>
#include <vector>

namespace scalevec {

// dx/dt into `slope`, which has x's size and is written whole.
using FlowSlope = std::function<void(const std::vector<double>& x, std::vector<double>& slope)>;

// x at `time` ≥ 0 (flow time, lr × steps) of dx/dt = slope(x) from x at 0, in place: Boost.Numeric.Odeint's Runge-Kutta-Fehlberg
// 7(8), each step's error at most about tolerance·(1 + |x_i|) in every element, tolerance in [1e-15, 1]. It shares nothing with the
// closed forms and is what the figures and tests hold them against. Explicit: a stiff flow takes many steps. Throws
// std::domain_error naming `time` or `tolerance`, and std::runtime_error where x stops being finite.
void integrate_flow(const FlowSlope& slope, std::vector<double>& x, double time, double tolerance = 1e-13);

}  // namespace scalevec
