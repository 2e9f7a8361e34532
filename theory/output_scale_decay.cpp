#include "theory/output_scale_decay.hpp"

#include <algorithm>
#include <cmath>
#include <limits>

#include "theory/domain.hpp"
#include "theory/root.hpp"

namespace scalevec::theory {
namespace {

using namespace domain;

void check(const OutputScaleDecay& p) {
  positive("h", p.h);
  finite("target", p.target);
  not_negative("sigma", p.sigma);
  not_negative("weight_decay", p.weight_decay);
  finite("decay_target", p.decay_target);
}

DecayEquilibrium at_offset(const OutputScaleDecay& p, double offset) {
  return {p.target - offset, offset, 0.5 * p.h * offset * offset};
}

// Solves drift(d) = λ(D − d) for the offset d = γ* − γ between 0 and D = γ* − p̂, where drift is odd and increasing:
// the two sides cross once. Working with the offset keeps its digits when it is small against γ*.
template <class Drift>
DecayEquilibrium balance(const OutputScaleDecay& p, const Drift& drift) {
  const double distance = std::abs(p.target - p.decay_target);
  if (p.weight_decay == 0.0 || distance == 0.0) return at_offset(p, 0.0);
  const double side = p.target > p.decay_target ? 1.0 : -1.0;
  // A sign: decay wins only over a pull larger than 1.
  if (p.sigma == 0.0) return at_offset(p, side * std::max(0.0, distance - 1.0 / p.weight_decay));

  const auto missing = [&](double d) { return p.weight_decay * (distance - d) - drift(d); };
  return at_offset(p, side * falling_root(missing, 0.0, distance));
}

double scaled_pull(const OutputScaleDecay& p, double offset) { return p.h * offset / p.sigma; }

}  // namespace

DecayEquilibrium flow_equilibrium(const OutputScaleDecay& p) {
  check(p);
  return at_offset(p, (p.target - p.decay_target) * (p.weight_decay / (p.h + p.weight_decay)));
}

DecayEquilibrium adamw_equilibrium(const OutputScaleDecay& p) {
  check(p);
  return balance(p, [&](double d) { return p.h * d / std::hypot(p.h * d, p.sigma); });
}

DecayEquilibrium sign_sgd_equilibrium(const OutputScaleDecay& p) {
  check(p);
  return balance(p, [&](double d) { return std::erf(scaled_pull(p, d) / std::sqrt(2.0)); });
}

namespace {

void small_steps(Holds& holds, const OutputScaleDecay& p, double lr) {
  positive("lr", lr);
  at_least(holds, "the noise sigma", p.sigma, 1e-300);
  at_most(holds, "the scale's standard deviation over sigma/h, sqrt(lr h/(2 sigma))",
          std::sqrt(0.5 * lr * (p.h / p.sigma)), 0.1);
  at_most(holds, "lr lambda", lr * p.weight_decay, 0.02);
}

}  // namespace

Holds adamw_equilibrium_holds(const OutputScaleDecay& p, double lr, double beta2) {
  check(p);
  fraction("beta2", beta2);
  Holds holds;
  small_steps(holds, p, lr);
  if (!holds) return holds;
  at_most(holds, "the second moment's memory over the relaxation", lr * adamw_relaxation_rate(p) / (1.0 - beta2), 0.2);
  at_least(holds, "the second moment's memory in steps", 1.0 / (1.0 - beta2), 50.0);
  return holds;
}

Holds sign_sgd_equilibrium_holds(const OutputScaleDecay& p, double lr) {
  check(p);
  Holds holds;
  small_steps(holds, p, lr);
  return holds;
}

double flow_relaxation_rate(const OutputScaleDecay& p) {
  check(p);
  return p.h + p.weight_decay;
}

double adamw_relaxation_rate(const OutputScaleDecay& p) {
  const double offset = adamw_equilibrium(p).offset;
  if (p.sigma == 0.0) return offset == 0.0 ? std::numeric_limits<double>::infinity() : p.weight_decay;
  const double x = scaled_pull(p, offset);
  // h/σ alone may leave double precision's range where its product does not.
  const double fallen = 1.0 / std::hypot(1.0, x);
  return p.h * fallen / p.sigma * fallen * fallen + p.weight_decay;
}

double sign_sgd_relaxation_rate(const OutputScaleDecay& p) {
  const double offset = sign_sgd_equilibrium(p).offset;
  if (p.sigma == 0.0) return offset == 0.0 ? std::numeric_limits<double>::infinity() : p.weight_decay;
  const double x = scaled_pull(p, offset);
  const double peak = 0.79788456080286535588;  // √(2/π), the slope of erf(x/√2) at 0
  const double fallen = std::exp(-0.5 * x * x);
  return (fallen > 0.0 ? p.h / p.sigma * peak * fallen : 0.0) + p.weight_decay;
}

double flow_gamma(const OutputScaleDecay& p, double gamma0, double t) {
  check(p);
  finite("gamma0", gamma0);
  require(t >= 0.0, "t", t, "at least 0");
  const double settled = flow_equilibrium(p).gamma;
  return settled + (gamma0 - settled) * std::exp(-(p.h + p.weight_decay) * t);
}

}  // namespace scalevec::theory
