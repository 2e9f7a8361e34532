#include <fmt/core.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <map>
#include <string>
#include <thread>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/phase.hpp"
#include "experiments/figures/series.hpp"
#include "experiments/figures/trained_runs.hpp"
#include "optim/core/random.hpp"
#include "theory/muon.hpp"

// M1: scales around a map that Muon trains, over the spread of the target's rows and the gradient noise.
namespace scalevec::experiments {
namespace {

constexpr double kMomentum = 0.95;  // Muon's default

struct Problem {
  std::int64_t size, replicas, steps;
  std::uint64_t seed;
  std::string target;  // full or rank_one
  double spread, sigma;
};

// Learning rates on a ladder: of the matrix, by factors of 2, and of the scales relative to it, by factors of 4.
struct Rates {
  int matrix = 0, scales = 0;
  auto operator<=>(const Rates&) const = default;
};

double final_loss(const Problem& p, const std::string& scales, const Rates& at) {
  return trained_runs().toy_excess(
      {{"model",
        {{"type", "placement"},
         {"rows", p.size},
         {"columns", p.size},
         {"replicas", p.replicas},
         {"scales", scales},
         {"target", p.target},
         {"spread", p.spread},
         {"sigma", p.sigma}}},
       {"seed", p.seed},
       {"device", "cpu"},
       {"steps", p.steps},
       {"schedule", {{"shape", "linear"}}},
       {"optimizer",
        {{"lr", 0.08 * std::pow(2.0, at.matrix)},
         {"rules",
          {{{"match", {{"kind", "matrix"}}}, {"method", "muon"}, {"momentum", kMomentum}, {"precision", "auto"}},
           {{"match", {{"kind", "scale"}}}, {"method", "adamw"}, {"lr_mult", std::pow(4.0, at.scales)}}}}}}});
}

// The least final loss over both learning rates, by steps downhill on the ladder from `at`, which becomes the best.
double best_loss(const Problem& p, const std::string& scales, Rates& at) {
  std::map<Rates, double> known;
  const auto loss = [&](const Rates& r) {
    const auto [it, fresh] = known.try_emplace(r, 0.0);
    if (fresh) it->second = final_loss(p, scales, r);
    return it->second;
  };
  for (bool moved = true; moved;) {
    moved = false;
    for (const Rates step : {Rates{1, 0}, Rates{-1, 0}, Rates{0, 1}, Rates{0, -1}}) {
      if (step.scales != 0 && scales == "none") continue;
      for (;;) {
        const Rates next{at.matrix + step.matrix, at.scales + step.scales};
        if (std::abs(next.matrix) > 12 || std::abs(next.scales) > 3 || !(loss(next) < loss(at))) break;
        at = next;
        moved = true;
      }
    }
  }
  return loss(at);
}

struct Cell {
  double none = 0.0, input = 0.0, both = 0.0;
};

std::vector<double> row_scales(std::int64_t size, double spread) {
  std::vector<double> s;
  for (std::int64_t i = 0; i < size; ++i)
    s.push_back(std::pow(spread, static_cast<double>(i) / static_cast<double>(size - 1) - 0.5));
  return s;
}

// ‖θ*‖₂ and ½‖θ*‖² of the full-rank targets that the toy draws, means over replicas.
struct TargetSize {
  double largest = 0.0, loss = 0.0;
};
TargetSize target_size(const Problem& p) {
  const auto n = static_cast<std::size_t>(p.size), copies = static_cast<std::size_t>(p.replicas);
  const std::vector<double> s = row_scales(p.size, p.spread);
  TargetSize out;
  for (std::size_t r = 0; r < copies; ++r) {
    std::vector<double> theta(n * n), x(n, 1.0);
    for (std::size_t k = 0; k < n * n; ++k) {
      theta[k] = s[k / n] * random_normal(p.seed, stream_of("toy.target"), r * n * n + k);
      out.loss += 0.5 * theta[k] * theta[k] / static_cast<double>(copies);
    }
    double norm = 0.0;  // of θᵀθx/‖x‖, by power iteration
    for (int iteration = 0; iteration < 300; ++iteration) {
      std::vector<double> y(n, 0.0), z(n, 0.0);
      for (std::size_t k = 0; k < n * n; ++k) y[k / n] += theta[k] * x[k % n];
      for (std::size_t k = 0; k < n * n; ++k) z[k % n] += theta[k] * y[k / n];
      norm = 0.0;
      for (const double e : z) norm += e * e;
      norm = std::sqrt(norm);
      for (std::size_t j = 0; j < n; ++j) x[j] = z[j] / norm;
    }
    out.largest += std::sqrt(norm) / static_cast<double>(copies);
  }
  return out;
}

// The final loss without scales at the least lr that arrives, and whether noise is above the signal then, as the
// formula wants.
struct Predicted {
  double loss = 0.0;
  bool noisy = false;
};
Predicted predict(const Problem& p, const TargetSize& target) {
  const auto n = static_cast<double>(p.size), steps = static_cast<double>(p.steps);
  const double lr = 2.0 * target.largest / steps;
  return {theory::muon_linear_schedule_loss(n, kMomentum, p.sigma, 1.0, lr, steps),
          theory::muon_error_to_noise(n, kMomentum, p.sigma, 1.0, lr, steps) < 1.0};
}

void draw_m1(const FigureValues& v, FigureResult& result) {
  const Problem base{
      v.whole("size"), v.whole("replicas"), v.whole("steps"), static_cast<std::uint64_t>(v["seed"]), "full", 1.0, 1.0};
  const auto grid = static_cast<std::size_t>(v.whole("grid"));
  const std::vector<double> spreads = log_grid(1.0, v["spread"], v.whole("grid")),
                            sigmas = log_grid(0.05, 20.0, v.whole("grid"));
  const std::string targets[] = {"full", "rank_one"};
  const auto problem = [&](std::size_t target, std::size_t i, std::size_t j) {
    Problem p = base;
    p.target = targets[target];
    p.spread = spreads[i];
    p.sigma = sigmas[j];
    return p;
  };
  std::vector<Cell> cells[] = {std::vector<Cell>(grid * grid), std::vector<Cell>(grid * grid)};
  // A worker takes a column of a diagram, along which the best rates change little.
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t column; (column = next++) < 2 * grid;) {
      Rates none, input, both;
      for (std::size_t j = 0; j < grid; ++j) {
        const Problem p = problem(column / grid, column % grid, j);
        cells[column / grid][j * grid + column % grid] = {best_loss(p, "none", none), best_loss(p, "input", input),
                                                          best_loss(p, "both", both)};
      }
    }
  };
  std::vector<std::thread> workers;
  for (unsigned t = 0; t < static_cast<unsigned>(v.threads); ++t) workers.emplace_back(work);
  for (std::thread& t : workers) t.join();

  result.required = std::log(2.0);
  const double cap = std::log(4.0);
  for (std::size_t target = 0; target < 2; ++target) {
    std::vector<double> value;
    for (const Cell& c : cells[target]) value.push_back(std::clamp(std::log(c.none / c.both), -cap, cap));
    add_measured(result.plot.panels[target], spreads, sigmas, value);
  }

  // The loss without scales, where the noise leaves something to learn, and what the placements gain there.
  Panel &loss = result.plot.panels[2], &gain = result.plot.panels[3];
  double squares = 0.0;
  std::int64_t counted = 0;
  std::vector<double> derived, both_gain, input_gain, drowned;
  int color = 0;
  for (std::size_t i = 0; i < grid; ++i) {
    const TargetSize size = target_size(problem(0, i, 0));
    std::vector<double> x, measured, line_y;
    double both = 0.0, input = 0.0;
    for (std::size_t j = 0; j < grid; ++j) {
      const Cell& c = cells[0][j * grid + i];
      const Predicted predicted = predict(problem(0, i, j), size);
      if (predicted.loss > 0.25 * size.loss) continue;
      x.push_back(sigmas[j]);
      measured.push_back(c.none);
      line_y.push_back(predicted.noisy ? predicted.loss : NAN);
      both += std::log(c.none / c.both);
      input += std::log(c.none / c.input);
      if (!predicted.noisy) continue;
      squares += std::pow(std::log(c.none / predicted.loss), 2);
      ++counted;
    }
    const auto n = static_cast<double>(x.size());
    both_gain.push_back(std::exp(both / n));
    input_gain.push_back(std::exp(input / n));
    double roots = 0.0;
    const std::vector<double> s = row_scales(base.size, spreads[i]);
    for (const double e : s) roots += std::sqrt(e / s.back()) / static_cast<double>(s.size());
    derived.push_back(1.0 / roots);
    // The formula's σ at which it equals the loss at the start: it goes as σ^1.5.
    Problem unit = problem(0, i, 0);
    unit.sigma = 1.0;
    drowned.push_back(std::pow(size.loss / predict(unit, size).loss, 2.0 / 3.0));
    if (i != 0 && i != grid / 2 && i + 1 != grid) continue;
    loss.series.push_back(line("", x, line_y, color));
    loss.series.push_back(points(fmt::format("spread {:.3g} (line: derived)", spreads[i]), x, measured, color));
    ++color;
  }
  for (double& d : drowned) d = d > sigmas.back() * 1.5 || d < sigmas.front() ? NAN : d;
  result.plot.panels[0].series.push_back(
      line("derived: noise drowns the target", spreads, drowned, 2, Series::Style::dashed));
  gain.series = {points("both sides (DP)", spreads, both_gain, 0), points("input side", spreads, input_gain, 1, 2),
                 line("derived: every row at its own rate", spreads, derived, 0),
                 line("no gain", {spreads.front(), spreads.back()}, {1.0, 1.0}, 6, Series::Style::dashed)};
  result.agreement = std::sqrt(squares / static_cast<double>(counted));

  // The least misclassifying constant σ on the rank-one diagram, where noise turns a loss by DP into a gain.
  double fitted = sigmas.front();
  std::size_t fewest = grid * grid + 1, losing = 0;
  for (std::size_t cut = 0; cut <= grid; ++cut) {
    std::size_t wrong = 0;
    for (std::size_t j = 0; j < grid; ++j)
      for (std::size_t i = 0; i < grid; ++i)
        wrong += (cells[1][j * grid + i].none > cells[1][j * grid + i].both) != (j >= cut);
    if (wrong >= fewest) continue;
    fewest = wrong;
    fitted = cut == 0 || cut == grid ? NAN : std::sqrt(sigmas[cut - 1] * sigmas[cut]);
  }
  for (const Cell& c : cells[0]) losing += c.both > 1.05 * c.none;
  if (!std::isnan(fitted))
    result.plot.panels[1].series.push_back(
        line("fitted: constant σ", {spreads.front(), spreads.back()}, {fitted, fitted}, 2, Series::Style::dashed));

  result.numbers = {{"losing", losing}, {"cells", grid * grid}, {"fitted", fitted}, {"fewest", fewest}};
}

Panel spread_panel_muon(const std::string& title) {
  return phase_panel(title, "spread of the target's rows", "gradient noise σ", "ln(loss without scales / both sides)",
                     std::log(4.0));
}

}  // namespace

Figure figure_m1() {
  return {
      .id = "M1",
      .title =
          "Muon: final loss with scales on both sides of a map, one side and none, over row-scale spread and noise",
      .formula = "½n²V(√π/4)(τσ/a)^1.5 √(lr/steps), a = (8/3π)/√n, for κ lr T ≫ 1; at any horizon its integral",
      .domain =
          "noise above the signal, n large, exact polar factor (`muon_linear_schedule_holds`); within a factor of 2",
      .code = "theory/muon.hpp",
      .params = {{"grid", 4, 9, Range::between(3, 100), "cells per axis", true},
                 {"size", 8, 8, Range::between(2, 256), "rows and columns of the map", true},
                 {"steps", 200, 200, Range::between(10, 1e6), "steps of a run", true},
                 {"replicas", 1, 4, Range::between(1, 1024), "replicas", true},
                 {"spread", 1000.0, 1000.0, {2.0, 1e6}, "largest spread of the row scales"},
                 {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of targets, start and noise", true}},
      .heading = "Scales around a map that Muon trains",
      .caption =
          "a {size} × {size} map trained by the library's Muon, its scales by AdamW, toward targets whose rows spread "
          "geometrically, under gradient noise, {steps} steps with a learning rate that falls linearly to 0; every "
          "design at its own best learning rates of matrix and scales. Above: scales on both sides (DP) against none; "
          "red: DP ends lower. Muon gives every row of the map the same step; u turns it into a step of each row's "
          "own. For full rank DP gains with the spread and ties without one, up to the noise at which nothing is "
          "learned (dashed, derived); it is larger by more than 5 % in {losing} of {cells} cells. For rank one it "
          "loses at low noise; the boundary is fitted only: σ = {fitted:.2g}, {fewest} of {cells} cells on its wrong "
          "side. Below left: the final loss without scales, ½n²V(√π/4)(τσ/a)^1.5 √(lr/steps) with lr = 2‖θ*‖/steps "
          "(derived for n large; drawn where the error is below the noise). Below right: geometric means over the "
          "cells that learn; the line is derived from that √lr for rows that each take their own rate, mean "
          "√(s_i/s_max). Root mean square of the logarithm of measured over derived loss: {off:.2f}.",
      .panels = {spread_panel_muon("Target of full rank"), spread_panel_muon("Target of rank one"),
                 panel("Final loss without scales, full rank", "gradient noise σ", "loss", Log::both),
                 panel("Gain at each one's best rates, full rank", "spread of the target's rows",
                       "loss without scales / with", Log::both)},
      .layout = {.columns = 2, .panel_width = 600, .panel_height = 430},
      .draw = draw_m1};
}

}  // namespace scalevec::experiments
