#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/simulate/batch_optimizer.hpp"
#include "theory/stability.hpp"

// T14: the largest learning rate at which a scale and its column stay at their minimum.
namespace scalevec::experiments {
namespace {

// Whether a small error of γw − R is larger after `steps` than at the start, from next to (γ, w). `second`: the held
// second moments' roots of γ and w that Adam divides by; empty for gradient descent.
bool pair_diverges(double gamma, double w, double lr, double beta, const std::vector<double>& second, int steps) {
  theory::SimulatedRule rule;
  rule.method = theory::SimulatedMethod::sgd;
  rule.lr = lr;
  rule.momentum = beta;
  if (!second.empty()) rule.dampening = beta;  // Adam's mean
  theory::BatchOptimizer optimizer(rule, 2);
  const double target = gamma * w, start = 1e-7 * target;
  std::vector<double> x{gamma, w + start / gamma}, g(2);
  double largest = 0.0;
  for (int t = 0; t < steps; ++t) {
    const double error = x[0] * x[1] - target;
    if (!(std::abs(error) < 1e-2 * target)) return true;
    if (t > steps - steps / 4) largest = std::max(largest, std::abs(error));
    g = {error * x[1], error * x[0]};
    for (std::size_t i = 0; i < second.size(); ++i) g[i] /= second[i];
    optimizer.step(x.data(), g.data());
  }
  return largest > start;
}

double measured_edge(double gamma, double w, double guess, double beta, const std::vector<double>& second, int steps) {
  double low = guess / 3.0, high = guess * 3.0;
  for (int i = 0; i < 24; ++i) {
    const double middle = std::sqrt(low * high);
    (pair_diverges(gamma, w, middle, beta, second, steps) ? high : low) = middle;
  }
  return std::sqrt(low * high);
}

void draw_t14(const FigureValues& v, FigureResult& result) {
  const double target = v["target"], sigma = v["sigma"], beta = v["beta"];
  const int steps = static_cast<int>(v.whole("steps"));
  result.required = 1.0;
  Panel &edge = result.plot.panels[0], &drained = result.plot.panels[1], &gain = result.plot.panels[2];
  const std::vector<double> fine = log_grid(0.02, 50.0, 121), coarse = log_grid(0.04, 25.0, v.whole("points"));
  double worst_edge = 0.0, worst_drained = 0.0, worst_gain = 0.0;
  struct EdgeMethod {
    const char* label;
    double beta;
    bool adam;
  };
  const EdgeMethod methods[] = {
      {"gradient descent", 0.0, false}, {"momentum", beta, false}, {"Adam, noise-set moments", beta, true}};
  int color = 0;
  for (const EdgeMethod& m : methods) {
    const auto formula = [&](double gamma, double w) {
      return m.adam ? theory::adam_edge(theory::pair_adam_curvature(1.0, sigma, gamma, w), m.beta)
                    : theory::momentum_edge(theory::pair_curvature(1.0, gamma, w), m.beta);
    };
    std::vector<double> y, dots;
    for (const double q : fine) y.push_back(formula(std::sqrt(target / q), std::sqrt(target * q)));
    for (const double q : coarse) {
      const double gamma = std::sqrt(target / q), w = std::sqrt(target * q), expected = formula(gamma, w);
      dots.push_back(measured_edge(gamma, w, expected, m.beta,
                                   m.adam ? std::vector<double>{sigma * w, sigma * gamma} : std::vector<double>{},
                                   steps));
      worst_edge = larger_or_nan(worst_edge, std::abs(dots.back() / expected - 1.0));
    }
    edge.series.push_back(line(m.label, fine, y, color));
    edge.series.push_back(points("", coarse, dots, color));
    ++color;
  }
  edge.series.push_back(
      line("gradient descent without a scale", {fine.front(), fine.back()}, {2.0, 2.0}, 6, Series::Style::dashed));

  // Started at one imbalance, at rest at another.
  const std::vector<double> rates = linear_grid(0.1, 0.99, 90), tried = linear_grid(0.12, 0.98, 4 * v.whole("points"));
  color = 0;
  for (const double k0 : {3.0, 1.0}) {
    std::vector<double> bound, ends;
    for (const double x : rates)
      bound.push_back(std::min(k0, theory::largest_stable_imbalance(1.0, target, x / target) / target));
    for (const double x : tried) {
      const theory::InputScaleEquilibrium at = theory::split_length(target, k0 * target);
      theory::SimulatedRule rule;
      rule.method = theory::SimulatedMethod::sgd;
      rule.lr = x / target;
      theory::BatchOptimizer optimizer(rule, 2);
      std::vector<double> s{std::sqrt(at.gamma_sq), std::sqrt(at.w_sq) * 1.001}, g(2);
      for (int t = 0; t < 20 * steps; ++t) {
        const double error = s[0] * s[1] - target;
        if (!(std::abs(error) < 1e6 * target)) break;
        g = {error * s[1], error * s[0]};
        optimizer.step(s.data(), g.data());
      }
      const bool rests = std::abs(s[0] * s[1] / target - 1.0) < 1e-3;
      const double end = std::abs(s[0] * s[0] - s[1] * s[1]) / target;
      ends.push_back(rests ? end : NAN);
      const double most = theory::largest_stable_imbalance(1.0, target, x / target) / target;
      // Within the edge nothing is drained; beyond it what rests is inside.
      const double off = most >= 1.03 * k0 ? std::abs(end / k0 - 1.0) : rests ? std::max(0.0, end / most - 1.0) : 0.0;
      worst_drained = larger_or_nan(worst_drained, off);
    }
    drained.series.push_back(line(fmt::format("from |k| = {:g} R (line: at most)", k0), rates, bound, color));
    drained.series.push_back(points("", tried, ends, color));
    ++color;
  }

  const double decay = v["decay"];
  const std::vector<double> ratios = log_grid(0.05, 20.0, 61), few = log_grid(0.1, 10.0, v.whole("points"));
  color = 0;
  for (const double k0 : {0.5, 3.0, 10.0}) {
    // The geometric mean of the decays stays.
    const auto decays = [&](double ratio) { return std::pair(decay * std::sqrt(ratio), decay / std::sqrt(ratio)); };
    std::vector<double> y, dots;
    for (const double r : ratios)
      y.push_back(theory::decay_lr_gain(1.0, target, k0 * target, decays(r).first, decays(r).second));
    for (const double r : few) {
      const theory::InputScaleEquilibrium at = theory::split_length(target, k0 * target);
      theory::SimulatedRule rule;
      rule.method = theory::SimulatedMethod::sgd;
      rule.lr = 0.2 / (at.gamma_sq + at.w_sq);
      theory::SimulatedRule gamma_rule = rule;
      rule.weight_decay = decays(r).second;
      gamma_rule.weight_decay = decays(r).first;
      theory::BatchOptimizer w_step(rule, 1), gamma_step(gamma_rule, 1);
      double gamma = std::sqrt(at.gamma_sq), w = std::sqrt(at.w_sq);
      const auto most = static_cast<int>(12.0 / (rule.lr * std::min(rule.weight_decay, gamma_rule.weight_decay)));
      for (int t = 0; t < most; ++t) {
        const double error = gamma * w - target, g_gamma = error * w, g_w = error * gamma;
        gamma_step.step(&gamma, &g_gamma);
        w_step.step(&w, &g_w);
      }
      dots.push_back((at.gamma_sq + at.w_sq) / (gamma * gamma + w * w));
      worst_gain = larger_or_nan(
          worst_gain,
          std::abs(dots.back() / theory::decay_lr_gain(1.0, target, k0 * target, decays(r).first, decays(r).second) -
                   1.0));
    }
    gain.series.push_back(line(fmt::format("from k = {:g} R", k0), ratios, y, color));
    gain.series.push_back(points("", few, dots, color));
    ++color;
  }
  result.agreement = larger_or_nan(worst_edge, larger_or_nan(worst_drained, worst_gain)) / 0.02;
  result.numbers = {{"worst_edge", worst_edge}, {"worst_drained", worst_drained}, {"worst_gain", worst_gain}};
}

}  // namespace

Figure figure_t14() {
  return {
      .id = "T14",
      .title = "Largest stable learning rate over ‖w‖/γ, the imbalance that is left beyond it, and what decay buys",
      .formula = "lr < 2(1 + β)/(h(γ² + ‖w‖²)); Adam: lr < 2(1 + β₁)/(1 − β₁) · σ/(h(γ + ‖w‖))",
      .domain =
          "isotropic curvature next to the minimum (`pair_edge_holds`); Adam: second moments that noise sets and holds "
          "(`adam_edge_holds`)",
      .code = "theory/stability.hpp",
      .params = {{"target", 1.0, 1.0, {0.01, 100.0}, "R"},
                 {"sigma", 0.1, 0.1, {1e-3, 100.0}, "gradient noise that sets Adam's second moments"},
                 {"beta", 0.9, 0.9, Range::below(0.0, 1.0), "momentum, and β₁"},
                 {"decay", 0.02, 0.02, {1e-4, 0.5}, "√(λ_γλ_w)"},
                 {"steps", 3000, 10000, Range::between(100, 1e6), "steps of a trial", true},
                 {"points", 7, 13, Range::between(2, 60), "ratios simulated", true}},
      .heading = "Stability of a scale and its column",
      .caption =
          "½h(γ‖w‖ − R)², h = 1, R = {target:g}. Left: lines 2(1 + β)/(h(γ² + ‖w‖²)) for gradient descent and momentum "
          "and 2(1 + β₁)/(1 − β₁) · σ/(h(γ + ‖w‖)) for Adam whose second moments gradient noise σ = {sigma:g} sets "
          "(held at that here; left free it rises with the error's own swing, and Adam stays below its edge, "
          "`adam_live_share`); dots: bisection on the library's rule. All are largest where γ = ‖w‖; where noise has "
          "brought SGD to ‖w‖² = cγ² (T13) the edge is 2/(hR(√c + 1/√c)). Middle: gradient descent beyond its edge "
          "shrinks |k| = |γ² − ‖w‖²| at every step, by 1 − η²g², until h√(k² + 4R²) is within 2/η: dots are where it "
          "comes to rest, never above the line; above lr · hR = 1 it does not. Right: coupled decays (geometric mean "
          "{decay:g}) bring the pair to γ²/‖w‖² = λ_w/λ_γ, and the stable lr with it; where λ_γ/λ_w is far from 1 "
          "decay costs stability. β = β₁ = {beta:g}. Off by at most {worst_edge:.4f} (edges), {worst_drained:.4f} "
          "(drained), {worst_gain:.4f} (decay), allowed 0.02 each; the verdict's number is the largest share.",
      .panels = {panel("Largest stable learning rate", "‖w‖/γ at γ‖w‖ = R", "learning rate", Log::both, kKeyBelow),
                 panel("Beyond the edge: imbalance at rest", "lr · hR", "|γ² − ‖w‖²| / R at the end", Log::none,
                       kKeyBelow),
                 panel("What decay buys", "λ_γ/λ_w", "stable lr with / without decay", Log::both, kKeyBelow)},
      .layout = {.columns = 3, .panel_width = 520, .panel_height = 460},
      .draw = draw_t14};
}

}  // namespace scalevec::experiments
