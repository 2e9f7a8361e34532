#include <cmath>
#include <cstdio>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "optim/core/random.hpp"
#include "theory/scale_invariance.hpp"
#include "theory/simulate/batch_optimizer.hpp"

// T9: the length at which weights before a norm settle, and how far they turn per step.
namespace scalevec::experiments {
namespace {

struct Measured {
  double norm_sq = 0.0, angle = 0.0;
  double norm_sq_bar = 0.0, angle_bar = 0.0;  // half the widths of their 95 % intervals
};

// One block of d weights, gradients of random directions orthogonal to it with length ∝ 1/‖w‖.
Measured simulate(const theory::SimulatedRule& rule, std::size_t d, double start, std::int64_t settle,
                  std::int64_t steps, std::uint64_t seed, std::uint64_t stream) {
  theory::BatchOptimizer optimizer(rule, d);
  std::vector<double> w(d), g(d), before;
  double ww = 0.0;
  for (std::size_t i = 0; i < d; ++i) {
    w[i] = random_normal(seed, stream, i);
    ww += w[i] * w[i];
  }
  for (double& x : w) x *= start / std::sqrt(ww);
  // SGD's formula is of the mean fourth power, AdamW's of the mean square.
  const bool fourth = rule.method == theory::SimulatedMethod::sgd;
  std::vector<double> lengths, angles;
  for (std::int64_t t = 0; t < settle + steps; ++t) {
    double wg = 0.0;
    ww = 0.0;
    for (std::size_t i = 0; i < d; ++i) {
      g[i] = random_normal(seed, stream + 1, static_cast<std::uint64_t>(t) * d + i);
      ww += w[i] * w[i];
      wg += w[i] * g[i];
    }
    for (std::size_t i = 0; i < d; ++i) g[i] = (g[i] - wg / ww * w[i]) / std::sqrt(ww);
    before = w;
    optimizer.step(w.data(), g.data());
    if (t < settle) continue;
    double dot = 0.0, cross = 0.0;
    for (std::size_t i = 0; i < d; ++i) dot += before[i] * w[i];
    for (std::size_t i = 0; i < d; ++i) cross += std::pow(w[i] - dot / ww * before[i], 2);
    angles.push_back(std::pow(std::atan2(std::sqrt(cross * ww), dot), 2));
    lengths.push_back(fourth ? ww * ww : ww);
  }
  // A length is remembered for 1/(2ηλ) steps, a fourth of a block or less.
  const MeanInterval length = block_interval(lengths, 10), turn = block_interval(angles, 10);
  const double root = std::sqrt(length.mean), angle = std::sqrt(turn.mean);
  return {fourth ? root : length.mean, angle, fourth ? length.half_width / (2.0 * root) : length.half_width,
          turn.half_width / (2.0 * angle)};
}

FigureResult draw_t9(const FigureValues& v) {
  const double lr = v["lr"], beta = v["beta"];
  const auto d = static_cast<std::size_t>(v.whole("d"));
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  const double dd = static_cast<double>(d);
  FigureResult result;
  result.required = 0.03;
  Panel norm, angle;
  norm.title = "Squared length";
  norm.y_label = "‖w‖²";
  angle.title = "Rotation per step";
  angle.y_label = "angle (radians, root mean square)";
  for (Panel* p : {&norm, &angle}) {
    p->x_label = "learning rate × weight decay";
    p->log_x = p->log_y = true;
    p->key_position = "outside bottom center horizontal";
  }
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
        result.agreement = worse(result.agreement, off);
    }
    norm.series.push_back(line(labels[m], fine, lengths, m));
    norm.series.push_back(points_with_bars("", coarse, dots, dot_bars, m));
    // AdamW turns by the angle of SGD with decoupled decay: one line, two kinds of dots.
    if (m < 2) angle.series.push_back(line(m == 0 ? "SGD with decoupled decay, AdamW" : labels[m], fine, turns, m));
    angle.series.push_back(points_with_bars(m == 2 ? "AdamW" : "", coarse, turned, turned_bars, m, m == 2 ? 4 : 0));
  }
  result.plot.title = "T9  Weights before a norm: length and rotation at equilibrium";
  result.plot.columns = 2;
  result.plot.panel_height = 440;
  result.plot.panels = {norm, angle};
  char text[1000];
  std::snprintf(
      text, sizeof text,
      "T9: weights that a norm follows see a gradient orthogonal to them; decay and learning rate set their "
      "length, and with it how far their direction turns per step, √(2ηλ(1 − β)/(1 + β)) whatever the gradient's size "
      "under AdamW and SGD with decoupled decay, √(2ηλ/(1 + β)) with coupled decay, to first order in ηλ. Lines: the "
      "formulas exact in ηλ for gradients independent from step to step; dots: one block of %zu weights "
      "under random "
      "gradients, time averages, bars 95 %%. η = %g, β = β₁ = %g, β₂ = %g. Largest relative difference %.4f.",
      d, lr, beta, v["beta2"], result.agreement);
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_t9() {
  return {"T9",
          "Squared length and rotation per step of scale-invariant weights against ηλ",
          {{"d", 128, 256, Range::between(2, 1e5), "weights in the block", true},
           {"lr", 0.01, 0.01, {0.0, 1.0, true, false}, "learning rate η"},
           {"beta", 0.9, 0.9, Range::below(0.0, 1.0), "momentum, and AdamW's β₁"},
           {"beta2", 0.99, 0.99, Range::below(0.0, 1.0), "AdamW's β₂"},
           {"least", 2e-4, 1e-4, {1e-6, 0.1}, "least ηλ"},
           {"most", 1e-3, 1e-3, {1e-6, 0.1}, "largest ηλ"},
           {"points", 3, 6, Range::between(2, 50), "values of ηλ simulated", true},
           {"relaxations", 30.0, 120.0, {20.0, 1e4}, "length of the average in units of 1/(ηλ)"},
           {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the gradients", true}},
          draw_t9};
}

}  // namespace scalevec::experiments
