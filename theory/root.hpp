#pragma once

#include <boost/math/tools/roots.hpp>
#include <cstdint>
#include <limits>

namespace scalevec::theory::domain {

// Where a function that falls over [low, high] crosses 0, to the last two bits: Boost.Math's bisection, which minds no
// pole at an end. `high` where it is still positive there, `low` where it is nowhere.
template <class F>
double falling_root(const F& f, double low, double high) {
  // Of its sign: products of small values vanish.
  const auto sign = [&](double x) {
    const double y = f(x);
    return y > 0.0 ? 1.0 : y < 0.0 ? -1.0 : 0.0;
  };
  if (!(sign(low) > 0.0)) return low;
  if (sign(high) >= 0.0) return high;
  // From the largest double to the least there are 2100 halvings.
  std::uintmax_t most = 2200;
  const boost::math::tools::eps_tolerance<double> close(std::numeric_limits<double>::digits - 2);
  const auto [a, b] = boost::math::tools::bisect(sign, low, high, close, most);
  return a + 0.5 * (b - a);
}

}  // namespace scalevec::theory::domain
