#include <algorithm>
#include <cmath>
#include <cstdio>

#include "scalevec/experiments/figures/figure.hpp"
#include "scalevec/experiments/figures/series.hpp"
#include "scalevec/optim/core/random.hpp"
#include "scalevec/theory/magnitude_direction.hpp"
#include "scalevec/theory/simulate/batch_optimizer.hpp"

// T8: how much further Adam moves γ's magnitude under OR than without it.
namespace scalevec {
namespace {

struct Speed {
  double mean = 0.0, standard_error = 0.0;  // displacement per step and lr
};

// Adam on replicas of one coordinate whose gradient is −snr + noise.
Speed adam_speed(double snr, std::int64_t replicas, std::int64_t steps, std::uint64_t seed, std::uint64_t stream) {
  SimulatedRule rule;
  rule.lr = 1e-3;
  const auto n = static_cast<std::size_t>(replicas);
  BatchOptimizer optimizer(rule, n);
  std::vector<double> p(n, 0.0), g(n), warm(n, 0.0);
  const std::int64_t settle = 2000;  // β₂ = 0.999 forgets its start
  for (std::int64_t t = 0; t < settle + steps; ++t) {
    if (t == settle) warm = p;
    for (std::size_t i = 0; i < n; ++i)
      g[i] = -snr + random_normal(seed, (stream << 40) + i, static_cast<std::uint64_t>(t));
    optimizer.step(p.data(), g.data());
  }
  Speed out;
  double squares = 0.0;
  for (std::size_t i = 0; i < n; ++i) {
    const double speed = (p[i] - warm[i]) / (rule.lr * static_cast<double>(steps));
    out.mean += speed / static_cast<double>(n);
    squares += speed * speed;
  }
  const double variance = std::max(0.0, squares / static_cast<double>(n) - out.mean * out.mean);
  out.standard_error = std::sqrt(variance / static_cast<double>(n));
  return out;
}

FigureResult draw(const FigureValues& v) {
  FigureResult result;
  result.required = 0.1;
  Panel panel;
  panel.title = "Magnitude of γ under OR, against plain γ";
  panel.x_label = "signal-to-noise ratio s of a coordinate's gradient";
  panel.y_label = "ratio of movements along γ";
  panel.log_x = panel.log_y = true;
  const auto replicas = v.whole("replicas"), steps = v.whole("steps");
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  const std::vector<double> fine = log_grid(1e-3, 30.0, 121), coarse = log_grid(v["least"], 10.0, v.whole("points"));
  int color = 0;
  for (const double d : {16.0, 256.0, 4096.0}) {
    std::vector<double> y, dots, errors;
    for (const double s : fine) y.push_back(or_adam_amplification(d, s));
    for (std::size_t i = 0; i < coarse.size(); ++i) {
      // β's gradient is the sum of d coordinates' gradients: √d times the signal-to-noise ratio.
      const std::uint64_t stream = 100 * static_cast<std::uint64_t>(color) + i;
      const Speed magnitude = adam_speed(coarse[i] * std::sqrt(d), replicas, steps, seed, 2 * stream);
      const Speed plain = adam_speed(coarse[i], 16 * replicas, steps, seed, 2 * stream + 1);
      const double ratio = magnitude.mean / plain.mean;
      dots.push_back(ratio);
      errors.push_back(ratio * std::hypot(magnitude.standard_error / magnitude.mean, plain.standard_error / plain.mean));
      const double off = std::abs(ratio / or_adam_amplification(d, coarse[i]) - 1.0);
      if (coarse[i] >= 0.03) result.agreement = worse(result.agreement, off);
    }
    char label[48];
    std::snprintf(label, sizeof label, "d = %g", d);
    panel.series.push_back(line(label, fine, y, color));
    panel.series.push_back(points_with_errors("", coarse, dots, errors, color));
    panel.series.push_back(line(color == 0 ? "d, the flow's" : "", {1e-3, 30.0}, {d, d}, color, Series::Style::dashed));
    ++color;
  }
  panel.y_range = {0.8, 8000.0};
  result.plot.title = "T8  Magnitude and direction under Adam";
  result.plot.panel_width = 760;
  result.plot.panel_height = 480;
  result.plot.panels = {panel};
  char text[800];
  std::snprintf(text, sizeof text,
                "T8: the reparameterisation γ = β√d α/‖α‖ (OR) makes the magnitude's gradient the sum of d coordinates'. Under the flow "
                "that amplifies its movement d-fold (dashed); under Adam by √((s² + 1)/(s² + 1/d)) (lines), at most √d and nothing once "
                "the signal exceeds the noise. Dots: Adam on gradients with signal s and unit noise, %lld replicas, %lld steps; bars 95 %%. "
                "Largest relative difference for s ≥ 0.03: %.3f.",
                static_cast<long long>(replicas), static_cast<long long>(steps), result.agreement);
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_t8() {
  return {"T8",
          "Amplification of the magnitude by OR under Adam against the signal-to-noise ratio",
          {{"replicas", 64, 256, Range::at_least(2), "replicas of β; of plain γ 16 times as many", true},
           {"steps", 2000, 6000, Range::between(10, 1e7), "steps after settling", true},
           {"points", 6, 10, Range::between(2, 60), "signal-to-noise ratios", true},
           {"least", 0.03, 0.03, {1e-4, 1.0}, "least signal-to-noise ratio simulated"},
           {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the noise", true}},
          draw};
}

}  // namespace scalevec
