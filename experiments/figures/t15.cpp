#include <fmt/core.h>

#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "theory/channel_rate.hpp"
#include "theory/integrate.hpp"

// T15: a trained scale vector against a per-channel learning rate.
namespace scalevec::experiments {
namespace {

// (γ, w) of one mode after flow time t, by integration.
double trained_position(double h, double target, double imbalance, double w0, double t) {
  std::vector<double> s{std::sqrt(imbalance + w0 * w0), w0};
  theory::integrate_flow(
      [&](const std::vector<double>& x, std::vector<double>& dx) {
        const double g = h * (x[0] * x[1] - target);
        dx[0] = -g * x[1];
        dx[1] = -g * x[0];
      },
      s, t, 1e-12);
  return s[0] * s[1];
}

void draw_t15(const FigureValues& v, FigureResult& result) {
  result.required = 1e-8;
  Panel &rate = result.plot.panels[0], &loss = result.plot.panels[1];
  const std::vector<double> fine = log_grid(0.01, 300.0, 121), coarse = log_grid(0.02, 30.0, v.whole("points"));
  int color = 0;
  for (const double target : {0.1, 0.5, 2.0, 10.0}) {
    const theory::Flow flow{1.0, target, 1.0, 0.0};
    std::vector<double> y, dots;
    for (const double t : fine) y.push_back(theory::equivalent_rate(flow, t));
    for (const double t : coarse) {
      // Once nothing is left to learn, the digits of the difference are gone.
      const double left = target - trained_position(1.0, target, 1.0, 0.0, t);
      if (left < 1e-3 * target) {
        dots.push_back(NAN);
        continue;
      }
      dots.push_back(-std::log(left / target) / t);
      result.agreement = larger_or_nan(result.agreement,
                                       std::abs(dots.back() / theory::equivalent_rate(flow, t) - 1.0) * left / target);
    }
    rate.series.push_back(line(fmt::format("R = {:g}|k|", target), fine, y, color));
    rate.series.push_back(points("", coarse, dots, color));
    const double end = theory::channel_rate(1.0, target);
    rate.series.push_back(line(color == 0 ? "√(k² + 4R²)/|k|, the end" : "", {fine.front(), fine.back()}, {end, end},
                               color, Series::Style::dashed));
    ++color;
  }

  // Modes j^−a with targets R₀j^−b: rates that do not learn, |k| or what the scales end at, and scales that do.
  const double a = v["a"], b = v["b"], scale = v["target"];
  const auto modes = v.whole("modes");
  const auto sum = [&](double t, const auto& gap) {
    double total = 0.0;
    for (std::int64_t j = 1; j <= modes; ++j) {
      const double h = std::pow(static_cast<double>(j), -a), target = scale * std::pow(static_cast<double>(j), -b);
      total += 0.5 * h * std::pow(gap(h, target, t), 2);
    }
    return total;
  };
  const auto fixed = [](double h, double target, double t) { return target * std::exp(-h * t); };
  const auto ends = [](double h, double target, double t) {
    return target * std::exp(-h * theory::channel_rate(1.0, target) * t);
  };
  const auto trained = [](double h, double target, double t) { return theory::flow_gap({h, target, 1.0, 0.0}, t); };
  const std::vector<double> times = log_grid(0.1, v["time"], 61), some = log_grid(0.2, v["time"], v.whole("points"));
  std::vector<double> first, second, dots;
  for (const double t : times) {
    first.push_back(sum(t, trained) / sum(t, fixed));
    second.push_back(sum(t, ends) / sum(t, fixed));
  }
  for (const double t : some) {
    const double got =
        sum(t, [](double h, double target, double at) { return target - trained_position(h, target, 1.0, 0.0, at); });
    dots.push_back(got / sum(t, fixed));
    result.agreement = larger_or_nan(result.agreement, std::abs(got / sum(t, trained) - 1.0) * got);
  }
  loss.series.push_back(line("γ trained beside W (T3)", times, first, 0));
  loss.series.push_back(points("", some, dots, 0));
  loss.series.push_back(line("fixed rates √(k² + 4R_j²), what the scales end at", times, second, 1));
  loss.series.push_back(line("fixed rates |k|", {times.front(), times.back()}, {1.0, 1.0}, 6, Series::Style::dashed));
}

}  // namespace

Figure figure_t15() {
  return {
      .id = "T15",
      .title =
          "The per-channel learning rate that a trained scale vector amounts to, over time and on a power-law spectrum",
      .formula = "rate ln((R − r(0))/(R − r(t)))/(ht), between |k| and √(k² + 4R²)",
      .domain =
          "gradient flow along a fixed direction; equal to a fixed per-channel rate to first order in r/k "
          "(`fixed_channel_rate_holds`)",
      .code = "theory/channel_rate.hpp",
      .params = {{"a", 1.5, 1.5, {0.1, 4.0}, "exponent of the curvatures"},
                 {"b", 0.25, 0.25, {-1.0, 4.0}, "exponent of the targets"},
                 {"target", 3.0, 3.0, {0.01, 100.0}, "R₀ over |k|"},
                 {"modes", 60, 200, Range::between(2, 10000), "modes", true},
                 {"time", 300.0, 300.0, {1.0, 1e5}, "last flow time"},
                 {"points", 8, 14, Range::between(2, 60), "times integrated", true}},
      .heading = "A scale vector as a per-channel learning rate",
      .caption =
          "a scale γ_j that does not learn is the rate γ_j² on column j of W. Trained beside W from w = 0 the rate "
          "along w is √(k² + 4r²) and grows while r moves outward (dγ²/dt = −2r ∂L/∂r): the equivalence holds to first "
          "order in r/k, and fails from second order on. Left: the constant rate that takes W as far in the same time, "
          "ln((R − r(0))/(R − r(t)))/(ht); dots: integration of (γ, w). Right: modes j^−{a:g} with targets "
          "{target:g}·j^−{b:g}, {modes} of them, |k| = 1: training γ pays in the modes with R_j > |k|, and least where "
          "it comes late; rates set from the start at what the scales end at are ahead of it. Largest difference "
          "{off:.1e} of what there is to learn.",
      .panels = {panel("Per-channel rate that takes W as far", "flow time × h|k|", "equivalent rate / |k|", Log::both,
                       kKeyBelow),
                 panel("Loss over a power-law spectrum, relative to rates |k|", "flow time × |k|",
                       "loss / loss at the rates |k|", Log::x, kKeyBelow)},
      .layout = {.columns = 2, .panel_width = 600, .panel_height = 460},
      .draw = draw_t15};
}

}  // namespace scalevec::experiments
