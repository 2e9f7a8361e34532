#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "theory/simulate/batch_optimizer.hpp"
#include "theory/simulate/kernels.hpp"

// The update rules over replicas side by side, each with hyperparameters of its own, vectorised over replicas.
namespace scalevec::theory {

// Replicas stand in blocks of kLanes = 64, in a block the parameters as rows: parameter j of replica i is element
// index(i, j). No replica depends on another: alone or in a batch it has the same values, bit for bit (on one
// instruction set).
class ReplicaOptimizer {
 public:
  // One rule per replica and `params` ≥ 1 parameters in each. The rules share their method and differ in what else they
  // like: lr, decay, its target and coupling, momentum, betas, eps, schedule. Throws std::invalid_argument with the
  // replica and SimulatedRule::error().
  ReplicaOptimizer(std::span<const SimulatedRule> rules, std::size_t params);

  std::size_t index(std::size_t replica, std::size_t param) const {
    return (replica / simulate::kLanes * params_ + param) * simulate::kLanes + replica % simulate::kLanes;
  }
  // Length of an array of parameters: replicas rounded up to whole blocks, of which the last runs idle lanes.
  std::size_t size() const { return simulate::padded(rules_.size()) * params_; }
  std::size_t replicas() const { return rules_.size(); }
  std::int64_t steps() const { return steps_; }

  // One step on all replicas with their raw gradients, in place; fastest on cache lines (simulate::Rows).
  void step(double* param, const double* grad);

 private:
  bool set_rates();
  double& constant(std::size_t row, std::size_t lane);

  std::vector<SimulatedRule> rules_;
  std::size_t params_;
  std::int64_t steps_ = 0;
  std::size_t rows_ = 0;      // of a block's rules
  simulate::Rows constants_;  // so many rows per block
  void (*run_)(const simulate::StepJob&) = nullptr;
  bool timed_ = false;
  simulate::Rows state_[kMaxBuffers];     // those that one of the rules asks for
  std::vector<Schedule> schedules_;       // the distinct ones
  std::vector<std::size_t> schedule_of_;  // by replica
  std::vector<double> factor_;
};

// Noise that no batch changes, in ReplicaOptimizer's layout: random_normal_of_pair(seed, streams[i], first + j) to
// 1e-14 for replica i and j < rows. `streams` is padded to whole blocks.
void replica_noise(std::uint64_t seed, std::span<const std::uint64_t> streams, std::uint64_t first, std::size_t rows,
                   double* out);

}  // namespace scalevec::theory
