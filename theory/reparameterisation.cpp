#include "theory/reparameterisation.hpp"

#include <cmath>
#include <stdexcept>

#include "theory/domain.hpp"

namespace scalevec::theory {
namespace {

using namespace domain;
using Form = Reparameterisation;

void check(Form form, double magnitude, const std::vector<double>& direction) {
  finite("magnitude", magnitude);
  require(!direction.empty(), "direction", 0.0, "at least one element");
  for (const double a : direction) finite("direction", a);
  if (form == Form::unit || form == Form::exponential)
    require(length_of(direction) > 0.0, "direction", 0.0, "not 0 in every element");
}

}  // namespace

std::vector<double> reparameterised(Form form, double m, const std::vector<double>& a) {
  check(form, m, a);
  const double root = std::sqrt(static_cast<double>(a.size())), length = length_of(a);
  std::vector<double> gamma;
  for (const double x : a) switch (form) {
      case Form::plain:
        gamma.push_back(x);
        break;
      case Form::unit:
        gamma.push_back(m * root * (x / length));
        break;
      case Form::product:
        gamma.push_back(m * x);
        break;
      case Form::exponential:
        gamma.push_back(std::exp(m) * root * (x / length));
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
  const double dd = static_cast<double>(d), length = length_of(a), each = m / length;
  std::vector<double> gram(d * d);
  for (std::size_t i = 0; i < d; ++i)
    for (std::size_t j = 0; j < d; ++j) {
      const double same = i == j ? 1.0 : 0.0, along = (a[i] / length) * (a[j] / length);
      double& out = gram[i * d + j];
      switch (form) {
        case Form::plain:
          out = same;
          break;
        case Form::unit:
          out = dd * along + dd * each * (each * (same - along));
          break;
        case Form::product:
          out = m * m * same + a[i] * a[j];
          break;
        case Form::exponential:
          out = dd * std::exp(2.0 * m) * (along + (same - along) / length / length);
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
      return length_of(a) * length_of(a);
    case Form::product:
    case Form::exp_product:
      return (std::abs(m) - length_of(a)) * (std::abs(m) + length_of(a));
    case Form::exp_sum: {
      double sum = m;
      for (const double x : a) sum -= x;
      return sum;
    }
    case Form::plain:
      break;
  }
  throw std::domain_error("form: got plain, which conserves nothing; allowed: one with a magnitude");
}

}  // namespace scalevec::theory
