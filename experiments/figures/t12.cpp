#include <fmt/core.h>

#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/rotation_run.hpp"
#include "experiments/figures/series.hpp"
#include "experiments/figures/trained_runs.hpp"
#include "theory/scale_ratio.hpp"

// T12: Muon out of equilibrium, and beside scales that AdamW trains.
namespace scalevec::experiments {
namespace {

// A toy of n × n matrices that Muon trains, with scales that AdamW trains, if it has any.
nlohmann::json toy_config(nlohmann::json model, std::int64_t n, std::uint64_t seed, std::int64_t steps, double lr,
                          nlohmann::json muon, nlohmann::json scales) {
  model["rows"] = model["columns"] = n;
  muon.update({{"match", {{"kind", "matrix"}}}, {"method", "muon"}, {"precision", "auto"}});
  scales.update({{"match", {{"kind", "scale"}}}, {"method", "adamw"}, {"beta2", 0.99}});
  return {{"model", model},
          {"seed", seed},
          {"device", "cpu"},
          {"steps", steps},
          {"optimizer", {{"lr", lr}, {"rules", {muon, scales}}}}};
}

void draw_t12(const FigureValues& v, FigureResult& result) {
  const std::int64_t n = v.whole("size"), replicas = v.whole("replicas"), steps = v.whole("steps");
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
    const double settled = theory::settled_rotation(noise, {lr, lr * decay}).norm_sq;
    // Means over replicas, each of which starts at a length of its own.
    std::vector<theory::Turn> expected(rates.size(), {0.0, 0.0}), got = expected;
    const auto add = [&](std::vector<theory::Turn>& mean, std::size_t t, double norm_sq, double rotation) {
      mean[t].norm_sq += norm_sq / static_cast<double>(replicas);
      mean[t].rotation += rotation / static_cast<double>(replicas);
    };
    for (std::int64_t r = 0; r < replicas; ++r) {
      nlohmann::json config =
          toy_config({{"type", "scale_invariant"}, {"init_std", std::sqrt(3.0 * settled) / size}}, n,
                     seed + static_cast<std::uint64_t>(r), steps, lr,
                     {{"momentum", momentum}, {"weight_decay", decay}, {"decay_coupling", to_string(coupling)}},
                     nlohmann::json::object());
      config["schedule"] = {{"shape", "cosine"}, {"warmup_steps", schedule.warmup_steps}};
      const std::vector<TraceRow> rows = trained_runs().toy_traces(config, 0, 1).at(0);
      const std::vector<theory::Turn> own = theory::moving_rotation(noise, std::pow(rows.at(0).param_norm, 2), rates);
      for (std::size_t t = 0; t < rows.size(); ++t) {
        add(expected, t, own[t].norm_sq, own[t].rotation);
        add(got, t, std::pow(rows[t].param_norm, 2), rows[t].rotation);
      }
    }
    const char* label = coupling == DecayCoupling::lr ? "cosine, decay with the lr" : "cosine, decay lr2";
    const RotationError error =
        add_rotation_paths(norm, angle, label, expected, got, expected[0].norm_sq, 200, 25, color);
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
    const std::int64_t every = std::max<std::int64_t>(1, pair_steps / 12);
    const auto rows = trained_runs().toy_traces(
        toy_config({{"type", "placement"},
                    {"scales", "input"},
                    {"target", "diagonal"},
                    {"spread", 1.0},
                    {"initial_weight", 1.0},
                    {"init_std", 0.0},
                    {"sigma", sigma},
                    {"replicas", replicas}},
                   n, seed, pair_steps + 1, lr_w, {{"momentum", momentum}, {"weight_decay", decays}},
                   {{"lr_mult", multiplier}, {"weight_decay", decays}}),
        every, every);
    const std::size_t weight = rows.at(0).at(0).name == "map.weight" ? 0 : 1;
    std::vector<double> x = linear_grid(0.0, static_cast<double>(pair_steps), 81), y, at, dots;
    for (const double t : x) y.push_back(theory::ratio_after(flow, 1.0, t));
    for (std::size_t k = 0; k < rows[0].size(); ++k) {
      at.push_back(static_cast<double>(every * static_cast<std::int64_t>(k + 1)));
      dots.push_back(rows[weight][k].param_norm / rows[1 - weight][k].param_norm);
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
              "left and middle: a {size} × {size} matrix before a norm under the library's Muon (momentum "
              "{momentum:g}), gradient noise alone, warm-up and cosine with ληT = {horizon:g} from about 3 times the "
              "settled ‖W‖²: dots over the recursion of ‖W‖² with Muon's update noise, nρ per step and n²V in the "
              "long run. Right: each column w of such a matrix with a scale γ that AdamW trains, loss ½‖W diag(γ) − "
              "I‖² with gradient noise {sigma:g}, decay {pair_decay:g} on both, from ‖w‖ = γ. Their imbalance γ² − "
              "‖w‖² is not conserved: without noise ‖w‖ − Kγ is, K = η_W a/(τη_γ), and the noise drives the ratio "
              "along the line to [n_w/R + 2Kx_γ]/[Kn_γ/R + 2x_w]: a larger lr of γ lowers it. Dots: the LibTorch "
              "runs, {replicas} replicas. Off by at most {worst_norm:.3f} of ‖W‖², {worst_angle:.3f} of the angle "
              "(allowed 0.12; a small matrix is shorter than the formula for large n), {worst_ratio:.2f} in the "
              "ratio's logarithm (allowed 0.25); the verdict's number is the largest share of its allowance.",
          .panels = {panel("A matrix before a norm: squared length", "step", "‖W‖² / ‖W₀‖²", Log::y, kKeyBelow),
                     panel("Its rotation per step", "step", "angle (radians)", Log::y, kKeyBelow),
                     panel("Muon's columns beside AdamW's scales", "step", "‖w‖/γ", Log::y, kKeyBelow)},
          .layout = {.columns = 3, .panel_width = 520, .panel_height = 460},
          .draw = draw_t12};
}

}  // namespace scalevec::experiments
