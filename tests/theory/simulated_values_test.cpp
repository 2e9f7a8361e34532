#include <algorithm>
#include <cmath>
#include <vector>

#include "scalevec/tests/support/catch.hpp"
#include "scalevec/theory/branches.hpp"
#include "scalevec/theory/input_scale_decay.hpp"
#include "scalevec/theory/simulate/replica_optimizer.hpp"
#include "scalevec/theory/simulate/scaled_map.hpp"

// Values that the theory states, found again by simulation. Seeded: each passes or fails for good.
using namespace scalevec;

TEST_CASE("T2: a large column at the start leaves γ² at 0.0033", "[values]") {
  // ‖w(0)‖ = 2 orthogonal to a target of 0.1: the flow in small steps, and the closed form.
  ScaledMap map;
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
// under 2 %, at the end of a cosine means over 64 replicas have 4 %. 15 % is beyond 3.5 of them where the stated value
// has an error of its own: below 1e-3 false alarms a check. What a cosine leaves without decay on γ and with decay to 1
// depends on its length: there the claims are checked, whose two sides are many standard errors apart.
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
    ScaledMap map;
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
    ScaledMap map;
    map.rows = map.branches = 2;
    map.input = own ? ScaledMap::Input::own : ScaledMap::Input::shared;
    MapOptions options;
    options.steps = 20000;
    options.until_arrival = true;
    double steps = INFINITY;
    for (const MapResult& r : simulate_scaled_map(map, replicas, options)) steps = std::min(steps, r.arrival);
    return steps;
  };
  const Branches flat{{1.0, 0.01}, {0.1, 10.0}}, steep{{1.0, 0.01}, {10.0, 0.1}};
  // How long a run is watched moves the ratio: within a third of the stated one.
  CHECK(std::abs(std::log(best(flat, false) / best(flat, true) / 20.0)) <= 0.3);
  CHECK(std::abs(std::log(best(steep, false) / best(steep, true) / 0.09)) <= 0.3);
}

// T8 leaves the start and the accuracy of its step counts out: here γ from 1 to a tenth of the way from γ*, which is longer
// by 0.1 and orthogonally off by 0.05, d = 64. The counts of the many-step sides and the crossing come out, the few steps of
// the fast sides are not compared.
TEST_CASE("T8: OR at its best lr wins where the loss is flat along the magnitude and loses where it is not", "[values]") {
  constexpr double root = 8.0;  // √d; γ's components along and orthogonal to its start stand for all
  const auto best = [&](bool apart, double h_mag) {
    std::vector<SimulatedRule> rules(200);
    for (std::size_t i = 0; i < rules.size(); ++i) {
      const double x = static_cast<double>(i);
      rules[i].method = SimulatedMethod::sgd;
      rules[i].lr = apart ? 5e-3 * std::pow(600.0, x / 199.0) : i < 150 ? 0.05 * std::pow(40.0, x / 149.0) : 2.0 - 1e-3 * (x - 149.0);
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
