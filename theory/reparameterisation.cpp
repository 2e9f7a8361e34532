#include "theory/reparameterisation.hpp"

#include <cmath>
#include <stdexcept>
#include <string>
#include <valarray>

#include "theory/domain.hpp"

namespace scalevec::theory {
namespace {

using namespace domain;
using Values = std::valarray<double>;

struct OfValues {
  Values radial(const Values& a, double m, bool exponential) const {
    const double length = length_of({std::begin(a), std::end(a)});
    require(length > 0.0, "direction", 0.0, "not 0 in every element");
    return (exponential ? std::exp(m) : m) * std::sqrt(static_cast<double>(a.size())) * (a / length);
  }
};

}  // namespace

std::vector<double> reparameterised(ScaleForm form, double m, const std::vector<double>& a) {
  finite("magnitude", m);
  require(!a.empty(), "direction", 0.0, "at least one element");
  for (const double x : a) finite("direction", x);
  const Values gamma = with_form(form, [&](auto f) { return f.map(Values(a.data(), a.size()), m, OfValues()); });
  return {std::begin(gamma), std::end(gamma)};
}

std::vector<double> jacobian_gram(ScaleForm form, double m, const std::vector<double>& a) {
  const std::vector<double> gamma = reparameterised(form, m, a);
  const ScalePoint at{m, a, length_of(a), gamma};
  std::vector<double> gram;
  for (std::size_t i = 0; i < a.size(); ++i)
    for (std::size_t j = 0; j < a.size(); ++j)
      gram.push_back(with_form(form, [&](auto f) { return f.gram(at, i, j); }));
  return gram;
}

double conserved_quantity(ScaleForm form, double m, const std::vector<double>& a) {
  const std::vector<double> gamma = reparameterised(form, m, a);
  const ScalePoint at{m, a, length_of(a), gamma};
  const std::optional<double> quantity = with_form(form, [&](auto f) { return f.conserved(at); });
  if (!quantity)
    throw std::domain_error("form: got " + std::string(to_string(form)) +
                            ", which conserves nothing; allowed: one with a magnitude");
  return *quantity;
}

}  // namespace scalevec::theory
