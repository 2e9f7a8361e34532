#include <algorithm>
#include <cmath>
#include <random>
#include <vector>

#include "tests/support/catch.hpp"
#include "theory/branches.hpp"
#include "theory/flow.hpp"
#include "theory/input_scale_decay.hpp"
#include "theory/magnitude_direction.hpp"
#include "theory/simulate/batch_optimizer.hpp"
#include "theory/simulate/replica_optimizer.hpp"
#include "theory/simulate/scaled_map.hpp"

// Values that the theory states, found again by simulation. Seeded: each passes or fails for good.
using namespace scalevec;
using namespace scalevec::theory;

namespace {

// Until a loss at or below a replica's goal, over all replicas.
double fewest_steps(const SimulatedMap& map, const std::vector<MapReplica>& replicas) {
  MapOptions options;
  options.steps = 20000;
  options.until_arrival = true;
  double steps = INFINITY;
  for (const MapResult& r : simulate_scaled_map(map, replicas, options)) steps = std::min(steps, r.arrival);
  return steps;
}

}  // namespace

TEST_CASE("T2: a large column at the start leaves γ² at 0.0033", "[values]") {
  // ‖w(0)‖ = 2 orthogonal to a target of 0.1: the flow in small steps, and the closed form.
  SimulatedMap map;
  map.rows = 2;
  MapReplica r;
  r.h = {1.0};
  r.target = {0.1, 0.0};
  r.initial_w = {0.0, 2.0};
  r.weights.method = SimulatedMethod::sgd;
  r.weights.lr = 0.02;
  r.scales = r.weights;
  MapOptions options;
  options.steps = 200000;  // 13 times 1/γ², the time that w takes to turn to the target
  const MapResult got = simulate_scaled_map(map, std::vector<MapReplica>{r}, options).front();
  CHECK(std::abs(split_length(0.1, 1.0 - 4.0).gamma_sq - 0.0033) <= 5e-5);
  CHECK(std::abs(got.input_sq - 0.0033) <= 1e-4);  // steps of 0.02 are the flow to some percent
  const double imbalances[] = {0.69, -0.23, -2.28};
  const double columns[] = {768.0, 3072.0, 8192.0};
  for (int i = 0; i < 3; ++i) CHECK(std::abs(1.0 - columns[i] * 0.02 * 0.02 - imbalances[i]) <= 5e-3);
}

// c = 16, R = 1, σ = 1, η = 2e-3, λ_w = .1. At constant lr means over 20000 steps of 16 replicas have standard errors
// under .6 %, at the end of a cosine means over 64 replicas under 1.3 %. 15 % leaves each stated value an error of its
// own: below 1e-4 false alarms a check. What a cosine leaves without decay on γ and with decay to 1 depends on its
// length: there the claims are checked, whose two sides are many standard errors apart.
TEST_CASE("T4: decay on the scale helps at constant lr and costs under a cosine, by theory's values", "[values]") {
  struct Outcome {
    double loss = 0.0, curvature = 0.0;
  };
  const auto simulate = [](bool cosine) {
    const double decays[] = {0.0, 0.1, 0.1}, targets[] = {0.0, 0.0, 1.0};
    const std::size_t count = cosine ? 64 : 16;
    std::vector<MapReplica> replicas;
    for (std::size_t i = 0; i < 3 * count; ++i) {
      MapReplica r;
      r.h = {1.0};
      r.target.assign(16, 0.0);
      r.target[0] = 1.0;
      r.initial_w = r.target;
      r.sigma = 1.0;
      r.weights.lr = 2e-3;
      r.weights.weight_decay = 0.1;
      if (cosine) {
        r.weights.schedule.shape = Schedule::Shape::cosine;
        r.weights.schedule.total_steps = 40000;
      }
      r.scales = r.weights;
      r.scales.weight_decay = decays[i / count];
      r.scales.decay_target = targets[i / count];
      r.noise = i % count;
      replicas.push_back(r);
    }
    SimulatedMap map;
    map.rows = 16;
    MapOptions options;
    options.steps = 40000;
    options.average_steps = cosine ? 1 : 20000;
    const std::vector<MapResult> got = simulate_scaled_map(map, replicas, options);
    std::vector<Outcome> out(3);
    for (std::size_t i = 0; i < got.size(); ++i) {
      out[i / count].loss += got[i].loss / static_cast<double>(count);
      out[i / count].curvature += (got[i].input_sq + got[i].weight_sq) / static_cast<double>(count);
    }
    return out;
  };
  const auto near = [](double got, double stated) { return std::abs(got / stated - 1.0) <= 0.15; };
  const std::vector<Outcome> constant = simulate(false), cosine = simulate(true);
  CHECK(near(constant[0].loss, 0.0184));
  CHECK(near(constant[0].curvature, 5.42));
  CHECK(near(constant[1].loss, 0.0121));
  CHECK(near(constant[1].curvature, 1.82));
  CHECK(near(constant[2].loss, 0.0118));
  CHECK(near(cosine[0].curvature, 5.26));
  CHECK(near(cosine[1].loss, 0.0054));
  CHECK(near(cosine[1].curvature, 1.81));
  CHECK(cosine[1].loss > 2.0 * cosine[0].loss);  // flatter, but some 3 times the final loss
  CHECK(cosine[2].loss < 0.8 * cosine[1].loss);  // decay to 1 costs less
}

TEST_CASE("T4: an anisotropic curvature moves the optimal imbalance to −1.22", "[values]") {
  // diag(1, 4, .5) and a unit target along (1, .2, 0).
  const std::vector<double> h{1.0, 4.0, 0.5}, theta{1.0 / std::hypot(1.0, 0.2), 0.2 / std::hypot(1.0, 0.2), 0.0};
  const auto top = [&](double k) { return curvature_spectrum(h, theta, k).back(); };
  double best = 0.0;
  for (double k = -3.0; k <= 1.0; k += 0.005)
    if (top(k) < top(best)) best = k;
  CHECK(std::abs(top(0.0) - 4.22) <= 0.005);
  CHECK(std::abs(best + 1.22) <= 0.01);
  CHECK(std::abs(top(best) - 3.09) <= 0.03);
}

TEST_CASE("T6: HG is 20 times faster with large targets on flat branches, and .09 times on steep ones", "[values]") {
  const auto best = [](const Branches& b, bool own) {
    std::vector<MapReplica> replicas;
    for (int i = 0; i < 128; ++i) {
      MapReplica r;
      r.h = b.h;
      r.target = b.target;
      r.initial_w = {1e-3};
      r.weights.method = SimulatedMethod::sgd;
      r.weights.lr = 1e-3 * std::pow(20000.0, i / 127.0);
      r.scales = r.weights;
      for (std::size_t c = 0; c < 2; ++c) r.goal += 0.5e-10 * b.h[c] * std::pow(1e-3 - b.target[c], 2);
      replicas.push_back(r);
    }
    SimulatedMap map;
    map.rows = map.branches = 2;
    map.input = own ? SimulatedMap::Input::own : SimulatedMap::Input::shared;
    return fewest_steps(map, replicas);
  };
  const Branches flat{{1.0, 0.01}, {0.1, 10.0}}, steep{{1.0, 0.01}, {10.0, 0.1}};
  // How long a run is watched moves the ratio: within a third of the stated one.
  CHECK(std::abs(std::log(best(flat, false) / best(flat, true) / 20.0)) <= 0.3);
  CHECK(std::abs(std::log(best(steep, false) / best(steep, true) / 0.09)) <= 0.3);
}

// γ from 1 to a tenth of the way from γ*, which is
// longer by 0.1 and orthogonally off by 0.05, d = 64. The counts of the many-step sides and the crossing come out, the
// few steps of the fast sides are not compared.
TEST_CASE("T8: OR at its best lr wins where the loss is flat along the magnitude and loses where it is not",
          "[values]") {
  constexpr double root = 8.0;  // √d; γ's components along and orthogonal to its start stand for all
  const auto best = [&](bool apart, double h_mag) {
    std::vector<SimulatedRule> rules(200);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      const double x = static_cast<double>(i);
      rules[i].method = SimulatedMethod::sgd;
      rules[i].lr = apart     ? 5e-3 * std::pow(600.0, x / 199.0)
                    : i < 150 ? 0.05 * std::pow(40.0, x / 149.0)
                              : 2.0 - 1e-3 * (x - 149.0);
    }
    ReplicaOptimizer optimizer(rules, 3);  // γ or α, and β
    std::vector<double> state(optimizer.size(), 1.0), grad(optimizer.size(), 0.0);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      state[optimizer.index(i, 0)] = root;
      state[optimizer.index(i, 1)] = 0.0;
    }
    for (int t = 0; t < 1000; ++t) {
      for (std::size_t i = 0; i < rules.size(); ++i) {
        const double x = state[optimizer.index(i, 0)], y = state[optimizer.index(i, 1)];
        const double length = std::hypot(x, y), scale = apart ? state[optimizer.index(i, 2)] * root / length : 1.0;
        const double along = scale * x - 1.1 * root, across = scale * y - 0.05 * root;
        if (std::hypot(along, across) <= 0.1 * root * std::hypot(0.1, 0.05)) return t;
        const double gx = h_mag * along, gy = across, radial = (x * gx + y * gy) / length;
        grad[optimizer.index(i, 0)] = apart ? scale * (gx - radial * x / length) : gx;
        grad[optimizer.index(i, 1)] = apart ? scale * (gy - radial * y / length) : gy;
        grad[optimizer.index(i, 2)] = apart ? root * radial : 0.0;
      }
      optimizer.step(state.data(), grad.data());
    }
    return 1000;
  };
  const auto near = [](double a, double b) { return std::abs(a - b) <= 0.15 * b; };
  CHECK(near(best(false, 1.0 / 256), 287.0));
  CHECK(best(true, 1.0 / 256) * 20 <= best(false, 1.0 / 256));
  CHECK(best(false, 1.0) == 1);
  CHECK(near(best(true, 1.0), 48.0));
  CHECK(best(true, 1.0 / 16) < best(false, 1.0 / 16));
  CHECK(best(true, 1.0 / 4) > best(false, 1.0 / 4));
}

// T5 leaves σ and η of its excesses out; σ = 1 and η = 2e-3 are T4's and give what is left without decay. Means over
// 2,000 steps of 2,048 scales have standard errors of .3, .7 and 1.3 % and lie 2, 4 and 0 % below what is stated in one
// or two digits: 8 % is 5 standard errors away, a false alarm in fewer than one of 10⁶ checks.
TEST_CASE("T5: decay on an output scale costs .0180 to 0 and .0048 to 1, .0005 without", "[values]") {
  const auto excess = [](double decay, double toward) {
    SimulatedMap map;
    map.columns = 32;
    map.frozen = true;
    MapReplica r;
    r.h = {1.0};
    r.target = {2.0};
    r.initial_w = {1.0};
    r.sigma = 1.0;
    r.scales.lr = r.weights.lr = 2e-3;
    r.scales.weight_decay = decay;
    r.scales.decay_target = toward;
    std::vector<MapReplica> replicas(64, r);
    for (std::size_t i = 0; i < replicas.size(); ++i) replicas[i].noise = i;
    MapOptions options;
    options.steps = 8000;
    options.average_steps = 2000;
    double sum = 0.0;
    for (const MapResult& result : simulate_scaled_map(map, replicas, options)) sum += result.loss / (64.0 * 32.0);
    return sum;
  };
  const auto near = [](double got, double stated) { return std::abs(got / stated - 1.0) <= 0.08; };
  CHECK(near(excess(0.1, 0.0), 0.0180));
  CHECK(near(excess(0.1, 1.0), 0.0048));
  CHECK(near(excess(0.0, 0.0), 0.0005));
}

// σ = 1.5 as for T5's equilibria. The decay's harm hardly depends on η, but what the noise of the directions adds does,
// and T8 leaves η out: .0030 at 1e-3 and .0045 at 2e-3, standard errors below 1 %.
TEST_CASE("T8: decay on OR's magnitude costs .0038 where decay on γ costs .222, at a learning rate between two",
          "[values]") {
  constexpr std::size_t d = 256, copies = 8;
  constexpr double sigma = 1.5, target = 2.0, decay = 0.3;
  std::mt19937_64 random(14);
  std::normal_distribution<double> normal;
  const auto excess = [&](bool apart, double lr) {
    SimulatedRule plain, decayed;
    plain.lr = decayed.lr = lr;
    decayed.weight_decay = decay;
    // Decay is on β alone; α's would only set how fast the direction turns.
    BatchOptimizer vector(apart ? plain : decayed, d * copies), magnitude(decayed, copies);
    std::vector<double> alpha(d * copies, 1.0), beta(copies, 1.0), alpha_grad(d * copies), beta_grad(copies), g(d);
    constexpr int averaged = 2000;
    const int steps = static_cast<int>(16.0 / lr);
    double sum = 0.0;
    for (int t = 0; t < steps; ++t) {
      for (std::size_t c = 0; c < copies; ++c) {
        double* const a = alpha.data() + c * d;
        double squares = 0.0, along = 0.0;
        for (std::size_t j = 0; j < d; ++j) squares += a[j] * a[j];
        const double root = std::sqrt(static_cast<double>(d) / squares), scale = apart ? beta[c] * root : 1.0;
        for (std::size_t j = 0; j < d; ++j) {
          const double gap = scale * a[j] - target;
          if (t >= steps - averaged) sum += 0.5 * gap * gap / static_cast<double>(averaged * d * copies);
          g[j] = gap + sigma * normal(random);
          along += a[j] * g[j];
        }
        beta_grad[c] = root * along;
        for (std::size_t j = 0; j < d; ++j)
          alpha_grad[c * d + j] = apart ? scale * (g[j] - a[j] * along / squares) : g[j];
      }
      vector.step(alpha.data(), alpha_grad.data());
      if (apart) magnitude.step(beta.data(), beta_grad.data());
    }
    return sum;
  };
  CHECK(std::abs(excess(false, 2e-3) / 0.222 - 1.0) <= 0.05);
  CHECK(excess(true, 1e-3) < 0.0038);
  CHECK(excess(true, 2e-3) > 0.0038);
}

// Stated for one set-up that T2 leaves out; with R = σ = 1 and η = .05, from a column half as long as γ, the means of
// 64 replicas over the last quarter have standard errors of 1 %: 6 %, a false alarm in fewer than one of 10⁶ checks.
TEST_CASE("T2: gradient noise drives ‖w‖²/γ² to 1.00, 3.72 and 14.6 for c = 1, 4, 16", "[values]") {
  const double stated[] = {1.0, 3.72, 14.6};
  for (int i = 0; i < 3; ++i) {
    SimulatedMap map;
    map.rows = std::size_t{1} << (2 * i);
    MapReplica r;
    r.h = {1.0};
    r.target.assign(map.rows, 0.0);
    r.target[0] = 1.0;
    r.initial_w.assign(map.rows, 0.0);
    r.initial_w[0] = 0.5;
    r.sigma = 1.0;
    r.weights.method = SimulatedMethod::sgd;
    r.weights.lr = 0.05;
    r.scales = r.weights;
    std::vector<MapReplica> replicas(64, r);
    for (std::size_t k = 0; k < replicas.size(); ++k) replicas[k].noise = k;
    MapOptions options;
    options.steps = 6000;
    options.average_steps = 1500;
    double w = 0.0, gamma = 0.0;
    for (const MapResult& result : simulate_scaled_map(map, replicas, options)) {
      w += result.weight_sq;
      gamma += result.input_sq;
    }
    CHECK(std::abs(w / gamma / stated[i] - 1.0) <= 0.06);
  }
}

TEST_CASE("T7: at its best lr gradient descent prefers no scale to one side, and one side to both", "[values]") {
  // T7's 32, 65 and 98 steps are of one problem; here of five 4 × 4 maps whose curvatures spread over ten, to 1e-8 of
  // the loss.
  std::mt19937_64 random(15);
  std::normal_distribution<double> normal;
  const auto best = [](const SimulatedMap& map, MapReplica r) {
    std::vector<MapReplica> replicas;
    for (int i = 0; i < 192; ++i) {
      r.weights.method = SimulatedMethod::sgd;
      r.weights.lr = 2.0 * std::pow(1e-3, 1.0 - i / 191.0);
      r.scales = r.weights;
      replicas.push_back(r);
    }
    return fewest_steps(map, replicas);
  };
  for (int problem = 0; problem < 5; ++problem) {
    MapReplica r;
    r.initial_w = {1e-3};
    for (int e = 0; e < 16; ++e) {
      r.h.push_back(std::pow(10.0, -(e % 7) / 6.0));
      r.target.push_back(normal(random));
      r.goal += 0.5e-8 * r.h.back() * std::pow(1e-3 - r.target.back(), 2);
    }
    const double none = best({4, 4, 1, SimulatedMap::Input::none}, r), input = best({4, 4}, r);
    const double both = best({4, 4, 1, SimulatedMap::Input::shared, ScaleForm::plain, true}, r);
    INFO(none << " steps without scales, " << input << " with one side, " << both << " with both");
    CHECK(none < input);
    CHECK(input < both);
  }
}

// T7 says a tie on iid targets and −15 to −26 % on the others; here it is some −12 %. At best lr, means over 32 noises
// and three problems: ratios scatter from problem to problem by 1.5 % on iid targets and 5 % on the others, so that 6 %
// and −3 % are 6 and 3 standard errors away: a false alarm in one of some 1,000 seeds; this seed is fixed.
TEST_CASE("T7: under noisy Adam both sides tie on iid targets and win on row-scaled and rank-one ones", "[values]") {
  constexpr std::size_t n = 8;
  std::mt19937_64 random(16);
  std::normal_distribution<double> normal;
  const auto best = [](const SimulatedMap& map, const std::vector<double>& target) {
    constexpr int rates = 20, noises = 32;
    std::vector<MapReplica> replicas;
    for (int i = 0; i < rates * noises; ++i) {
      MapReplica r;
      r.h = {1.0};
      r.target = target;
      r.sigma = 1.0;
      r.weights.lr = 2e-3 * std::pow(1.5, i / noises);
      r.weights.beta2 = 0.99;
      r.weights.schedule.shape = Schedule::Shape::cosine;
      r.weights.schedule.total_steps = 500;
      r.scales = r.weights;
      r.noise = static_cast<std::uint64_t>(i % noises);
      std::mt19937_64 start(100 + static_cast<unsigned>(i % noises));
      std::normal_distribution<double> small(0.0, 0.02);
      for (std::size_t e = 0; e < n * n; ++e) r.initial_w.push_back(small(start));
      replicas.push_back(r);
    }
    MapOptions options;
    options.steps = 500;
    const std::vector<MapResult> results = simulate_scaled_map(map, replicas, options);
    double least = INFINITY;
    for (int rate = 0; rate < rates; ++rate) {
      double sum = 0.0;
      for (int k = 0; k < noises; ++k) sum += results[static_cast<std::size_t>(rate * noises + k)].loss / noises;
      least = std::min(least, sum);
    }
    return least;
  };
  enum { iid, row_scaled, rank_one };
  for (const int kind : {iid, row_scaled, rank_one}) {
    double log_ratio = 0.0;
    for (int problem = 0; problem < 3; ++problem) {
      std::vector<double> rows, columns, target;
      for (std::size_t i = 0; i < n; ++i) {
        rows.push_back(normal(random));
        columns.push_back(normal(random));
      }
      for (std::size_t i = 0; i < n; ++i)
        for (std::size_t j = 0; j < n; ++j)
          target.push_back(kind == rank_one
                               ? rows[i] * columns[j]
                               : normal(random) *
                                     (kind == iid ? 1.0 : std::pow(10.0, static_cast<double>(i) / 7.0 - 0.5)));
      log_ratio += std::log(best({n, n, 1, SimulatedMap::Input::shared, ScaleForm::plain, true}, target) /
                            best({n, n}, target)) /
                   3.0;
    }
    INFO("kind " << kind << ": loss with both sides over the input side's " << std::exp(log_ratio));
    if (kind == iid)
      CHECK(std::abs(log_ratio) <= 0.06);
    else
      CHECK(log_ratio <= -0.03);
  }
}

// From 300 steps on over 1,500, 64 replicas of 256 elements, OR and plain γ under one noise: standard errors .14 % at s
// = .1 and .22 % at .01. The formula has a bias of lr and β₂'s memory below 1 %: 2 %, a false alarm in fewer than one
// of 10⁴ checks. The stated values are simulations of their own, 1 % above and 4 % below the formula: 6 %.
TEST_CASE("T8: Adam moves OR's magnitude 8.63 and 15.1 times as far as plain γ at s = .1 and .01, d = 256",
          "[values]") {
  const auto speed = [](ScaleForm form, double snr) {
    SimulatedMap map;
    map.columns = 256;
    map.form = form;
    map.frozen = true;
    MapReplica r;
    r.h = {1e-9};  // so flat and so far a target that the mean gradient −snr does not change
    r.target = {1.0 + snr * 1e9};
    r.initial_w = {1.0};
    r.sigma = 1.0;
    r.weights.lr = r.scales.lr = 1e-3;
    r.scales.beta2 = 0.99;
    std::vector<MapReplica> replicas(64, r);
    for (std::size_t i = 0; i < replicas.size(); ++i) replicas[i].noise = i;
    double where[2] = {};
    for (const int end : {0, 1}) {
      MapOptions options;
      options.steps = end == 0 ? 300 : 1800;
      for (const MapResult& result : simulate_scaled_map(map, replicas, options))
        where[end] += form == ScaleForm::plain ? result.input_sum / 256.0 : std::sqrt(result.input_sq / 256.0);
    }
    return where[1] - where[0];
  };
  const auto ratio = [&](double snr) { return speed(ScaleForm::original, snr) / speed(ScaleForm::plain, snr); };
  const double at_tenth = ratio(0.1), at_hundredth = ratio(0.01);
  CHECK(std::abs(at_tenth / or_adam_amplification(256.0, 0.1) - 1.0) <= 0.02);
  CHECK(std::abs(at_hundredth / or_adam_amplification(256.0, 0.01) - 1.0) <= 0.02);
  CHECK(std::abs(at_tenth / 8.63 - 1.0) <= 0.06);
  CHECK(std::abs(at_hundredth / 15.1 - 1.0) <= 0.06);
}

TEST_CASE("T2: sign descent by the update rule takes the stated time and keeps γ − |w|", "[values]") {
  for (const double target : {0.3, 1.0, 10.0}) {
    SimulatedMap with, without;
    without.input = SimulatedMap::Input::none;
    constexpr double lr = 1e-4;
    MapReplica r;
    r.h = {1.0};
    r.target = {target};
    r.initial_w = {1e-9};  // the sign of 0 is 0
    r.weights.method = SimulatedMethod::signum;
    r.weights.lr = lr;
    r.scales = r.weights;
    const double w = sign_descent_time(target), step = lr * (1.0 + 2.0 * w);
    r.goal = 0.5 * step * step;  // within a step of the target
    MapOptions options;
    options.steps = static_cast<std::int64_t>(2.0 * target / lr);
    options.until_arrival = true;
    const double steps = simulate_scaled_map(with, std::span(&r, 1), options).front().arrival;
    CHECK(std::abs(steps * lr - w) <= 3.0 * lr);
    r.goal = 0.5 * lr * lr;
    const double alone = simulate_scaled_map(without, std::span(&r, 1), options).front().arrival;
    CHECK(std::abs(alone / steps / sign_descent_speedup(target) - 1.0) <= 1e-3);
    options.until_arrival = false;
    options.steps = static_cast<std::int64_t>(0.9 * w / lr);
    const MapResult on_the_way = simulate_scaled_map(with, std::span(&r, 1), options).front();
    CHECK(std::abs(std::sqrt(on_the_way.input_sq) - std::sqrt(on_the_way.weight_sq) - 1.0) <= 1e-8);
  }
}
