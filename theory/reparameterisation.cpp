#include "scalevec/theory/reparameterisation.hpp"

#include <cmath>

#include "scalevec/theory/domain.hpp"

namespace scalevec {
namespace {

using namespace theory_domain;
using Form = Reparameterisation;

double sum_of_squares(const std::vector<double>& a) {
  double sum = 0.0;
  for (const double x : a) sum += x * x;
  return sum;
}

void check(Form form, double magnitude, const std::vector<double>& direction) {
  finite("magnitude", magnitude);
  require(!direction.empty(), "direction", 0.0, "at least one element");
  for (const double a : direction) finite("direction", a);
  if (form == Form::unit || form == Form::exponential) positive("direction", sum_of_squares(direction));
}

}  // namespace

std::vector<double> reparameterised(Form form, double m, const std::vector<double>& a) {
  check(form, m, a);
  const double unit = std::sqrt(static_cast<double>(a.size()) / sum_of_squares(a));
  std::vector<double> gamma;
  for (const double x : a) switch (form) {
      case Form::plain:
        gamma.push_back(x);
        break;
      case Form::unit:
        gamma.push_back(m * unit * x);
        break;
      case Form::product:
        gamma.push_back(m * x);
        break;
      case Form::exponential:
        gamma.push_back(std::exp(m) * unit * x);
        break;
      case Form::exp_sum:
        gamma.push_back(std::exp(m + x));
        break;
      case Form::exp_product:
        gamma.push_back(std::exp(m * x));
        break;
    }
  return gamma;
}

std::vector<double> jacobian_gram(Form form, double m, const std::vector<double>& a) {
  const std::vector<double> gamma = reparameterised(form, m, a);
  const std::size_t d = a.size();
  const double dd = static_cast<double>(d), squares = sum_of_squares(a);
  std::vector<double> gram(d * d);
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t j = 0; j < d; ++j) {
      const double same = i == j ? 1.0 : 0.0, along = a[i] * a[j] / squares;
      double& out = gram[i * d + j];
      switch (form) {
        case Form::plain:
          out = same;
          break;
        case Form::unit:
          out = dd * along + m * m * dd / squares * (same - along);
          break;
        case Form::product:
          out = m * m * same + a[i] * a[j];
          break;
        case Form::exponential:
          out = dd * std::exp(2.0 * m) * (along + (same - along) / squares);
          break;
        case Form::exp_sum:
          out = gamma[i] * gamma[j] * (same + 1.0);
          break;
        case Form::exp_product:
          out = gamma[i] * gamma[j] * (m * m * same + a[i] * a[j]);
          break;
      }
    }
  return gram;
}

double conserved_quantity(Form form, double m, const std::vector<double>& a) {
  check(form, m, a);
  switch (form) {
    case Form::unit:
    case Form::exponential:
      return sum_of_squares(a);
    case Form::product:
    case Form::exp_product:
      return m * m - sum_of_squares(a);
    case Form::exp_sum: {
      double sum = m;
      for (const double x : a) sum -= x;
      return sum;
    }
    case Form::plain:
      break;
  }
  require(false, "form", 0.0, "one with a magnitude: plain conserves nothing");
  return 0.0;
}

}  // namespace scalevec
