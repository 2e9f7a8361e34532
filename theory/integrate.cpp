#include "scalevec/theory/integrate.hpp"

#include <boost/numeric/odeint.hpp>
#include <algorithm>
#include <cmath>
#include <stdexcept>

#include "scalevec/theory/domain.hpp"

namespace scalevec {

void integrate_flow(const FlowSlope& slope, std::vector<double>& x, double time, double tolerance) {
  namespace odeint = boost::numeric::odeint;
  theory_domain::not_negative("time", time);
  theory_domain::require(tolerance >= 1e-15 && tolerance <= 1.0, "tolerance", tolerance, "[1e-15, 1]");
  if (time == 0.0 || x.empty()) return;
  // A step that is not finite is neither taken nor refused by the error control: it would be halved without end.
  const auto guarded = [&](const std::vector<double>& at, std::vector<double>& out, double) {
    slope(at, out);
    const bool finite = std::all_of(out.begin(), out.end(), [](double v) { return std::isfinite(v); });
    if (!finite) throw std::runtime_error("integrate_flow: the solution stops being finite before its end");
  };
  const auto stepper = odeint::make_controlled(tolerance, tolerance, odeint::runge_kutta_fehlberg78<std::vector<double>>());
  odeint::integrate_adaptive(stepper, guarded, x, 0.0, time, std::min(time, 1e-3));
}

}  // namespace scalevec
