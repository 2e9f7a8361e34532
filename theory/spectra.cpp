#include "scalevec/theory/spectra.hpp"

#include <algorithm>
#include <boost/math/quadrature/exp_sinh.hpp>
#include <boost/math/quadrature/gauss_kronrod.hpp>
#include <boost/math/special_functions/gamma.hpp>
#include <cmath>

#include "scalevec/theory/domain.hpp"
#include "scalevec/theory/flow.hpp"

namespace scalevec {
namespace {

using namespace theory_domain;

void check(const PowerLawModes& m) {
  positive("a", m.a);
  finite("b", m.b);
  require(m.a + 2.0 * m.b > 1.0, "b", m.b, "a + 2b more than 1");
  require(std::isfinite(m.modes) && m.modes >= 1.0, "modes", m.modes, "at least 1");
  positive("target", m.target);
}

// Σ_{j=1}^N loss(j) of a positive loss that rises, like e^{−2t/j^a}, to one maximum and then falls as a power.
template <class Loss>
double sum_over_modes(double modes, const Loss& loss) {
  constexpr double kExact = 64.0;
  const double n = std::floor(modes);
  double sum = 0.0;
  for (double j = 1.0; j <= std::min(n, kExact); j += 1.0) sum += loss(j);
  if (n <= kExact) return sum;
  // Where the last modes still rise by more than a 64th each, some 3000 of them are all that counts.
  if (loss(n - 1.0) < loss(n) * (1.0 - 1.0 / 64.0)) {
    double tail = 0.0, term = loss(n);
    for (double j = n; j > kExact && term > 1e-18 * tail; term = loss(j -= 1.0)) tail += term;
    return sum + tail;
  }
  // Midpoint rule read backwards: Σ_{j=m+1}^n f(j) ≈ ∫_{m+½}^{n+½} f, with an error of f'/24 at the ends.
  const double from = kExact + 0.5, to = n + 0.5;
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

}  // namespace

double plain_exponent(const PowerLawModes& m) {
  check(m);
  return (m.a + 2.0 * m.b - 1.0) / m.a;
}

double balanced_exponent(const PowerLawModes& m) {
  check(m);
  require(m.a + m.b > 0.0, "b", m.b, "more than -a");
  return (m.a + 2.0 * m.b - 1.0) / (m.a + m.b);
}

double plain_spectrum_loss(const PowerLawModes& m, double t) {
  check(m);
  positive("t", t);
  // In long double: powers and gamma functions lose as many digits as their arguments have.
  using Long = long double;
  const Long a = m.a, p = (a + 2 * Long(m.b) - 1) / a, near = 2 * Long(t), far = near * std::pow(Long(m.modes), -a);
  // The difference of the two small ones: both lower functions tend to Γ(p), both upper ones to 0.
  const Long integral = far > p ? boost::math::tgamma(p, far) - boost::math::tgamma(p, near)
                                : boost::math::tgamma_lower(p, near) - boost::math::tgamma_lower(p, far);
  return static_cast<double>(Long(m.target) * m.target * std::pow(near, -p) / (2 * a) * integral);
}

double scale_gain(const PowerLawModes& m, double t) {
  check(m);
  require(m.b > 0.0, "b", m.b, "more than 0");
  positive("t", t);
  using Long = long double;
  const Long a = m.a, b = m.b, p = (a + 2 * b - 1) / a, q = (a + 4 * b - 1) / a, two = 2, three = 3, four = 4;
  // I_q/Γ(q), whose terms cancel to 0.036q for small q.
  const Long i_q = (q * std::pow(two, -q) - 3 * std::pow(two, -q)) / 2 + 2 * std::pow(three, -q) - std::pow(four, -q) / 2;
  const Long factor = 4 * i_q * boost::math::tgamma_ratio(q, p) * std::pow(two, p);
  return static_cast<double>(Long(m.target) * m.target * factor * std::pow(Long(t), -2 * b / a));
}

double flat_target_ratio(double target, double a) {
  positive("target", target);
  require(std::isfinite(a) && a > 1.0, "a", a, "more than 1");
  // Modes differ in h alone: with s = h t the sum over j is ∫ s^{p−1} f(s) ds, f(s) the squared gap at h t = s, p = (a − 1)/a.
  const double p = (a - 1.0) / a;
  boost::math::quadrature::exp_sinh<double> integrator;
  const auto scaled = [&](double s) {
    const double gap = flow_gap({1.0, target, 1.0, 0.0}, s) / target;
    return std::pow(s, p - 1.0) * gap * gap;
  };
  return integrator.integrate(scaled, 1e-10) / (boost::math::tgamma(p) * std::pow(2.0, -p));
}

double spectrum_loss_with_scales(const PowerLawModes& m, double imbalance, double t) {
  check(m);
  finite("imbalance", imbalance);
  not_negative("t", t);
  require(imbalance != 0.0, "imbalance", imbalance, "not 0: from r = 0 a balanced flow does not start");
  return sum_over_modes(m.modes, [&](double j) {
    const double h = std::pow(j, -m.a), target = m.target * std::pow(j, -m.b);
    const double gap = flow_gap({h, target, imbalance, 0.0}, t);
    return 0.5 * h * gap * gap;
  });
}

double spectrum_loss_without(const PowerLawModes& m, double t) {
  check(m);
  not_negative("t", t);
  return sum_over_modes(m.modes, [&](double j) {
    const double h = std::pow(j, -m.a), gap = m.target * std::pow(j, -m.b) * std::exp(-h * t);
    return 0.5 * h * gap * gap;
  });
}

}  // namespace scalevec
