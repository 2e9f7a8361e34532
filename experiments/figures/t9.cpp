#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/rotation_run.hpp"
#include "experiments/figures/series.hpp"
#include "theory/scale_invariance.hpp"

// T9: the length at which weights before a norm settle, and how far they turn per step.
namespace scalevec::experiments {
namespace {

struct Measured {
  double norm_sq = 0.0, angle = 0.0;
  double norm_sq_bar = 0.0, angle_bar = 0.0;  // half the widths of their 95 % intervals
};

// One block of d weights, gradients of random directions orthogonal to it with unit variance per coordinate over ‖w‖.
Measured simulate(const theory::SimulatedRule& rule, std::size_t d, double start, std::int64_t settle,
                  std::int64_t steps, std::uint64_t seed, std::uint64_t stream) {
  const std::vector<theory::Turn> turns =
      simulated_rotation(rule, d, start * start, settle + steps, seed, stream, std::sqrt(static_cast<double>(d - 1)));
  // SGD's formula is of the mean fourth power, AdamW's of the mean square.
  const bool fourth = rule.method == theory::SimulatedMethod::sgd;
  std::vector<double> lengths, angles;
  for (auto t = static_cast<std::size_t>(settle); t < turns.size(); ++t) {
    angles.push_back(turns[t].rotation * turns[t].rotation);
    lengths.push_back(fourth ? turns[t].norm_sq * turns[t].norm_sq : turns[t].norm_sq);
  }
  // A length is remembered for 1/(2ηλ) steps, a fourth of a block or less.
  const MeanInterval length = block_interval(lengths, 10), turn = block_interval(angles, 10);
  const double root = std::sqrt(length.mean), angle = std::sqrt(turn.mean);
  return {fourth ? root : length.mean, angle, fourth ? length.half_width / (2.0 * root) : length.half_width,
          turn.half_width / (2.0 * angle)};
}

void draw_t9(const FigureValues& v, FigureResult& result) {
  const double lr = v["lr"], beta = v["beta"];
  const auto d = static_cast<std::size_t>(v.whole("d"));
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  const double dd = static_cast<double>(d);
  result.required = 0.03;
  Panel &norm = result.plot.panels[0], &angle = result.plot.panels[1];
  const char* labels[] = {"SGD, decoupled decay", "SGD, coupled decay", "AdamW"};
  const std::vector<double> fine = log_grid(v["least"], v["most"], 41),
                            coarse = log_grid(v["least"], v["most"], v.whole("points"));
  for (int m = 0; m < 3; ++m) {
    const auto predict = [&](double product) {
      const double lambda = product / lr;
      if (m == 2) return theory::adamw_rotation(lr, lambda, beta, dd);
      // The mean square of the projected gradient is d − 1.
      return m == 0 ? theory::sgd_decoupled_rotation(lr, lambda, beta, std::sqrt(dd - 1.0))
                    : theory::sgd_coupled_rotation(lr, lambda, beta, std::sqrt(dd - 1.0));
    };
    std::vector<double> lengths, turns, dots, turned, dot_bars, turned_bars;
    for (const double x : fine) {
      lengths.push_back(std::pow(predict(x).norm, 2));
      turns.push_back(predict(x).angle);
    }
    for (std::size_t i = 0; i < coarse.size(); ++i) {
      theory::SimulatedRule rule;
      rule.method = m == 2 ? theory::SimulatedMethod::adamw : theory::SimulatedMethod::sgd;
      rule.coupling = m == 1 ? DecayCoupling::l2 : DecayCoupling::lr;
      rule.lr = lr;
      rule.weight_decay = coarse[i] / lr;
      rule.momentum = m == 2 ? 0.0 : beta;
      rule.beta1 = beta;
      rule.beta2 = v["beta2"];
      const theory::Rotation p = predict(coarse[i]);
      const auto settle = static_cast<std::int64_t>(2.0 / coarse[i]);
      const auto steps = static_cast<std::int64_t>(v["relaxations"] / coarse[i]);
      const Measured r = simulate(rule, d, p.norm, settle, steps, seed, 10 * (i + 100 * static_cast<std::uint64_t>(m)));
      dots.push_back(r.norm_sq);
      turned.push_back(r.angle);
      dot_bars.push_back(r.norm_sq_bar);
      turned_bars.push_back(r.angle_bar);
      for (const double off : {std::abs(r.norm_sq / (p.norm * p.norm) - 1.0), std::abs(r.angle / p.angle - 1.0)})
        result.agreement = larger_or_nan(result.agreement, off);
    }
    norm.series.push_back(line(labels[m], fine, lengths, m));
    norm.series.push_back(points_with_bars("", coarse, dots, dot_bars, m));
    // AdamW turns by the angle of SGD with decoupled decay: one line, two kinds of dots.
    if (m < 2) angle.series.push_back(line(m == 0 ? "SGD with decoupled decay, AdamW" : labels[m], fine, turns, m));
    angle.series.push_back(points_with_bars(m == 2 ? "AdamW" : "", coarse, turned, turned_bars, m, m == 2 ? 4 : 0));
  }
}

}  // namespace

Figure figure_t9() {
  return {
      .id = "T9",
      .title = "Squared length and rotation per step of scale-invariant weights against ηλ",
      .formula = "‖w‖² = ηd/(2λ) · f, cos∠ = (1 + β₁ − ηλ)/(1 + β₁ − β₁ηλ) (AdamW); angle ≈ √(2ηλ(1 − β₁)/(1 + β₁))",
      .domain = "ηλ < 1, gradients independent from step to step, 1/(1 − β₂) ≪ 1/(2ηλ) (`adamw_rotation_holds`)",
      .code = "theory/scale_invariance.hpp",
      .params = {{"d", 128, 256, Range::between(2, 1e5), "weights in the block", true},
                 {"lr", 0.01, 0.01, {0.0, 1.0, true, false}, "learning rate η"},
                 {"beta", 0.9, 0.9, Range::below(0.0, 1.0), "momentum, and AdamW's β₁"},
                 {"beta2", 0.99, 0.99, Range::below(0.0, 1.0), "AdamW's β₂"},
                 {"least", 2e-4, 1e-4, {1e-6, 0.1}, "least ηλ"},
                 {"most", 1e-3, 1e-3, {1e-6, 0.1}, "largest ηλ"},
                 {"points", 3, 6, Range::between(2, 50), "values of ηλ simulated", true},
                 {"relaxations", 30.0, 120.0, {20.0, 1e4}, "length of the average in units of 1/(ηλ)"},
                 {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the gradients", true}},
      .heading = "Weights before a norm: length and rotation at equilibrium",
      .caption =
          "weights that a norm follows see a gradient orthogonal to them; decay and learning rate set their length, "
          "and with it how far their direction turns per step, √(2ηλ(1 − β)/(1 + β)) whatever the gradient's size "
          "under AdamW and SGD with decoupled decay, √(2ηλ/(1 + β)) with coupled decay, to first order in ηλ. Lines: "
          "the formulas exact in ηλ for gradients independent from step to step; dots: one block of {d} weights under "
          "random gradients, time averages, bars 95 %. η = {lr:g}, β = β₁ = {beta:g}, β₂ = {beta2:g}. Largest relative "
          "difference {off:.4f}.",
      .panels = {panel("Squared length", "learning rate × weight decay", "‖w‖²", Log::both, kKeyBelow),
                 panel("Rotation per step", "learning rate × weight decay", "angle (radians, root mean square)",
                       Log::both, kKeyBelow)},
      .layout = {.columns = 2, .panel_height = 440},
      .draw = draw_t9};
}

}  // namespace scalevec::experiments
