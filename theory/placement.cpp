#include "theory/placement.hpp"

#include <algorithm>
#include <cmath>
#include <utility>

#include "theory/domain.hpp"

namespace scalevec::theory {
namespace {

using domain::require;

void check(const TwoSided& m) {
  require(m.rows >= 1, "rows", static_cast<double>(m.rows), "at least 1");
  require(m.columns >= 1, "columns", static_cast<double>(m.columns), "at least 1");
  require(m.u.size() == m.rows, "u", static_cast<double>(m.u.size()), "one element per row");
  require(m.v.size() == m.columns, "v", static_cast<double>(m.v.size()), "one element per column");
  require(m.w.size() == m.rows * m.columns, "w", static_cast<double>(m.w.size()), "rows times columns elements");
  require(m.g.size() == m.rows * m.columns, "g", static_cast<double>(m.g.size()), "rows times columns elements");
  for (const auto& [name, values] :
       {std::pair("u", &m.u), std::pair("v", &m.v), std::pair("w", &m.w), std::pair("g", &m.g)})
    for (const double x : *values) domain::finite(name, x);
}

template <class Size>
double rate(const TwoSided& m, bool with_u, Size size) {
  check(m);
  double total = 0.0;
  for (std::size_t i = 0; i < m.rows; ++i) {
    double row = 0.0;
    for (std::size_t j = 0; j < m.columns; ++j) {
      total += size(m.u[i] * m.v[j] * m.g[i * m.columns + j]);
      row += m.w[i * m.columns + j] * m.v[j] * m.g[i * m.columns + j];
    }
    if (with_u) total += size(row);
  }
  for (std::size_t j = 0; j < m.columns; ++j) {
    double column = 0.0;
    for (std::size_t i = 0; i < m.rows; ++i) column += m.u[i] * m.w[i * m.columns + j] * m.g[i * m.columns + j];
    total += size(column);
  }
  return total;
}

double square(double x) { return x * x; }
double absolute(double x) { return std::abs(x); }

}  // namespace

double both_sides_flow_rate(const TwoSided& m) { return rate(m, true, square); }
double both_sides_sign_rate(const TwoSided& m) { return rate(m, true, absolute); }
double input_side_flow_rate(const TwoSided& m) { return rate(m, false, square); }
double input_side_sign_rate(const TwoSided& m) { return rate(m, false, absolute); }

Holds both_sides_faster_holds(const TwoSided& map) {
  check(map);
  Holds holds;
  double farthest = 0.0;
  for (const double u : map.u) farthest = std::max(farthest, std::abs(u - 1.0));
  domain::at_most(holds, "the largest |u - 1|", farthest, 0.0);
  return holds;
}

std::vector<double> row_imbalances(const TwoSided& m) {
  check(m);
  std::vector<double> out;
  for (std::size_t i = 0; i < m.rows; ++i) {
    double k = m.u[i] * m.u[i];
    for (std::size_t j = 0; j < m.columns; ++j) k -= square(m.w[i * m.columns + j]);
    out.push_back(k);
  }
  return out;
}

std::vector<double> column_imbalances(const TwoSided& m) {
  check(m);
  std::vector<double> out;
  for (std::size_t j = 0; j < m.columns; ++j) {
    double k = m.v[j] * m.v[j];
    for (std::size_t i = 0; i < m.rows; ++i) k -= square(m.w[i * m.columns + j]);
    out.push_back(k);
  }
  return out;
}

}  // namespace scalevec::theory
