#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "scalevec/optim/core/decay.hpp"
#include "scalevec/optim/core/schedule.hpp"
#include "scalevec/optim/core/traces.hpp"

// The update rules of optim/core/update_rules.hpp over arrays of doubles, for toy models: many replicas side by side.
namespace scalevec {

enum class SimulatedMethod { sgd, signum, adamw, lion, ademamix };

std::string_view to_string(SimulatedMethod method);

// The optimizer of a simulation: the library's optimizers' names and defaults; the lr has none.
struct SimulatedRule {
  SimulatedMethod method = SimulatedMethod::adamw;
  double lr = 0.0;            // η before the schedule, > 0
  double weight_decay = 0.0;  // λ ≥ 0
  double decay_target = 0.0;  // p̂
  DecayCoupling coupling = DecayCoupling::lr;
  double momentum = 0.0;   // sgd and signum, in [0, 1); 0 is plain SGD and signSGD
  double dampening = 0.0;  // sgd, in [0, 1)
  bool nesterov = false;   // sgd with momentum > 0 and no dampening
  double beta1 = 0.9;      // adamw, lion and ademamix, in [0, 1)
  double beta2 = 0.999;    // the same; Lion's authors take 0.99
  double eps = 1e-8;       // adamw and ademamix, ≥ 0; at 0 a gradient that was always 0 gives NaN
  double beta3 = 0.9999;   // ademamix: the slow mean, in [0, 1), without warm-up
  double alpha = 2.0;      // ademamix: weight of the slow mean, ≥ 0, without warm-up
  Schedule schedule;       // multiplies lr

  // Why these values mean nothing, naming the field; empty if they are sound.
  std::string error() const;
};

// One optimizer over `size` parameters, all with one rule. No element depends on another, so that a batch can be cut
// into blocks and give the same values.
class BatchOptimizer {
 public:
  // Throws std::invalid_argument with rule.error().
  BatchOptimizer(const SimulatedRule& rule, std::size_t size);

  // One step on `size` parameters with their raw gradients, in place. With `sums` the step's sums are added to it.
  void step(double* param, const double* grad, StepSums* sums = nullptr);

  // η_t of the next step, and the number of steps done.
  double lr() const { return rule_.lr * rule_.schedule.factor(steps_); }
  std::int64_t steps() const { return steps_; }

 private:
  template <bool traced>
  void update(double* param, const double* grad);
  void add_sums(const double* param, const double* grad, StepSums& sums) const;

  SimulatedRule rule_;
  std::size_t size_;
  std::int64_t steps_ = 0;
  std::vector<double> first_, second_, slow_;  // momentum or m; v; ademamix's slow mean
  std::vector<double> before_, inv_denom_;     // of a traced step
};

// The row of sums taken at a step with lr η_t, named as the optimizers name it.
TraceRow simulated_trace(std::string_view name, std::string_view group, SimulatedMethod method, double lr,
                         const StepSums& sums);

}  // namespace scalevec
