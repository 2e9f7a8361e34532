#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/plane_run.hpp"
#include "experiments/figures/series.hpp"
#include "theory/magnitude_direction.hpp"
#include "theory/simulate/scaled_map.hpp"

// T8: how much further Adam moves γ's magnitude under OR than without it, and how long gradient descent takes to turn
// γ's direction.
namespace scalevec::experiments {
namespace {

constexpr double kLr = 1e-3;
constexpr double kLeastChecked = 0.03;  // signal

// Replicas at signal s: the mean movement of the magnitude over `steps` steps has the relative standard error
// 1/(s√(d·steps·replicas)), since the noise of the d gradients averages out, and β₁ leaves the sum of the noise over
// steps as it is. Below the least signal that is checked the number no longer rises.
std::size_t replicas_for(double error, double d, double snr, std::int64_t steps) {
  constexpr std::size_t least = 8;  // for an interval
  const double s = std::max(snr, kLeastChecked);
  return std::max(least,
                  static_cast<std::size_t>(std::ceil(1.0 / (d * s * s * static_cast<double>(steps) * error * error))));
}

struct Speeds {
  std::vector<std::vector<double>> by_signal;  // one element per replica
};

// Movement of γ's length/√d (OR) or mean (plain) per step and lr: Adam on a scale of d elements whose coordinates'
// gradients have mean −snr and standard deviation 1, from γ = 1. The signals share the simulation's blocks.
Speeds adam_speeds(ScaleForm form, std::size_t d, const std::vector<double>& signals,
                   const std::vector<std::size_t>& replicas, double beta2, std::int64_t settle, std::int64_t steps,
                   std::uint64_t seed, std::uint64_t stream) {
  theory::SimulatedMap map;
  map.columns = d;
  map.form = form;
  map.frozen = true;
  // Gradient h(γ − γ*) ≈ −snr: a target so far away that the movement does not change it.
  constexpr double h = 1e-9;
  std::vector<theory::MapReplica> all;
  for (std::size_t k = 0; k < signals.size(); ++k) {
    theory::MapReplica r;
    r.h = {h};
    r.target = {1.0 + signals[k] / h};
    r.initial_w = {1.0};
    r.sigma = 1.0;
    r.weights.lr = r.scales.lr = kLr;
    r.scales.beta2 = beta2;
    for (std::size_t i = 0; i < replicas[k]; ++i) {
      r.noise = ((stream + k) << 40) + i;
      all.push_back(r);
    }
  }
  theory::MapOptions options;
  options.seed = seed;
  const auto at = [&](std::int64_t step) {
    options.steps = step;
    std::vector<double> where;
    for (const theory::MapResult& m : theory::simulate_scaled_map(map, all, options))
      where.push_back(form == ScaleForm::plain ? m.input_sum / static_cast<double>(d)
                                               : std::sqrt(m.input_sq / static_cast<double>(d)));
    return where;
  };
  const std::vector<double> before = at(settle), after = at(settle + steps);
  Speeds speeds;
  std::size_t next = 0;
  for (const std::size_t n : replicas) {
    speeds.by_signal.emplace_back();
    for (std::size_t i = 0; i < n; ++i, ++next)
      speeds.by_signal.back().push_back((after[next] - before[next]) / (kLr * static_cast<double>(steps)));
  }
  return speeds;
}

constexpr double kTurned = 0.01;  // share of tan φ at which a direction counts as turned

// Steps of gradient descent under OR, at half the edge along the way, from an angle φ to γ* (β* = 1, h_dir = 1) and β =
// 1 until tan φ is kTurned of what it was; one for each h_mag. γ stays in the plane of γ(0) and γ*.
std::vector<double> turn_steps(double d, const std::vector<double>& h_mag, double angle, std::int64_t most) {
  const double tangent = std::tan(angle);
  std::vector<PlaneProblem> problems;
  std::vector<double> rates, steps(h_mag.size(), INFINITY);
  for (const double h : h_mag) {
    problems.push_back({h, 1.0, d, 1.0, angle});
    rates.push_back(1.0 / (d * theory::or_turn_curvature(h, 1.0, tangent)));
  }
  std::size_t left = h_mag.size();
  descend_in_plane(problems, rates, true, most, [&](std::int64_t t, const std::vector<PlaneState>& at) {
    for (std::size_t i = 0; i < at.size(); ++i)
      if (std::isinf(steps[i]) && at[i].across <= kTurned * tangent * at[i].along) {
        steps[i] = static_cast<double>(t);
        --left;
      }
    return left > 0;
  });
  return steps;
}

// Adds the panel of turn_steps() over their formula; the largest difference in the logarithm where that holds.
double add_turns(Plot& plot, double d, std::int64_t points_on_axis) {
  Panel& panel = plot.panels[1];
  double worst = 0.0;
  int color = 0;
  for (const double angle : {0.1, 0.8, 1.3}) {
    const double tangent = std::tan(angle);
    const auto predicted = [&](double h) {
      return theory::or_turn_time(h, 1.0, 1.0, tangent, kTurned * tangent) * d *
             theory::or_turn_curvature(h, 1.0, tangent);
    };
    const auto holds = [&](double h) {
      return theory::or_turn_time_holds(d, h, 1.0, 1.0, tangent, kTurned * tangent).yes;
    };
    std::vector<double> x, y, coarse;
    for (const double h : log_grid(0.02, 5.0, 121))
      if (holds(h)) {
        x.push_back(h);
        y.push_back(predicted(h));
      }
    for (const double h : log_grid(0.02, 5.0, points_on_axis)) coarse.push_back(h);
    const std::vector<double> got = turn_steps(d, coarse, angle, 1000000);
    for (std::size_t i = 0; i < coarse.size(); ++i)
      if (holds(coarse[i])) worst = larger_or_nan(worst, std::abs(std::log(got[i] / predicted(coarse[i]))));
    panel.series.push_back(line(fmt::format("φ = {:g}", angle), x, y, color));
    panel.series.push_back(points("", coarse, got, color));
    ++color;
  }
  return worst;
}

void draw_t8(const FigureValues& v, FigureResult& result) {
  result.required = 1.0;
  Panel& panel = result.plot.panels[0];
  const auto steps = v.whole("steps"), settle = v.whole("settle");
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  const std::vector<double> fine = log_grid(1e-3, 30.0, 121), coarse = log_grid(v["least"], 10.0, v.whole("points"));
  int color = 0;
  for (const double d : {16.0, 256.0, 4096.0}) {
    std::vector<double> y, dots, bars;
    for (const double s : fine) y.push_back(theory::or_adam_amplification(d, s));
    std::vector<std::size_t> replicas;
    for (const double s : coarse) replicas.push_back(replicas_for(v["error"], d, s, steps));
    const auto speeds = [&](ScaleForm form) {
      return adam_speeds(form, static_cast<std::size_t>(d), coarse, replicas, v["beta2"], settle, steps, seed,
                         100 * static_cast<std::uint64_t>(color));
    };
    // Replicas of the two share their noise.
    const Speeds unit = speeds(ScaleForm::original), plain_form = speeds(ScaleForm::plain);
    for (std::size_t i = 0; i < coarse.size(); ++i) {
      std::vector<double> magnitude = unit.by_signal[i];
      const std::vector<double>& plain = plain_form.by_signal[i];
      const double plain_mean = mean_interval(plain).mean, ratio = mean_interval(magnitude).mean / plain_mean;
      dots.push_back(ratio);
      for (std::size_t n = 0; n < plain.size(); ++n) magnitude[n] -= ratio * plain[n];
      bars.push_back(mean_interval(magnitude).half_width / plain_mean);
      const double off = std::abs(ratio / theory::or_adam_amplification(d, coarse[i]) - 1.0);
      if (coarse[i] >= kLeastChecked) result.agreement = larger_or_nan(result.agreement, off);
    }
    panel.series.push_back(line(fmt::format("d = {:g}", d), fine, y, color));
    panel.series.push_back(points_with_bars("", coarse, dots, bars, color));
    panel.series.push_back(line(color == 0 ? "d, the flow's" : "", {1e-3, 30.0}, {d, d}, color, Series::Style::dashed));
    ++color;
  }
  const double adam = result.agreement, turning = add_turns(result.plot, v["d_turn"], v.whole("points"));
  result.agreement = larger_or_nan(adam / 0.1, turning / std::log(1.1));
  result.numbers = {{"least_checked", kLeastChecked}, {"adam", adam}, {"turning", turning}};
}

}  // namespace

Figure figure_t8() {
  return {
      .id = "T8",
      .title = "Amplification of the magnitude by OR under Adam, and the steps in which OR turns γ from the start",
      .formula =
          "√((s² + 1)/(s² + 1/d)); from the start du/dt = −2β*²h_dir u(1 + u)²/(1 + ρu)², u = tan²φ, ρ = h_dir/h_mag",
      .domain =
          "Adam; the same signal s on every coordinate, gradients of the coordinates independent "
          "(`or_adam_amplification_holds`); gradient descent while the magnitude follows (`or_turn_time_holds`)",
      .code = "theory/magnitude_direction.hpp",
      .params =
          {{"error", 0.0125, 0.005, {1e-4, 0.1}, "largest relative standard error of a movement where it is checked"},
           {"beta2", 0.99, 0.99, Range::below(0.0, 1.0), "Adam's β₂"},
           {"settle", 300, 500, Range::between(10, 1e7), "steps before the movement is measured", true},
           {"steps", 500, 2000, Range::between(10, 1e7), "steps over which it is measured", true},
           {"points", 7, 13, Range::between(2, 60), "signal-to-noise ratios", true},
           {"least", 0.01, 0.01, {1e-4, 1.0}, "least signal-to-noise ratio simulated"},
           {"d_turn", 256, 256, {2.0, 1e6}, "d of the steps from the start"},
           {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the noise", true}},
      .heading = "Magnitude and direction under Adam",
      .caption =
          "the reparameterisation γ = β√d α/‖α‖ (OR) makes the magnitude's gradient the sum of d coordinates'. Under "
          "the flow that amplifies its movement d-fold (dashed); under Adam, where every coordinate has the same "
          "signal, by √((s² + 1)/(s² + 1/d)) (lines), at most √d and nothing once the signal exceeds the noise. A "
          "signal on one coordinate alone is amplified by √d √(s² + 1)/√(1 + s²/d), up to d. Dots: Adam with β₂ = "
          "{beta2:g} on α and β, and on a plain γ, of d elements whose gradients have signal s and unit noise, {steps} "
          "steps, with so many replicas that a movement's relative standard error, 1/(s√(d·steps·replicas)), is at "
          "most {error:g} for s ≥ {least_checked:g}; bars 95 %. Largest relative difference there: {adam:.3f} "
          "(allowed: 0.1). Right: what the flow's d-fold is worth from the start, an angle φ away from γ*: the "
          "magnitude follows fast, and the direction takes the time [ln(u₀/u) + (ρ² − 1) ln((1 + u₀)/(1 + u)) + (1 − "
          "ρ)²(1/(1 + u₀) − 1/(1 + u))]/(2β*²h_dir), u = tan²φ, ρ = h_dir/h_mag, at a learning rate of d times the "
          "curvature along the way, h_dir sin²φ with it: the start costs the more the flatter the loss along γ* is. "
          "Dots: gradient descent from β = 1; lines where `or_turn_time_holds`; off there by at most {turning:.3f} in "
          "the logarithm (allowed ln 1.1). The verdict's number is the larger share of its allowance.",
      .panels = {{.title = "Magnitude of γ under OR, against plain γ",
                  .x_label = "signal-to-noise ratio s of a coordinate's gradient",
                  .y_label = "ratio of movements along γ",
                  .log_x = true,
                  .log_y = true,
                  .y_range = {{0.8, 8000.0}}},
                 panel("OR from the start: steps to 0.01 of tan φ, d = {d_turn:g}",
                       "h_mag/h_dir, curvature along γ* over that across it", "steps at half the edge of stability",
                       Log::both)},
      .layout = {.columns = 2, .panel_width = 620, .panel_height = 480},
      .draw = draw_t8};
}

}  // namespace scalevec::experiments
