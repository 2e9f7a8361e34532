// Before Boost's header, which uses it.
#include <cmath>

#include <algorithm>
#include <boost/math/statistics/bivariate_statistics.hpp>

#include "experiments/figures/branch_race.hpp"
#include "experiments/figures/figure.hpp"
#include "experiments/figures/phase.hpp"
#include "theory/branches.hpp"

// P4: own scales per branch (HG) against one, over the branches' curvatures and targets.
namespace scalevec::experiments {
namespace {

theory::Branches branches_of(double h_ratio, double r_ratio) {
  return {{std::sqrt(h_ratio), 1.0 / std::sqrt(h_ratio)}, {std::sqrt(r_ratio), 1.0 / std::sqrt(r_ratio)}};
}

void draw_p4(const FigureValues& v, FigureResult& result) {
  const std::vector<double> h_ratios = log_grid(1.0 / v["widest"], v["widest"], v.whole("grid"));
  const std::vector<double> r_ratios = h_ratios, rates = linear_grid(0.1, 1.04, 48);
  const Race race{{}, v["relative"], v.whole("most")};
  const std::size_t n = h_ratios.size();
  std::vector<double> measured(n * n), expected(n * n);
  SignCount count;
  std::vector<double> known_expected, known_measured;
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      const std::size_t at = j * n + i, mirrored = (n - 1 - j) * n + n - 1 - i;  // the branches trade places
      if (mirrored < at) {
        measured[at] = measured[mirrored];
        expected[at] = expected[mirrored];
      } else {
        const theory::Branches b = branches_of(h_ratios[i], r_ratios[j]);
        const double shared = best_descent_steps(b, false, race, rates);
        const double own = best_descent_steps(b, true, race, rates);
        measured[at] = std::isinf(shared) && std::isinf(own) ? NAN : std::log(shared / own);
        expected[at] = std::log(theory::shared_curvatures(b, 1.0).condition_number() /
                                theory::own_curvatures(b, 1.0).condition_number());
      }
      count.add(measured[at], expected[at], 0.2);
      if (!std::isfinite(measured[at])) continue;
      known_expected.push_back(expected[at]);
      known_measured.push_back(measured[at]);
    }
  const double correlation = boost::math::statistics::correlation_coefficient(known_expected, known_measured);
  result.required = 0.1;
  result.agreement = count.share();
  Panel& panel = result.plot.panels[0];
  add_measured(panel, h_ratios, r_ratios, measured);
  add_predicted(panel, h_ratios, r_ratios, expected, "predicted: equal condition numbers");
  result.numbers = {{"correlation", correlation}, {"counted", count.counted}};
}

}  // namespace

Figure figure_p4() {
  return {
      .id = "P4",
      .title = "HG: steps with a shared scale and with own ones over the branches' curvatures and targets",
      .formula = "cond H^½(γ²I + wwᵀ)H^½ = cond h_c√(1 + 4R_c²) (derived)",
      .domain = "gradient descent, each at its best stable lr, runs long enough that their end decides",
      .code = "theory/branches.hpp",
      .params = {{"grid", 21, 61, Range::between(5, 301), "cells per axis", true},
                 {"widest", 100.0, 100.0, {2.0, 1e4}, "largest ratio of curvatures and of targets"},
                 {"relative", 1e-10, 1e-10, {1e-20, 0.1}, "loss to reach, as a share of the initial one"},
                 {"most", 10000, 30000, Range::between(100, 1e7), "steps after which a learning rate is given up",
                  true}},
      .heading = "One scale vector for two branches, or one each (HG)",
      .caption =
          "two branches with curvatures h and targets R (geometric means 1) read one input; gradient descent from γ = "
          "1, w = 1e-3 to {relative:g} of the loss, each at its best learning rate (red: own scales are faster; white: "
          "neither arrives in {most} steps). Own scales win where the larger target sits on the flatter branch and "
          "lose where it sits on the steeper one. Green: equal condition numbers of H^½(γ²I + wwᵀ)H^½ and of h_c√(1 + "
          "4R_c²) (derived, for the end of the runs). Correlation of the logarithms {correlation:.3f}; cells on the "
          "wrong side, those predicted within 20 % of equal left out: {off:.3f} of {counted}.",
      .panels = {phase_panel("Each at its best learning rate", "curvature of branch 1 / of branch 2",
                             "target of branch 1 / of branch 2", "ln(steps with a shared γ / with own γ)",
                             std::log(20.0))},
      .layout = {.panel_width = 760, .panel_height = 600},
      .draw = draw_p4};
}

}  // namespace scalevec::experiments
