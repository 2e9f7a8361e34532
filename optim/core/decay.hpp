#pragma once

#include <optional>
#include <string_view>

namespace scalevec {

// How weight decay λ toward a target p̂ enters a step with scheduled lr η_t; η_0 is the lr before the schedule.
enum class DecayCoupling {
  l2,           // g ← g + λ(p − p̂), after the clip factor
  lr,           // p ← p − η_t λ (p − p̂): PyTorch's AdamW
  independent,  // p ← p − λ(η_t/η_0)(p − p̂)
  lr2           // p ← p − λ(η_t²/η_0)(p − p̂), arXiv 2512.08217
};

std::string_view to_string(DecayCoupling coupling);
std::optional<DecayCoupling> parse_decay_coupling(std::string_view word);

// The two places a coupling can act in.
struct DecayTerms {
  double l2 = 0.0;      // added to the gradient: l2·(p − p̂)
  double shrink = 0.0;  // subtracted from the parameter: shrink·(p − p̂)
};

// `initial_lr` = 0 (a group that never learns) gives no independent and no lr2 decay.
constexpr DecayTerms decay_terms(DecayCoupling coupling, double weight_decay, double lr, double initial_lr) {
  const double ratio = initial_lr > 0.0 ? lr / initial_lr : 0.0;
  switch (coupling) {
    case DecayCoupling::l2:
      return {weight_decay, 0.0};
    case DecayCoupling::lr:
      return {0.0, lr * weight_decay};
    case DecayCoupling::independent:
      return {0.0, ratio * weight_decay};
    case DecayCoupling::lr2:
      return {0.0, ratio * lr * weight_decay};
  }
  return {};
}

}  // namespace scalevec
