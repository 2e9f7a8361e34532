#include "scalevec/theory/simulate/replica_optimizer.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "scalevec/theory/simulate/kernels.hpp"

namespace scalevec {
namespace {

using namespace simulate;

bool same(const Schedule& a, const Schedule& b) {
  return a.shape == b.shape && a.warmup_steps == b.warmup_steps && a.total_steps == b.total_steps &&
         a.final_factor == b.final_factor && a.decay_steps == b.decay_steps && a.decay_shape == b.decay_shape;
}

int states_of(SimulatedMethod method) {
  switch (method) {
    case SimulatedMethod::adamw:
      return 2;
    case SimulatedMethod::ademamix:
      return 3;
    default:
      return 1;
  }
}

}  // namespace

ReplicaOptimizer::ReplicaOptimizer(std::span<const SimulatedRule> rules, std::size_t params)
    : rules_(rules.begin(), rules.end()), params_(params), constants_(kRuleRows * padded(rules.size())) {
  if (rules.empty()) throw std::invalid_argument("replicas: at least one rule is needed");
  if (params == 0) throw std::invalid_argument("replicas: params must be at least 1");
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const std::string at = "replica " + std::to_string(i) + ": ";
    if (const std::string why = rules[i].error(); !why.empty()) throw std::invalid_argument(at + why);
    if (rules[i].method != rules[0].method)
      throw std::invalid_argument(at + "method must be the first replica's, " +
                                  std::string(to_string(rules[0].method)));
    const auto found = std::find_if(schedules_.begin(), schedules_.end(),
                                    [&](const Schedule& s) { return same(s, rules[i].schedule); });
    schedule_of_.push_back(static_cast<std::size_t>(found - schedules_.begin()));
    if (found == schedules_.end()) schedules_.push_back(rules[i].schedule);
  }
  for (int s = 0; s < states_of(rules_[0].method); ++s) state_[s].resize(size());
  // Lanes behind the last replica run its rule.
  for (std::size_t i = 0; i < padded(rules_.size()); ++i) {
    const SimulatedRule& r = rules_[std::min(i, rules_.size() - 1)];
    const auto set = [&](RuleRow row, double value) { constant(row, i) = value; };
    set(kTarget, r.decay_target);
    set(kMomentum, r.momentum);
    set(kKept, r.method == SimulatedMethod::signum ? 1.0 - r.momentum : 1.0);  // PyTorch's first step sets the buffer
    set(kNesterov, r.nesterov ? 1.0 : 0.0);
    set(kBeta1, r.beta1);
    set(kOneMinusBeta1, 1.0 - r.beta1);
    set(kBeta2, r.beta2);
    set(kOneMinusBeta2, 1.0 - r.beta2);
    set(kOneMinusBeta3, 1.0 - r.beta3);
    set(kAlpha, r.alpha);
    set(kEps, r.eps);
    set(kPower1, 1.0);
    set(kPower2, 1.0);
  }
}

double& ReplicaOptimizer::constant(RuleRow row, std::size_t lane) {
  return constants_[(lane / kLanes * kRuleRows + row) * kLanes + lane % kLanes];
}

// The scheduled lr and the decay that goes with it, where a factor moved.
void ReplicaOptimizer::set_rates() {
  const std::vector<double> before = factor_;
  factor_.clear();
  for (const Schedule& s : schedules_) factor_.push_back(s.factor(steps_));
  if (factor_ == before) return;
  for (std::size_t i = 0; i < padded(rules_.size()); ++i) {
    const std::size_t at = std::min(i, rules_.size() - 1), schedule = schedule_of_[at];
    if (!before.empty() && before[schedule] == factor_[schedule]) continue;
    const SimulatedRule& r = rules_[at];
    const double lr = r.lr * factor_[schedule];
    const DecayTerms terms = decay_terms(r.coupling, r.weight_decay, lr, r.lr);
    constant(kLr, i) = lr;
    constant(kL2, i) = terms.l2;
    constant(kShrink, i) = terms.shrink;
  }
}

void ReplicaOptimizer::step(double* param, const double* grad) {
  set_rates();
  const SimulatedMethod method = rules_[0].method;
  if (steps_ == 1 && method == SimulatedMethod::sgd)
    for (std::size_t i = 0; i < padded(rules_.size()); ++i) {
      const SimulatedRule& r = rules_[std::min(i, rules_.size() - 1)];
      constant(kKept, i) = r.momentum == 0.0 ? 1.0 : 1.0 - r.dampening;
    }
  const auto run = kernels().step[static_cast<std::size_t>(method)];
  for (std::size_t block = 0; block < padded(rules_.size()) / kLanes; ++block) {
    const std::size_t at = block * params_ * kLanes;
    StepJob job{params_, param + at, grad + at, {}, constants_.data() + block * kRuleRows * kLanes};
    for (int s = 0; s < states_of(method); ++s) job.state[s] = state_[s].data() + at;
    run(job);
  }
  ++steps_;
}

void replica_noise(std::uint64_t seed, std::span<const std::uint64_t> streams, std::uint64_t first, std::size_t rows,
                   double* out) {
  if (streams.size() % kLanes != 0)
    throw std::invalid_argument("replica noise: streams must be padded to a multiple of " + std::to_string(kLanes));
  alignas(64) double unused[kLanes];
  const std::uint64_t end = first + rows;
  for (std::size_t lane = 0; lane < streams.size(); lane += kLanes, out += rows * kLanes)
    for (std::uint64_t block = first / 2; 2 * block < end; ++block) {
      double* const even = 2 * block < first ? unused : out + (2 * block - first) * kLanes;
      double* const odd = 2 * block + 1 < end ? out + (2 * block + 1 - first) * kLanes : unused;
      kernels().normals(seed, streams.data() + lane, block, even, odd);
    }
}

}  // namespace scalevec
