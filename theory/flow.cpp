#include "theory/flow.hpp"

#include <algorithm>
#include <cmath>

#include "theory/domain.hpp"

namespace scalevec::theory {
namespace {

using namespace domain;

void check(const Flow& f) {
  positive("h", f.h);
  finite("target", f.target);
  finite("imbalance", f.imbalance);
  finite("initial", f.initial);
  // Below that e^S u(0) leaves double precision's range.
  require(f.imbalance == 0.0 || std::abs(f.imbalance) >= 1e-140 * std::max(std::abs(f.target), std::abs(f.initial)),
          "imbalance", f.imbalance, "0, or at least 1e-140 of the larger of |target| and |initial|");
  const double largest = 2.0 * std::hypot(std::hypot(f.imbalance, 2.0 * f.target), 2.0 * f.initial);
  require(std::isfinite(largest) && std::isfinite(f.h * largest), "h", f.h,
          "a finite product with imbalance, target and initial, and finite squares' roots of these");
}

// With R ≥ 0: the flow is odd in (r, R).
Flow with_positive_target(Flow f) {
  f.imbalance = std::abs(f.imbalance);
  if (f.target < 0.0 || (f.target == 0.0 && f.initial < 0.0)) {
    f.target = -f.target;
    f.initial = -f.initial;
  }
  return f;
}
double orientation(const Flow& f) { return f.target < 0.0 || (f.target == 0.0 && f.initial < 0.0) ? -1.0 : 1.0; }

// e^{asinh x} − e^{asinh y} without cancellation; `difference` is x − y.
double exp_asinh_difference(double x, double y, double difference) {
  const double a = std::asinh(x), b = std::asinh(y);
  if (std::abs(a - b) > 0.5) return std::exp(a) - std::exp(b);
  const double cx = std::hypot(1.0, x), cy = std::hypot(1.0, y);
  // (x − y)(1 + (x + y)/(cx + cy)), whose second factor is (e^a + e^b)/(cx + cy).
  return difference * (std::exp(a) + std::exp(b)) / (cx + cy);
}

struct Unbalanced {
  double k, s, u0, rate;  // |k|, S, u(0), Λ
  double up, down;        // e^S, e^{−S}
  double ahead;           // e^S − u(0)

  explicit Unbalanced(const Flow& f) : k(f.imbalance) {
    const double x = 2.0 * f.target / k, y = 2.0 * f.initial / k;
    s = std::asinh(x);
    u0 = std::exp(std::asinh(y));
    up = std::exp(s);
    down = std::exp(-s);
    ahead = exp_asinh_difference(x, y, 2.0 * (f.target - f.initial) / k);
    rate = f.h * std::hypot(k, 2.0 * f.target);
  }
};

double unbalanced_u(const Unbalanced& b, double t) {
  const double e = std::exp(-b.rate * t), f = -std::expm1(-b.rate * t);
  return (b.u0 * b.up + f + e * b.u0 * b.down) / (b.u0 * f + b.down + e * b.up);
}

double unbalanced_position(const Unbalanced& b, double y, double t) {
  const double e = std::exp(-b.rate * t), f = -std::expm1(-b.rate * t);
  const double den = b.u0 * f + b.down + e * b.up;
  double u = (b.u0 * b.up + f + e * b.u0 * b.down) / den, minus_one = u - 1.0;
  if (std::abs(std::log(u)) < 0.5) {
    // e^S u₀ + F + E u₀e^{−S} − den, in differences that are small where u is near 1.
    const double u0_minus_one = std::expm1(std::asinh(y));
    minus_one = (std::expm1(b.s) * f * (b.u0 + b.down) + u0_minus_one * e * (b.up + b.down)) / den;
    u = 1.0 + minus_one;
  }
  return b.k * minus_one * (u + 1.0) / (4.0 * u);
}

double balanced_position(const Flow& f, double t) {
  const double r0 = f.initial, target = f.target;
  if (r0 == 0.0) return 0.0;
  if (target == 0.0) return r0 / (1.0 + 2.0 * f.h * std::abs(r0) * t);
  const double rate = 2.0 * f.h * target * t;
  if (r0 > 0.0) return target / (target / r0 * std::exp(-rate) - std::expm1(-rate));
  const double ratio = target / -r0;
  return -target * std::exp(-rate) / (ratio - std::expm1(-rate));
}

// From the initial position over `moved` to r = target − gap, all given so that a small one keeps its digits. `name`:
// the argument that asks for r.
double time_to(const Flow& flow, double r, double moved, double gap, const char* name, double value) {
  if (moved == 0.0) return 0.0;
  const Flow f = with_positive_target(flow);
  const double sign = orientation(flow), to = sign * r, left = sign * gap, by = sign * moved;
  if (f.imbalance == 0.0) {
    require(f.initial != 0.0, "initial", f.initial, "not 0 where the imbalance is 0: the flow stays there");
    if (f.target == 0.0) return -by / (f.initial * to) / (2.0 * f.h);
    require(!(f.initial < 0.0 && to >= 0.0), name, value,
            "on the initial position's side of 0 where the imbalance is 0");
    // (R − r)/r shrinks at the rate 2hR above 0, and grows at it below.
    const double grown = std::log1p(by / f.initial * (f.target / left)) / (2.0 * f.h * f.target);
    return f.initial < 0.0 ? -grown : grown;
  }
  const Unbalanced b(f);
  const double y0 = 2.0 * f.initial / b.k, y1 = 2.0 * to / b.k, x = 2.0 * f.target / b.k;
  // D₀/D₁ − 1 = 2 cosh S (u₁ − u₀)/((u₀ + e^{−S})(e^S − u₁)).
  const double grown = (b.up + b.down) * exp_asinh_difference(y1, y0, 2.0 * by / b.k) /
                       ((b.u0 + b.down) * exp_asinh_difference(x, y1, 2.0 * left / b.k));
  return std::log1p(grown) / b.rate;
}

}  // namespace

double flow_rate(const Flow& flow) {
  check(flow);
  return flow.h * std::hypot(flow.imbalance, 2.0 * flow.target);
}

double flow_position(const Flow& flow, double t) {
  check(flow);
  not_negative("t", t);
  if (t == 0.0) return flow.initial;
  const Flow f = with_positive_target(flow);
  if (f.imbalance == 0.0) return orientation(flow) * balanced_position(f, t);
  return orientation(flow) * unbalanced_position(Unbalanced(f), 2.0 * f.initial / f.imbalance, t);
}

double flow_gap(const Flow& flow, double t) {
  check(flow);
  not_negative("t", t);
  if (t == 0.0) return flow.target - flow.initial;
  const Flow f = with_positive_target(flow);
  const double sign = orientation(flow);
  if (f.imbalance == 0.0) {
    if (f.initial > 0.0 && f.target > 0.0) {
      const double rate = 2.0 * f.h * f.target * t, e = std::exp(-rate), ratio = f.target / f.initial;
      return sign * (f.target - f.initial) * ratio * e / (ratio * e - std::expm1(-rate));
    }
    return sign * (f.target - balanced_position(f, t));
  }
  const Unbalanced b(f);
  const double e = std::exp(-b.rate * t), den = b.u0 * -std::expm1(-b.rate * t) + b.down + e * b.up;
  // D/(1 + D) over its common denominator, whose terms are positive where 1 + D cancels.
  return sign * 0.5 * std::hypot(b.k, 2.0 * f.target) * (e * b.ahead / den) * (1.0 + b.down / unbalanced_u(b, t));
}

double flow_time(const Flow& flow, double r) {
  check(flow);
  finite("r", r);
  const bool between = (flow.initial <= r && r < flow.target) || (flow.target < r && r <= flow.initial);
  require(between, "r", r, "between the initial position and the target, and not the target");
  return time_to(flow, r, r - flow.initial, flow.target - r, "r", r);
}

double flow_time_to_loss(const Flow& flow, double relative) {
  check(flow);
  require(relative > 0.0 && relative < 1.0, "relative", relative, "(0, 1)");
  require(flow.initial != flow.target, "initial", flow.initial, "not the target");
  const double root = std::sqrt(relative), way = flow.target - flow.initial, gap = root * way;
  // 1 − √x = (1 − x)/(1 + √x).
  const double moved = way * (1.0 - relative) / (1.0 + root);
  return time_to(flow, std::abs(moved) < std::abs(gap) ? flow.initial + moved : flow.target - gap, moved, gap,
                 "relative", relative);
}

double plain_time_to_loss(double h, double relative) {
  positive("h", h);
  require(relative > 0.0 && relative < 1.0, "relative", relative, "(0, 1)");
  return -std::log(relative) / (2.0 * h);
}

PreconditionerSpectrum preconditioner_spectrum(double gamma, double w_norm_sq) {
  finite("gamma", gamma);
  not_negative("w_norm_sq", w_norm_sq);
  return {gamma * gamma, gamma * gamma + w_norm_sq};
}

double gamma_sq_floor(double gamma0, double w0_norm_sq) {
  finite("gamma0", gamma0);
  not_negative("w0_norm_sq", w0_norm_sq);
  return std::max(0.0, gamma0 * gamma0 - w0_norm_sq);
}

double imbalance_after_step(double k, double lr, double gamma, double grad_norm_sq, double w_dot_grad) {
  finite("k", k);
  not_negative("lr", lr);
  finite("gamma", gamma);
  not_negative("grad_norm_sq", grad_norm_sq);
  finite("w_dot_grad", w_dot_grad);
  const double along = lr * w_dot_grad, each = lr * gamma;
  return k - (each * each * grad_norm_sq - along * along);
}

double sign_descent_time(double target) {
  positive("target", target);
  return target / sign_descent_speedup(target);
}

double sign_descent_speedup(double target) {
  positive("target", target);
  return 0.5 + 0.5 * std::hypot(1.0, 2.0 * std::sqrt(target));
}

}  // namespace scalevec::theory
