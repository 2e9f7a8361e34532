#include <fmt/core.h>

// Before Boost's header, which uses it.
#include <cmath>

#include <algorithm>
#include <boost/math/statistics/bivariate_statistics.hpp>

#include "experiments/figures/branch_race.hpp"
#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "optim/core/random.hpp"
#include "theory/branches.hpp"

// T6: own scales per branch (HG) against one, each at its best learning rate.
namespace scalevec::experiments {
namespace {

// Steps of gradient descent from w = 0 at half the edge of stability against the flow's time from there, of branches
// whose curvatures are far apart. Adds their panel; the largest relative difference.
double add_starts(Plot& plot, std::int64_t draws, std::uint64_t seed, std::int64_t most) {
  constexpr double relative = 1e-4;
  Panel& panel = plot.panels[1];
  double worst = 0.0, low = INFINITY, high = 0.0;
  for (const bool own : {false, true}) {
    std::vector<double> x, y;
    theory::SimulatedMap map;
    map.rows = map.branches = 2;
    map.input = own ? theory::SimulatedMap::Input::own : theory::SimulatedMap::Input::shared;
    for (std::int64_t n = 0; n < draws; ++n) {
      const auto normal = [&](std::uint64_t which) {
        return random_normal(seed, 20, 3 * static_cast<std::uint64_t>(n) + which);
      };
      theory::Branches b;
      const double spread = std::sqrt(6.0) * std::exp(std::abs(normal(0)));
      b.h = {spread, 1.0 / spread};
      b.target = {std::exp(normal(1)), std::exp(normal(2))};
      const theory::CurvatureRange range = own ? theory::own_curvatures(b, 1.0) : theory::shared_curvatures(b, 1.0);
      if (!theory::shared_flow_time_holds(b) || range.condition_number() < 5.0) continue;
      theory::MapReplica r;
      r.h = b.h;
      r.target = b.target;
      r.weights.method = r.scales.method = theory::SimulatedMethod::sgd;
      for (std::size_t c = 0; c < 2; ++c) r.goal += relative * 0.5 * b.h[c] * b.target[c] * b.target[c];
      const double lr = 1.0 / range.largest;
      const double time = own ? theory::own_flow_time(b, 1.0, relative) : theory::shared_flow_time(b, 1.0, relative);
      x.push_back(theory::descent_steps(time, range, lr));
      y.push_back(arrivals(map, r, {lr}, 1, most)[0]);
      // Beside a whole step.
      worst = larger_or_nan(worst, (std::abs(y.back() - x.back()) - 1.0) / x.back());
      low = std::min(low, x.back());
      high = std::max(high, x.back());
    }
    panel.series.push_back(points(own ? "own scales" : "one scale", x, y, own ? 1 : 0));
  }
  panel.series.push_back(line("equal", {low, high}, {low, high}, 6, Series::Style::dashed));
  return worst;
}

void draw_t6(const FigureValues& v, FigureResult& result) {
  const auto draws = v.whole("draws");
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  result.required = 1.0;
  std::vector<double> predicted, measured;
  Panel& panel = result.plot.panels[0];
  int color = 0;
  const std::vector<double> rates = linear_grid(0.02, 1.04, 64), adam_rates = log_grid(1e-3, 20.0, 128);
  const Race descent{{}, v["relative"], v.whole("most")};
  Race adam{{}, v["adam_relative"], v.whole("most"), 20};  // it passes the target and comes back
  adam.rule.beta2 = v["beta2"];
  double mean[3] = {}, adam_mean[3] = {};
  std::size_t adam_pairs = 0;
  for (const double correlation : {-1.0, 0.0, 1.0}) {
    std::vector<double> x, y, adam_logs;
    for (std::int64_t n = 0; n < draws; ++n) {
      theory::Branches b;
      const auto at = static_cast<std::uint64_t>(n);
      const double first = random_normal(seed, 10 + static_cast<std::uint64_t>(color), 2 * at);
      const double second = random_normal(seed, 10 + static_cast<std::uint64_t>(color), 2 * at + 1);
      const double log_r = correlation == 0.0 ? second : correlation * first;
      b.h = {std::exp(first), std::exp(-first)};
      b.target = {std::exp(log_r), std::exp(-log_r)};
      const double shared = best_descent_steps(b, false, descent, rates),
                   own = best_descent_steps(b, true, descent, rates);
      const double adam_ratio = best_steps(b, false, adam, adam_rates) / best_steps(b, true, adam, adam_rates);
      if (std::isfinite(adam_ratio)) adam_logs.push_back(std::log(adam_ratio));
      if (!std::isfinite(shared) || !std::isfinite(own)) continue;
      x.push_back(theory::shared_curvatures(b, 1.0).condition_number() /
                  theory::own_curvatures(b, 1.0).condition_number());
      y.push_back(shared / own);
      predicted.push_back(std::log(x.back()));
      measured.push_back(std::log(y.back()));
    }
    std::vector<double> logs = y;
    adam_pairs += adam_logs.size();
    adam_mean[color] = mean_interval(adam_logs).mean;  // NaN of none
    for (double& ratio : logs) ratio = std::log(ratio);
    mean[color] = mean_interval(logs).mean;
    panel.series.push_back(points(fmt::format("log h and log R: correlation {:g}", correlation), x, y, color));
    ++color;
  }
  const double correlation = boost::math::statistics::correlation_coefficient(predicted, measured);
  double low = 1.0, high = 1.0;
  for (const double p : predicted) {
    low = std::min(low, std::exp(p));
    high = std::max(high, std::exp(p));
  }
  panel.series.push_back(line("equal", {low, high}, {low, high}, 6, Series::Style::dashed));
  const double start = add_starts(result.plot, draws, seed, v.whole("most"));
  result.agreement = larger_or_nan((1.0 - correlation) / 0.1, start / 0.25);
  result.numbers = {{"pairs", predicted.size()},
                    {"mean_against", std::exp(mean[0])},
                    {"mean_apart", std::exp(mean[1])},
                    {"mean_with", std::exp(mean[2])},
                    {"adam_against", std::exp(adam_mean[0])},
                    {"adam_apart", std::exp(adam_mean[1])},
                    {"adam_with", std::exp(adam_mean[2])},
                    {"adam_pairs", adam_pairs},
                    {"correlation", correlation},
                    {"start", start}};
}

}  // namespace

Figure figure_t6() {
  return {
      .id = "T6",
      .title =
          "Measured ratio of times, shared against own scales, by the condition numbers, and the steps from the start",
      .formula =
          "cond H^½(γ²I + wwᵀ)H^½ against cond h_c√(k² + 4R_c²); from the start dr/dt = h(R − r)(x + r²x/(x² + S)), x "
          "= ½(k + √(k² + 4(S + r²)))",
      .domain =
          "gradient descent, each at its best stable lr (`branch_race_holds`); from the start at half the edge, "
          "curvatures equal or far apart (`shared_flow_time_holds`)",
      .code = "theory/branches.hpp",
      .params = {{"relative", 1e-10, 1e-10, {1e-20, 0.1}, "loss to reach, as a share of the initial one"},
                 {"adam_relative", 1e-4, 1e-4, {1e-20, 0.1}, "the same under Adam"},
                 {"beta2", 0.99, 0.99, Range::below(0.0, 1.0), "Adam's β₂"},
                 {"draws", 40, 120, Range::between(3, 1e5), "pairs of branches per correlation", true},
                 {"most", 20000, 100000, Range::between(100, 1e7), "steps after which a learning rate is given up",
                  true},
                 {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the branches", true}},
      .heading = "One scale vector for two branches, or one each (HG)",
      .caption =
          "two branches with curvatures h and targets R read one input through a shared γ or one each. What decides at "
          "each one's best stable learning rate is the condition number at the minimum: own scales (HG) win where "
          "large targets sit on flat branches (correlation −1) and lose where they sit on steep ones. The sooner the "
          "runs are stopped, or the less a flat branch has to lose, the more their beginning counts, which a condition "
          "number at the minimum says nothing about (--set relative=1e-6). {pairs} pairs of runs of gradient descent "
          "from w = 1e-3, log h and log|R| normal; geometric means {mean_against:.2f}, {mean_apart:.2f}, "
          "{mean_with:.2f} for correlation −1, 0, +1, and {adam_against:.2f}, {adam_apart:.2f}, {adam_with:.2f} over "
          "{adam_pairs} pairs under Adam (β₂ = {beta2:g}, to {adam_relative:g} of the loss). Correlation of the "
          "logarithms {correlation:.3f} (required 0.9). Right: the steps from w = 0 at half the edge are the flow's "
          "time over the learning rate; with own scales by each branch's closed form (T3), with one scale steepest "
          "branch first, dr/dt = h(R − r)(x + r²x/(x² + S)), x = γ² = ½(k + √(k² + 4(S + r²))), S the squares of the "
          "steeper targets, for curvatures six times apart and more. Off by at most {start:.3f} of them and a step "
          "(allowed 0.25). The verdict's number is the larger share of its allowance.",
      .panels = {panel("Steps to {relative:g} of the initial loss, each at its best learning rate",
                       "predicted: ratio of condition numbers, shared / own",
                       "measured: steps with a shared γ / with own γ", Log::both),
                 panel("Steps to 0.0001 of the initial loss at half the edge, from w = 0",
                       "predicted: the flow's time from the start over the learning rate", "measured: steps",
                       Log::both)},
      .layout = {.columns = 2, .panel_width = 620, .panel_height = 500},
      .draw = draw_t6};
}

}  // namespace scalevec::experiments
