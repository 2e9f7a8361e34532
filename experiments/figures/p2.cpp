#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/orthogonal_flow.hpp"
#include "experiments/figures/phase.hpp"

// P2: where the preconditioner ends above 1, over the initial weights and the target.
namespace scalevec::experiments {
namespace {

// γ² at the end of the flow from γ = 1 and w orthogonal to the target.
double final_gamma_sq(double w_sq, double target) {
  const double gamma = orthogonal_flow(w_sq, target, 40.0 / std::max(0.02, std::min(1.0, target)), 1e-10)[0];
  return gamma * gamma;
}

void draw_p2(const FigureValues& v, FigureResult& result) {
  const auto grid = v.whole("grid");
  result.required = 0.02;
  const std::vector<double> weights = log_grid(0.05, 10.0, grid), targets = log_grid(0.1, 5.0, grid);
  std::vector<double> value(weights.size() * targets.size());
  std::int64_t wrong = 0, counted = 0;
  for (std::size_t j = 0; j < targets.size(); ++j)
    for (std::size_t i = 0; i < weights.size(); ++i) {
      const double log_gamma_sq = std::log(final_gamma_sq(weights[i], targets[j]));
      value[j * weights.size() + i] = log_gamma_sq;
      const double side = targets[j] * targets[j] / weights[i];
      if (side > 0.95 && side < 1.05) continue;
      ++counted;
      wrong += (log_gamma_sq > 0.0) != (side > 1.0);
    }
  result.agreement = static_cast<double>(wrong) / static_cast<double>(counted);
  Panel& panel = result.plot.panels[0];
  add_measured(panel, weights, targets, value);
  panel.series[1].label = "measured: γ² = 1";
  std::vector<double> x, y;
  for (const double w : weights)
    if (std::sqrt(w) >= targets.front() && std::sqrt(w) <= targets.back()) {
      x.push_back(w);
      y.push_back(std::sqrt(w));
    }
  panel.series.push_back(line("predicted: R = ‖w(0)‖", x, y, 2, Series::Style::dashed));
  result.numbers = {{"counted", counted}};
}

}  // namespace

Figure figure_p2() {
  return {.id = "P2",
          .title = "Preconditioner: γ² at the end of the flow over ‖w(0)‖² and R, contour γ² = 1",
          .formula = "γ²(∞) > 1 exactly where R > ‖w(0)‖ (derived)",
          .domain = "gradient flow, γ(0) = 1",
          .code = "theory/input_scale_decay.hpp",
          .params = {{"grid", 30, 80, Range::between(4, 400), "cells per axis", true}},
          .heading = "When is the preconditioner at least 1?",
          .caption =
              "the flow conserves γ² − ‖w‖² = 1 − ‖w(0)‖² and ends at γ‖w‖ = R, so γ² ends above 1 exactly where R "
              "exceeds ‖w(0)‖ (derived, dashed). Below (blue), the scale vector slows the directions orthogonal to the "
              "target. Usual initialisations of std 0.02 have ‖w(0)‖² = 0.3 at 768 rows and 3.3 at 8192. Cells on the "
              "wrong side, those within 5 % left out: {off:.4f} of {counted}.",
          .panels = {{.title = "γ² when the flow has arrived, γ(0) = 1, w(0) orthogonal to the target",
                      .x_label = "‖w(0)‖²",
                      .y_label = "target R = ‖θ*‖",
                      .log_x = true,
                      .log_y = true,
                      .color_label = "ln γ²",
                      .color_limit = 3.0,
                      .key_position = "top left"}},
          .layout = {.panel_width = 820, .panel_height = 540},
          .draw = draw_p2};
}

}  // namespace scalevec::experiments
