#include <chrono>
#include <cmath>
#include <iostream>
#include <string>
#include <vector>

#include "theory/simulate/replica_optimizer.hpp"
#include "theory/simulate/scaled_map.hpp"

// Our side of bench/simulator_peer.py. Reads lines "JOB REPLICAS ROWS STEPS" and answers each with the seconds that
// STEPS steps take on one thread: job `adamw`, the update alone of ROWS parameters per replica; job `toy`, a column of
// ROWS weights and its scale under noise, AdamW. Every replica has its own lr, decay, β₁ and β₂.
namespace {

using namespace scalevec;

theory::SimulatedRule rule_of(std::size_t i) {
  theory::SimulatedRule r;
  const double x = static_cast<double>(i % 97) / 97.0;
  r.lr = 1e-3 * (1.0 + x);
  r.weight_decay = 0.1 * x;
  r.beta1 = 0.8 + 0.1 * x;
  r.beta2 = 0.99 + 0.009 * x;
  return r;
}

double seconds(auto&& job) {
  const auto start = std::chrono::steady_clock::now();
  job();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

}  // namespace

int main() {
  std::string job;
  std::size_t replicas = 0, rows = 0;
  std::int64_t steps = 0;
  while (std::cin >> job >> replicas >> rows >> steps) {
    double took = 0.0;
    if (job == "adamw") {
      std::vector<theory::SimulatedRule> rules;
      for (std::size_t i = 0; i < replicas; ++i) rules.push_back(rule_of(i));
      theory::ReplicaOptimizer optimizer(rules, rows);
      theory::simulate::Rows p(optimizer.size(), 1.0), g(p);
      for (std::size_t i = 0; i < g.size(); ++i) g[i] = std::sin(static_cast<double>(i));
      for (int i = 0; i < 3; ++i) optimizer.step(p.data(), g.data());
      took = seconds([&] {
        for (std::int64_t t = 0; t < steps; ++t) optimizer.step(p.data(), g.data());
      });
    } else {
      theory::SimulatedMap map;
      map.rows = rows;
      std::vector<theory::MapReplica> toys(replicas);
      for (std::size_t i = 0; i < replicas; ++i) {
        toys[i].h = {1.0};
        toys[i].target.assign(rows, 0.0);
        toys[i].target[0] = 1.0;
        toys[i].sigma = 1.0;
        toys[i].weights = toys[i].scales = rule_of(i);
        toys[i].noise = i;
      }
      theory::MapOptions options;
      options.steps = steps;
      took = seconds([&] { theory::simulate_scaled_map(map, toys, options); });
    }
    std::cout << took << std::endl;
  }
}
