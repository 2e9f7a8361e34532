#include <algorithm>
#include <cmath>
#include <cstdio>

#include "scalevec/experiments/figures/figure.hpp"
#include "scalevec/experiments/figures/series.hpp"
#include "scalevec/theory/magnitude_direction.hpp"
#include "scalevec/theory/simulate/scaled_map.hpp"

// T8: how much further Adam moves γ's magnitude under OR than without it.
namespace scalevec {
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
Speeds adam_speeds(SimulatedMap::Form form, std::size_t d, const std::vector<double>& signals,
                   const std::vector<std::size_t>& replicas, double beta2, std::int64_t settle, std::int64_t steps,
                   std::uint64_t seed, std::uint64_t stream) {
  SimulatedMap map;
  map.columns = d;
  map.form = form;
  map.frozen = true;
  // Gradient h(γ − γ*) ≈ −snr: a target so far away that the movement does not change it.
  constexpr double h = 1e-9;
  std::vector<MapReplica> all;
  for (std::size_t k = 0; k < signals.size(); ++k) {
    MapReplica r;
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
  MapOptions options;
  options.seed = seed;
  const auto at = [&](std::int64_t step) {
    options.steps = step;
    std::vector<double> where;
    for (const MapResult& m : simulate_scaled_map(map, all, options))
      where.push_back(form == SimulatedMap::Form::plain ? m.input_sum / static_cast<double>(d)
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

FigureResult draw_t8(const FigureValues& v) {
  FigureResult result;
  result.required = 0.1;
  Panel panel;
  panel.title = "Magnitude of γ under OR, against plain γ";
  panel.x_label = "signal-to-noise ratio s of a coordinate's gradient";
  panel.y_label = "ratio of movements along γ";
  panel.log_x = panel.log_y = true;
  const auto steps = v.whole("steps"), settle = v.whole("settle");
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  const std::vector<double> fine = log_grid(1e-3, 30.0, 121), coarse = log_grid(v["least"], 10.0, v.whole("points"));
  int color = 0;
  for (const double d : {16.0, 256.0, 4096.0}) {
    std::vector<double> y, dots, bars;
    for (const double s : fine) y.push_back(or_adam_amplification(d, s));
    std::vector<std::size_t> replicas;
    for (const double s : coarse) replicas.push_back(replicas_for(v["error"], d, s, steps));
    const auto speeds = [&](SimulatedMap::Form form) {
      return adam_speeds(form, static_cast<std::size_t>(d), coarse, replicas, v["beta2"], settle, steps, seed,
                         100 * static_cast<std::uint64_t>(color));
    };
    // Replicas of the two share their noise.
    const Speeds unit = speeds(SimulatedMap::Form::unit), plain_form = speeds(SimulatedMap::Form::plain);
    for (std::size_t i = 0; i < coarse.size(); ++i) {
      std::vector<double> magnitude = unit.by_signal[i];
      const std::vector<double>& plain = plain_form.by_signal[i];
      const double plain_mean = mean_interval(plain).mean, ratio = mean_interval(magnitude).mean / plain_mean;
      dots.push_back(ratio);
      for (std::size_t n = 0; n < plain.size(); ++n) magnitude[n] -= ratio * plain[n];
      bars.push_back(mean_interval(magnitude).half_width / plain_mean);
      const double off = std::abs(ratio / or_adam_amplification(d, coarse[i]) - 1.0);
      if (coarse[i] >= kLeastChecked) result.agreement = worse(result.agreement, off);
    }
    char label[48];
    std::snprintf(label, sizeof label, "d = %g", d);
    panel.series.push_back(line(label, fine, y, color));
    panel.series.push_back(points_with_bars("", coarse, dots, bars, color));
    panel.series.push_back(line(color == 0 ? "d, the flow's" : "", {1e-3, 30.0}, {d, d}, color, Series::Style::dashed));
    ++color;
  }
  panel.y_range = {0.8, 8000.0};
  result.plot.title = "T8  Magnitude and direction under Adam";
  result.plot.panel_width = 760;
  result.plot.panel_height = 480;
  result.plot.panels = {panel};
  char text[1100];
  std::snprintf(text, sizeof text,
                "T8: the reparameterisation γ = β√d α/‖α‖ (OR) makes the magnitude's gradient the sum of d "
                "coordinates'. Under the flow that amplifies its movement d-fold (dashed); under Adam, where every "
                "coordinate has the same signal, by √((s² + 1)/(s² + 1/d)) (lines), at most √d and nothing once the "
                "signal exceeds the noise. A signal on one coordinate alone is amplified by √d √(s² + 1)/√(1 + s²/d), "
                "up to d. Dots: Adam with β₂ = %g on α and β, and on a plain γ, of d elements "
                "whose gradients have signal s "
                "and unit noise, %lld steps, with so many replicas that a movement's relative standard error, "
                "1/(s√(d·steps·replicas)), is at most %g for s ≥ %g; bars 95 %%. "
                "Largest relative difference there: %.3f (allowed: 0.1).",
                v["beta2"], static_cast<long long>(steps), v["error"], kLeastChecked, result.agreement);
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_t8() {
  return {"T8",
          "Amplification of the magnitude by OR under Adam against the signal-to-noise ratio",
          {{"error", 0.0125, 0.005, {1e-4, 0.1}, "largest relative standard error of a movement where it is checked"},
           {"beta2", 0.99, 0.99, Range::below(0.0, 1.0), "Adam's β₂"},
           {"settle", 300, 500, Range::between(10, 1e7), "steps before the movement is measured", true},
           {"steps", 500, 2000, Range::between(10, 1e7), "steps over which it is measured", true},
           {"points", 7, 13, Range::between(2, 60), "signal-to-noise ratios", true},
           {"least", 0.01, 0.01, {1e-4, 1.0}, "least signal-to-noise ratio simulated"},
           {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the noise", true}},
          draw_t8};
}

}  // namespace scalevec
