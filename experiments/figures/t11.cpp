#include <cmath>
#include <cstdio>

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

FigureResult draw_t11(const FigureValues& v) {
  const auto d = static_cast<std::size_t>(v.whole("d"));
  const auto steps = v.whole("steps");
  const double lr = v["lr"], beta = v["beta"], dd = static_cast<double>(d);
  const double decay = v["horizon"] / (lr * static_cast<double>(steps));
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  FigureResult result;
  result.required = 0.06;
  Panel norm, angle;
  norm.title = "Squared length over its start";
  norm.y_label = "‖w‖² / ‖w₀‖²";
  angle.title = "Rotation per step";
  angle.y_label = "angle (radians)";
  for (Panel* p : {&norm, &angle}) {
    p->x_label = "step";
    p->log_y = true;
  }
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
    std::vector<double> x, lengths, turns, dots_x, dots, turned;
    for (std::size_t t = 0; t < predicted.size(); t += std::max<std::size_t>(1, predicted.size() / 400)) {
      x.push_back(static_cast<double>(t));
      lengths.push_back(predicted[t].norm_sq / start);
      turns.push_back(predicted[t].rotation > 0.0 ? predicted[t].rotation : NAN);
    }
    // Each dot a mean over a window, of the run and of the line alike.
    const std::size_t window = predicted.size() / 40;
    for (std::size_t from = 0; from + window <= predicted.size(); from += window) {
      double length = 0.0, turn = 0.0, expected_length = 0.0, expected_turn = 0.0;
      for (std::size_t t = from; t < from + window; ++t) {
        length += got[t].norm_sq;
        turn += got[t].rotation;
        expected_length += predicted[t].norm_sq;
        expected_turn += predicted[t].rotation;
      }
      const double n = static_cast<double>(window);
      result.agreement = worse(result.agreement, std::abs(length / expected_length - 1.0));
      result.agreement = worse(result.agreement, std::abs(turn / expected_turn - 1.0));
      dots_x.push_back(static_cast<double>(from) + 0.5 * n);
      dots.push_back(length / start / n);
      turned.push_back(turn / n);
    }
    norm.series.push_back(line(c.label, x, lengths, color));
    norm.series.push_back(points("", dots_x, dots, color));
    angle.series.push_back(line("", x, turns, color));
    angle.series.push_back(points("", dots_x, turned, color));
    if (color == 0) {
      std::vector<double> still;
      for (std::size_t t = 0; t < predicted.size(); t += std::max<std::size_t>(1, predicted.size() / 400))
        still.push_back(rates[t].lr > 0.0 ? theory::settled_rotation(noise, rates[t]).rotation : NAN);
      angle.series.push_back(line("AdamW, cosine: settled at the moment's lr", x, still, 6, Series::Style::dashed));
    }
    ++color;
  }
  double top = 0.0;
  for (const Series& one : angle.series)
    for (const double y : one.y) top = std::max(top, std::isnan(y) ? 0.0 : y);
  angle.y_range = {1e-3 * top, 1.5 * top};
  norm.key_position = angle.key_position = "outside bottom center horizontal";
  result.plot.title = "T11  Weights before a norm while the learning rate moves";
  result.plot.columns = 2;
  result.plot.panel_width = 620;
  result.plot.panel_height = 460;
  result.plot.panels = {norm, angle};
  char text[1400];
  std::snprintf(
      text, sizeof text,
      "T11: a block of %zu weights that a norm follows, through %.0f %% warm-up and a schedule, decay λ with "
      "ληT = %g, from %g times the settled ‖w‖². Lines: the exact recursion of E‖w‖², whose short form is "
      "d‖w‖²/dt = −2x‖w‖² + η²U (x the share that decay takes per step); dots: the library's update rules, "
      "means over a fortieth of the run. It forgets its start after 1/(2x) steps, here a share %.2f of the run "
      "at the peak. Dashed: what the angle would be if it settled at once, √(2x(1 − β₁)/(1 + β₁)): at the end "
      "of a cosine the length is frozen, decay cannot act any more and the angle falls as η, not √η. With "
      "decay that falls as η² (lr2) it follows η all along. η = %g, β₁ = %g, β₂ = %g, %lld steps. Largest "
      "relative difference %.3f.",
      d, 100.0 * v["warmup"], v["horizon"], v["start"], 0.5 / v["horizon"], lr, beta, v["beta2"],
      static_cast<long long>(steps), result.agreement);
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_t11() {
  return {"T11",
          "Length and rotation of weights before a norm through warm-up, cosine and WSD, by coupling of the decay",
          {{"d", 1024, 4096, Range::between(2, 1e5), "weights in the block", true},
           {"steps", 4000, 8000, Range::between(80, 1e6), "steps T", true},
           {"lr", 0.01, 0.01, {0.0, 1.0, true, false}, "peak learning rate η"},
           {"horizon", 4.0, 4.0, {1e-3, 100.0}, "ληT"},
           {"warmup", 0.1, 0.1, {0.0, 0.9}, "share of the run that the warm-up takes"},
           {"start", 4.0, 4.0, {0.01, 100.0}, "‖w₀‖² over its settled value at the peak"},
           {"beta", 0.9, 0.9, Range::below(0.0, 1.0), "momentum, and β₁"},
           {"beta2", 0.99, 0.99, Range::below(0.0, 1.0), "β₂"},
           {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the gradients", true}},
          draw_t11};
}

}  // namespace scalevec::experiments
