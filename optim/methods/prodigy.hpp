#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// AdamW whose lr is multiplied by d, an estimate from below of the distance from the start p₀ to the solution
// (Algorithm 4): the largest so far of d_coef Σ β₃ⁱ d²η⟨g, p₀ − p⟩ / ‖s‖₁, s the mean of d²ηg, sums over all parameters
// of a group. p₀ − p is kept as the sum of the steps. State: 16 bytes per element, of float64 32.
struct Prodigy {
  static constexpr const char* kName = "prodigy";
  static constexpr const char* kSource = "Mishchenko & Defazio, arXiv 2306.06101";
  static constexpr MethodDefaults kDefaults{1.0, 0.0, DecayCoupling::lr};  // the authors' code

  SCALEVEC_OPTIONS((double, beta1, 0.9, kFraction, "decay of the mean of dg; the authors' code"),
                   (double, beta2, 0.999, kFraction, "decay of the mean of d²g²; the authors' code"),
                   (double, beta3, 0.0, kFraction, "decay of the sums of the estimate, 0 is √β₂; the authors' code"),
                   (double, eps, 1e-8, kNonnegative, "times d added to √v, 0/0 is no update; the authors' code"),
                   (double, d0, 1e-6, at_least(1e-30), "the first d; the authors' code"),
                   (double, d_coef, 1.0, kNonnegative, "times the estimate; the authors' code"),
                   (double, growth_rate, 0.0, kNonnegative, "most that d grows by in a step, 0 any; the authors' code"),
                   (bool, use_bias_correction, false, kSwitch, "Adam's, of the step; the authors' code"),
                   (bool, safeguard_warmup, false, kSwitch, "leaves lr out of s, for a warm-up; the authors' code"))

  static constexpr std::array kState{"exp_avg", "exp_avg_sq", "s", "distance"};
  // d, the largest estimate, its numerator; and d of the step before times the bias correction, by which lr is
  // multiplied: 0 while no gradient has been seen.
  static constexpr std::array kScalars{"d", "d_max", "d_numerator", "d_step"};
  static constexpr bool kSumsOfGroup = true;
  static constexpr bool kAdaptive = true;
  static constexpr bool kOwnDecay = true;

  // Advances the buffers by d of the step before. Its sums: Σ g(p₀ − p) and ‖s‖₁.
  struct Measure {
    using Values = Prodigy::Values;
    static constexpr std::array kState = Prodigy::kState;
    static constexpr bool kMoves = false;
    static constexpr bool kAdaptive = true;

    template <class T>
    struct Constants {
      T beta1, mean_rate, beta2, square_rate, beta3, s_rate;
    };

    template <class Step>
    SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
      const double d = s.scalars[0] > 0.0 ? s.scalars[0] : o.d0;
      // As the authors' code, a step of lr 0 leaves all as it is.
      if (s.lr <= 0.0) return {1.0, 0.0, 1.0, 0.0, 1.0, 0.0};
      const double rate = d / o.d0 * d * (o.safeguard_warmup ? 1.0 : s.lr * bias_of(o, s));
      return {o.beta1, d * (1.0 - o.beta1), o.beta2, d * d * (1.0 - o.beta2), beta3_of(o), rate};
    }

    template <class T>
    SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T& m, T& v, T& s, T& distance, T& inv_denom) {
      m = c.beta1 * m + c.mean_rate * g;
      v = c.beta2 * v + c.square_rate * g * g;
      s = c.beta3 * s + c.s_rate * g;
      inv_denom = std::abs(s);
      return g * distance;
    }
  };

  template <class Step>
  SCALEVEC_HD static void advance(const Values& o, const Step& at, const double* sums, double* scalars) {
    double &d = scalars[0], &d_max = scalars[1], &numerator = scalars[2], &d_step = scalars[3];
    if (d <= 0.0) d = d_max = o.d0;
    d_step = 0.0;
    if (at.lr <= 0.0 || sums[1] == 0.0) return;
    d_step = d * bias_of(o, at);
    numerator = beta3_of(o) * numerator + d / o.d0 * d_step * at.lr * sums[0];
    const double estimate = o.d_coef * numerator / sums[1];
    if (d == o.d0) d = rules::larger(d, estimate);
    d_max = rules::larger(d_max, estimate);
    d = o.growth_rate > 0.0 && d * o.growth_rate < d_max ? d * o.growth_rate : d_max;
  }

  template <class T>
  struct Constants {
    T step_size;  // η d₋, d₋ of the step before
    T eps;        // εd
    T decay;      // d₋
    T adaptive;   // d₋d, for the trace
  };

  SCALEVEC_HD static constexpr std::array<double, 2> powers(const Values& o) { return {o.beta1, o.beta2}; }

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    return {s.lr * s.scalars[3], o.eps * s.scalars[0], s.scalars[3], s.scalars[3] * s.scalars[0]};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T, T decay, T& m, T& v, T&, T& distance, T& inv_denom) {
    const T inverse = rules::inverse_or_zero(std::sqrt(v) + c.eps);
    inv_denom = c.adaptive * inverse;
    const T step = c.step_size * m * inverse + c.decay * decay;
    distance += step;
    return step;
  }

 private:
  SCALEVEC_HD static double beta3_of(const Values& o) { return o.beta3 > 0.0 ? o.beta3 : std::sqrt(o.beta2); }
  template <class Step>
  SCALEVEC_HD static double bias_of(const Values& o, const Step& s) {
    return o.use_bias_correction ? s.over_bias(1.0, 0) / s.inverse_root_bias(1) : 1.0;
  }
};

}  // namespace scalevec::methods
