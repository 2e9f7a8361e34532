#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "theory/flow.hpp"
#include "theory/integrate.hpp"

// T3: the flow's closed form, and how much sooner a scale vector gets to a loss.
namespace scalevec::experiments {
namespace {

void draw_t3(const FigureValues& v, FigureResult& result) {
  const double h = v["h"], target = v["target"], start = v["initial"], end = v["time"];
  result.required = 1e-9;
  Panel &loss = result.plot.panels[0], &gain = result.plot.panels[1];
  const std::vector<double> fine = linear_grid(0.0, end, 121), coarse = linear_grid(end / 10.0, end, 10);
  int color = 0;
  for (const double k : {2.0, 1.0, 0.5, 0.0, -0.5}) {
    const theory::Flow flow{h, target, k, start};
    std::vector<double> y, dots;
    for (const double t : fine) y.push_back(0.5 * h * std::pow(theory::flow_gap(flow, t), 2));
    for (const double t : coarse) {
      std::vector<double> r{start};
      const auto slope = [&](const std::vector<double>& x, std::vector<double>& dx) {
        // A balanced flow ends at 0, which rounding would carry it across.
        dx[0] = k == 0.0 && x[0] * start <= 0.0 ? 0.0 : std::hypot(k, 2.0 * x[0]) * h * (target - x[0]);
      };
      theory::integrate_flow(slope, r, t, v["tolerance"]);
      dots.push_back(0.5 * h * std::pow(target - r[0], 2));
      const double size = std::max(std::abs(target), std::abs(start)),
                   off = std::abs(theory::flow_position(flow, t) - r[0]) / (size > 0.0 ? size : 1.0);
      result.agreement = larger_or_nan(result.agreement, off);
    }
    loss.series.push_back(line(fmt::format("k = {:g}", k), fine, y, color));
    loss.series.push_back(points("", coarse, dots, color));
    ++color;
  }
  std::vector<double> y;
  for (const double t : fine) y.push_back(0.5 * h * std::pow((target - start) * std::exp(-h * t), 2));
  loss.series.push_back(line("no scale vector", fine, y, 6, Series::Style::dashed));

  const std::vector<double> relative = log_grid(1e-12, 0.9, 80);
  color = 0;
  for (const double r : {0.5, 1.0, 3.0, 10.0}) {
    std::vector<double> ratio, limit;
    for (const double x : relative) {
      ratio.push_back(theory::plain_time_to_loss(1.0, x) / theory::flow_time_to_loss({1.0, r, 1.0, 0.0}, x));
      limit.push_back(std::sqrt(1.0 + 4.0 * r * r));
    }
    gain.series.push_back(line(fmt::format("R = {:g}", r), relative, ratio, color));
    gain.series.push_back(
        line(color == 0 ? "its limit √(1 + 4R²)" : "", relative, limit, color, Series::Style::dashed));
    ++color;
  }
}

}  // namespace

Figure figure_t3() {
  return {.id = "T3",
          .title = "Loss along the flow for several imbalances, and the speed-up over no scale vector",
          .formula = "dr/dt = √(k² + 4r²) h (R − r), solved in closed form",
          .domain = "a fixed direction, gradient flow",
          .code = "theory/flow.hpp",
          .params = {{"h", 1.0, 1.0, Range::above(0.0), "curvature"},
                     {"target", 1.0, 1.0, {-100.0, 100.0}, "R"},
                     {"initial", 0.05, 0.05, {-100.0, 100.0}, "r(0)"},
                     {"time", 4.0, 4.0, {0.0, 1000.0, true, false}, "end of the flow"},
                     {"tolerance", 1e-13, 1e-13, {1e-15, 1e-3}, "error of a step to each dot"}},
          .heading = "The flow of a scale vector and its column",
          .caption =
              "θ = γw along a fixed direction, dr/dt = √(k² + 4r²) h (R − r) with the conserved imbalance k = γ² − "
              "‖w‖². Lines: closed form; dots: Runge-Kutta 5(4), error per step {tolerance:g}. A larger |k| is faster; "
              "k = 0 leaves r = 0 last. Right: the speed-up over no scale vector comes late, most of it below a loss "
              "of 1e-3 of the start. h = {h:g}, R = {target:g}, r(0) = {initial:g}. Largest difference relative to the "
              "larger of |R| and |r(0)|: {off:.1e}.",
          .panels = {panel("Loss under the flow", "flow time t (learning rate × steps)", "½h(r − R)²", Log::y),
                     panel("Speed-up over no scale vector, k = 1", "loss reached / initial loss", "ratio of times",
                           Log::x)},
          .layout = {.columns = 2, .panel_height = 440},
          .draw = draw_t3};
}

}  // namespace scalevec::experiments
