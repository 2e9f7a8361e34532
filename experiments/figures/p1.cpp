#include <algorithm>
#include <cmath>
#include <cstdio>

#include "scalevec/experiments/figures/figure.hpp"
#include "scalevec/experiments/figures/series.hpp"

// P1: what removing the scale vector costs gradient descent, over target and learning rate.
namespace scalevec {
namespace {

// Steps of gradient descent on ½(γw − R)² from γ = 1, w = 0 (or without γ) to `relative` of the loss; infinite if never.
double steps_to(double target, double lr, bool scale, double relative, std::int64_t most) {
  double gamma = 1.0, w = 0.0;
  const double goal = std::sqrt(relative) * target;
  for (std::int64_t t = 1; t <= most; ++t) {
    const double g = gamma * w - target;
    const double dw = gamma * g, dgamma = w * g;
    w -= lr * dw;
    if (scale) gamma -= lr * dgamma;
    const double gap = std::abs(gamma * w - target);
    if (!(gap < 1e6 * (1.0 + target))) return INFINITY;
    // The last step may cross the goal by chance: settled is below it twice.
    if (gap <= goal && std::abs(gamma * (w - lr * gamma * (gamma * w - target)) - target) <= 2.0 * goal) return static_cast<double>(t);
  }
  return INFINITY;
}

FigureResult draw(const FigureValues& v) {
  const auto grid = v.whole("grid"), most = v.whole("most");
  const double relative = v["relative"];
  FigureResult result;
  result.required = 0.05;
  const std::vector<double> targets = log_grid(0.05, 20.0, grid), rates = log_grid(1e-3, 2.0, grid);
  const double cap = std::log(30.0);
  std::vector<double> value(targets.size() * rates.size());
  std::int64_t wrong = 0, counted = 0;
  for (std::size_t i = 0; i < targets.size(); ++i)
    for (std::size_t j = 0; j < rates.size(); ++j) {
      const double with = steps_to(targets[i], rates[j], true, relative, most), without = steps_to(targets[i], rates[j], false, relative, most);
      const double ratio = std::isinf(with) && std::isinf(without) ? NAN : std::log(without / with);
      value[j * targets.size() + i] = std::clamp(ratio, -cap, cap);
      // Away from the edge of stability by a third, the scale vector must win below it and diverge or oscillate above.
      const double edge = 2.0 / std::sqrt(1.0 + 4.0 * targets[i] * targets[i]), share = rates[j] / edge;
      if (std::isnan(ratio) || rates[j] > 1.5 || (share > 0.6 && share < 1.5)) continue;
      ++counted;
      wrong += share < 1.0 ? ratio < -1e-12 : ratio > 0.0;
    }
  result.agreement = static_cast<double>(wrong) / static_cast<double>(counted);
  Panel equal, best;
  equal.title = "Equal learning rate";
  equal.x_label = "target R (initial imbalance 1)";
  equal.y_label = "learning rate × h";
  equal.log_x = equal.log_y = true;
  equal.color_label = "ln(steps without / with scale vector)";
  equal.color_limit = cap;
  equal.series = phase_diagram(targets, rates, value, true, true);
  std::vector<double> edge;
  for (const double r : targets) edge.push_back(2.0 / std::sqrt(1.0 + 4.0 * r * r));
  equal.series.push_back(line("predicted: edge of stability 2/√(1 + 4R²)", targets, edge, 2, Series::Style::dashed));
  equal.key_position = "bottom left";

  std::vector<double> ratio;
  for (const double r : targets) {
    double with = INFINITY, without = INFINITY;
    for (const double lr : log_grid(1e-3, 1.99, 160)) {
      with = std::min(with, steps_to(r, lr, true, relative, most));
      without = std::min(without, steps_to(r, lr, false, relative, most));
    }
    ratio.push_back(without / with);
  }
  best.title = "Each at its best learning rate";
  best.x_label = "target R";
  best.y_label = "steps without / with scale vector";
  best.log_x = best.log_y = true;
  best.series = {points("gradient descent", targets, ratio, 0), line("equal", {targets.front(), targets.back()}, {1.0, 1.0}, 6, Series::Style::dashed)};
  result.plot.title = "P1  Removing a scale vector";
  result.plot.columns = 2;
  result.plot.panel_width = 640;
  result.plot.panel_height = 460;
  result.plot.panels = {equal, best};
  char text[900];
  std::snprintf(text, sizeof text,
                "P1: gradient descent on ½(γw − R)² from γ = 1, w = 0 to %g of the loss, against the same without γ. At equal learning rate "
                "(left; red: the scale vector is faster, white: neither arrives) it is faster up to its own edge of stability 2/√(1 + 4R²) "
                "and fails beyond; at each one's best rate (right) one mode alone does not need it. Cells on the wrong side of the "
                "predicted edge, those within 0.6 to 1.5 of it left out: %.3f of %lld.",
                relative, result.agreement, static_cast<long long>(counted));
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_p1() {
  return {"P1",
          "Removal: steps without and with a scale vector over target and learning rate",
          {{"grid", 36, 90, Range::between(4, 400), "cells per axis", true},
           {"relative", 1e-6, 1e-6, {1e-12, 0.1}, "loss to reach, as a share of the initial one"},
           {"most", 20000, 20000, Range::between(100, 1e7), "steps after which a run is given up", true}},
          draw};
}

}  // namespace scalevec
