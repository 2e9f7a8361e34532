#include <cmath>
#include <stdexcept>
#include <string>
#include <vector>

#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/reference_methods.hpp"
#include "theory/simulate/batch_optimizer.hpp"
#include "theory/simulate/replica_optimizer.hpp"

using namespace scalevec;
using namespace scalevec::theory;

namespace {

constexpr std::size_t kReplicas = 150, kParams = 3;  // two blocks and part of a third
constexpr int kSteps = 120;

// Every hyperparameter differs from replica to replica.
SimulatedRule rule_of(SimulatedMethod method, std::size_t i) {
  constexpr DecayCoupling couplings[] = {DecayCoupling::l2, DecayCoupling::lr, DecayCoupling::independent,
                                         DecayCoupling::lr2};
  constexpr Schedule::Shape shapes[] = {Schedule::Shape::constant, Schedule::Shape::cosine, Schedule::Shape::linear,
                                        Schedule::Shape::wsd};
  const double x = static_cast<double>(i);
  SimulatedRule r;
  r.method = method;
  r.lr = 0.002 * (1.0 + x / 40.0);
  r.weight_decay = 0.04 * static_cast<double>(i % 5);
  r.coupling = couplings[i % 4];
  r.decay_target = i % 3 == 0 ? 1.0 : 0.0;
  r.momentum = i % 7 == 0 ? 0.0 : 0.5 + x / 400.0;
  r.nesterov = method == SimulatedMethod::sgd && i % 2 == 1 && r.momentum > 0.0;
  r.dampening = r.nesterov ? 0.0 : 0.1 * static_cast<double>(i % 4);
  r.beta1 = 0.7 + x / 600.0;
  r.beta2 = 0.95 + x / 4000.0;
  if (method == SimulatedMethod::ademamix) r.beta3 = 0.99 + x / 20000.0;
  if (method == SimulatedMethod::ademamix) r.alpha = 1.0 + x / 50.0;
  if (method == SimulatedMethod::rmsprop) r.alpha = 0.9 + x / 2000.0;
  if (method == SimulatedMethod::rmsprop) r.more = {{"centered", i % 2 == 1 ? 1.0 : 0.0}};
  if (method == SimulatedMethod::adamw) r.more = {{"amsgrad", i % 3 == 1 ? 1.0 : 0.0}};
  r.eps = i % 6 == 0 ? 1e-2 : 1e-8;
  r.schedule.shape = shapes[i % 4];
  r.schedule.warmup_steps = static_cast<std::int64_t>(i % 3) * 10;
  r.schedule.total_steps = 100 + static_cast<std::int64_t>(i % 2) * 50;
  r.schedule.decay_steps = 30;
  r.schedule.final_factor = i % 5 == 0 ? 0.1 : 0.0;
  return r;
}

// optim/core/schedule.hpp's definition, by hand.
double lr_at(const SimulatedRule& r, int t) {
  const Schedule& s = r.schedule;
  if (t < s.warmup_steps) return r.lr * (t + 1.0) / static_cast<double>(s.warmup_steps);
  const double f = s.final_factor;
  const auto share = [&](double start) {
    return std::min(1.0, std::max(0.0, (t + 1.0 - start) / (static_cast<double>(s.total_steps) - start)));
  };
  const double warm = std::max(1.0, static_cast<double>(s.warmup_steps));
  switch (s.shape) {
    case Schedule::Shape::constant:
      return r.lr;
    case Schedule::Shape::cosine:
      return r.lr * (f + (1 - f) * 0.5 * (1 + std::cos(3.14159265358979323846 * share(warm))));
    case Schedule::Shape::linear:
      return r.lr * (1 - (1 - f) * share(warm));
    case Schedule::Shape::wsd:
      return r.lr * (1 - (1 - f) * share(static_cast<double>(s.total_steps - 30)));
  }
  return 0.0;
}

double start_of(std::size_t i, std::size_t j) {
  return 0.3 * static_cast<double>(j) - 0.4 + 0.01 * static_cast<double>(i);
}
double noise_of(std::size_t i, std::size_t j, int t) {
  return random_normal_of_pair(3, 1000 + i, static_cast<std::uint64_t>(t) * kParams + j);
}

// Written from the formulas, one replica at a time.
std::vector<double> reference_run(const SimulatedRule& r, std::size_t i) {
  reference::Options options;
  with_method(r.method, [&]<class M>(std::type_identity<M>) {
    const auto values = values_of<M>(r);
    std::apply([&](const auto&... row) { ((options[row.name] = static_cast<double>(values.*row.member)), ...); },
               M::Values::table());
  });
  const auto method = reference::methods().at(std::string(to_string(r.method)))(options);
  reference::Vector p, g(kParams);
  for (std::size_t j = 0; j < kParams; ++j) p.push_back(start_of(i, j));
  const char* couplings[] = {"l2", "lr", "independent", "lr2"};
  for (int t = 0; t < kSteps; ++t) {
    for (std::size_t j = 0; j < kParams; ++j) g[j] = 0.8 * (p[j] - 0.5) + 0.7 * noise_of(i, j, t);
    method->step(p, g, {couplings[static_cast<int>(r.coupling)], r.weight_decay, r.decay_target, lr_at(r, t), r.lr});
  }
  return p;
}

// Replicas `from` … `from + count − 1` of the batch, simulated together.
std::vector<double> simulated_run(SimulatedMethod method, std::size_t from, std::size_t count) {
  std::vector<SimulatedRule> rules;
  for (std::size_t i = 0; i < count; ++i) rules.push_back(rule_of(method, from + i));
  ReplicaOptimizer optimizer(rules, kParams);
  std::vector<double> p(optimizer.size(), 0.0), g(p);
  std::vector<std::uint64_t> streams(optimizer.size() / kParams, 0);
  for (std::size_t i = 0; i < count; ++i) {
    streams[i] = 1000 + from + i;
    for (std::size_t j = 0; j < kParams; ++j) p[optimizer.index(i, j)] = start_of(from + i, j);
  }
  for (int t = 0; t < kSteps; ++t) {
    replica_noise(3, streams, static_cast<std::uint64_t>(t) * kParams, kParams, g.data());
    for (std::size_t x = 0; x < p.size(); ++x) g[x] = 0.8 * (p[x] - 0.5) + 0.7 * g[x];
    optimizer.step(p.data(), g.data());
  }
  std::vector<double> out;
  for (std::size_t i = 0; i < count; ++i)
    for (std::size_t j = 0; j < kParams; ++j) out.push_back(p[optimizer.index(i, j)]);
  return out;
}

std::vector<SimulatedMethod> every_method() {
  std::vector<SimulatedMethod> methods;
  std::size_t at = 0;
  for_each_type(ElementwiseMethods(), [&]<class M>(std::type_identity<M>) {
    const auto method = static_cast<SimulatedMethod>(at++);
    if (kPlain<M>) methods.push_back(method);
  });
  return methods;
}

}  // namespace

TEST_CASE("every replica runs its own rule", "[replicas]") {
  for (const SimulatedMethod method : every_method()) {
    // Those that take sums or keep averages have references of their own.
    if (reference::methods().count(std::string(to_string(method))) == 0) continue;
    const std::vector<double> got = simulated_run(method, 0, kReplicas);
    for (std::size_t i = 0; i < kReplicas; ++i) {
      const std::vector<double> expected = reference_run(rule_of(method, i), i);
      INFO(to_string(method) << ", replica " << i);
      for (std::size_t j = 0; j < kParams; ++j) REQUIRE(std::abs(got[i * kParams + j] - expected[j]) <= 1e-11);
    }
  }
}

TEST_CASE("a replica alone is the same replica in a batch, bit for bit", "[replicas]") {
  for (const SimulatedMethod method : every_method()) {
    const std::vector<double> all = simulated_run(method, 0, kReplicas);
    for (const std::size_t i : {std::size_t{0}, std::size_t{7}, std::size_t{63}, std::size_t{64}, std::size_t{149}}) {
      const std::vector<double> alone = simulated_run(method, i, 1);
      INFO(to_string(method) << ", replica " << i);
      for (std::size_t j = 0; j < kParams; ++j) CHECK(alone[j] == all[i * kParams + j]);
    }
    const std::vector<double> shifted = simulated_run(method, 3, 100);
    for (std::size_t x = 0; x < shifted.size(); ++x) REQUIRE(shifted[x] == all[3 * kParams + x]);
  }
}

TEST_CASE("one rule for a whole batch is the same rule in every replica", "[replicas]") {
  for (const SimulatedMethod method : every_method()) {
    const SimulatedRule rule = rule_of(method, 9);
    BatchOptimizer batch(rule, 64);
    ReplicaOptimizer replicas(std::vector<SimulatedRule>(64, rule), 1);
    std::vector<double> p(64), q, g(64);
    for (std::size_t i = 0; i < 64; ++i) p[i] = start_of(i, 0);
    q = p;
    for (int t = 0; t < 100; ++t) {
      for (std::size_t i = 0; i < 64; ++i) g[i] = noise_of(i, 0, t);
      batch.step(p.data(), g.data());
      replicas.step(q.data(), g.data());
    }
    INFO(to_string(method));
    for (std::size_t i = 0; i < 64; ++i) CHECK(std::abs(p[i] - q[i]) <= 1e-12);
  }
}

TEST_CASE("the noise of a block of replicas is random_normal_of_pair's", "[replicas]") {
  std::vector<std::uint64_t> streams(128);
  for (std::size_t i = 0; i < streams.size(); ++i) streams[i] = i * 0x9E3779B97F4A7C15u;
  std::vector<double> out(128 * 50);
  const std::uint64_t first = 0x1FFFFFFE1u;  // odd, and the block's low word overflows on the way
  replica_noise(0x123456789ABCDEFu, streams, first, 50, out.data());
  double sum = 0.0;
  for (std::size_t i = 0; i < 128; ++i)
    for (std::size_t j = 0; j < 50; ++j) {
      const double got = out[(i / 64 * 50 + j) * 64 + i % 64];
      REQUIRE(std::abs(got - random_normal_of_pair(0x123456789ABCDEFu, streams[i], first + j)) <= 1e-14);
      sum += got * got;
    }
  // 6400 squares: standard error 1.8 %, seeded; 10 % is beyond five of them.
  CHECK(std::abs(sum / 6400.0 - 1.0) <= 0.1);
}

TEST_CASE("unsound rules of replicas are refused with the replica", "[replicas]") {
  const auto message = [](std::vector<SimulatedRule> rules, std::size_t params) -> std::string {
    try {
      ReplicaOptimizer(rules, params);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "";
  };
  SimulatedRule good;
  good.lr = 0.1;
  SimulatedRule bad = good, other = good;
  bad.beta2 = 1.0;
  other.method = SimulatedMethod::lion;
  CHECK(message({good, bad}, 1) == "replica 1: beta2 must be in [0, 1)");
  CHECK(message({good, other}, 1) == "replica 1: method must be the first replica's, adamw");
  CHECK(message({}, 1) == "replicas: at least one rule is needed");
  CHECK(message({good}, 0) == "replicas: params must be at least 1");
  bad = good;
  bad.alpha = -1.0;
  CHECK(message({bad}, 1) == "replica 0: alpha must be finite and >= 0");
}
