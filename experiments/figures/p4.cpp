#include <algorithm>
#include <cmath>
#include <cstdio>

#include "scalevec/experiments/figures/figure.hpp"
#include "scalevec/experiments/figures/phase.hpp"
#include "scalevec/theory/branches.hpp"

// P4: own scales per branch (HG) against one, over the branches' curvatures and targets.
namespace scalevec {
namespace {

Branches branches_of(double h_ratio, double r_ratio) {
  return {{std::sqrt(h_ratio), 1.0 / std::sqrt(h_ratio)}, {std::sqrt(r_ratio), 1.0 / std::sqrt(r_ratio)}};
}

// The largest curvature at the minimum: gradient descent is stable below 2 over it.
double top(const Branches& b, bool own) {
  if (own)
    return std::max(b.h[0] * std::sqrt(1.0 + 4.0 * b.target[0] * b.target[0]),
                    b.h[1] * std::sqrt(1.0 + 4.0 * b.target[1] * b.target[1]));
  const double sq = b.target[0] * b.target[0] + b.target[1] * b.target[1],
               gamma_sq = 0.5 * (1.0 + std::sqrt(1.0 + 4.0 * sq));
  const double p0 = b.h[0] * (gamma_sq + b.target[0] * b.target[0] / gamma_sq),
               p1 = b.h[1] * (gamma_sq + b.target[1] * b.target[1] / gamma_sq);
  const double cross = std::sqrt(b.h[0] * b.h[1]) * b.target[0] * b.target[1] / gamma_sq;
  return 0.5 * (p0 + p1) + std::hypot(0.5 * (p0 - p1), cross);
}

// Steps of gradient descent from γ = 1, w = `start` to `relative` of the loss, at the best of `rates` below the edge of
// stability.
double best_steps(const Branches& b, bool own, double relative, double start, std::int64_t most,
                  const std::vector<double>& rates) {
  std::vector<MapReplica> replicas;
  for (const double share : rates) {
    MapReplica r;
    r.h = b.h;
    r.target = b.target;
    r.initial_w = {start};
    r.weights.method = SimulatedMethod::sgd;
    r.weights.lr = 2.0 * share / top(b, own);
    r.scales = r.weights;
    for (std::size_t c = 0; c < 2; ++c) r.goal += relative * 0.5 * b.h[c] * std::pow(start - b.target[c], 2);
    replicas.push_back(r);
  }
  MapOptions options;
  options.steps = most;
  options.until_arrival = true;
  ScaledMap map;
  map.rows = map.branches = 2;
  map.input = own ? ScaledMap::Input::own : ScaledMap::Input::shared;
  double best = INFINITY;
  for (const MapResult& r : simulate_scaled_map(map, replicas, options)) best = std::min(best, r.arrival);
  return best;
}

FigureResult draw(const FigureValues& v) {
  const std::vector<double> h_ratios = log_grid(1.0 / v["widest"], v["widest"], v.whole("grid"));
  const std::vector<double> r_ratios = h_ratios, rates = linear_grid(0.1, 1.04, 48);
  const std::size_t n = h_ratios.size();
  std::vector<double> measured(n * n), expected(n * n);
  const double limit = std::log(20.0);
  SignCount count;
  double mx = 0.0, my = 0.0, xx = 0.0, yy = 0.0, xy = 0.0, cells = 0.0;
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at = j * n + i, mirrored = (n - 1 - j) * n + n - 1 - i;  // the branches trade places
      if (mirrored < at) {
        measured[at] = measured[mirrored];
        expected[at] = expected[mirrored];
      } else {
        const Branches b = branches_of(h_ratios[i], r_ratios[j]);
        const double shared = best_steps(b, false, v["relative"], 1e-3, v.whole("most"), rates);
        const double own = best_steps(b, true, v["relative"], 1e-3, v.whole("most"), rates);
        measured[at] = std::isinf(shared) && std::isinf(own) ? NAN : std::log(shared / own);
        expected[at] = std::log(shared_condition_number(b, 1.0) / own_condition_number(b, 1.0));
      }
      count.add(measured[at], expected[at], 0.2);
      if (!std::isfinite(measured[at])) continue;
      cells += 1.0;
      mx += expected[at];
      my += measured[at];
      xx += expected[at] * expected[at];
      yy += measured[at] * measured[at];
      xy += expected[at] * measured[at];
    }
  const double correlation = (xy - mx * my / cells) / std::sqrt((xx - mx * mx / cells) * (yy - my * my / cells));
  FigureResult result;
  result.required = 0.1;
  result.agreement = count.share();
  Panel panel;
  panel.title = "Each at its best learning rate";
  panel.x_label = "curvature of branch 1 / of branch 2";
  panel.y_label = "target of branch 1 / of branch 2";
  panel.log_x = panel.log_y = true;
  panel.color_label = "ln(steps with a shared γ / with own γ)";
  panel.color_limit = limit;
  panel.series = phase_diagram(h_ratios, r_ratios, clamped(measured, limit), true, true);
  panel.series.push_back(
      predicted_zero(h_ratios, r_ratios, expected, true, true, "predicted: equal condition numbers"));
  panel.key_position = kPhaseKey;
  result.plot.title = "P4  One scale vector for two branches, or one each (HG)";
  result.plot.panel_width = 760;
  result.plot.panel_height = 600;
  result.plot.panels = {panel};
  char text[1000];
  std::snprintf(
      text, sizeof text,
      "P4: two branches with curvatures h and targets R (geometric means 1) read one input; gradient descent from γ = "
      "1, w = 1e-3 "
      "to %g of the loss, each at its best learning rate (red: own scales are faster; white: neither arrives in %lld "
      "steps). "
      "Own scales win where the larger target sits on the flatter branch and lose where it sits on the steeper one. "
      "Green: equal "
      "condition numbers of H^½(γ²I + wwᵀ)H^½ and of h_c√(1 + 4R_c²) (derived, for the end of the runs). Correlation "
      "of the "
      "logarithms %.3f; cells on the wrong side, those predicted within 20 %% of equal left out: %.3f of %lld.",
      v["relative"], static_cast<long long>(v.whole("most")), correlation, result.agreement,
      static_cast<long long>(count.counted));
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_p4() {
  return {"P4",
          "HG: steps with a shared scale and with own ones over the branches' curvatures and targets",
          {{"grid", 21, 61, Range::between(5, 301), "cells per axis", true},
           {"widest", 100.0, 100.0, {2.0, 1e4}, "largest ratio of curvatures and of targets"},
           {"relative", 1e-10, 1e-10, {1e-20, 0.1}, "loss to reach, as a share of the initial one"},
           {"most", 10000, 30000, Range::between(100, 1e7), "steps after which a learning rate is given up", true}},
          draw};
}

}  // namespace scalevec
