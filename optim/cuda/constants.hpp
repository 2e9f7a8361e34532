#pragma once

#include <cstdint>

#include "scalevec/optim/core/decay.hpp"
#include "scalevec/optim/core/update_rules.hpp"

// A group's options and the constants of one step made from them. The device makes them itself, in double, from the lr
// and step count in its memory, so that a captured step goes on counting and follows the schedule.
namespace scalevec::cuda {

enum class RuleKind : std::uint8_t { adamw, sgd, signum, lion, ademamix };

// What a group's tensors share; meanings and defaults are those of the method's options.
struct GroupOptions {
  RuleKind rule = RuleKind::adamw;
  DecayCoupling coupling = DecayCoupling::lr;
  bool nesterov = false;  // sgd
  bool clip = true;       // member of the global clip norm
  double lr = 0.0;        // η_t
  double initial_lr = 0.0;
  double weight_decay = 0.0;
  double decay_target = 0.0;
  double beta1 = 0.0, beta2 = 0.0, eps = 0.0;  // adamw (also Adam), ademamix; lion without eps
  double momentum = 0.0;                       // sgd, signum
  double dampening = 0.0;                      // sgd
  double beta3 = 0.0, alpha = 0.0, alpha_warmup = 0.0, beta3_warmup = 0.0;  // ademamix; warm-ups in steps

  bool operator==(const GroupOptions&) const = default;
};

// The rule that `kind` names, with its constants; the others are not set.
struct Constants {
  RuleKind kind = RuleKind::adamw;
  rules::AdamW<double> adamw{};
  rules::Sgd<double> sgd{};
  rules::Signum<double> signum{};
  rules::Lion<double> lion{};
  rules::AdEMAMix<double> ademamix{};
  std::int64_t step = 0;
};

// Constants of a tensor's step number `step` ≥ 1, in which members of the clip norm have gradients times `clip_factor`.
SCALEVEC_HD Constants constants_at(const GroupOptions& o, double clip_factor, std::int64_t step) {
  const DecayTerms terms = decay_terms(o.coupling, o.weight_decay, o.lr, o.initial_lr);
  const rules::Decay<double> decay{o.clip ? clip_factor : 1.0, terms.l2, terms.shrink, o.decay_target};
  const bool plain = o.momentum == 0.0;
  Constants c;
  c.kind = o.rule;
  c.step = step;
  switch (o.rule) {
    case RuleKind::adamw:
      c.adamw = rules::AdamW<double>::at_step(decay, o.lr, o.beta1, o.beta2, o.eps, static_cast<double>(step));
      break;
    case RuleKind::sgd:
      c.sgd = {decay, o.lr, o.momentum, plain || step == 1 ? 1.0 : 1.0 - o.dampening, o.nesterov && !plain ? 1.0 : 0.0};
      break;
    case RuleKind::signum:
      c.signum = {decay, o.lr, 1.0 - o.momentum};
      break;
    case RuleKind::lion:
      c.lion = {decay, o.lr, 1.0 - o.beta1, 1.0 - o.beta2};
      break;
    case RuleKind::ademamix:
      c.ademamix = rules::AdEMAMix<double>::at_step(decay, o.lr, o.beta1, o.beta2, o.beta3, o.alpha, o.alpha_warmup,
                                                    o.beta3_warmup, o.eps, static_cast<double>(step));
      break;
  }
  return c;
}

// min(1, max_norm/(norm + 1e-6)), PyTorch's factor; 1 without clipping (max_norm = 0) and for a norm that is NaN.
SCALEVEC_HD constexpr double clip_factor_of(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return max_norm > 0.0 && factor < 1.0 ? factor : 1.0;
}

}  // namespace scalevec::cuda
