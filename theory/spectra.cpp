#include "scalevec/theory/spectra.hpp"

#include <algorithm>
#include <boost/math/quadrature/exp_sinh.hpp>
#include <boost/math/quadrature/gauss.hpp>
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

// Σ_{j=1}^N loss(j).
template <class Loss>
double sum_over_modes(double n, const Loss& loss) {
  constexpr double kExact = 64.0;
  double sum = 0.0;
  const double last = std::min(n, kExact);
  for (double j = 1.0; j <= last; j += 1.0) sum += loss(j);
  if (n <= kExact) return sum;
  // Midpoint rule read backwards: Σ_{j=m+1}^n f(j) ≈ ∫_{m+½}^{n+½} f, with an error of f'/24 at the ends.
  const double from = kExact + 0.5, to = n + 0.5;
  const auto in_log = [&](double x) { return loss(std::exp(x)) * std::exp(x); };
  const double width = 0.25;
  const int blocks = std::max(1, static_cast<int>(std::ceil(std::log(to / from) / width)));
  const double step = std::log(to / from) / blocks;
  for (int i = 0; i < blocks; ++i)
    sum += boost::math::quadrature::gauss<double, 10>::integrate(in_log, std::log(from) + i * step,
                                                                std::log(from) + (i + 1) * step);
  const auto slope = [&](double x) { return (loss(x * (1 + 1e-4)) - loss(x * (1 - 1e-4))) / (2e-4 * x); };
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
  const double p = plain_exponent(m);
  const double far = 2.0 * t * std::pow(m.modes, -m.a);
  // The difference of the two small ones: both lower functions tend to Γ(p), both upper ones to 0.
  const double integral = far > p ? boost::math::tgamma(p, far) - boost::math::tgamma(p, 2.0 * t)
                                  : boost::math::tgamma_lower(p, 2.0 * t) - boost::math::tgamma_lower(p, far);
  return m.target * m.target * std::pow(2.0 * t, -p) / (2.0 * m.a) * integral;
}

double scale_gain(const PowerLawModes& m, double t) {
  check(m);
  require(m.b > 0.0, "b", m.b, "more than 0");
  positive("t", t);
  const double p = plain_exponent(m), q = (m.a + 4.0 * m.b - 1.0) / m.a;
  const double gamma_q = boost::math::tgamma(q);
  const double i_q = boost::math::tgamma(q + 1.0) * std::pow(2.0, -q - 1.0) - 1.5 * gamma_q * std::pow(2.0, -q) +
                     2.0 * gamma_q * std::pow(3.0, -q) - 0.5 * gamma_q * std::pow(4.0, -q);
  return m.target * m.target * 4.0 * i_q * std::pow(2.0, p) / boost::math::tgamma(p) * std::pow(t, -2.0 * m.b / m.a);
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
