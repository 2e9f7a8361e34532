#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/rotation_run.hpp"
#include "experiments/figures/series.hpp"
#include "optim/core/random.hpp"
#include "theory/scale_ratio.hpp"
#include "theory/simulate/batch_optimizer.hpp"

// T12: Muon out of equilibrium, and beside scales that AdamW trains.
namespace scalevec::experiments {
namespace {

// An n × n matrix under Muon with Nesterov's momentum and its five quintic steps, by plain loops: the library's is held
// against PyTorch's by tests of its own, and M2 trains it.
class MuonMatrix {
 public:
  MuonMatrix(std::size_t n, double momentum) : n_(n), momentum_(momentum), mean_(n * n, 0.0) {}

  // The orthogonalised update for gradient g.
  const std::vector<double>& update(const std::vector<double>& g) {
    u_.resize(n_ * n_);
    double square = 0.0;
    for (std::size_t i = 0; i < u_.size(); ++i) {
      mean_[i] = momentum_ * mean_[i] + (1.0 - momentum_) * g[i];
      u_[i] = (1.0 - momentum_) * g[i] + momentum_ * mean_[i];
      square += u_[i] * u_[i];
    }
    for (double& x : u_) x /= std::sqrt(square);
    for (int step = 0; step < 5; ++step) {
      const std::vector<double> gram = product(u_, u_, true), twice = product(gram, gram, false);
      std::vector<double> factor(n_ * n_);
      for (std::size_t i = 0; i < factor.size(); ++i) factor[i] = -4.7750 * gram[i] + 2.0315 * twice[i];
      const std::vector<double> moved = product(factor, u_, false);
      for (std::size_t i = 0; i < u_.size(); ++i) u_[i] = 3.4445 * u_[i] + moved[i];
    }
    return u_;
  }

 private:
  // AB, or ABᵀ.
  std::vector<double> product(const std::vector<double>& a, const std::vector<double>& b, bool transposed) const {
    std::vector<double> out(n_ * n_, 0.0);
    for (std::size_t i = 0; i < n_; ++i)
      for (std::size_t k = 0; k < n_; ++k)
        for (std::size_t j = 0; j < n_; ++j)
          out[i * n_ + j] += a[i * n_ + k] * (transposed ? b[j * n_ + k] : b[k * n_ + j]);
    return out;
  }

  std::size_t n_;
  double momentum_;
  std::vector<double> mean_, u_;
};

void draw_t12(const FigureValues& v, FigureResult& result) {
  const auto n = static_cast<std::size_t>(v.whole("size")), replicas = static_cast<std::size_t>(v.whole("replicas"));
  const auto steps = v.whole("steps");
  const double size = static_cast<double>(n), momentum = v["momentum"], lr = v["lr"];
  const auto seed = static_cast<std::uint64_t>(v["seed"]);
  const theory::Orthogonalised by = theory::quintic_steps(static_cast<int>(n));
  result.required = 1.0;
  Panel &norm = result.plot.panels[0], &angle = result.plot.panels[1], &ratio = result.plot.panels[2];
  double worst_norm = 0.0, worst_angle = 0.0, worst_ratio = 0.0;
  const theory::UpdateNoise noise = theory::muon_update_noise(size, momentum, by);
  const double decay = v["horizon"] / (lr * static_cast<double>(steps));
  int color = 0;
  for (const DecayCoupling coupling : {DecayCoupling::lr, DecayCoupling::lr2}) {
    Schedule schedule;
    schedule.shape = Schedule::Shape::cosine;
    schedule.total_steps = steps;
    schedule.warmup_steps = steps / 10;
    const std::vector<theory::StepRate> rates = theory::step_rates(schedule, lr, decay, coupling, steps);
    const double start = 3.0 * theory::settled_rotation(noise, {lr, lr * decay}).norm_sq;
    const std::vector<theory::Turn> expected = theory::moving_rotation(noise, start, rates);
    std::vector<theory::Turn> got(rates.size(), {0.0, 0.0});  // means over replicas
    for (std::size_t r = 0; r < replicas; ++r) {
      MuonMatrix muon(n, momentum);
      const auto step = [&](std::vector<double>& w, const std::vector<double>& g, std::int64_t t) {
        const theory::StepRate& rate = rates[static_cast<std::size_t>(t)];
        const std::vector<double>& u = muon.update(g);
        for (std::size_t i = 0; i < w.size(); ++i) w[i] = (1.0 - rate.decay) * w[i] - rate.lr * u[i];
      };
      const std::vector<theory::Turn> turns =
          rotation_by(step, n * n, start, steps, seed, 20 * r + 2 * static_cast<std::uint64_t>(color));
      for (std::size_t t = 0; t < turns.size(); ++t) {
        got[t].norm_sq += turns[t].norm_sq / static_cast<double>(replicas);
        got[t].rotation += turns[t].rotation / static_cast<double>(replicas);
      }
    }
    const char* label = coupling == DecayCoupling::lr ? "cosine, decay with the lr" : "cosine, decay lr2";
    const RotationError error = add_rotation_paths(norm, angle, label, expected, got, start, 200, 25, color);
    worst_norm = larger_or_nan(worst_norm, error.norm_sq);
    worst_angle = larger_or_nan(worst_angle, error.rotation);
    ++color;
  }

  // γw = R on the diagonal, W by Muon, the scales of its columns by AdamW at lrs relative to Muon's.
  const double lr_w = v["lr_pair"], sigma = v["sigma"];
  const auto pair_steps = v.whole("pair_steps");
  color = 0;
  for (const double multiplier : {0.25, 1.0, 4.0}) {
    theory::RatioNormalised pair = theory::muon_pair(size, momentum, by, 1.0, lr_w, multiplier * lr_w);
    const double decays = v["pair_decay"];
    pair.decay_w = decays * lr_w;
    pair.decay_gamma = decays * multiplier * lr_w;
    const theory::RatioFlow flow = theory::normalised_ratio(pair);
    std::vector<double> squares, scales, at;
    for (std::size_t r = 0; r < replicas; ++r) {
      MuonMatrix muon(n, momentum);
      theory::SimulatedRule rule;
      rule.lr = multiplier * lr_w;
      rule.weight_decay = decays;
      rule.beta2 = 0.99;
      theory::BatchOptimizer optimizer(rule, n);
      std::vector<double> w(n * n, 0.0), gamma(n, 1.0), g(n * n), along(n);
      for (std::size_t i = 0; i < n; ++i) w[i * n + i] = 1.0;
      std::size_t k = 0;
      for (std::int64_t t = 0; t < pair_steps; ++t) {
        std::fill(along.begin(), along.end(), 0.0);
        for (std::size_t i = 0; i < n; ++i)
          for (std::size_t j = 0; j < n; ++j) {
            const std::size_t e = i * n + j;
            const double noise_here = random_normal(seed, 1000 + r, static_cast<std::uint64_t>(t) * n * n + e);
            const double grad = gamma[j] * w[e] - (i == j ? 1.0 : 0.0) + sigma * noise_here;
            along[j] += w[e] * grad;
            g[e] = gamma[j] * grad;
          }
        const std::vector<double>& u = muon.update(g);
        for (std::size_t e = 0; e < w.size(); ++e) w[e] -= lr_w * u[e] + pair.decay_w * w[e];
        optimizer.step(gamma.data(), along.data());
        if ((t + 1) % std::max<std::int64_t>(1, pair_steps / 12) != 0) continue;
        if (r == 0) {
          at.push_back(static_cast<double>(t + 1));
          squares.push_back(0.0);
          scales.push_back(0.0);
        }
        for (const double x : w) squares[k] += x * x;
        for (const double x : gamma) scales[k] += x * x;
        ++k;
      }
    }
    std::vector<double> x = linear_grid(0.0, static_cast<double>(pair_steps), 81), y, dots;
    for (const double t : x) y.push_back(theory::ratio_after(flow, 1.0, t));
    for (std::size_t k = 0; k < at.size(); ++k) {
      dots.push_back(std::sqrt(squares[k] / scales[k]));
      worst_ratio = larger_or_nan(worst_ratio, std::abs(std::log(dots.back() / theory::ratio_after(flow, 1.0, at[k]))));
    }
    ratio.series.push_back(line(
        fmt::format("γ's lr {:g} of Muon's: ends at {:.3g}", multiplier, theory::settled_ratio(flow)), x, y, color));
    ratio.series.push_back(points("", at, dots, color));
    ++color;
  }
  show_three_decades(angle);
  result.agreement = larger_or_nan(larger_or_nan(worst_norm, worst_angle) / 0.12, worst_ratio / 0.25);
  result.numbers = {{"worst_norm", worst_norm}, {"worst_angle", worst_angle}, {"worst_ratio", worst_ratio}};
}

}  // namespace

Figure figure_t12() {
  return {.id = "T12",
          .title = "Muon through warm-up and cosine, and the ratio ‖w‖/γ of its columns to scales under AdamW",
          .formula =
              "the same with Muon's updates; beside AdamW's γ d ln q/dn = [n_w/R + 2Kx_γ − q(Kn_γ/R + 2x_w)]/(K + q), "
              "q = ‖w‖/γ, K = η_Wa/(τη_γ)",
          .domain = "gradient noise well above the gradient, n large (`normalised_ratio_holds`)",
          .code = "theory/scale_ratio.hpp",
          .params = {{"size", 12, 16, Range::between(4, 128), "n, rows and columns", true},
                     {"replicas", 4, 16, Range::between(1, 1024), "replicas", true},
                     {"steps", 500, 1000, Range::between(25, 1e6), "steps of the matrix before a norm", true},
                     {"lr", 0.03, 0.03, {0.0, 1.0, true, false}, "Muon's peak lr there"},
                     {"horizon", 3.0, 3.0, {1e-3, 100.0}, "ληT there"},
                     {"momentum", 0.9, 0.9, Range::below(0.0, 1.0), "Muon's momentum"},
                     {"pair_steps", 2400, 4800, Range::between(12, 1e7), "steps of the pair", true},
                     {"lr_pair", 0.012, 0.012, {1e-5, 0.1}, "Muon's lr there"},
                     {"pair_decay", 0.01, 0.01, {0.0, 1.0}, "decay λ of both per unit of lr there"},
                     {"sigma", 0.25, 0.25, {0.01, 10.0}, "gradient noise there"},
                     {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the noise", true}},
          .heading = "Muon while the learning rate moves, and Muon beside AdamW's scales",
          .caption =
              "left and middle: a {size} × {size} matrix before a norm under Muon (momentum {momentum:g}, five quintic "
              "steps, plain loops), gradient noise alone, warm-up and cosine with ληT = {horizon:g} from 3 times the "
              "settled ‖W‖²: dots over the recursion of ‖W‖² with Muon's update noise, nρ per step and n²V in the long "
              "run. Right: each column w of such a matrix with a scale γ that AdamW trains, loss ½‖W diag(γ) − I‖² "
              "with gradient noise {sigma:g}, decay {pair_decay:g} on both, from ‖w‖ = γ. Their imbalance γ² − ‖w‖² is "
              "not conserved: without noise ‖w‖ − Kγ is, K = η_W a/(τη_γ), and the noise drives the ratio along the "
              "line to [n_w/R + 2Kx_γ]/[Kn_γ/R + 2x_w]: a larger lr of γ lowers it. Dots: {replicas} replicas. Off by "
              "at most {worst_norm:.3f} of ‖W‖², {worst_angle:.3f} of the angle (allowed 0.12; a small matrix is "
              "shorter than the formula for large n), {worst_ratio:.2f} in the ratio's logarithm (allowed 0.25); the "
              "verdict's number is the largest share of its allowance.",
          .panels = {panel("A matrix before a norm: squared length", "step", "‖W‖² / ‖W₀‖²", Log::y, kKeyBelow),
                     panel("Its rotation per step", "step", "angle (radians)", Log::y, kKeyBelow),
                     panel("Muon's columns beside AdamW's scales", "step", "‖w‖/γ", Log::y, kKeyBelow)},
          .layout = {.columns = 3, .panel_width = 520, .panel_height = 460},
          .draw = draw_t12};
}

}  // namespace scalevec::experiments
