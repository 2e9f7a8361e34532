#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <tuple>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/simulate/scaled_map.hpp"
#include "theory/stability.hpp"

// T14: the largest learning rate at which a scale and its column stay at their minimum.
namespace scalevec::experiments {
namespace {

// γ and a w of one row with γw = R up to a share `off`, gradient descent, loss ½(γw − R)².
theory::MapReplica descent(double gamma, double w, double off, double lr) {
  theory::MapReplica r;
  r.h = {1.0};
  r.target = {gamma * w};
  r.initial_input = gamma;
  r.initial_w = {w * (1.0 + off)};
  r.weights.method = theory::SimulatedMethod::sgd;
  r.weights.lr = lr;
  r.scales = r.weights;
  return r;
}

struct Edge {
  double gamma, w, guess;
  bool momentum, adam;
};

// The learning rates above which an error of γw − R, a share 10⁻⁷ of R at first, has grown after `steps`, by bisection
// around the guesses. Under Adam the second moments' roots are held at what noise σ makes of them, σw and σγ: each of
// the pair has its learning rate divided by its own.
std::vector<double> measured_edges(const std::vector<Edge>& edges, double beta, double sigma, int steps) {
  constexpr double kOff = 1e-7;
  std::vector<double> low, high, middle;
  for (const Edge& e : edges) {
    low.push_back(e.guess / 3.0);
    high.push_back(e.guess * 3.0);
  }
  middle = low;
  theory::MapOptions options;
  options.steps = steps;
  options.average_steps = std::max(1, steps / 4);
  for (int i = 0; i < 24; ++i) {
    std::vector<theory::MapReplica> replicas;
    for (std::size_t k = 0; k < edges.size(); ++k) {
      const Edge& e = edges[k];
      middle[k] = std::sqrt(low[k] * high[k]);
      theory::MapReplica r = descent(e.gamma, e.w, kOff, middle[k]);
      for (theory::SimulatedRule* rule : {&r.weights, &r.scales}) {
        rule->momentum = e.momentum ? beta : 0.0;
        if (e.adam) rule->dampening = beta;  // Adam's mean
      }
      if (e.adam) {
        r.weights.lr /= sigma * e.gamma;
        r.scales.lr /= sigma * e.w;
      }
      replicas.push_back(r);
      // An error of a hundredth of R is out of the linear range, and may come to rest at another γ/w.
      options.limit = 0.5 * std::pow(1e-2 * r.target[0], 2);
    }
    const std::vector<theory::MapResult> results = theory::simulate_scaled_map({}, replicas, options);
    for (std::size_t k = 0; k < edges.size(); ++k) {
      const double first = 0.5 * std::pow(kOff * replicas[k].target[0], 2);
      (results[k].loss > first ? high : low)[k] = middle[k];
    }
  }
  for (std::size_t k = 0; k < edges.size(); ++k) middle[k] = std::sqrt(low[k] * high[k]);
  return middle;
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
  const auto formula = [&](const EdgeMethod& m, double gamma, double w) {
    return m.adam ? theory::adam_edge(theory::pair_adam_curvature(1.0, sigma, gamma, w), m.beta)
                  : theory::momentum_edge(theory::pair_curvature(1.0, gamma, w), m.beta);
  };
  std::vector<Edge> edges;
  for (const EdgeMethod& m : methods)
    for (const double q : coarse) {
      const double gamma = std::sqrt(target / q), w = std::sqrt(target * q);
      edges.push_back({gamma, w, formula(m, gamma, w), m.beta > 0.0, m.adam});
    }
  const std::vector<double> measured = measured_edges(edges, beta, sigma, steps);
  for (std::size_t k = 0; k < edges.size(); ++k)
    worst_edge = larger_or_nan(worst_edge, std::abs(measured[k] / edges[k].guess - 1.0));
  int color = 0;
  for (const EdgeMethod& m : methods) {
    std::vector<double> y;
    for (const double q : fine) y.push_back(formula(m, std::sqrt(target / q), std::sqrt(target * q)));
    const auto from = measured.begin() + static_cast<std::ptrdiff_t>(coarse.size()) * color;
    edge.series.push_back(line(m.label, fine, y, color));
    edge.series.push_back(points("", coarse, {from, from + static_cast<std::ptrdiff_t>(coarse.size())}, color));
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
    const theory::InputScaleEquilibrium at = theory::split_length(target, k0 * target);
    std::vector<theory::MapReplica> replicas;
    for (const double x : tried)
      replicas.push_back(descent(std::sqrt(at.gamma_sq), std::sqrt(at.w_sq), 1e-3, x / target));
    theory::MapOptions options;
    options.steps = 20 * steps;
    options.course_steps = {options.steps};
    const std::vector<theory::MapResult> results = theory::simulate_scaled_map({}, replicas, options);
    for (std::size_t i = 0; i < tried.size(); ++i) {
      const bool rests = std::sqrt(2.0 * results[i].loss) < 1e-3 * target;
      const theory::MapState& last = results[i].course.front();
      const double end = std::abs(last.input_sq - last.weight_sq) / target;
      ends.push_back(rests ? end : NAN);
      const double most = theory::largest_stable_imbalance(1.0, target, tried[i] / target) / target;
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
    const theory::InputScaleEquilibrium at = theory::split_length(target, k0 * target);
    std::vector<theory::MapReplica> replicas;
    theory::MapOptions options;
    for (const double r : few) {
      replicas.push_back(descent(std::sqrt(at.gamma_sq), std::sqrt(at.w_sq), 0.0, 0.2 / (at.gamma_sq + at.w_sq)));
      std::tie(replicas.back().scales.weight_decay, replicas.back().weights.weight_decay) = decays(r);
      const double relaxation = 1.0 / (replicas.back().weights.lr * std::min(decays(r).first, decays(r).second));
      options.steps = std::max(options.steps, static_cast<std::int64_t>(12.0 * relaxation));
    }
    options.course_steps = {options.steps};
    const std::vector<theory::MapResult> results = theory::simulate_scaled_map({}, replicas, options);
    for (std::size_t i = 0; i < few.size(); ++i) {
      const theory::MapState& last = results[i].course.front();
      dots.push_back((at.gamma_sq + at.w_sq) / (last.input_sq + last.weight_sq));
      const auto [decay_gamma, decay_w] = decays(few[i]);
      worst_gain = larger_or_nan(
          worst_gain,
          std::abs(dots.back() / theory::decay_lr_gain(1.0, target, k0 * target, decay_gamma, decay_w) - 1.0));
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
