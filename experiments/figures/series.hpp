#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "scalevec/experiments/plot/plot.hpp"

// What most figures are made of: grids, lines for predictions, points for simulations.
namespace scalevec {

inline std::vector<double> log_grid(double low, double high, std::int64_t points) {
  std::vector<double> grid;
  for (std::int64_t i = 0; i < points; ++i)
    grid.push_back(low * std::pow(high / low, static_cast<double>(i) / static_cast<double>(points - 1)));
  return grid;
}

inline std::vector<double> linear_grid(double low, double high, std::int64_t points) {
  std::vector<double> grid;
  for (std::int64_t i = 0; i < points; ++i)
    grid.push_back(low + (high - low) * static_cast<double>(i) / static_cast<double>(points - 1));
  return grid;
}

inline Series line(std::string label, std::vector<double> x, std::vector<double> y, int color,
                   Series::Style style = Series::Style::line) {
  Series s;
  s.label = std::move(label);
  s.x = std::move(x);
  s.y = std::move(y);
  s.color = color;
  s.style = style;
  return s;
}

inline Series points(std::string label, std::vector<double> x, std::vector<double> y, int color, int marker = 0) {
  Series s = line(std::move(label), std::move(x), std::move(y), color, Series::Style::points);
  s.marker = marker;
  return s;
}

// Points with bars of ±1.96 standard errors.
inline Series points_with_errors(std::string label, const std::vector<double>& x, const std::vector<double>& y,
                                 const std::vector<double>& standard_error, int color, int marker = 0) {
  Series s = points(std::move(label), x, y, color, marker);
  for (std::size_t i = 0; i < y.size(); ++i) {
    s.y_low.push_back(y[i] - 1.96 * standard_error[i]);
    s.y_high.push_back(y[i] + 1.96 * standard_error[i]);
  }
  return s;
}

// Classical Runge-Kutta with a fixed number of steps: an integration that shares nothing with the closed forms.
template <class Slope>
void runge_kutta(std::vector<double>& state, double time, std::int64_t steps, Slope slope) {
  const double h = time / static_cast<double>(steps);
  const std::size_t n = state.size();
  std::vector<double> k1(n), k2(n), k3(n), k4(n), at(n);
  for (std::int64_t s = 0; s < steps; ++s) {
    slope(state, k1);
    for (std::size_t i = 0; i < n; ++i) at[i] = state[i] + 0.5 * h * k1[i];
    slope(at, k2);
    for (std::size_t i = 0; i < n; ++i) at[i] = state[i] + 0.5 * h * k2[i];
    slope(at, k3);
    for (std::size_t i = 0; i < n; ++i) at[i] = state[i] + h * k3[i];
    slope(at, k4);
    for (std::size_t i = 0; i < n; ++i) state[i] += h / 6.0 * (k1[i] + 2.0 * k2[i] + 2.0 * k3[i] + k4[i]);
  }
}

}  // namespace scalevec
