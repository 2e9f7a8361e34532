#include <algorithm>
#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "experiments/figures/trained_runs.hpp"
#include "theory/output_scale_decay.hpp"
#include "theory/simulate/output_scale.hpp"

// T5: where decay holds an output-norm scale, for three methods and two decay targets.
namespace scalevec::experiments {
namespace {

struct Method {
  const char* label;
  theory::SimulatedMethod rule;
  theory::DecayEquilibrium (*equilibrium)(const theory::OutputScaleDecay&);
  double (*rate)(const theory::OutputScaleDecay&);
};

constexpr Method kMethods[] = {
    {"flow (SGD)", theory::SimulatedMethod::sgd, theory::flow_equilibrium, theory::flow_relaxation_rate},
    {"AdamW", theory::SimulatedMethod::adamw, theory::adamw_equilibrium, theory::adamw_relaxation_rate},
    {"signSGD", theory::SimulatedMethod::signum, theory::sign_sgd_equilibrium, theory::sign_sgd_relaxation_rate}};
constexpr int kAdamW = 1;
constexpr int kGrey = 6;  // palette index of black
constexpr double kDecayTargets[] = {0.0, 1.0};

// One simulated point: which curve it belongs to and what it should be.
struct Point {
  int method = 0;
  double decay_target = 0.0, lambda = 0.0;
  theory::DecayEquilibrium predicted;
  double mean = 0.0, standard_error = 0.0;
};

struct Setting {
  explicit Setting(const FigureValues& v)
      : h(v["h"]),
        target(v["target"]),
        sigma(v["sigma"]),
        gamma0(v["gamma0"]),
        lr(v["lr"]),
        beta2(v["beta2"]),
        seed(static_cast<std::uint64_t>(v["seed"])) {}

  theory::OutputScaleDecay problem(double lambda, double decay_target) const {
    return {h, target, sigma, lambda, decay_target};
  }

  double h, target, sigma, gamma0, lr, beta2;
  std::uint64_t seed;
  std::int64_t steps = 0, average_steps = 0;
};

// Long enough for the slowest point: γ first moves by about lr a step, then the distance falls by e^-9, and the average
// runs over five relaxation times.
void set_length(Setting& s, const std::vector<Point>& points) {
  double slowest = INFINITY;
  for (const Point& p : points)
    slowest = std::min(slowest, kMethods[p.method].rate(s.problem(p.lambda, p.decay_target)));
  s.average_steps = static_cast<std::int64_t>(std::ceil(5.0 / (slowest * s.lr)));
  const double settling = std::abs(s.target - s.gamma0) + 9.0 / slowest;
  s.steps = s.average_steps + static_cast<std::int64_t>(std::ceil(settling / s.lr));
}

std::vector<Point> grid_points(const Setting& s, const std::vector<double>& lambdas) {
  std::vector<Point> points;
  for (int m = 0; m < static_cast<int>(std::size(kMethods)); ++m)
    for (const double decay_target : kDecayTargets)
      for (const double lambda : lambdas)
        points.push_back({m, decay_target, lambda, kMethods[m].equilibrium(s.problem(lambda, decay_target))});
  return points;
}

theory::OutputScaleCell cell_of(const Setting& s, const Point& p) {
  theory::SimulatedRule rule;
  rule.method = kMethods[p.method].rule;
  rule.lr = s.lr;
  rule.weight_decay = p.lambda;
  rule.decay_target = p.decay_target;
  rule.beta2 = s.beta2;
  return {{s.h, s.target, s.sigma, s.gamma0}, rule};
}

theory::SimulationOptions options_of(const Setting& s, std::int64_t replicas) {
  theory::SimulationOptions options;
  options.steps = s.steps;
  options.replicas = replicas;
  options.average_steps = s.average_steps;
  options.seed = s.seed;
  return options;
}

void simulate(std::vector<Point>& points, const Setting& s, std::int64_t replicas) {
  std::vector<theory::OutputScaleCell> cells;
  for (const Point& p : points) cells.push_back(cell_of(s, p));
  const std::vector<theory::OutputScaleResult> results = theory::simulate_output_scale(cells, options_of(s, replicas));
  for (size_t i = 0; i < points.size(); ++i) {
    points[i].mean = results[i].gamma_mean;
    points[i].standard_error = results[i].gamma_stderr;
  }
}

// AdamW through LibTorch on every third λ, from the second.
std::vector<Point> torch_points(const std::vector<Point>& simulated, const Setting& s, size_t lambdas,
                                std::int64_t replicas) {
  std::vector<Point> points;
  for (size_t i = 0; i < simulated.size(); ++i) {
    if (simulated[i].method != kAdamW || i % lambdas % 3 != 1) continue;
    Point p = simulated[i];
    const theory::OutputScaleResult result = trained_runs().run_toy(cell_of(s, p), options_of(s, replicas));
    p.mean = result.gamma_mean;
    p.standard_error = result.gamma_stderr;
    points.push_back(p);
  }
  return points;
}

// The largest relative difference of γ∞, NaN if one is.
double worst(std::vector<Point> points, const std::vector<Point>& more) {
  points.insert(points.end(), more.begin(), more.end());
  double most = 0.0;
  for (const Point& p : points)
    most = larger_or_nan(most, std::abs(p.mean - p.predicted.gamma) / std::abs(p.predicted.gamma));
  return most;
}

// What a panel draws of γ∞.
using Quantity = double (*)(const Setting&, double gamma);

double gamma_itself(const Setting&, double gamma) { return gamma; }
double excess_loss(const Setting& s, double gamma) { return 0.5 * s.h * (gamma - s.target) * (gamma - s.target); }

void add_lines(Panel& panel, const Setting& s, const std::vector<double>& lambdas, Quantity quantity) {
  for (int m = 0; m < static_cast<int>(std::size(kMethods)); ++m)
    for (const double decay_target : kDecayTargets) {
      Series line;
      line.label = std::string(kMethods[m].label) + (decay_target == 0.0 ? ", decay to 0" : ", decay to 1");
      line.style = decay_target == 0.0 ? Series::Style::line : Series::Style::dashed;
      line.color = m;
      for (const double lambda : lambdas) {
        line.x.push_back(lambda);
        line.y.push_back(quantity(s, kMethods[m].equilibrium(s.problem(lambda, decay_target)).gamma));
      }
      panel.series.push_back(line);
    }
}

void add_points(Panel& panel, const Setting& s, const std::vector<Point>& points, Quantity quantity, int marker,
                const char* label) {
  Series key;  // one entry for the markers of every colour
  key.label = label;
  key.style = Series::Style::points;
  key.color = kGrey;
  key.marker = marker;
  panel.series.push_back(key);
  for (int m = 0; m < static_cast<int>(std::size(kMethods)); ++m) {
    Series marks;
    marks.style = Series::Style::points;
    marks.color = m;
    marks.marker = marker;
    for (const Point& p : points) {
      if (p.method != m) continue;
      const double low = quantity(s, p.mean - 1.96 * p.standard_error);
      const double high = quantity(s, p.mean + 1.96 * p.standard_error);
      marks.x.push_back(p.lambda);
      marks.y.push_back(quantity(s, p.mean));
      marks.y_low.push_back(std::min(low, high));
      marks.y_high.push_back(std::max(low, high));
    }
    panel.series.push_back(marks);
  }
}

void draw_t5(const FigureValues& values, FigureResult& result) {
  Setting s(values);
  const auto points_per_curve = values.whole("points");
  const double low = values["lambda_min"], high = values["lambda_max"];
  if (!(low < high)) throw UsageError("--set lambda_min: must be below lambda_max");
  std::vector<Point> simulated = grid_points(s, log_grid(low, high, points_per_curve));
  set_length(s, simulated);
  simulate(simulated, s, values.whole("replicas"));
  const std::vector<Point> torch =
      torch_points(simulated, s, static_cast<size_t>(points_per_curve), values.whole("torch_replicas"));

  result.agreement = worst(simulated, torch);
  result.required = 0.005;

  const std::vector<double> fine = log_grid(low, high, 81);
  for (Panel& panel : result.plot.panels) {
    const Quantity quantity = &panel == &result.plot.panels[0] ? gamma_itself : excess_loss;
    add_lines(panel, s, fine, quantity);
    add_points(panel, s, torch, quantity, 3, "LibTorch run (AdamW)");
    add_points(panel, s, simulated, quantity, 0, "simulation");
  }

  result.numbers = {{"steps", s.steps}};
}

}  // namespace

Figure figure_t5() {
  return {.id = "T5",
          .title = "Weight decay on an output-norm scale: γ∞ and the excess loss against λ",
          .formula = "h(γ* − γ)/√(h²(γ* − γ)² + σ²) = λγ (AdamW)",
          .domain = "no later weight compensates the scale; small lr",
          .code = "theory/output_scale_decay.hpp",
          .params = {{"h", 1.0, 1.0, Range::above(0.0), "curvature"},
                     {"target", 2.0, 2.0, Range::above(0.0), "γ*, the minimum without decay"},
                     {"sigma", 1.5, 1.5, {1e-3, 20.0}, "standard deviation of the gradient noise"},
                     {"gamma0", 1.0, 1.0, {}, "initial γ"},
                     {"lambda_min", 0.01, 0.01, Range::above(0.0), "least weight decay"},
                     {"lambda_max", 3.0, 3.0, Range::above(0.0), "largest weight decay"},
                     {"points", 8, 14, Range::between(2, 100), "simulated weight decays per curve", true},
                     // Quick: the largest relative standard error is an eighth of the allowance.
                     {"replicas", 512, 8192, Range::between(2, 1000000), "replicas of the batched simulation", true},
                     {"torch_replicas", 512, 2048, Range::between(2, 1000000), "replicas of the LibTorch run", true},
                     {"lr", 2e-3, 5e-4, {0.0, 1.0, true, false}, "learning rate"},
                     {"beta2", 0.999, 0.9995, Range::below(0.0, 1.0), "AdamW's β₂"},
                     {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the noise", true}},
          .heading = "Weight decay on an output-norm scale",
          .caption =
              "an output-norm scale γ with loss ½h(γ − γ*)² under gradient noise σ settles at γ∞, short of γ* by what "
              "decay λ takes. Lines: closed forms for the flow, AdamW and signSGD; discs: batched simulation with the "
              "library's update rules; squares: the same toy trained by the library's LibTorch AdamW; bars: 95 %. "
              "Near γ* the pull of AdamW is 1/σ times the flow's and that of signSGD √(2/π)/σ times: a weaker pull "
              "makes the same λ cost more. Decay to 1 (dashed) harms less than decay to 0 wherever γ* > ½. h = {h:g}, "
              "γ* = {target:g}, "
              "σ = {sigma:g}, lr = {lr:g}, β₂ = {beta2:g}, {replicas} replicas, {steps} steps. Largest relative "
              "difference of γ∞: {off:.4f}.",
          .panels = {panel("Where the scale settles", "weight decay λ (per unit of learning rate)", "γ∞", Log::x),
                     // The same curves as beside it: no key.
                     panel("What it costs", "weight decay λ (per unit of learning rate)", "excess loss  ½h(γ∞ − γ*)²",
                           Log::both, "off")},
          .layout = {.columns = 2, .panel_height = 440},
          .draw = draw_t5};
}

}  // namespace scalevec::experiments
