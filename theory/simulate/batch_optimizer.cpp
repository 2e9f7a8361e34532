#include "theory/simulate/batch_optimizer.hpp"

#include <cmath>
#include <stdexcept>

#include "optim/methods/elementwise.hpp"

namespace scalevec::theory {
namespace {

bool has_denominator(SimulatedMethod method) {
  bool has = false;
  with_method(method, [&]<class M>(std::type_identity<M>) { has = kAdaptive<M>; });
  return has;
}

// Where the values of M's options mean nothing.
template <class M>
std::string own_error(const SimulatedRule& rule) {
  if (!kPlain<M>) return std::string(M::kName) + " keeps numbers from step to step that a simulation does not";
  const auto values = values_of<M>(rule);
  std::string why;
  const auto check = [&](const char* name, double x, const OptionRange& range) {
    if (!why.empty() || range.contains(x)) return;
    why = std::string(name) + ": got " + std::to_string(x) + ", which is out of its range";
  };
  std::apply([&](const auto&... row) { (check(row.name, static_cast<double>(values.*row.member), row.range), ...); },
             M::Values::table());
  for (const auto& [name, value] : rule.more) {
    bool known = false;
    std::apply([&](const auto&... row) { ((known = known || name == row.name), ...); }, M::Values::table());
    if (!known && why.empty()) why = name + " is no option of " + M::kName;
  }
  return why;
}

}  // namespace

std::string_view to_string(SimulatedMethod method) {
  std::string_view name;
  with_method(method, [&]<class M>(std::type_identity<M>) { name = M::kName; });
  return name;
}

std::optional<double> given_option(const SimulatedRule& rule, std::string_view name) {
  const std::pair<std::string_view, double> named[] = {
      {"momentum", rule.momentum}, {"dampening", rule.dampening}, {"nesterov", rule.nesterov ? 1.0 : 0.0},
      {"beta1", rule.beta1},       {"beta2", rule.beta2},         {"eps", rule.eps},
      {"beta3", rule.beta3},       {"alpha", rule.alpha}};
  for (const auto& [other, value] : rule.more)
    if (other == name) return value;
  for (const auto& [other, value] : named)
    if (other == name && !std::isnan(value)) return value;
  return std::nullopt;
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
  if (!std::isnan(beta3) && !fraction(beta3)) return "beta3 must be in [0, 1)";
  if (!std::isnan(alpha) && !(std::isfinite(alpha) && alpha >= 0.0)) return "alpha must be finite and >= 0";
  std::string why;
  with_method(method, [&]<class M>(std::type_identity<M>) { why = own_error<M>(*this); });
  return why.empty() ? schedule.error() : why;
}

BatchOptimizer::BatchOptimizer(const SimulatedRule& rule, std::size_t size) : rule_(rule), size_(size) {
  if (const std::string why = rule.error(); !why.empty()) throw std::invalid_argument("simulated rule: " + why);
  with_method(rule.method, [&]<class M>(std::type_identity<M>) {
    const unsigned held = held_buffers<M>(values_of<M>(rule));
    for (std::size_t k = 0; k < kMaxBuffers; ++k)
      if (held >> k & 1) state_[k].resize(size);
  });
}

namespace {

template <class M, unsigned kHeldBuffers, bool traced>
void step_elements(const typename M::template Constants<double>& constants, const rules::Decay<double>& decay,
                   std::size_t size, double* __restrict param, const double* __restrict grad, double* __restrict s0,
                   double* __restrict s1, double* __restrict s2, double* __restrict s3, double* __restrict inv) {
  for (std::size_t i = 0; i < size; ++i) {
    double a = kHeldBuffers & 1 ? s0[i] : 0.0;
    double b = kHeldBuffers & 2 ? s1[i] : 0.0;
    double c = kHeldBuffers & 4 ? s2[i] : 0.0;
    double d = kHeldBuffers & 8 ? s3[i] : 0.0;
    double inv_denom = 0.0;
    param[i] = step_element<M, kHeldBuffers>(constants, decay, param[i], grad[i], a, b, c, d, inv_denom);
    if constexpr (kHeldBuffers & 1) s0[i] = a;
    if constexpr (kHeldBuffers & 2) s1[i] = b;
    if constexpr (kHeldBuffers & 4) s2[i] = c;
    if constexpr (kHeldBuffers & 8) s3[i] = d;
    if constexpr (traced) inv[i] = inv_denom;
  }
}

}  // namespace

template <bool traced>
void BatchOptimizer::update(double* param, const double* grad) {
  const double lr = this->lr();
  const DecayTerms terms = decay_terms(rule_.coupling, rule_.weight_decay, lr, rule_.lr);
  const rules::Decay<double> decay{1.0, terms.l2, terms.shrink, rule_.decay_target};
  with_method(rule_.method, [&]<class M>(std::type_identity<M>) {
    if constexpr (!kPlain<M>) return;
    using Rule = KernelOf<M>;
    const auto values = values_of<M>(rule_);
    const auto constants = M::constants(values, step_at<M>(values, lr, static_cast<double>(steps_ + 1), steps_ == 0));
    const unsigned held = held_buffers<M>(values);
    const auto run = [&]<std::size_t... subset>(std::index_sequence<subset...>) {
      ((held_by<Rule>(subset) == held ? step_elements<Rule, held_by<Rule>(subset), traced>(
                                            constants, decay, size_, param, grad, state_[0].data(), state_[1].data(),
                                            state_[2].data(), state_[3].data(), inv_denom_.data())
                                      : void()),
       ...);
    };
    run(std::make_index_sequence<kSubsets<Rule>>());
  });
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

}  // namespace scalevec::theory
