#pragma once

#include "optim/methods/method.hpp"

namespace scalevec::methods {

// Stochastic gradient descent under schedule-free averaging (equations 3 to 5): the parameter is y = (1 − β)z + βx,
// where gradients are taken, z ← z − ηg, and x, the mean of z weighted by tʳ (max η)ᵖᵒʷᵉʳ, is what to validate and keep
// (Optimizer::use_average_weights). Decay is part of the step, at y. The lr needs a warm-up and no other schedule.
// State: 4 bytes per element, of float64 8.
struct ScheduleFreeSGD {
  static constexpr const char* kName = "schedulefree_sgd";
  static constexpr const char* kSource = "Defazio et al., arXiv 2405.15682";
  static constexpr MethodDefaults kDefaults{1.0, 0.0, DecayCoupling::lr};  // the authors' code

  SCALEVEC_OPTIONS((double, momentum, 0.9, kFraction, "β, weight of the mean in y, above 0; the authors' code"),
                   (double, r, 0.0, kNonnegative, "power of t in a step's weight; the authors' code"),
                   (double, weight_lr_power, 2.0, kNonnegative,
                    "power of the largest lr so far in a step's weight; the authors' code"))

  static constexpr std::array kState{"z_minus_y"};
  static constexpr std::array kScalars{"weight_sum", "lr_max", "mean_weight"};
  static constexpr bool kOwnDecay = true;

  static constexpr const char* kAverage = "z_minus_y";
  static double average_weight(const Values& o) { return 1.0 - 1.0 / o.momentum; }

  static std::string conflict(const Values& o) {
    return o.momentum > 0.0 ? std::string() : "momentum: got " + std::to_string(o.momentum) + "; allowed: above 0";
  }

  template <class Step>
  static void advance(const Values& o, const Step& s, const double*, double* scalars) {
    double &sum = scalars[0], &lr_max = scalars[1], &mean_weight = scalars[2];
    lr_max = rules::larger(lr_max, s.lr);
    const double weight = std::pow(s.t, o.r) * std::pow(lr_max, o.weight_lr_power);
    sum += weight;
    mean_weight = sum > 0.0 ? weight / sum : 0.0;
  }

  template <class T>
  struct Constants {
    T lr;
    T mean_weight;  // c, of this step in the mean
    T share;        // 1 − β(1 − c), of z's step that y makes
    T keep;         // 1 − c
    T momentum;
  };

  template <class Step>
  static Constants<double> constants(const Values& o, const Step& s) {
    const double c = s.scalars[2];
    return {s.lr, c, 1.0 - o.momentum * (1.0 - c), 1.0 - c, o.momentum};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T decay, T& offset) {
    const T step = c.lr * g + decay, before = offset;
    offset = c.keep * (before - c.momentum * step);
    return c.share * step - c.mean_weight * before;
  }
};

}  // namespace scalevec::methods
