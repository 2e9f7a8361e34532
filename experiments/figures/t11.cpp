#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/rotation_run.hpp"
#include "experiments/figures/series.hpp"

// T11: length and rotation of weights before a norm while the lr moves.
namespace scalevec::experiments {
namespace {

struct MovingCase {
  const char* label;
  theory::SimulatedMethod method;
  Schedule::Shape shape;
  DecayCoupling coupling;
};

void draw_t11(const FigureValues& v, FigureResult& result) {
  const auto d = static_cast<std::size_t>(v.whole("d"));
  const auto steps = v.whole("steps");
  const double lr = v["lr"], beta = v["beta"], dd = static_cast<double>(d);
  const double decay = v["horizon"] / (lr * static_cast<double>(steps));
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  result.required = 0.06;
  Panel &norm = result.plot.panels[0], &angle = result.plot.panels[1];
  const MovingCase cases[] = {
      {"AdamW, cosine", theory::SimulatedMethod::adamw, Schedule::Shape::cosine, DecayCoupling::lr},
      {"AdamW, cosine, decay lr2", theory::SimulatedMethod::adamw, Schedule::Shape::cosine, DecayCoupling::lr2},
      {"AdamW, WSD", theory::SimulatedMethod::adamw, Schedule::Shape::wsd, DecayCoupling::lr},
      {"Lion, cosine", theory::SimulatedMethod::lion, Schedule::Shape::cosine, DecayCoupling::lr},
      {"SGD, cosine", theory::SimulatedMethod::sgd, Schedule::Shape::cosine, DecayCoupling::lr}};
  int color = 0;
  for (const MovingCase& c : cases) {
    theory::SimulatedRule rule;
    rule.method = c.method;
    rule.lr = lr;
    rule.weight_decay = decay;
    rule.coupling = c.coupling;
    rule.beta1 = rule.momentum = beta;
    rule.beta2 = v["beta2"];
    rule.schedule.shape = c.shape;
    rule.schedule.total_steps = steps;
    rule.schedule.warmup_steps = static_cast<std::int64_t>(v["warmup"] * static_cast<double>(steps));
    rule.schedule.decay_steps = steps / 4;
    const std::vector<theory::StepRate> rates = theory::step_rates(rule.schedule, lr, decay, c.coupling, steps);
    const bool sgd = c.method == theory::SimulatedMethod::sgd;
    const theory::UpdateNoise noise = c.method == theory::SimulatedMethod::lion
                                          ? theory::lion_update_noise(dd, beta, rule.beta2)
                                          : theory::adamw_update_noise(dd, beta);
    // SGD's settles at ‖w‖⁴ = ηg̃²/(2λ(1 − β)²).
    const double settled =
        sgd ? std::sqrt(lr / (2.0 * decay)) / (1.0 - beta) : theory::settled_rotation(noise, {lr, lr * decay}).norm_sq;
    const double start = settled * v["start"];
    const std::vector<theory::Turn> predicted =
        sgd ? theory::moving_rotation_sgd(beta, 1.0, start, rates) : theory::moving_rotation(noise, start, rates);
    const std::vector<theory::Turn> got =
        simulated_rotation(rule, d, start, steps, seed, 10 * static_cast<std::uint64_t>(color));
    const RotationError error = add_rotation_paths(norm, angle, c.label, predicted, got, start, 400, 40, color);
    result.agreement = larger_or_nan(result.agreement, larger_or_nan(error.norm_sq, error.rotation));
    if (color == 0) {
      std::vector<double> x, still;
      for (std::size_t t = 0; t < predicted.size(); t += std::max<std::size_t>(1, predicted.size() / 400)) {
        x.push_back(static_cast<double>(t));
        still.push_back(rates[t].lr > 0.0 ? theory::settled_rotation(noise, rates[t]).rotation : NAN);
      }
      angle.series.push_back(line("AdamW, cosine: settled at the moment's lr", x, still, 6, Series::Style::dashed));
    }
    ++color;
  }
  show_three_decades(angle);
  result.numbers = {{"warmup_percent", 100.0 * v["warmup"]}, {"memory", 0.5 / v["horizon"]}};
}

}  // namespace

Figure figure_t11() {
  return {
      .id = "T11",
      .title = "Length and rotation of weights before a norm through warm-up, cosine and WSD, by coupling of the decay",
      .formula = "‖w‖² ← (1 − x)²‖w‖² − 2(1 − x)η E w·u + η²E‖u‖²; in short d‖w‖²/dt = −2x‖w‖² + η²U",
      .domain =
          "gradients orthogonal to w and independent from step to step, ‖w‖ steady over Adam's 1/(1 − β₂) steps "
          "(`moving_rotation_holds`)",
      .code = "theory/moving_rotation.hpp",
      .params = {{"d", 1024, 4096, Range::between(2, 1e5), "weights in the block", true},
                 {"steps", 4000, 8000, Range::between(80, 1e6), "steps T", true},
                 {"lr", 0.01, 0.01, {0.0, 1.0, true, false}, "peak learning rate η"},
                 {"horizon", 4.0, 4.0, {1e-3, 100.0}, "ληT"},
                 {"warmup", 0.1, 0.1, {0.0, 0.9}, "share of the run that the warm-up takes"},
                 {"start", 4.0, 4.0, {0.01, 100.0}, "‖w₀‖² over its settled value at the peak"},
                 {"beta", 0.9, 0.9, Range::below(0.0, 1.0), "momentum, and β₁"},
                 {"beta2", 0.99, 0.99, Range::below(0.0, 1.0), "β₂"},
                 {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the gradients", true}},
      .heading = "Weights before a norm while the learning rate moves",
      .caption =
          "a block of {d} weights that a norm follows, through {warmup_percent:.0f} % warm-up and a schedule, decay λ "
          "with ληT = {horizon:g}, from {start:g} times the settled ‖w‖². Lines: the exact recursion of E‖w‖², whose "
          "short form is d‖w‖²/dt = −2x‖w‖² + η²U (x the share that decay takes per step); dots: the library's update "
          "rules, means over a fortieth of the run. It forgets its start after 1/(2x) steps, here a share {memory:.2f} "
          "of the run at the peak. Dashed: what the angle would be if it settled at once, √(2x(1 − β₁)/(1 + β₁)): at "
          "the end of a cosine the length is frozen, decay cannot act any more and the angle falls as η, not √η. With "
          "decay that falls as η² (lr2) it follows η all along. η = {lr:g}, β₁ = {beta:g}, β₂ = {beta2:g}, {steps} "
          "steps. Largest relative difference {off:.3f}.",
      .panels = {panel("Squared length over its start", "step", "‖w‖² / ‖w₀‖²", Log::y, kKeyBelow),
                 panel("Rotation per step", "step", "angle (radians)", Log::y, kKeyBelow)},
      .layout = {.columns = 2, .panel_width = 620, .panel_height = 460},
      .draw = draw_t11};
}

}  // namespace scalevec::experiments
