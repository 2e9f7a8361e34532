#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "experiments/plot/plot.hpp"
#include "experiments/statistics/statistics.hpp"

// What most figures are made of: grids, lines for predictions, points for simulations.
namespace scalevec::experiments {

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

// Below the panel, where it hides no data.
inline constexpr const char* kKeyBelow = "outside bottom center horizontal";

enum class Log { none, x, y, both };

// A panel without its series.
inline Panel panel(std::string title, std::string x_label, std::string y_label, Log log = Log::none,
                   std::string key_position = "auto") {
  return {.title = std::move(title),
          .x_label = std::move(x_label),
          .y_label = std::move(y_label),
          .log_x = log == Log::x || log == Log::both,
          .log_y = log == Log::y || log == Log::both,
          .key_position = std::move(key_position)};
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

// Of a correlated sequence, from the means of as many blocks of equal length.
inline MeanInterval block_interval(const std::vector<double>& sequence, std::size_t blocks) {
  std::vector<double> means(blocks, 0.0);
  const std::size_t length = sequence.size() / blocks;
  for (std::size_t i = 0; i < blocks * length; ++i) means[i / length] += sequence[i] / static_cast<double>(length);
  return mean_interval(means);
}

// Points with bars of ± half a width: 95 % intervals by Student's t.
inline Series points_with_bars(std::string label, const std::vector<double>& x, const std::vector<double>& y,
                               const std::vector<double>& half_width, int color, int marker = 0) {
  Series s = points(std::move(label), x, y, color, marker);
  for (std::size_t i = 0; i < y.size(); ++i) {
    s.y_low.push_back(y[i] - half_width[i]);
    s.y_high.push_back(y[i] + half_width[i]);
  }
  return s;
}

// A phase diagram on the centres xs × ys (equally spaced, in the logarithm where log_x, log_y): value[j·xs.size() + i]
// at (xs[i], ys[j]) as cells, then the line along which it is 0.
inline std::vector<Series> phase_diagram(const std::vector<double>& xs, const std::vector<double>& ys,
                                         const std::vector<double>& value, bool log_x, bool log_y) {
  const auto between = [](double a, double b, double share, bool log) {
    return log ? a * std::pow(b / a, share) : a + (b - a) * share;
  };
  const auto edges = [&](const std::vector<double>& c, bool log) {
    std::vector<double> out;
    for (std::size_t i = 0; i <= c.size(); ++i)
      out.push_back(i < c.size() ? between(c[i], c[i == 0 ? 1 : i - 1], i == 0 ? -0.5 : 0.5, log)
                                 : between(c[i - 1], c[i - 2], -0.5, log));
    return out;
  };
  const std::vector<double> ex = edges(xs, log_x), ey = edges(ys, log_y);
  Series cells, zero;
  cells.style = Series::Style::cells;
  for (std::size_t j = 0; j < ys.size(); ++j)
    for (std::size_t i = 0; i < xs.size(); ++i) {
      cells.x.push_back(xs[i]);
      cells.y.push_back(ys[j]);
      cells.x_low.push_back(ex[i]);
      cells.x_high.push_back(ex[i + 1]);
      cells.y_low.push_back(ey[j]);
      cells.y_high.push_back(ey[j + 1]);
      cells.value.push_back(value[j * xs.size() + i]);
    }
  // Marching triangles: in each half of a square of neighbouring centres the zero of the linear interpolant is one
  // segment.
  struct Corner {
    double x, y, v;
  };
  const auto corner = [&](std::size_t i, std::size_t j) { return Corner{xs[i], ys[j], value[j * xs.size() + i]}; };
  const auto triangle = [&](const Corner& a, const Corner& b, const Corner& c) {
    if (std::isnan(a.v + b.v + c.v)) return;
    std::size_t found = 0;
    const Corner* ends[][2] = {{&a, &b}, {&b, &c}, {&c, &a}};
    for (const auto& [p, q] : ends) {
      if ((p->v < 0.0) == (q->v < 0.0)) continue;
      const double share = p->v / (p->v - q->v);
      zero.x.push_back(between(p->x, q->x, share, log_x));
      zero.y.push_back(between(p->y, q->y, share, log_y));
      ++found;
    }
    if (found == 0) return;
    zero.x.push_back(NAN);
    zero.y.push_back(NAN);
  };
  for (std::size_t j = 0; j + 1 < ys.size(); ++j)
    for (std::size_t i = 0; i + 1 < xs.size(); ++i) {
      triangle(corner(i, j), corner(i + 1, j), corner(i, j + 1));
      triangle(corner(i + 1, j), corner(i, j + 1), corner(i + 1, j + 1));
    }
  zero.label = "measured: equal";
  zero.color = 6;
  return {cells, zero};
}

}  // namespace scalevec::experiments
