#pragma once

#include <cmath>

#include "scalevec/optim/core/host_device.hpp"

// Each optimizer's elementwise arithmetic, once. The CPU kernel, the CUDA kernel and the toy simulations call these.
// A rule takes the stored parameter p and raw gradient g, updates the state in place and returns the new parameter, as
// Moved.
namespace scalevec::rules {

// Common to every rule: g' = grad_factor·g + l2·(p − target), p ← p − shrink·(p − target) − step.
template <class T>
struct Decay {
  T grad_factor = T(1);  // clip factor
  T l2 = T(0);
  T shrink = T(0);
  T target = T(0);

  template <class U>
  SCALEVEC_HD constexpr Decay<U> as() const {
    return {U(grad_factor), U(l2), U(shrink), U(target)};
  }
};

template <class T>
SCALEVEC_HD constexpr T effective_grad(const Decay<T>& d, T p, T g) {
  return d.grad_factor * g + d.l2 * (p - d.target);
}

// A rule's result: the new value, which it converts to, and what was taken off the old one, of which p may show
// nothing.
template <class T>
struct Moved {
  T value, by;

  SCALEVEC_HD constexpr operator T() const { return value; }
};

// p after its decay and a step. The two are added before they meet p, so that p, the largest of the three, rounds once.
template <class T>
SCALEVEC_HD constexpr Moved<T> moved(const Decay<T>& d, T p, T step) {
  const T by = d.shrink * (p - d.target) + step;
  return {p - by, by};
}

// 1/x, and 0 for 0: an element without a second moment or an eps has had no gradient, and 0/0 is no update.
template <class T>
SCALEVEC_HD constexpr T inverse_or_zero(T x) {
  return x == T(0) ? T(0) : T(1) / x;
}

template <class T>
struct AdamW {
  Decay<T> decay;
  T one_minus_beta1, beta2, one_minus_beta2;
  T step_size;       // η/(1 − β₁ᵗ)
  T inv_sqrt_bias2;  // 1/√(1 − β₂ᵗ)
  T eps;

  // Constants of step t ≥ 1.
  SCALEVEC_HD static AdamW at_step(const Decay<double>& d, double lr, double beta1, double beta2, double eps,
                                   double t) {
    return AdamW{d.template as<T>(),
                 T(1.0 - beta1),
                 T(beta2),
                 T(1.0 - beta2),
                 T(lr / (1.0 - std::pow(beta1, t))),
                 T(1.0 / std::sqrt(1.0 - std::pow(beta2, t))),
                 T(eps)};
  }

  template <class U>
  SCALEVEC_HD constexpr AdamW<U> as() const {
    return {decay.template as<U>(), U(one_minus_beta1), U(beta2), U(one_minus_beta2),
            U(step_size),           U(inv_sqrt_bias2),  U(eps)};
  }

  // Also gives inv_denom = 1/(√v̂ + ε), 0 where that is 0, of which the trace adaptive_lr is the mean times η.
  SCALEVEC_HD Moved<T> operator()(T p, T g, T& m, T& v, T& inv_denom) const {
    const T grad = effective_grad(decay, p, g);
    m += one_minus_beta1 * (grad - m);
    v = beta2 * v + one_minus_beta2 * grad * grad;
    inv_denom = inverse_or_zero(std::sqrt(v) * inv_sqrt_bias2 + eps);
    return moved(decay, p, step_size * m * inv_denom);
  }
};

// SGD with momentum: b ← μb + (1 − dampening)g', PyTorch's form (the first step sets b = g').
template <class T>
struct Sgd {
  Decay<T> decay;
  T lr, momentum, one_minus_dampening;
  T nesterov;  // 0 or 1: a bool in the loop over elements keeps compilers from vectorising it

  template <class U>
  SCALEVEC_HD constexpr Sgd<U> as() const {
    return {decay.template as<U>(), U(lr), U(momentum), U(one_minus_dampening), U(nesterov)};
  }

  SCALEVEC_HD Moved<T> operator()(T p, T g, T& b) const {
    const T grad = effective_grad(decay, p, g);
    b = momentum * b + one_minus_dampening * grad;
    const T ahead = grad + momentum * b;
    return moved(decay, p, lr * (nesterov != T(0) ? ahead : b));
  }
};

template <class T>
SCALEVEC_HD constexpr T sign(T x) {
  return static_cast<T>((x > T(0)) - (x < T(0)));
}

// Signum: sign of b ← μb + (1 − μ)g'; μ = 0 is signSGD (Bernstein et al. 2018).
template <class T>
struct Signum {
  Decay<T> decay;
  T lr, one_minus_momentum;

  template <class U>
  SCALEVEC_HD constexpr Signum<U> as() const {
    return {decay.template as<U>(), U(lr), U(one_minus_momentum)};
  }

  SCALEVEC_HD Moved<T> operator()(T p, T g, T& b) const {
    b += one_minus_momentum * (effective_grad(decay, p, g) - b);
    return moved(decay, p, lr * sign(b));
  }
};

// Lion (Chen et al. 2023): sign of β₁m + (1 − β₁)g', then m ← β₂m + (1 − β₂)g'.
template <class T>
struct Lion {
  Decay<T> decay;
  T lr, one_minus_beta1, one_minus_beta2;

  template <class U>
  SCALEVEC_HD constexpr Lion<U> as() const {
    return {decay.template as<U>(), U(lr), U(one_minus_beta1), U(one_minus_beta2)};
  }

  SCALEVEC_HD Moved<T> operator()(T p, T g, T& m) const {
    const T grad = effective_grad(decay, p, g);
    const T direction = m + one_minus_beta1 * (grad - m);
    m += one_minus_beta2 * (grad - m);
    return moved(decay, p, lr * sign(direction));
  }
};

// AdEMAMix (arXiv 2409.03137, Algorithm 1): AdamW whose numerator is m̂₁ + αm₂, m₂ a second, slower mean of g'.
template <class T>
struct AdEMAMix {
  Decay<T> decay;
  T one_minus_beta1, beta2, one_minus_beta2, one_minus_beta3;
  T fast_size;       // η/(1 − β₁ᵗ)
  T slow_size;       // ηα
  T inv_sqrt_bias2;  // 1/√(1 − β₂ᵗ)
  T eps;

  // Constants of step t ≥ 1. Algorithm 1's warm-ups: α rises linearly from 0 over `alpha_warmup` steps, β₃ over
  // `beta3_warmup` steps so that its half-life goes linearly from β₁'s.
  SCALEVEC_HD static AdEMAMix at_step(const Decay<double>& d, double lr, double beta1, double beta2, double beta3,
                                      double alpha, double alpha_warmup, double beta3_warmup, double eps, double t) {
    const double done = t / beta3_warmup;
    const double slow_beta =
        t < beta3_warmup ? std::exp(1.0 / ((1.0 - done) / std::log(beta1) + done / std::log(beta3))) : beta3;
    return AdEMAMix{d.template as<T>(),
                    T(1.0 - beta1),
                    T(beta2),
                    T(1.0 - beta2),
                    T(1.0 - slow_beta),
                    T(lr / (1.0 - std::pow(beta1, t))),
                    T(lr * (t < alpha_warmup ? alpha * t / alpha_warmup : alpha)),
                    T(1.0 / std::sqrt(1.0 - std::pow(beta2, t))),
                    T(eps)};
  }

  template <class U>
  SCALEVEC_HD constexpr AdEMAMix<U> as() const {
    return {decay.template as<U>(), U(one_minus_beta1), U(beta2), U(one_minus_beta2), U(one_minus_beta3), U(fast_size),
            U(slow_size),           U(inv_sqrt_bias2),  U(eps)};
  }

  // Also gives inv_denom = 1/(√v̂ + ε).
  SCALEVEC_HD Moved<T> operator()(T p, T g, T& fast, T& slow, T& v, T& inv_denom) const {
    const T grad = effective_grad(decay, p, g);
    fast += one_minus_beta1 * (grad - fast);
    slow += one_minus_beta3 * (grad - slow);
    v = beta2 * v + one_minus_beta2 * grad * grad;
    inv_denom = inverse_or_zero(std::sqrt(v) * inv_sqrt_bias2 + eps);
    return moved(decay, p, (fast_size * fast + slow_size * slow) * inv_denom);
  }
};

// The first pass of a matrix method: m ← μm + (1 − μ)g' and the mean that its update is formed from,
// u = (1 − mix)g' + mix·m (mix = μ is Nesterov's, 1 the momentum, 0 the gradient). p stays.
template <class T>
struct Momentum {
  Decay<T> decay;
  T one_minus_momentum, mix;

  template <class U>
  SCALEVEC_HD constexpr Momentum<U> as() const {
    return {decay.template as<U>(), U(one_minus_momentum), U(mix)};
  }

  SCALEVEC_HD Moved<T> operator()(T p, T g, T& m, T& u) const {
    const T grad = effective_grad(decay, p, g);
    m += one_minus_momentum * (grad - m);
    // Exact at both ends.
    u = mix < T(0.5) ? grad + mix * (m - grad) : m - (T(1) - mix) * (m - grad);
    return {p, T(0)};
  }
};

// The last pass of a matrix method: p ← p − shrink·(p − target) − scale·u. The gradient enters the sums only.
template <class T>
struct ApplyUpdate {
  Decay<T> decay;
  T scale;

  template <class U>
  SCALEVEC_HD constexpr ApplyUpdate<U> as() const {
    return {decay.template as<U>(), U(scale)};
  }

  SCALEVEC_HD constexpr Moved<T> operator()(T p, T u) const { return moved(decay, p, scale * u); }
};

}  // namespace scalevec::rules
