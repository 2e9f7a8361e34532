#include <algorithm>
#include <cmath>
#include <cstdio>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/phase.hpp"
#include "optim/core/random.hpp"

// P7: all designs together (own scales per branch, both sides, magnitude apart) over the run's length in decay times
// and the noise.
namespace scalevec::experiments {
namespace {

FigureResult draw_p7(const FigureValues& v) {
  const auto d = static_cast<std::size_t>(v.whole("d"));
  if (d % 2 != 0)
    throw UsageError("--set d=" + std::to_string(d) + ": allowed: an even number, half of the rows for each branch");
  const auto steps = v.whole("steps"), replicas = v.whole("replicas"), grid = v.whole("grid");
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  const std::vector<double> horizons = log_grid(0.01, 30.0, grid), noises = log_grid(0.1, 30.0, grid);
  const std::vector<double> rates = log_grid(2e-3, 0.9, v.whole("rates"));
  std::vector<std::vector<double>> targets;
  for (std::int64_t k = 0; k < replicas; ++k) {
    const auto at = static_cast<std::uint64_t>(k);
    std::vector<double> r;
    double squares = 0.0;
    for (std::size_t i = 0; i < d; ++i)
      for (std::size_t j = 0; j < d; ++j) {
        const double row = random_normal(seed, 4000 + at, i), column = random_normal(seed, 5000 + at, j);
        r.push_back(std::exp(v["spread"] * (row + column)) * random_normal(seed, 6000 + at, i * d + j));
        squares += r.back() * r.back();
      }
    for (double& x : r) x *= static_cast<double>(d) / std::sqrt(squares);
    targets.push_back(r);
  }
  theory::MapOptions options;
  options.steps = steps;
  options.seed = seed;
  theory::SimulatedMap none, plain, all;
  none.rows = none.columns = plain.rows = plain.columns = all.rows = all.columns = d;
  none.input = theory::SimulatedMap::Input::none;
  all.input = theory::SimulatedMap::Input::own;
  all.branches = 2;
  all.form = ScaleForm::original;
  all.output = true;

  const std::size_t n = horizons.size();
  std::vector<double> removed(n * n), undecayed(n * n), decayed(n * n);
  for (std::size_t j = 0; j < n; ++j)
    for (std::size_t i = 0; i < n; ++i) {
      const auto best = [&](const theory::SimulatedMap& map, bool decay_scales) {
        return least(mean_log_losses(map, rates, replicas, options, [&](double lr, std::int64_t k) {
          theory::MapReplica r;
          r.h = {1.0};
          r.target = targets[static_cast<std::size_t>(k)];
          r.sigma = noises[j];
          r.weights.lr = lr;
          r.weights.beta2 = 0.99;
          r.weights.schedule.shape = Schedule::Shape::cosine;
          r.weights.schedule.total_steps = steps;
          r.weights.weight_decay = horizons[i] / (lr * static_cast<double>(steps));
          r.scales = r.weights;
          if (!decay_scales) r.scales.weight_decay = 0.0;
          r.noise = static_cast<std::uint64_t>(k);
          return r;
        }));
      };
      const double usual = best(plain, false);
      removed[j * n + i] = best(none, false) - usual;
      undecayed[j * n + i] = usual - best(all, false);
      decayed[j * n + i] = usual - best(all, true);
    }
  // Where decay on every scale stops paying: one horizon for all noise below the signal, cells within 3 % of equal left
  // out.
  double boundary = NAN;
  std::int64_t fewest = 1 << 30, counted = 0;
  for (std::size_t cut = 0; cut + 1 < n; ++cut) {
    std::int64_t wrong = 0, cells = 0;
    for (std::size_t j = 0; j < n; ++j)
      for (std::size_t i = 0; i < n && noises[j] < 1.0; ++i) {
        if (std::abs(decayed[j * n + i]) < 0.03) continue;
        ++cells;
        wrong += (decayed[j * n + i] > 0.0) != (i <= cut);
      }
    if (wrong >= fewest) continue;
    fewest = wrong;
    counted = cells;
    boundary = std::sqrt(horizons[cut] * horizons[cut + 1]);
  }
  FigureResult result;
  result.required = 0.15;
  result.agreement = static_cast<double>(fewest) / static_cast<double>(counted);
  const double limit = 0.6;
  const char* titles[] = {"A scale vector at all", "All designs, decay on W alone",
                          "All designs, decay on W and every scale"};
  const char* labels[] = {"ln(final loss, none / plain γ)", "ln(final loss, plain γ / all)",
                          "ln(final loss, plain γ / all)"};
  const std::vector<double>* values[] = {&removed, &undecayed, &decayed};
  for (int k = 0; k < 3; ++k) {
    Panel panel;
    panel.title = titles[k];
    panel.x_label = "horizon ληT, decay times in the run";
    panel.y_label = "gradient noise σ (target's RMS 1)";
    panel.log_x = panel.log_y = true;
    panel.color_label = labels[k];
    panel.color_limit = limit;
    panel.series = phase_diagram(horizons, noises, clamped(*values[k], limit), true, true);
    if (k == 2) {
      char label[48];
      std::snprintf(label, sizeof label, "fitted: ληT = %.2g", boundary);
      panel.series.push_back(line(label, {boundary, boundary}, {noises.front(), 1.0}, 2, Series::Style::dashed));
    }
    panel.key_position = kPhaseKey;
    result.plot.panels.push_back(panel);
  }
  const auto share = [&](const std::vector<double>& x) {
    return static_cast<double>(std::count_if(x.begin(), x.end(), [](double r) { return r > 0.0; })) /
           static_cast<double>(x.size());
  };
  result.plot.title = "P7  All designs together";
  result.plot.columns = 3;
  result.plot.panel_width = 500;
  result.plot.panel_height = 470;
  char text[1500];
  std::snprintf(text, sizeof text,
                "P7: AdamW with a cosine on a %zu × %zu map of two branches, rows and columns of the target lognormal "
                "(spread %g), decay λ scaled so "
                "that ληT is the horizon, %lld steps, %lld replicas with common noise, each design at its best "
                "learning rate (red: the "
                "additional scales win). Left: one plain γ against none, ahead in %.0f %% of the cells. "
                "Middle and right: own scales per branch, both sides and OR together against plain γ (its γ not "
                "decayed): with decay on W alone they "
                "are ahead in %.0f %% of the cells, with decay on every scale as well in %.0f %%, only while the decay "
                "has no time to act: the bias of P3's "
                "lower left panel. No boundary is derived; dashed: fitted, one horizon for noise below the signal; "
                "above it there is "
                "none. Cells there on the wrong side, those within 3 %% of equal left out: %.3f of %lld.",
                d, d, v["spread"], static_cast<long long>(steps), static_cast<long long>(replicas),
                100.0 * share(removed), 100.0 * share(undecayed), 100.0 * share(decayed), result.agreement,
                static_cast<long long>(counted));
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_p7() {
  return {"P7",
          "All designs together: final loss over the horizon ληT and the gradient noise",
          {{"grid", 8, 14, Range::between(4, 100), "cells per axis", true},
           {"d", 8, 8, {4.0, 64.0}, "rows and columns, even", true},
           {"spread", 0.7, 0.7, {0.0, 5.0}, "standard deviation of the rows' and columns' log size"},
           {"rates", 12, 20, Range::between(3, 100), "learning rates tried, 2e-3 to 0.9", true},
           {"steps", 500, 500, Range::between(50, 1e6), "steps", true},
           // 12 rates of 10 replicas fill two of the simulation's blocks of 64.
           {"replicas", 10, 32, Range::at_least(1), "replicas", true},
           {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of targets and noise", true}},
          draw_p7};
}

}  // namespace scalevec::experiments
