#pragma once

#include <functional>
#include <vector>

namespace scalevec::theory {

// dx/dt into `slope`, which has x's size and is written whole.
using FlowSlope = std::function<void(const std::vector<double>& x, std::vector<double>& slope)>;

// x at `time` ≥ 0 (flow time, lr × steps) of dx/dt = slope(x) from a finite x at 0, in place: Boost.Numeric.Odeint's
// Cash-Karp 5(4), whose steps are shortened until each errs by about tolerance·(1 + |x_i|) at most in every element,
// tolerance in [1e-15, 1]; errors add up over steps. It shares nothing with the closed forms and is what the figures
// and tests hold them against. Explicit: a stiff flow takes many steps. Throws std::domain_error naming the argument,
// and std::runtime_error where x leaves double precision's range before `time`, or after 10⁷ steps; x is then where it
// got to.
void integrate_flow(const FlowSlope& slope, std::vector<double>& x, double time, double tolerance = 1e-13);

}  // namespace scalevec::theory
