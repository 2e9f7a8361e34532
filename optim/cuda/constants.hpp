#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <type_traits>

#include "optim/core/decay.hpp"
#include "optim/core/option_table.hpp"
#include "optim/kernels/modifiers.hpp"
#include "optim/kernels/passes.hpp"
#include "optim/methods/blockwise.hpp"
#include "optim/methods/elementwise.hpp"

// A group's options and the constants of one step made from them. The device makes them itself, in double, from the lr
// and step count in its memory, so that a captured step goes on counting and follows the schedule.
namespace scalevec::cuda {

// A matrix method's first pass, whose mean, or the gradient where there is no momentum, is the update that is then
// formed by LibTorch's operators, and its last pass.
struct MomentumOnDevice : kernels::MomentumPass {
  SCALEVEC_OPTIONS((double, one_minus_momentum, 0.0, kAnyNumber, ""), (double, mix, 0.0, kAnyNumber, ""))

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step&) {
    return {o.one_minus_momentum, o.mix};
  }
};
struct ReadOnDevice : kernels::ReadPass {
  SCALEVEC_OPTIONS((double, gradient, 1.0, kAnyNumber, ""), (double, param, 0.0, kAnyNumber, ""))

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step&) {
    return {o.gradient, o.param};
  }
};
struct ApplyOnDevice : kernels::ApplyPass {
  SCALEVEC_OPTIONS((double, lr_factor, 1.0, kAnyNumber, ""), (double, constant, 0.0, kAnyNumber, ""))

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step& s) {
    // nvcc's host pass loses the braces of a sole member unless the type is named.
    return Constants<double>{s.lr * o.lr_factor + o.constant};
  }
};

// The passes of GradientMoments.
struct MomentsOnDevice : kernels::MomentsPass {
  SCALEVEC_OPTIONS((double, weight, 1.0, kAnyNumber, ""))

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step&) {
    return Constants<double>{o.weight};
  }
};
struct SignalOnDevice : kernels::SignalPass {
  SCALEVEC_OPTIONS((double, factor, 1.0, kAnyNumber, ""))

  template <class Step>
  SCALEVEC_HD static Constants<double> constants(const Values& o, const Step&) {
    return Constants<double>{o.factor};
  }
};

// The rule of a method with states of 8 bits. A tensor's state then has the codes of each buffer and behind those their
// scales.
template <class M>
struct CodedOnDevice : M::Rule {
  static constexpr auto kSigned = M::kSigned;
};
template <class List>
struct CodedOf;
template <class... M>
struct CodedOf<TypeList<M...>> {
  using type = TypeList<CodedOnDevice<M>...>;
};

// The pass by which a method's buffers learn curvature, in place of its step. The group's lr is the number of samples.
template <class M>
struct CurvatureOnDevice : M {
  using Values = typename M::Values;
  static constexpr bool kMoves = false;

  template <class T>
  using Constants = typename M::Curvature::template Constants<T>;

  template <class Step>
  SCALEVEC_HD static constexpr Constants<double> constants(const Values& o, const Step& s) {
    return M::Curvature::constants(o, s.lr);
  }
  template <class T, class... Buffers>
  SCALEVEC_HD static T update(const Constants<T>& c, T p, T g, Buffers&... buffers) {
    return M::Curvature::update(c, p, g, buffers...);
  }
};
template <class List>
struct CurvaturesOf;
template <class... M>
struct CurvaturesOf<TypeList<M...>> {
  using type = Joined<std::conditional_t<kHasCurvature<M>, TypeList<CurvatureOnDevice<M>>, TypeList<>>...>;
};

// The rules that the library's kernels have, by their place in this list.
using DeviceRules = Joined<KernelsOf<ElementwiseMethods>, TypeList<MomentumOnDevice, ReadOnDevice, ApplyOnDevice>,
                           CodedOf<BlockMethods>::type, CurvaturesOf<ElementwiseMethods>::type,
                           TypeList<MomentsOnDevice, SignalOnDevice>>;
// Of a row that is stepped before the updates are formed: neither its norm nor its sums count, nor is a step counted.
SCALEVEC_HD constexpr bool is_first_pass(std::int32_t rule) {
  return rule == static_cast<std::int32_t>(index_in<MomentumOnDevice>(DeviceRules())) ||
         rule == static_cast<std::int32_t>(index_in<ReadOnDevice>(DeviceRules()));
}

// What a group's tensors share; meanings and defaults are those of the method's options.
struct GroupOptions {
  std::int32_t rule = -1;  // its place in DeviceRules
  std::uint32_t held = 0;  // the bits of the buffers that the options ask for
  DecayCoupling coupling = DecayCoupling::lr;
  bool clip = true;    // member of the global clip norm
  bool fresh = false;  // optional buffers begin at this step
  // What modifies the step, as in kernels::Modifier.
  bool cautious = false, cautious_decay = false;
  kernels::StepSize size = kernels::StepSize::own;
  double rms = 0.0;
  double lr = 0.0;  // η_t
  double initial_lr = 0.0;
  double weight_decay = 0.0;
  double decay_target = 0.0;
  std::array<double, kMaxOptions> values{};  // of the method's own options, in the order of its table

  bool operator==(const GroupOptions&) const = default;
  SCALEVEC_HD bool modified() const { return cautious || cautious_decay || size != kernels::StepSize::own; }
  SCALEVEC_HD kernels::Modifier modifier(void* held_norm) const {
    return {cautious, cautious_decay, size, lr, rms, 1, held_norm};
  }
};

// Sets what the values of M's options say.
template <class M>
void set_values(GroupOptions& group, const typename M::Values& values) {
  group.rule = static_cast<std::int32_t>(index_in<KernelOf<M>>(DeviceRules()));
  if constexpr (kHasCodes<M>)
    group.held = (1u << 2 * M::kSigned.size()) - 1;
  else
    group.held = held_buffers<M>(values);
  group.values = {};
  values_to_numbers<M>(values, group.values.data());
}

// The same for the pass by which M's buffers learn curvature from a loss on `samples` sampled labels.
template <class M>
void set_curvature_values(GroupOptions& group, const typename M::Values& values, double samples) {
  group.rule = static_cast<std::int32_t>(index_in<CurvatureOnDevice<M>>(DeviceRules()));
  group.held = held_buffers<M>(values);
  group.clip = false;
  group.lr = samples;
  values_to_numbers<M>(values, group.values.data());
}

// What a tensor's step needs: its number, and the constants of its rule.
struct Constants {
  std::int64_t step = 0;
  rules::Decay<double> decay;
  std::array<double, kMaxConstants> values{};
};

template <class M>
SCALEVEC_HD auto step_of(const GroupOptions& o, std::int64_t step) {
  return step_at<M>(values_from_numbers<M>(o.values.data()), o.lr, static_cast<double>(step), step == 1 || o.fresh);
}
// Makes the numbers that the method keeps of a tensor those of step number `step`. `sums`: of M::Measure; without them
// those of a method with that pass stay.
template <class M>
SCALEVEC_HD void advance_numbers(const GroupOptions& o, std::int64_t step, const double* sums, double* kept) {
  if constexpr (kHasScalars<M>)
    if (kMeasures<M> == (sums != nullptr))
      M::advance(values_from_numbers<M>(o.values.data()), step_of<M>(o, step), sums, kept);
}

template <class M>
SCALEVEC_HD void set_constants(const GroupOptions& o, const double* kept, bool of_measure, Constants& c) {
  const auto values = values_from_numbers<M>(o.values.data());
  auto step = step_of<M>(o, c.step);
  if constexpr (kHasScalars<M>) step.scalars = kept;
  const auto set = [&](const auto& flat) {
    for (std::size_t k = 0; k < flat.size(); ++k) c.values[k] = flat[k];
  };
  if constexpr (kMeasures<M>)
    if (of_measure) return set(numbers<typename M::Measure>(M::Measure::constants(values, step)));
  set(numbers<M>(M::constants(values, step)));
}

// Calls body(std::type_identity<M>()) for the rule M of the group.
template <class... M, class F>
SCALEVEC_HD void with_rule(TypeList<M...>, const GroupOptions& o, const F& body) {
  std::int32_t rule = 0;
  ((rule++ == o.rule ? body(std::type_identity<M>()) : void()), ...);
}

// Whether a pass comes before the rule's step, whose sums are of the tensor or of its group.
template <class... M>
constexpr auto measuring_rules(TypeList<M...>) {
  return std::array<bool, sizeof...(M)>{kMeasures<M>...};
}
SCALEVEC_HD constexpr bool measures(std::int32_t rule) {
  constexpr auto table = measuring_rules(DeviceRules());
  return rule >= 0 && table[static_cast<std::size_t>(rule)];
}

// Constants of a tensor's step number `step` ≥ 1, in which members of the clip norm have gradients times `clip_factor`;
// `of_measure`: of the pass before it, where there is one. `kept`: the numbers that the method keeps of the tensor.
SCALEVEC_HD Constants constants_at(const GroupOptions& o, double clip_factor, std::int64_t step,
                                   const double* kept = nullptr, bool of_measure = false) {
  const DecayTerms terms = decay_terms(o.coupling, o.weight_decay, o.lr, o.initial_lr);
  Constants c;
  c.step = step;
  c.decay = {o.clip ? clip_factor : 1.0, terms.l2, terms.shrink, o.decay_target};
  with_rule(DeviceRules(), o, [&]<class M>(std::type_identity<M>) { set_constants<M>(o, kept, of_measure, c); });
  return c;
}

// min(1, max_norm/(norm + 1e-6)), PyTorch's factor; 1 without clipping (max_norm = 0) and for a norm that is NaN.
SCALEVEC_HD constexpr double clip_factor_of(double norm, double max_norm) {
  const double factor = max_norm / (norm + 1e-6);
  return max_norm > 0.0 && factor < 1.0 ? factor : 1.0;
}

}  // namespace scalevec::cuda
