#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "optim/core/decay.hpp"
#include "optim/core/schedule.hpp"
#include "optim/core/traces.hpp"
#include "optim/methods/elementwise.hpp"

// The elementwise methods of optim/methods over arrays of doubles, for toy models: many replicas side by side.
namespace scalevec::theory {

#define SCALEVEC_ENUMERATOR(name, type) name,
enum class SimulatedMethod { SCALEVEC_ELEMENTWISE_METHODS(SCALEVEC_ENUMERATOR, SCALEVEC_ENUMERATOR) };
#undef SCALEVEC_ENUMERATOR

std::string_view to_string(SimulatedMethod method);

// An option's value that stands for the method's default.
inline constexpr double kMethodsOwn = std::numeric_limits<double>::quiet_NaN();

// The optimizer of a simulation. Of the options below a method takes those that it has, by their names; it has no
// warm-up unless `more` says so.
struct SimulatedRule {
  SimulatedMethod method = SimulatedMethod::adamw;
  double lr = 0.0;            // η before the schedule, > 0
  double weight_decay = 0.0;  // λ ≥ 0
  double decay_target = 0.0;  // p̂
  DecayCoupling coupling = DecayCoupling::lr;
  double momentum = 0.0;       // in [0, 1); 0 is plain SGD and signSGD
  double dampening = 0.0;      // in [0, 1)
  bool nesterov = false;       // with momentum > 0 and no dampening
  double beta1 = 0.9;          // in [0, 1)
  double beta2 = 0.999;        // in [0, 1), whatever the method's default
  double eps = 1e-8;           // ≥ 0, whatever the method's default; at 0 a gradient that was always 0 is no update
  double beta3 = kMethodsOwn;  // in [0, 1)
  double alpha = kMethodsOwn;  // ≥ 0
  std::vector<std::pair<std::string, double>> more;  // other options of the method, by name; 1 is true
  Schedule schedule;                                 // multiplies lr

  // Why these values mean nothing, naming the field; empty if they are sound.
  std::string error() const;
};

// The values of method M's options; M is the rule's method.
template <class M>
typename M::Values values_of(const SimulatedRule& rule);

// Calls body(std::type_identity<M>) for the method.
template <class F>
void with_method(SimulatedMethod method, F&& body) {
  std::size_t at = 0;
  for_each_type(ElementwiseMethods(), [&](auto m) {
    if (at++ == static_cast<std::size_t>(method)) body(m);
  });
}

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
  std::vector<double> state_[kMaxBuffers];  // those that the rule's options ask for
  std::vector<double> before_, inv_denom_;  // of a traced step
};

// The row of sums taken at a step with lr η_t, named as the optimizers name it.
TraceRow simulated_trace(std::string_view name, std::string_view group, SimulatedMethod method, double lr,
                         const StepSums& sums);

// The value that the rule gives an option of this name; nothing: the method's default.
std::optional<double> given_option(const SimulatedRule& rule, std::string_view name);

template <class M>
typename M::Values values_of(const SimulatedRule& rule) {
  double numbers[kMaxOptions];
  values_to_numbers<M>({}, numbers);
  std::size_t at = 0;
  std::apply(
      [&](const auto&... row) { ((numbers[at] = given_option(rule, row.name).value_or(numbers[at]), ++at), ...); },
      M::Values::table());
  return values_from_numbers<M>(numbers);
}

}  // namespace scalevec::theory
