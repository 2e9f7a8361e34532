#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <type_traits>
#include <vector>

#include "optim/cuda/constants.hpp"
#include "optim/cuda/layout.hpp"
#include "optim/cuda/multi_tensor.hpp"
#include "tests/cuda/noted_values.hpp"
#include "tests/support/catch.hpp"

// Steps in double precision that share no arithmetic with the rules, and the tensors to try them on.
namespace scalevec::cuda_test {

using cuda::Bf16;
using cuda::F16;
using cuda::GroupOptions;
using kernels::Dtype;

// Below, at and above a pass of a block and a chunk.
inline const std::vector<std::size_t> kSizes{1, 1025, 0, 16384 + 77, 33000, 3};

template <class P>
inline constexpr Dtype kDtype = Dtype::float32;
template <>
inline constexpr Dtype kDtype<double> = Dtype::float64;
template <>
inline constexpr Dtype kDtype<Bf16> = Dtype::bfloat16;
template <>
inline constexpr Dtype kDtype<F16> = Dtype::float16;
template <class P>
using StateOf = std::conditional_t<std::is_same_v<P, double>, double, float>;

template <class P>
std::vector<double> widened(const std::vector<P>& values) {
  std::vector<double> wide;
  for (const P& v : values) wide.push_back(cuda::load(v));
  return wide;
}

template <class P>
std::vector<P> normal(std::size_t n, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> gauss;
  std::vector<P> values(n);
  for (P& v : values) cuda::store(v, static_cast<StateOf<P>>(gauss(random)));
  return values;
}

enum class RuleKind { adamw, sgd, signum, lion };

// A method and its options.
struct Setting {
  RuleKind rule = RuleKind::adamw;
  DecayCoupling coupling = DecayCoupling::lr;
  bool nesterov = false, clip = true;
  double lr = 1e-2, weight_decay = 0.1, decay_target = 0.0;
  double beta1 = 0.9, beta2 = 0.95, eps = 1e-8, momentum = 0.0, dampening = 0.0;
};

// The same for the kernels.
inline GroupOptions group_of(const Setting& s) {
  GroupOptions o;
  o.coupling = s.coupling;
  o.clip = s.clip;
  o.lr = s.lr;
  o.initial_lr = 1e-2;
  o.weight_decay = s.weight_decay;
  o.decay_target = s.decay_target;
  if (s.rule == RuleKind::adamw) cuda::set_values<methods::AdamW>(o, {s.beta1, s.beta2, s.eps});
  if (s.rule == RuleKind::sgd) cuda::set_values<methods::SGD>(o, {s.momentum, s.dampening, s.nesterov});
  if (s.rule == RuleKind::signum) cuda::set_values<methods::Signum>(o, {s.momentum});
  if (s.rule == RuleKind::lion) cuda::set_values<methods::Lion>(o, {s.beta1, s.beta2});
  return o;
}

struct Reference {
  std::vector<double> p, m, v;

  // Textbook forms, without the arithmetic of the rules under test.
  void step(const Setting& o, const std::vector<double>& grads, double factor, int t) {
    for (std::size_t i = 0; i < p.size(); ++i) {
      const double old = p[i];
      double g = factor * grads[i];
      if (o.coupling == DecayCoupling::l2) g += o.weight_decay * (old - o.decay_target);
      double direction = 0.0;
      if (o.rule == RuleKind::adamw) {
        m[i] = o.beta1 * m[i] + (1 - o.beta1) * g;
        v[i] = o.beta2 * v[i] + (1 - o.beta2) * g * g;
        direction = m[i] / (1 - std::pow(o.beta1, t)) / (std::sqrt(v[i] / (1 - std::pow(o.beta2, t))) + o.eps);
      } else if (o.rule == RuleKind::sgd) {
        m[i] = t == 1 || o.momentum == 0.0 ? g : o.momentum * m[i] + (1 - o.dampening) * g;
        direction = o.nesterov ? g + o.momentum * m[i] : m[i];
      } else if (o.rule == RuleKind::signum) {
        m[i] = o.momentum * m[i] + (1 - o.momentum) * g;
        direction = m[i] > 0 ? 1 : m[i] < 0 ? -1 : 0;
      } else {
        const double mixed = o.beta1 * m[i] + (1 - o.beta1) * g;
        direction = mixed > 0 ? 1 : mixed < 0 ? -1 : 0;
        m[i] = o.beta2 * m[i] + (1 - o.beta2) * g;
      }
      p[i] = old - o.lr * direction;
      if (o.coupling == DecayCoupling::lr) p[i] -= o.lr * o.weight_decay * (old - o.decay_target);
    }
  }
};

inline Setting adamw() { return {}; }

inline Setting momentum(RuleKind rule, double mu) {
  Setting o;
  o.rule = rule;
  o.momentum = mu;
  return o;
}

inline Setting nesterov() {
  Setting o = momentum(RuleKind::sgd, 0.9);
  o.nesterov = true;
  o.coupling = DecayCoupling::l2;
  o.decay_target = 1.0;
  return o;
}

inline std::vector<Setting> every_rule() {
  return {adamw(),    momentum(RuleKind::sgd, 0.0),    momentum(RuleKind::sgd, 0.9),
          nesterov(), momentum(RuleKind::signum, 0.9), momentum(RuleKind::lion, 0.0)};
}

// Largest difference, relative to values above 1.
inline double distance(const std::vector<double>& values, const std::vector<double>& reference) {
  double worst = values.size() == reference.size() ? 0.0 : INFINITY;
  for (std::size_t i = 0; i < std::min(values.size(), reference.size()); ++i) {
    const double difference = std::abs(values[i] - reference[i]) / std::max(1.0, std::abs(reference[i]));
    worst = difference <= worst ? worst : difference;
  }
  return worst;
}

inline void check_sums(const StepSums& sums, const std::vector<double>& before, const std::vector<double>& after,
                       const std::vector<double>& g) {
  double gg = 0, pp = 0, dd = 0, pd = 0, gd = 0;
  for (std::size_t i = 0; i < g.size(); ++i) {
    const double p = before[i], d = after[i] - p;
    gg += g[i] * g[i];
    pp += p * p;
    dd += d * d;
    pd += p * d;
    gd += g[i] * d;
  }
  CHECK(sums.count == static_cast<std::int64_t>(g.size()));
  note_values(sizeof(float), {sums.grad_sq, sums.param_sq, sums.update_sq, sums.param_update, sums.grad_update});
  CHECK(std::abs(sums.grad_sq - gg) <= 1e-6 * gg);
  CHECK(std::abs(sums.param_sq - pp) <= 1e-6 * pp);
  CHECK(std::abs(sums.update_sq - dd) <= 1e-6 * dd);
  CHECK(std::abs(sums.param_update - pd) <= 1e-6 * std::sqrt(pp * dd));
  CHECK(std::abs(sums.grad_update - gd) <= 1e-6 * std::sqrt(gg * dd));
}

}  // namespace scalevec::cuda_test
