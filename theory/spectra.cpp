#include "theory/spectra.hpp"

#include <algorithm>
#include <boost/math/quadrature/exp_sinh.hpp>
#include <boost/math/quadrature/gauss.hpp>
#include <boost/math/quadrature/gauss_kronrod.hpp>
#include <boost/math/quadrature/tanh_sinh.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>

#include "theory/domain.hpp"
#include "theory/flow.hpp"

namespace scalevec::theory {
namespace {

using namespace domain;

void check(const PowerLawModes& m) {
  positive("a", m.a);
  finite("b", m.b);
  require(m.a + 2.0 * m.b > 1.0, "b", m.b, "a + 2b more than 1");
  require(std::isfinite(m.modes) && m.modes >= 1.0, "modes", m.modes, "at least 1");
  require(m.target > 0.0 && m.target <= 1e140, "target", m.target, "(0, 1e140]");
}

// Σ_{j=1}^N loss(j) of a positive loss that rises, like e^{−2t/j^a}, to one maximum and then falls as a power.
template <class Loss>
double sum_over_modes(double modes, double a, const Loss& loss) {
  // From where on one mode's loss differs from the next by a few percent at most, as long as it counts.
  const double exact = std::floor(std::min(1e6, 2048.0 * std::max(1.0, a))), n = std::floor(modes);
  double sum = 0.0;
  for (double j = 1.0; j <= std::min(n, exact); j += 1.0) sum += loss(j);
  if (n <= exact) return sum;
  // Where the last modes still rise by more than a 64th each, some 3000 of them are all that counts.
  if (loss(n - 1.0) < loss(n) * (1.0 - 1.0 / 64.0)) {
    double tail = 0.0, term = loss(n);
    for (double j = n; j > exact && term > 1e-18 * tail; term = loss(j -= 1.0)) tail += term;
    return sum + tail;
  }
  // Midpoint rule read backwards: Σ_{j=m+1}^n f(j) ≈ ∫_{m+½}^{n+½} f, with an error of f'/24 at the ends.
  const double from = exact + 0.5, to = n + 0.5;
  const auto in_log = [&](double x) { return loss(std::exp(x)) * std::exp(x); };
  const int blocks = std::max(1, static_cast<int>(std::ceil(4.0 * std::log(to / from))));
  const double step = std::log(to / from) / blocks;
  // From the top, below which blocks that do not count any more, and whose exponents vary most, are left out.
  for (int i = blocks - 1; i >= 0; --i) {
    const double low = std::log(from) + i * step, high = low + step;
    if (std::max(in_log(low), in_log(high)) < 1e-14 * sum) continue;
    sum += boost::math::quadrature::gauss_kronrod<double, 21>::integrate(in_log, low, high, 12, 1e-10);
  }
  const auto slope = [&](double x) { return (loss(x + 0.1) - loss(x - 0.1)) / 0.2; };
  return sum - (slope(to) - slope(from)) / 24.0;
}

// ∫_0^1 v^{p−1} e^{−xv} dv = γ(p, x)/x^p, whose factors leave even long double's range.
long double lower_integral(long double p, long double x) {
  if (x > p + 1) return std::exp(boost::math::lgamma(p) - p * std::log(x)) * boost::math::gamma_p(p, x);
  // e^−x Σ_k x^k/(p(p + 1)…(p + k)).
  long double term = 1 / p, sum = term;
  for (int k = 1; term > 1e-20L * sum; ++k) sum += term *= x / (p + k);
  return std::exp(-x) * sum;
}

}  // namespace

double plain_exponent(const PowerLawModes& m) {
  check(m);
  return (m.a - 1.0 + 2.0 * m.b) / m.a;
}

double balanced_exponent(const PowerLawModes& m) {
  check(m);
  require(m.a + m.b > 0.0, "b", m.b, "more than -a");
  return (m.a - 1.0 + 2.0 * m.b) / (m.a + m.b);
}

double plain_spectrum_loss(const PowerLawModes& m, double t) {
  check(m);
  positive("t", t);
  // ½R₀² ∫ j^{−a−2b} e^{−2tj^−a} dj = R₀²/(2a) ∫_{N^−a}^1 v^{p−1} e^{−2tv} dv, in long double: logarithms of gamma
  // functions lose as many digits as they have.
  using Long = long double;
  const Long a = m.a, p = (a - 1 + 2 * Long(m.b)) / a, near = 2 * Long(t), width = a * std::log(Long(m.modes)),
             far = near * std::exp(-width);
  Long integral = 0;
  if (width * (p + near) < 1) {
    const auto in_log = [&](Long y) { return std::exp(p * y - near * std::exp(y)); };
    integral = boost::math::quadrature::gauss<Long, 20>::integrate(in_log, -width, Long(0));
  } else if (near <= 1) {
    // Σ_m (−2t)^m/m! (1 − N^{−a(p+m)})/(p + m).
    Long term = 1;
    for (int k = 0; k < 40; ++k, term *= -near / k) integral += term * -std::expm1(-width * (p + k)) / (p + k);
  } else if (far > p) {
    integral = std::exp(boost::math::lgamma(p) - p * std::log(near)) *
               (boost::math::gamma_q(p, far) - boost::math::gamma_q(p, near));
  } else {
    integral = lower_integral(p, near) - std::exp(-width * p) * lower_integral(p, far);
  }
  return static_cast<double>(Long(m.target) * m.target / (2 * a) * integral);
}

namespace {

// How the mode that matters at time t, h_j = p/(2t) for a loss t^−p, lies between the first and the last.
void in_the_middle(Holds& holds, const PowerLawModes& m, double t, double p) {
  at_least(holds, "the first mode's turns, 2t over p + 8(1 + sqrt p),", 2.0 * t / (p + 8.0 * (1.0 + std::sqrt(p))),
           1.0);
  const double learning = std::pow(2.0 * t / std::max(1.0, p), 1.0 / m.a);
  at_least(holds, "the mode that learns, (2t/p)^(1/a),", learning, 4.0 * std::max(1.0, m.a));
  at_most(holds, "the mode that learns over the last, (2t)^(1/a)/N,", std::pow(2.0 * t, 1.0 / m.a) / m.modes, 0.01);
}

}  // namespace

Holds plain_spectrum_holds(const PowerLawModes& m, double t) {
  check(m);
  positive("t", t);
  Holds holds;
  in_the_middle(holds, m, t, plain_exponent(m));
  return holds;
}

Holds flat_target_holds(const PowerLawModes& m, double t) {
  check(m);
  positive("t", t);
  require(m.b == 0.0, "b", m.b, "0");
  Holds holds;
  in_the_middle(holds, m, t, plain_exponent(m));
  // With scales the last mode that has begun to learn is further out.
  const double reach = std::pow(2.0 * t * std::hypot(1.0, 2.0 * m.target), 1.0 / m.a);
  at_most(holds, "the share of the loss beyond the last mode, ((2t sqrt(1 + 4 R0^2))^(1/a)/N)^(a - 1),",
          std::pow(reach / m.modes, m.a - 1.0), 0.02);
  return holds;
}

Holds scale_gain_holds(const PowerLawModes& m, double t) {
  check(m);
  positive("t", t);
  require(m.b > 0.0, "b", m.b, "more than 0");
  Holds holds;
  in_the_middle(holds, m, t, (m.a - 1.0 + 4.0 * m.b) / m.a);
  at_most(holds, "the share of the loss beyond the last mode, ((2t)^(1/a)/N)^(a + 2b - 1),",
          std::pow(std::pow(2.0 * t, 1.0 / m.a) / m.modes, m.a + 2.0 * m.b - 1.0), 0.05);
  at_most(holds, "R0", m.target, 1.0);
  at_most(holds, "twice the target that learns, 2 R0 t^(-b/a),", 2.0 * m.target * std::pow(t, -m.b / m.a), 0.3);
  return holds;
}

double scale_gain(const PowerLawModes& m, double t) {
  check(m);
  require(m.b > 0.0, "b", m.b, "more than 0");
  positive("t", t);
  using Long = long double;
  const Long a = m.a, b = m.b, p = (a - 1 + 2 * b) / a, q = (a - 1 + 4 * b) / a;
  // I_q 2^q/Γ(q) = (q − 3)/2 + 2(2/3)^q − 2^{−q}/2, in what is left of each where q is small.
  const Long i_q = q / 2 + 2 * std::expm1(q * std::log(Long(2) / 3)) - std::expm1(-q * std::log(Long(2))) / 2;
  const Long logarithm =
      boost::math::lgamma(q) - boost::math::lgamma(p) + (p - q) * std::log(Long(2)) - 2 * b / a * std::log(Long(t));
  return static_cast<double>(Long(m.target) * m.target * 4 * i_q * std::exp(logarithm));
}

double flat_target_ratio(double target, double a) {
  require(target > 0.0 && target <= 1e140, "target", target, "(0, 1e140]");
  require(std::isfinite(a) && a > 1.0, "a", a, "more than 1");
  // Modes differ in h alone: with s = ht the sum over j is ∫ s^{p−1} f(s) ds, f(s) the squared gap at s, p = (a − 1)/a.
  // From s = x/(1 + 2R), where f begins to fall, and with f − 1 up to x = 1: p may be near 0.
  const double p = (a - 1.0) / a, unit = 1.0 / (1.0 + 2.0 * target);
  const auto squared = [&](double x) { return std::pow(flow_gap({1.0, target, 1.0, 0.0}, unit * x) / target, 2); };
  boost::math::quadrature::tanh_sinh<double> finite_part;
  boost::math::quadrature::exp_sinh<double> tail;
  const double below =
      finite_part.integrate([&](double x) { return std::pow(x, p - 1.0) * (squared(x) - 1.0); }, 0.0, 1.0, 1e-11);
  const double above =
      tail.integrate([&](double x) { return std::pow(x, p - 1.0) * squared(x); }, 1.0, INFINITY, 1e-11);
  // 1/Γ(p) = p/Γ(1 + p).
  return std::pow(2.0 * unit, p) * (1.0 + p * (below + above)) / boost::math::tgamma(1.0 + p);
}

double spectrum_loss_with_scales(const PowerLawModes& m, double imbalance, double t) {
  check(m);
  finite("imbalance", imbalance);
  not_negative("t", t);
  const double largest = m.target * std::max(1.0, std::pow(std::floor(m.modes), -m.b));
  require(std::abs(imbalance) >= 1e-140 * largest, "imbalance", imbalance,
          "at least 1e-140 of the largest target in size: from r = 0 a balanced flow does not start");
  return sum_over_modes(m.modes, m.a, [&](double j) {
    const double h = std::pow(j, -m.a), target = m.target * std::pow(j, -m.b);
    if (h == 0.0) return 0.0;
    const double gap = flow_gap({h, target, imbalance, 0.0}, t);
    return 0.5 * h * gap * gap;
  });
}

double spectrum_loss_without(const PowerLawModes& m, double t) {
  check(m);
  not_negative("t", t);
  return sum_over_modes(m.modes, m.a, [&](double j) {
    const double h = std::pow(j, -m.a), gap = m.target * std::pow(j, -m.b) * std::exp(-h * t);
    return 0.5 * h * gap * gap;
  });
}

}  // namespace scalevec::theory
