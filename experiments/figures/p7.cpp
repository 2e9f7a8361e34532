#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/phase.hpp"
#include "optim/core/random.hpp"

// P7: all designs together (own scales per branch, both sides, magnitude apart) over the run's length in decay times
// and the noise.
namespace scalevec::experiments {
namespace {

void draw_p7(const FigureValues& v, FigureResult& result) {
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
          theory::MapReplica r = cosine_replica(lr, steps, noises[j], k);
          r.target = targets[static_cast<std::size_t>(k)];
          r.weights.weight_decay = horizons[i] / (lr * static_cast<double>(steps));
          if (decay_scales) r.scales.weight_decay = r.weights.weight_decay;
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
  result.required = 0.15;
  result.agreement = static_cast<double>(fewest) / static_cast<double>(counted);
  const std::vector<double>* values[] = {&removed, &undecayed, &decayed};
  for (std::size_t k = 0; k < 3; ++k) add_measured(result.plot.panels[k], horizons, noises, *values[k]);
  result.plot.panels[2].series.push_back(line(fmt::format("fitted: ληT = {:.2g}", boundary), {boundary, boundary},
                                              {noises.front(), 1.0}, 2, Series::Style::dashed));
  const auto share = [&](const std::vector<double>& x) {
    return static_cast<double>(std::count_if(x.begin(), x.end(), [](double r) { return r > 0.0; })) /
           static_cast<double>(x.size());
  };
  result.numbers = {{"removed_percent", 100.0 * share(removed)},
                    {"undecayed_percent", 100.0 * share(undecayed)},
                    {"decayed_percent", 100.0 * share(decayed)},
                    {"counted", counted}};
}

Panel horizon_panel(const std::string& title, const std::string& designs) {
  return phase_panel(title, "horizon ληT, decay times in the run", "gradient noise σ (target's RMS 1)",
                     "ln(final loss, " + designs + ")", 0.6);
}

}  // namespace

Figure figure_p7() {
  return {.id = "P7",
          .title = "All designs together: final loss over the horizon ληT and the gradient noise",
          .formula = "ληT below one horizon where every scale is decayed (fitted)",
          .domain = "this toy under AdamW with a cosine, noise below the signal; no boundary is derived",
          .code = "theory/simulate/scaled_map.hpp",
          .params = {{"grid", 8, 14, Range::between(4, 100), "cells per axis", true},
                     {"d", 8, 8, {4.0, 64.0}, "rows and columns, even", true},
                     {"spread", 0.7, 0.7, {0.0, 5.0}, "standard deviation of the rows' and columns' log size"},
                     {"rates", 12, 20, Range::between(3, 100), "learning rates tried, 2e-3 to 0.9", true},
                     {"steps", 500, 500, Range::between(50, 1e6), "steps", true},
                     // 12 rates of 10 replicas fill two of the simulation's blocks of 64.
                     {"replicas", 10, 32, Range::between(1, 1000000), "replicas", true},
                     {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of targets and noise", true}},
          .heading = "All designs together",
          .caption =
              "AdamW with a cosine on a {d} × {d} map of two branches, rows and columns of the target lognormal "
              "(spread {spread:g}), decay λ scaled so that ληT is the horizon, {steps} steps, {replicas} replicas with "
              "common noise, each design at its best learning rate (red: the additional scales win). Left: one plain γ "
              "against none, ahead in {removed_percent:.0f} % of the cells. Middle and right: own scales per branch, "
              "both sides and OR together against plain γ (its γ not decayed): with decay on W alone they are ahead in "
              "{undecayed_percent:.0f} % of the cells, with decay on every scale as well in {decayed_percent:.0f} %, "
              "only while the decay has no time to act: the bias of P3's lower left panel. No boundary is derived; "
              "dashed: fitted, one horizon for noise below the signal; above it there is none. Cells there on the "
              "wrong side, those within 3 % of equal left out: {off:.3f} of {counted}.",
          .panels = {horizon_panel("A scale vector at all", "none / plain γ"),
                     horizon_panel("All designs, decay on W alone", "plain γ / all"),
                     horizon_panel("All designs, decay on W and every scale", "plain γ / all")},
          .layout = {.columns = 3, .panel_width = 500, .panel_height = 470},
          .draw = draw_p7};
}

}  // namespace scalevec::experiments
