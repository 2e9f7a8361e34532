#include "theory/integrate.hpp"

#include <algorithm>
#include <boost/numeric/odeint/stepper/controlled_runge_kutta.hpp>
#include <boost/numeric/odeint/stepper/generation/generation_controlled_runge_kutta.hpp>
#include <boost/numeric/odeint/stepper/generation/generation_runge_kutta_cash_karp54.hpp>
#include <boost/numeric/odeint/stepper/generation/make_controlled.hpp>
#include <boost/numeric/odeint/stepper/runge_kutta_cash_karp54.hpp>
#include <cmath>
#include <stdexcept>

#include "theory/domain.hpp"

namespace scalevec::theory {

void integrate_flow(const FlowSlope& slope, std::vector<double>& x, double time, double tolerance) {
  namespace odeint = boost::numeric::odeint;
  using State = std::vector<double>;
  domain::not_negative("time", time);
  domain::require(tolerance >= 1e-15 && tolerance <= 1.0, "tolerance", tolerance, "[1e-15, 1]");
  for (const double v : x) domain::finite("x", v);
  const auto finite = [](const State& s) {
    return std::all_of(s.begin(), s.end(), [](double v) { return std::isfinite(v); });
  };
  bool sound = true;
  const auto watched = [&](const State& at, State& out, double) {
    slope(at, out);
    sound = sound && finite(out);
  };
  // Stepwise by hand: error control takes a step into infinity for a good one, and Odeint's loop stops 2e-16 before the
  // end.
  auto stepper = odeint::make_controlled(tolerance, tolerance, odeint::runge_kutta_cash_karp54<State>());
  double t = 0.0, step = 1e-3;
  State before;
  for (int tried = 0; t < time; ++tried) {
    if (tried == 10'000'000) throw std::runtime_error("integrate_flow: 10 million steps did not reach the end");
    const bool last = step >= time - t;
    const double asked = last ? time - t : step, start = t;
    before = x;
    step = asked;
    sound = true;
    const auto result = stepper.try_step(watched, x, t, step);
    if (!sound || !finite(x)) {
      x = before;
      t = start;
      step = asked / 8.0;
    } else if (result == odeint::success) {
      if (last) return;
      continue;
    }
    if (start + step == start)
      throw std::runtime_error("integrate_flow: the solution stops being finite before its end");
  }
}

}  // namespace scalevec::theory
