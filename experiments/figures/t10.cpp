#include <fmt/core.h>

#include <cmath>
#include <string>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "theory/spectra.hpp"

// T10: what scale vectors do to the exponent of a loss curve.
namespace scalevec::experiments {
namespace {

template <class Loss>
double local_exponent(const Loss& loss, double t) {
  const double e = 1e-3;
  return -(std::log(loss(t * (1 + e))) - std::log(loss(t * (1 - e)))) / (std::log1p(e) - std::log1p(-e));
}

void draw_t10(const FigureValues& v, FigureResult& result) {
  const double a = v["a"], b = v["b"], modes = v["modes"], target = v["target"];
  // For b < 0 the loss is finite for any number of modes where a + 2b > 1.
  const double growing = -0.25 * (a - 1.0);
  if (const double least = std::ceil(std::pow(1e7, 1.0 / a)); modes < least)
    throw UsageError("--set modes=" + std::to_string(v.whole("modes")) + ": allowed at this a: at least " +
                     std::to_string(static_cast<std::int64_t>(least)) +
                     ", so that 1 ≪ t ≪ N^a leaves times to compare at");
  result.required = 1.0;
  const theory::PowerLawModes m{a, b, modes, target};
  const double end = 1e-3 * std::pow(modes, a);
  const std::vector<double> fine = log_grid(10.0, end, 61), coarse = log_grid(10.0, end, v.whole("points"));
  Panel &exponent = result.plot.panels[0], &gain = result.plot.panels[1];
  double worst_exponent = 0.0, worst_gain = 0.0;
  std::vector<double> y, dots;
  for (const double t : fine)
    y.push_back(local_exponent([&](double s) { return theory::plain_spectrum_loss(m, s); }, t));
  for (const double t : coarse) {
    dots.push_back(local_exponent([&](double s) { return theory::spectrum_loss_without(m, s); }, t));
    const double off =
        std::abs(dots.back() - local_exponent([&](double s) { return theory::plain_spectrum_loss(m, s); }, t));
    if (t >= 100.0) worst_exponent = larger_or_nan(worst_exponent, off);
  }
  exponent.series.push_back(line("no scale vector", fine, y, 0));
  exponent.series.push_back(points("", coarse, dots, 0));
  int color = 1;
  for (const auto& [own_b, k] : {std::pair(b, 1.0), std::pair(b, 1e-6), std::pair(0.0, 1.0), std::pair(growing, 1.0)}) {
    const theory::PowerLawModes own{a, own_b, modes, target};
    std::vector<double> measured;
    for (const double t : fine)
      // While single modes leave r = 0 one after the other, a balanced loss is a staircase without an exponent.
      measured.push_back(
          k < 1.0 && t < 5e3
              ? NAN
              : local_exponent([&, k = k](double s) { return theory::spectrum_loss_with_scales(own, k, s); }, t));
    exponent.series.push_back(
        line(fmt::format("scales, b = {:g}, k {}", own_b, k < 1.0 ? "→ 0" : "= 1"), fine, measured, color));
    const double limit = k < 1.0 || own_b < 0.0 ? theory::balanced_exponent(own) : theory::plain_exponent(own);
    exponent.series.push_back(line("", {fine.front(), fine.back()}, {limit, limit}, color, Series::Style::dashed));
    ++color;
  }
  color = 0;
  for (const double own_b : {0.25, b, 1.0}) {
    const theory::PowerLawModes own{a, own_b, modes, target};
    std::vector<double> predicted, saved;
    for (const double t : fine) predicted.push_back(theory::scale_gain(own, t));
    for (const double t : coarse) {
      saved.push_back(1.0 - theory::spectrum_loss_with_scales(own, 1.0, t) / theory::spectrum_loss_without(own, t));
      const double off = std::abs(saved.back() / theory::scale_gain(own, t) - 1.0);
      if (own_b == b && t >= 1e3) worst_gain = larger_or_nan(worst_gain, off);
    }
    gain.series.push_back(line(fmt::format("b = {:g}: C t^(−2b/a)", own_b), fine, predicted, color));
    gain.series.push_back(points("", coarse, saved, color));
    ++color;
  }
  result.agreement = larger_or_nan(worst_exponent / 0.01, worst_gain / 0.15);
  result.numbers = {{"worst_exponent", worst_exponent}, {"worst_gain", worst_gain}};
}

}  // namespace

Figure figure_t10() {
  return {
      .id = "T10",
      .title =
          "Local exponent of the loss against time for a power-law spectrum, and the transient gain of scale vectors",
      .formula = "L = (2t)^−p/(2a) [γ(p, 2t) − γ(p, 2tN^−a)]; gain C t^(−2b/a)",
      .domain = "1 ≪ t^(1/a) ≪ N; the gain for R₀ ≤ 1 and 2R₀t^(−b/a) ≪ 1 (`plain_spectrum_holds`, `scale_gain_holds`)",
      .code = "theory/spectra.hpp",
      .params = {{"a", 2.0, 2.0, {1.05, 10.0}, "curvatures j^-a"},
                 {"b", 0.5, 0.5, {0.05, 4.0}, "targets j^-b"},
                 {"target", 1.0, 1.0, {1e-3, 1e3}, "R₀, a factor on every target"},
                 {"modes", 1e5, 1e6, Range::between(100, 1e9), "number of modes"},
                 {"points", 9, 15, Range::between(2, 100), "dots per curve", true}},
      .heading = "Loss curves of a power-law spectrum",
      .caption =
          "modes with curvatures j^−a and targets j^−b. With scale vectors of imbalance 1 and b > 0 the exponent and "
          "the prefactor end as without: the gain is transient (right; lines: C t^(−2b/a), for R₀ ≤ 1 and 2R₀t^(−b/a) "
          "≪ 1; dots: sums over the modes). At b = 0 the prefactor changes, for b < 0 the exponent improves, and a "
          "balance kept by decay (k → 0) makes it larger for b > 0 (dashed: limits). a = {a:g}, b = {b:g}, R₀ = "
          "{target:g}, {modes:g} modes. Local exponent without scales: largest difference {worst_exponent:.4f} "
          "(allowed 0.01); gain at t ≥ 1e3: {worst_gain:.3f} (allowed 0.15); the verdict's number is the larger share "
          "of its allowance.",
      .panels = {panel("Local exponent −d ln L / d ln t", "flow time t", "exponent", Log::x),
                 panel("What scale vectors save", "flow time t", "1 − L with scales / L without", Log::both)},
      .layout = {.columns = 2, .panel_height = 440},
      .draw = draw_t10};
}

}  // namespace scalevec::experiments
