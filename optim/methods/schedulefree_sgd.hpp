#pragma once

#include "optim/methods/schedule_free.hpp"

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
  static constexpr auto kScalars = schedule_free::kScalars;
  static constexpr bool kOwnDecay = true;

  static constexpr const char* kAverage = schedule_free::kAverage;
  static double average_weight(const Values& o) { return schedule_free::average_weight(o.momentum); }

  static std::string conflict(const Values& o) { return schedule_free::conflict("momentum", o.momentum); }

  template <class Step>
  SCALEVEC_HD static void advance(const Values& o, const Step& s, const double*, double* scalars) {
    schedule_free::advance(o, s, scalars);
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
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    const double c = s.scalars[2];
    return {s.lr, c, schedule_free::share(o.momentum, c), 1.0 - c, o.momentum};
  }

  template <class T>
  SCALEVEC_HD static T update(const Constants<T>& c, T, T g, T decay, T& offset) {
    return schedule_free::step_of_mean(c, c.momentum, c.lr * g + decay, offset);
  }
};

}  // namespace scalevec::methods
