#include <algorithm>
#include <cmath>
#include <utility>

#include "experiments/claims/levels.hpp"
#include "experiments/toys/toys.hpp"
#include "optim/config/json_reader.hpp"
#include "optim/core/random.hpp"
#include "theory/simulate/scaled_map.hpp"

// The toy level: a noisy quadratic in θ, reached through a matrix and scale vectors, on the replica simulator.
namespace scalevec::experiments {
namespace {

using nlohmann::json;

// ½ Σ_ij h_ij (θ_ij − R_ij)² + σ Σ_ij n_ij θ_ij, n fresh at every step, for many replicas side by side. h and R vary
// over columns and rows by so many decades and natural logarithms; R is normal with standard deviation `target`.
struct Problem {
  std::int64_t rows, columns, steps, replicas;
  double target, curvature_decades, row_spread, noise, init_std, decay;
  bool cosine;
  std::vector<double> lrs;
  std::string words;
};

// How θ is made of W: W, W diag(γ), two halves of the rows with a γ each, diag(u) W diag(v), γ as OR; or, of an
// output-norm scale, θ = γ alone, one row.
struct ToyVariant {
  std::string scale;
  double decay, decay_target, lr_mult;
  std::string words;
};

Problem read_problem(const json& value) {
  JsonReader in(value, "toy.problem");
  Problem p;
  p.rows = in.integer("rows", 8, Range::between(1, 4096));
  p.columns = in.integer("columns", 16, Range::between(1, 4096));
  p.steps = in.integer("steps", 1000, Range::between(8, 1e6));
  p.replicas = in.integer("replicas", 32, Range::between(4, 65536));
  p.target = in.number("target", 1.0, Range::above(0.0));
  p.curvature_decades = in.number("curvature_decades", 0.0, Range::at_least(0.0));
  p.row_spread = in.number("row_spread", 0.0, Range::at_least(0.0));
  p.noise = in.number("noise", 1.0, Range::at_least(0.0));
  p.init_std = in.number("init_std", 0.0, Range::at_least(0.0));
  p.decay = in.number("decay", 0.1, Range::at_least(0.0));
  p.cosine = in.choice("schedule", "cosine", {"cosine", "constant"}) == "cosine";
  for (const json& lr : in.value("lrs")) p.lrs.push_back(lr.get<double>());
  if (p.lrs.size() < 3) in.fail("lrs", "at least three learning rates");
  p.words = in.string("words");
  in.finish();
  return p;
}

ToyVariant read_variant(const json& value, const char* path) {
  JsonReader in(value, path);
  ToyVariant v;
  v.scale = in.choice("scale", {"none", "input", "branches", "both", "or", "output"});
  v.decay = in.number("decay", 0.0, Range::at_least(0.0));
  v.decay_target = in.number("decay_target", 0.0, Range::between(0, 1));
  v.lr_mult = in.number("lr_mult", 1.0, Range::above(0.0));
  v.words = in.string("words");
  in.finish();
  return v;
}

constexpr std::uint64_t kSeed = 1;

theory::SimulatedMap map_of(const Problem& p, const ToyVariant& v) {
  using Map = theory::SimulatedMap;
  Map map;
  map.rows = static_cast<std::size_t>(p.rows);
  map.columns = static_cast<std::size_t>(p.columns);
  if (v.scale == "none") map.input = Map::Input::none;
  if (v.scale == "branches") {
    map.input = Map::Input::own;
    map.branches = 2;
  }
  if (v.scale == "or") map.form = ScaleForm::original;
  map.output = v.scale == "both";
  if (v.scale == "output") {
    // γ alone, one element for each of θ, behind a W of ones that does not learn.
    map.frozen = true;
    map.columns *= std::exchange(map.rows, 1);
  }
  if (const std::string why = map.error(); !why.empty()) throw ConfigError("toy: " + why);
  return map;
}

// Replica k of a run at `lr`: problem and noise are the same at every lr and for every variant.
theory::MapReplica replica_of(const Problem& p, const ToyVariant& v, double lr, std::int64_t k) {
  theory::MapReplica r;
  const auto normal = [&](const char* what, std::size_t i) {
    return random_normal(kSeed, stream_of(what) + static_cast<std::uint64_t>(k), i);
  };
  const auto rows = static_cast<std::size_t>(p.rows), columns = static_cast<std::size_t>(p.columns);
  for (std::size_t i = 0; i < rows; ++i)
    for (std::size_t j = 0; j < columns; ++j) {
      const double share = columns == 1 ? 0.0 : static_cast<double>(j) / static_cast<double>(columns - 1);
      r.h.push_back(std::pow(10.0, -p.curvature_decades * share));
      r.target.push_back(p.target * normal("claim.target", i * columns + j) *
                         std::exp(p.row_spread * normal("claim.row", i)));
      r.initial_w.push_back(v.scale == "output" ? 1.0 : p.init_std * normal("claim.start", i * columns + j));
    }
  r.sigma = p.noise;
  r.noise = static_cast<std::uint64_t>(k);
  r.weights.lr = lr;
  r.weights.weight_decay = p.decay;
  if (p.cosine) r.weights.schedule.shape = Schedule::Shape::cosine;
  r.weights.schedule.total_steps = p.steps;
  r.scales = r.weights;
  r.scales.lr *= v.lr_mult;
  r.scales.weight_decay = v.decay;
  r.scales.decay_target = v.decay_target;
  return r;
}

struct Swept {
  std::vector<std::vector<double>> losses;  // per lr and replica: mean excess loss over the end of the run
  std::vector<double> tuning;               // mean over the first half
  std::size_t best = 0;
};

Swept sweep(const Problem& p, const ToyVariant& v) {
  const theory::SimulatedMap map = map_of(p, v);
  std::vector<theory::MapReplica> replicas;
  for (const double lr : p.lrs)
    for (std::int64_t k = 0; k < p.replicas; ++k) replicas.push_back(replica_of(p, v, lr, k));
  theory::MapOptions options;
  options.steps = p.steps;
  options.average_steps = p.cosine ? 1 : p.steps / 4;
  options.seed = kSeed;
  const std::vector<theory::MapResult> results = theory::simulate_scaled_map(map, replicas, options);
  Swept out;
  const std::int64_t half = p.replicas / 2;
  for (std::size_t at = 0; at < results.size();) {
    out.losses.emplace_back();
    double tuning = 0.0;
    for (std::int64_t k = 0; k < p.replicas; ++k, ++at) {
      out.losses.back().push_back(results[at].loss / static_cast<double>(p.rows * p.columns));
      if (k < half) tuning += out.losses.back().back() / static_cast<double>(half);
    }
    out.tuning.push_back(tuning);
    if (!(tuning >= out.tuning[out.best])) out.best = out.tuning.size() - 1;
  }
  return out;
}

json finite(const std::vector<double>& values) {
  json out = json::array();
  for (const double x : values) out.push_back(std::isfinite(x) ? json(x) : json());
  return out;
}

}  // namespace

json run_claim_toy(const ToyClaim& toy) {
  const Problem p = read_problem(toy.problem);
  const ToyVariant worse = read_variant(toy.worse, "toy.worse"), better = read_variant(toy.better, "toy.better");
  const Swept a = sweep(p, worse), b = sweep(p, better);
  std::vector<double> gains;
  for (auto k = static_cast<std::size_t>(p.replicas / 2); k < static_cast<std::size_t>(p.replicas); ++k)
    gains.push_back(std::log(a.losses[a.best][k] / b.losses[b.best][k]));
  return {{"lrs", p.lrs},
          {"worse", finite(a.tuning)},
          {"better", finite(b.tuning)},
          {"worse_lr", p.lrs[a.best]},
          {"better_lr", p.lrs[b.best]},
          {"gains", finite(gains)},
          {"words", p.words + " Worse by the claim: " + worse.words + "; better: " + better.words + "."}};
}

}  // namespace scalevec::experiments
