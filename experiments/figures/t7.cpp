#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "optim/core/random.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/placement.hpp"
#include "theory/root.hpp"

// T7: instantaneous rate with scales on both sides of a map against the input side alone.
namespace scalevec::experiments {
namespace {

// u₁, w, v with u₁² − w² = v² − w² = 1 and u₁wv = length.
double balanced_w(double length) {
  return theory::domain::falling_root([&](double w) { return length - (1.0 + w * w) * w; }, 0.0,
                                      std::cbrt(length) + 1.0);
}

theory::TwoSided both_sides(double length, double along) {
  const double w = balanced_w(length), side = std::sqrt(1.0 + w * w);
  return {2, 1, {side, 1.0}, {side}, {w, 0.0}, {along, std::sqrt(1.0 - along * along)}};
}

theory::TwoSided input_side(double length, double along) {
  const theory::InputScaleEquilibrium at = theory::split_length(length, 1.0);
  return {
      2, 1, {1.0, 1.0}, {std::sqrt(at.gamma_sq)}, {std::sqrt(at.w_sq), 0.0}, {along, std::sqrt(1.0 - along * along)}};
}

// −dL/dt of the linear loss Σ g θ by a four-point difference along the flow's direction, exact for the cubic that θ is.
double measured_rate(const theory::TwoSided& m, bool with_u) {
  const auto loss = [&](double step) {
    double sum = 0.0;
    for (std::size_t i = 0; i < m.rows; ++i)
      for (std::size_t j = 0; j < m.columns; ++j) {
        double du = 0.0, dv = 0.0;
        for (std::size_t c = 0; c < m.columns; ++c) du += m.g[i * m.columns + c] * m.w[i * m.columns + c] * m.v[c];
        for (std::size_t r = 0; r < m.rows; ++r) dv += m.g[r * m.columns + j] * m.u[r] * m.w[r * m.columns + j];
        const double u = m.u[i] - (with_u ? step * du : 0.0), v = m.v[j] - step * dv;
        const double w = m.w[i * m.columns + j] - step * m.u[i] * m.v[j] * m.g[i * m.columns + j];
        sum += m.g[i * m.columns + j] * u * w * v;
      }
    return sum;
  };
  const double e = 1e-3;
  return -(8.0 * (loss(e) - loss(-e)) - (loss(2 * e) - loss(-2 * e))) / (12.0 * e);
}

void draw_t7(const FigureValues& v, FigureResult& result) {
  result.required = 1e-9;
  Panel &equal_theta = result.plot.panels[0], &equal_state = result.plot.panels[1];
  const std::vector<double> fine = log_grid(0.01, v["largest"], 121), coarse = log_grid(0.01, v["largest"], 13);
  const auto note = [&](double predicted, double measured) {
    const double off = std::abs(measured / predicted - 1.0);
    result.agreement = larger_or_nan(result.agreement, off);
  };
  int color = 0;
  for (const double along : {1.0, 0.7071067811865476, 0.0}) {
    std::vector<double> y, dots;
    for (const double x : fine)
      y.push_back(theory::both_sides_flow_rate(both_sides(x, along)) /
                  theory::input_side_flow_rate(input_side(x, along)));
    for (const double x : coarse) {
      const theory::TwoSided both = both_sides(x, along), input = input_side(x, along);
      const double a = measured_rate(both, true), b = measured_rate(input, false);
      note(theory::both_sides_flow_rate(both), a);
      note(theory::input_side_flow_rate(input), b);
      dots.push_back(a / b);
    }
    const char* labels[] = {"gradient along θ", "45° to θ", "orthogonal to θ"};
    equal_theta.series.push_back(line(labels[color], fine, y, color));
    equal_theta.series.push_back(points("", coarse, dots, color));
    ++color;
  }
  equal_theta.series.push_back(line("equal rates", {fine.front(), fine.back()}, {1.0, 1.0}, 6, Series::Style::dashed));
  const double counter =
      theory::both_sides_flow_rate(both_sides(10.0, 0.0)) / theory::input_side_flow_rate(input_side(10.0, 0.0));
  equal_theta.series.push_back(points("θ = (10, 0), g = (0, 1)", {10.0}, {counter}, 5, 4));

  // Equal (W, v), u = 1: random maps.
  std::vector<double> sizes, flow_ratio, sign_ratio;
  const auto draws = v.whole("draws");
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  for (std::int64_t n = 0; n < draws; ++n) {
    theory::TwoSided m{4, 6, std::vector<double>(4, 1.0), {}, {}, {}};
    const double scale = std::pow(10.0, -2.0 + 3.0 * random_uniform(seed, 1, static_cast<std::uint64_t>(n)));
    for (std::uint64_t i = 0; i < 6; ++i)
      m.v.push_back(1.0 + 0.3 * random_normal(seed, 2, static_cast<std::uint64_t>(n) * 6 + i));
    for (std::uint64_t i = 0; i < 24; ++i) {
      m.w.push_back(scale * random_normal(seed, 3, static_cast<std::uint64_t>(n) * 24 + i));
      m.g.push_back(random_normal(seed, 4, static_cast<std::uint64_t>(n) * 24 + i));
    }
    note(theory::both_sides_flow_rate(m), measured_rate(m, true));
    sizes.push_back(scale);
    flow_ratio.push_back(theory::both_sides_flow_rate(m) / theory::input_side_flow_rate(m));
    sign_ratio.push_back(theory::both_sides_sign_rate(m) / theory::input_side_sign_rate(m));
  }
  equal_state.series = {points("flow", sizes, flow_ratio, 0), points("sign descent", sizes, sign_ratio, 1, 1),
                        line("equal rates", {0.01, 10.0}, {1.0, 1.0}, 6, Series::Style::dashed)};

  result.numbers = {{"counter", counter}};
}

}  // namespace

Figure figure_t7() {
  return {.id = "T7",
          .title = "Rate with scales on both sides of a map against the input side, with the counterexample",
          .formula = "−dL/dt = Σ(u_iv_jg_ij)² + Σ_i(Σ_jW_ijv_jg_ij)² + Σ_j(Σ_iu_iW_ijg_ij)²",
          .domain = "where u = 1, at equal (W, v) (`both_sides_faster_holds`); not along trajectories",
          .code = "theory/placement.hpp",
          .params = {{"largest", 100.0, 100.0, {1.0, 1e4}, "largest ‖θ‖"},
                     {"draws", 200, 600, Range::between(1, 1e5), "random maps", true},
                     {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the maps", true}},
          .heading = "Scales on both sides of a map (DP) against the input side",
          .caption =
              "−dL/dt with scales u, v on both sides of W against v alone. Right: at u = 1 and equal (W, v), as the "
              "paper's Theorem 3.1 compares them, both sides are never slower. Left: at equal θ, each design on its "
              "own trajectory (u² − w² = v² − w² = 1), gradients orthogonal to a large θ make it slower: the diamond "
              "is {counter:.2f} of the input side's rate. Lines: formulas; dots: differences of the loss along the "
              "flow. Largest relative difference {off:.1e}.",
          .panels = {panel("Equal θ, each on its own trajectory", "‖θ‖",
                           "rate with both sides / rate with the input side", Log::both),
                     panel("Equal (W, v), u = 1: random maps", "standard deviation of W",
                           "rate with both sides / rate with the input side", Log::x)},
          .layout = {.columns = 2, .panel_height = 440},
          .draw = draw_t7};
}

}  // namespace scalevec::experiments
