#include "scalevec/theory/simulate/batch_optimizer.hpp"

#include <cmath>
#include <stdexcept>

#include "scalevec/optim/core/update_rules.hpp"

namespace scalevec {
namespace {

bool has_denominator(SimulatedMethod method) {
  return method == SimulatedMethod::adamw || method == SimulatedMethod::ademamix;
}

}  // namespace

std::string_view to_string(SimulatedMethod method) {
  switch (method) {
    case SimulatedMethod::sgd:
      return "sgd";
    case SimulatedMethod::signum:
      return "signum";
    case SimulatedMethod::adamw:
      return "adamw";
    case SimulatedMethod::lion:
      return "lion";
    case SimulatedMethod::ademamix:
      return "ademamix";
  }
  return "";
}

std::string SimulatedRule::error() const {
  const auto fraction = [](double x) { return x >= 0.0 && x < 1.0; };
  if (!(std::isfinite(lr) && lr > 0.0)) return "lr must be finite and > 0";
  if (!(std::isfinite(weight_decay) && weight_decay >= 0.0)) return "weight_decay must be finite and >= 0";
  if (!std::isfinite(decay_target)) return "decay_target must be finite";
  if (!fraction(momentum)) return "momentum must be in [0, 1)";
  if (!fraction(dampening)) return "dampening must be in [0, 1)";
  if (nesterov && (momentum == 0.0 || dampening != 0.0)) return "nesterov needs momentum > 0 and dampening 0";
  if (!fraction(beta1)) return "beta1 must be in [0, 1)";
  if (!fraction(beta2)) return "beta2 must be in [0, 1)";
  if (!(std::isfinite(eps) && eps >= 0.0)) return "eps must be finite and >= 0";
  if (!fraction(beta3)) return "beta3 must be in [0, 1)";
  if (!(std::isfinite(alpha) && alpha >= 0.0)) return "alpha must be finite and >= 0";
  return schedule.error();
}

BatchOptimizer::BatchOptimizer(const SimulatedRule& rule, std::size_t size) : rule_(rule), size_(size), first_(size) {
  if (const std::string why = rule.error(); !why.empty()) throw std::invalid_argument("simulated rule: " + why);
  if (has_denominator(rule.method)) second_.resize(size);
  if (rule.method == SimulatedMethod::ademamix) slow_.resize(size);
}

template <bool traced>
void BatchOptimizer::update(double* __restrict param, const double* __restrict grad) {
  const double lr = this->lr();
  const DecayTerms terms = decay_terms(rule_.coupling, rule_.weight_decay, lr, rule_.lr);
  const rules::Decay<double> decay{1.0, terms.l2, terms.shrink, rule_.decay_target};
  double* __restrict first = first_.data();
  switch (rule_.method) {
    case SimulatedMethod::sgd: {
      // PyTorch's first step sets the buffer, and without momentum there is none.
      const double kept = steps_ == 0 || rule_.momentum == 0.0 ? 1.0 : 1.0 - rule_.dampening;
      const rules::Sgd<double> rule{decay, lr, rule_.momentum, kept, rule_.nesterov ? 1.0 : 0.0};
      for (std::size_t i = 0; i < size_; ++i) param[i] = rule(param[i], grad[i], first[i]);
      break;
    }
    case SimulatedMethod::signum: {
      const rules::Signum<double> rule{decay, lr, 1.0 - rule_.momentum};
      for (std::size_t i = 0; i < size_; ++i) param[i] = rule(param[i], grad[i], first[i]);
      break;
    }
    case SimulatedMethod::lion: {
      const rules::Lion<double> rule{decay, lr, 1.0 - rule_.beta1, 1.0 - rule_.beta2};
      for (std::size_t i = 0; i < size_; ++i) param[i] = rule(param[i], grad[i], first[i]);
      break;
    }
    case SimulatedMethod::adamw: {
      const auto rule = rules::AdamW<double>::at_step(decay, lr, rule_.beta1, rule_.beta2, rule_.eps,
                                                      static_cast<double>(steps_ + 1));
      double* __restrict second = second_.data();
      double* __restrict inv = inv_denom_.data();
      for (std::size_t i = 0; i < size_; ++i) {
        double inv_denom;
        param[i] = rule(param[i], grad[i], first[i], second[i], inv_denom);
        if constexpr (traced) inv[i] = inv_denom;
      }
      break;
    }
    case SimulatedMethod::ademamix: {
      const auto rule = rules::AdEMAMix<double>::at_step(decay, lr, rule_.beta1, rule_.beta2, rule_.beta3, rule_.alpha,
                                                         0.0, 0.0, rule_.eps, static_cast<double>(steps_ + 1));
      double* __restrict slow = slow_.data();
      double* __restrict second = second_.data();
      double* __restrict inv = inv_denom_.data();
      for (std::size_t i = 0; i < size_; ++i) {
        double inv_denom;
        param[i] = rule(param[i], grad[i], first[i], slow[i], second[i], inv_denom);
        if constexpr (traced) inv[i] = inv_denom;
      }
      break;
    }
  }
}

void BatchOptimizer::add_sums(const double* param, const double* grad, StepSums& sums) const {
  StepSums s;
  for (std::size_t i = 0; i < size_; ++i) {
    const double p = before_[i], g = grad[i], delta = param[i] - p;
    s.grad_sq += g * g;
    s.param_sq += p * p;
    s.update_sq += delta * delta;
    s.param_update += p * delta;
    s.grad_update += g * delta;
  }
  if (has_denominator(rule_.method))
    for (std::size_t i = 0; i < size_; ++i) s.inv_denom += inv_denom_[i];
  s.count = static_cast<std::int64_t>(size_);
  sums += s;
}

void BatchOptimizer::step(double* param, const double* grad, StepSums* sums) {
  if (sums) {
    before_.assign(param, param + size_);
    inv_denom_.resize(size_);
    update<true>(param, grad);
    add_sums(param, grad, *sums);
  } else {
    update<false>(param, grad);
  }
  ++steps_;
}

TraceRow simulated_trace(std::string_view name, std::string_view group, SimulatedMethod method, double lr,
                         const StepSums& sums) {
  return trace_row({name, group, to_string(method), lr, has_denominator(method), sums});
}

}  // namespace scalevec
