#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/phase.hpp"
#include "experiments/figures/rotation_run.hpp"

// P8: how much of a run weights before a norm are out of equilibrium, over its length in relaxation times, where they
// start and how long it warms up.
namespace scalevec::experiments {
namespace {

constexpr double kOffSettled = 0.2;  // a rotation this far from its settled value is out of equilibrium
constexpr double kLeastShare = 0.01;

struct HorizonCell {
  double horizon, start, warmup;
};

double share_off(const std::vector<theory::Turn>& turns, const std::vector<theory::Turn>& settled) {
  std::size_t off = 0;
  for (std::size_t t = 0; t < turns.size(); ++t)
    off += std::abs(turns[t].rotation / settled[t].rotation - 1.0) > kOffSettled;
  return static_cast<double>(off) / static_cast<double>(turns.size());
}

// ln of the share over a half, in the recursion and in a simulation.
std::pair<double, double> off_shares(const HorizonCell& c, std::size_t d, std::int64_t steps, double lr, double beta,
                                     double beta2, std::uint64_t seed, std::uint64_t stream) {
  theory::SimulatedRule rule;
  rule.lr = lr;
  rule.weight_decay = c.horizon / (lr * static_cast<double>(steps));
  rule.beta1 = beta;
  rule.beta2 = beta2;
  rule.schedule.shape = Schedule::Shape::cosine;
  rule.schedule.total_steps = steps;
  rule.schedule.warmup_steps = static_cast<std::int64_t>(c.warmup * static_cast<double>(steps));
  const std::vector<theory::StepRate> rates =
      theory::step_rates(rule.schedule, lr, rule.weight_decay, DecayCoupling::lr, steps);
  const theory::UpdateNoise noise = theory::adamw_update_noise(static_cast<double>(d), beta);
  const double start = c.start * theory::settled_rotation(noise, {lr, lr * rule.weight_decay}).norm_sq;
  // Windows, so that one step's scatter does not count as off.
  const std::size_t window = static_cast<std::size_t>(steps) / 40;
  std::vector<theory::Turn> still;
  // The schedule's last step has an lr of 0, which turns nothing.
  for (const theory::StepRate& rate : rates)
    still.push_back(rate.lr > 0.0 ? theory::settled_rotation(noise, rate) : theory::Turn{});
  const std::vector<theory::Turn> settled = window_sums(still, window);
  const double predicted = share_off(window_sums(theory::moving_rotation(noise, start, rates), window), settled);
  const double got = share_off(window_sums(simulated_rotation(rule, d, start, steps, seed, stream), window), settled);
  return {std::log(std::max(kLeastShare, predicted) / 0.5), std::log(std::max(kLeastShare, got) / 0.5)};
}

void draw_p8(const FigureValues& v, FigureResult& result) {
  const auto d = static_cast<std::size_t>(v.whole("d"));
  const auto steps = v.whole("steps"), grid = v.whole("grid");
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  const std::vector<double> horizons = log_grid(0.1, v["most"], grid), starts = log_grid(0.03, 30.0, grid),
                            warmups = linear_grid(0.0, 0.8, grid);
  result.required = 0.08;
  SignCount count;
  for (const bool by_start : {true, false}) {
    const std::vector<double>& ys = by_start ? starts : warmups;
    std::vector<double> expected, measured;
    for (std::size_t j = 0; j < ys.size(); ++j)
      for (std::size_t i = 0; i < horizons.size(); ++i) {
        const HorizonCell cell{horizons[i], by_start ? ys[j] : v["start"], by_start ? v["warmup"] : ys[j]};
        const auto [p, m] = off_shares(cell, d, steps, v["lr"], v["beta"], v["beta2"], seed,
                                       4 * (j * horizons.size() + i) + (by_start ? 0 : 2));
        expected.push_back(p);
        measured.push_back(m);
        count.add(m, p, 0.15);
      }
    Panel& panel = result.plot.panels[by_start ? 0 : 1];
    add_measured(panel, horizons, ys, measured);
    panel.series[1].label = "measured: half the run";
    add_predicted(panel, horizons, ys, expected, "predicted: half the run");
  }
  result.agreement = count.share();
  result.numbers = {{"warmup_percent", 100.0 * v["warmup"]}, {"counted", count.counted}};
}

constexpr const char* kOffLabel = "ln(share of the run off by > 20 % / ½)";

}  // namespace

Figure figure_p8() {
  return {
      .id = "P8",
      .title = "How much of a run weights before a norm are out of equilibrium: ληT by their start and by the warm-up",
      .formula = "share of the steps whose rotation by T11 is off √(2ηλ(1 − β₁)/(1 + β₁)) (derived)",
      .domain = "AdamW, gradient noise alone",
      .code = "theory/moving_rotation.hpp",
      .params = {{"grid", 10, 28, Range::between(4, 200), "cells per axis", true},
                 {"d", 256, 512, Range::between(2, 1e5), "weights in the block", true},
                 {"steps", 400, 1600, Range::between(40, 1e6), "steps T", true},
                 {"lr", 0.01, 0.01, {0.0, 1.0, true, false}, "peak learning rate"},
                 {"most", 30.0, 30.0, {1.0, 1e3}, "largest ληT"},
                 {"start", 4.0, 4.0, {0.01, 100.0}, "‖w₀‖² over its settled value, right panel"},
                 {"warmup", 0.05, 0.05, {0.0, 0.9}, "share of the run that the warm-up takes, left panel"},
                 {"beta", 0.9, 0.9, Range::below(0.0, 1.0), "β₁"},
                 {"beta2", 0.95, 0.98, Range::below(0.0, 1.0), "β₂"},
                 {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the gradients", true}},
      .heading = "How much of a run is out of equilibrium",
      .caption =
          "the share of a run with warm-up and cosine in which weights before a norm turn by an angle more than 20 % "
          "off √(2ηλ(1 − β₁)/(1 + β₁)), what they would settle at (red: more than half of it), {d} weights under the "
          "library's AdamW with gradient noise, in windows of a fortieth of the run. Green: T11's recursion (derived). "
          "With ληT below 1 decay cannot act before the run ends, and only a length that happens to be right is "
          "settled, and this at the peak alone; at ληT = 30 the warm-up and the end of the cosine, a quarter of the "
          "run, still are not. Left: warm-up {warmup_percent:.0f} %; right: from {start:g} times the settled ‖w‖². "
          "{steps} steps, β₂ = {beta2:g}. Cells on the wrong side, those within 15 % of a half left out: {off:.4f} of "
          "{counted}.",
      .panels = {phase_panel("By where it starts", "ληT", "‖w₀‖² over its settled value at the peak", kOffLabel, 0.7),
                 phase_panel("By the length of the warm-up", "ληT", "warm-up, share of the run", kOffLabel, 0.7,
                             Log::x)},
      .layout = {.columns = 2, .panel_width = 600, .panel_height = 440},
      .draw = draw_p8};
}

}  // namespace scalevec::experiments
