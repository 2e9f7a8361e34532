#include "theory/simulate/replica_optimizer.hpp"

#include <algorithm>
#include <stdexcept>
#include <string>

#include "theory/simulate/kernels.hpp"

namespace scalevec::theory {
namespace {

using namespace simulate;

}  // namespace

ReplicaOptimizer::ReplicaOptimizer(std::span<const SimulatedRule> rules, std::size_t params)
    : rules_(rules.begin(), rules.end()), params_(params) {
  if (rules.empty()) throw std::invalid_argument("replicas: at least one rule is needed");
  if (params == 0) throw std::invalid_argument("replicas: params must be at least 1");
  for (std::size_t i = 0; i < rules.size(); ++i) {
    const std::string at = "replica " + std::to_string(i) + ": ";
    if (const std::string why = rules[i].error(); !why.empty()) throw std::invalid_argument(at + why);
    if (rules[i].method != rules[0].method)
      throw std::invalid_argument(at + "method must be the first replica's, " +
                                  std::string(to_string(rules[0].method)));
    const auto found = std::find(schedules_.begin(), schedules_.end(), rules[i].schedule);
    schedule_of_.push_back(static_cast<std::size_t>(found - schedules_.begin()));
    if (found == schedules_.end()) schedules_.push_back(rules[i].schedule);
  }
  with_method(rules_[0].method, [&]<class M>(std::type_identity<M>) {
    using Rule = KernelOf<M>;
    timed_ = kTimed<M>;
    rows_ = kRuleRows<M>;
    constants_.resize(rows_ * padded(rules_.size()));
    unsigned held = 0;
    // Lanes behind the last replica run its rule.
    for (std::size_t i = 0; i < padded(rules_.size()); ++i) {
      const SimulatedRule& r = rules_[std::min(i, rules_.size() - 1)];
      const auto values = values_of<M>(r);
      held |= held_buffers<M>(values);
      double numbers[kMaxOptions];
      values_to_numbers<M>(values, numbers);
      constant(kTarget, i) = r.decay_target;
      for (std::size_t k = 0; k < kOptions<M>; ++k) constant(kOptionRows + k, i) = numbers[k];
      for (std::size_t k = 0; k < kPowers<M>; ++k) constant(kPowerRows<M> + k, i) = 1.0;
    }
    for (std::size_t k = 0; k < kMaxBuffers; ++k)
      if (held >> k & 1) state_[k].resize(size());
    run_ = kernels().step(index_in<Rule>(SimulatedRules()), subset_of<Rule>(held));
  });
}

double& ReplicaOptimizer::constant(std::size_t row, std::size_t lane) {
  return constants_[(lane / kLanes * rows_ + row) * kLanes + lane % kLanes];
}

// The scheduled lr and the decay that goes with it, where a factor moved; whether one did.
bool ReplicaOptimizer::set_rates() {
  const std::vector<double> before = factor_;
  factor_.clear();
  for (const Schedule& s : schedules_) factor_.push_back(s.factor(steps_));
  if (factor_ == before) return false;
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
  return true;
}

void ReplicaOptimizer::step(double* param, const double* grad) {
  const bool moved = set_rates();
  const bool anew = timed_ || moved || steps_ <= 1;  // buffers begin at the first step
  for (std::size_t block = 0; block < padded(rules_.size()) / kLanes; ++block) {
    const std::size_t at = block * params_ * kLanes;
    StepJob job{
        params_, param + at, grad + at, {}, constants_.data() + block * rows_ * kLanes, static_cast<double>(steps_ + 1),
        anew};
    for (std::size_t k = 0; k < kMaxBuffers; ++k) job.state[k] = state_[k].empty() ? nullptr : state_[k].data() + at;
    run_(job);
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

}  // namespace scalevec::theory
