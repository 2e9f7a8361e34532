#pragma once

#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <tuple>
#include <type_traits>
#include <utility>

#include "optim/core/decay.hpp"
#include "optim/core/host_device.hpp"
#include "optim/core/update_rules.hpp"

// What an elementwise method is: a struct M, all of whose members are static, with
//  - kName, its name in policies; kSource, where its formula is from; kDefaults, a MethodDefaults;
//  - SCALEVEC_OPTIONS(…), its options: M::Values (option_table.hpp);
//  - kState, a std::array of the names of its buffers, each with an element for each of the parameter, zero at first;
//  - Constants<T>, an aggregate of Ts: what step t needs;
//  - constants(values, step), a template on the type of `step`, which has a StepAt's members, or a
//    SteadyStep's: Constants<double>;
//  - update(constants, p, g, buffers…), a template on the scalar type: advances the buffers by g, in which the clip
//    factor and l2 decay are, and returns what is subtracted from p.
// and where it applies
//  - powers(values), a std::array of those numbers whose t-th powers constants() asks the step for;
//  - kTimed = true, if constants() asks for the step's t without asking for powers;
//  - kAdaptive = true, if update's last argument is an inv_denom that it sets to 1/(√v̂ + ε), for the trace adaptive_lr;
//  - kOptional, the bits of the buffers that values may not ask for, and needs(values, buffer); update() is then also
//    a template on such a buffer's type, which is Absent where the buffer is (see kHeld). In simulations a buffer may
//    be there that these values do not ask for: the constants must say so;
//  - kUnmodified = true, if the options that modify a step (cautious, hold_norm, …) mean nothing for it, as with
//    after();
//  - after(constants, p, buffers…), which sees the new value before it is stored, for an average of it;
//  - kOwnDecay = true, if update() takes after g the decay shrink·(p − target) too and what it returns has it in;
//  - kScalars, a std::array of the names of numbers that it keeps of each parameter, zero at first, and
//    advance(values, step, sums, scalars), which makes those of this step from those of the last. constants() sees them
//    as step.scalars;
//  - Measure, a pass over the same buffers that comes before: a struct with Values, kState, Constants, constants(),
//    update() as here, with kMoves = false. Of each tensor two sums are taken, of what update() returns and, if the
//    pass is kAdaptive, of what it sets inv_denom to, and given to advance() as sums[0] and sums[1]: added over the
//    tensor, or with kSumsOfGroup = true over those parameters of its group that step. A method with one has kScalars;
//  - Curvature, a pass of the same form, whose constants(values, samples) come without a step: what the buffers learn
//    from the gradient of a loss on `samples` sampled labels (Optimizer::update_hessian);
//  - kAverage, the name of a buffer d, and average_weight(values) = w: the weights to validate and to keep are p + wd
//    (Optimizer::use_average_weights);
//  - conflict(values), what two options say together that the method has not, or an empty string;
//  - kTorch, whose archives of torch::optim have the same options and buffers ("Adam or AdamW", "SGD", "RMSprop" …);
//  - Kernel, another method that has the same constants and update.
// The methods of the library are the files of optim/methods.
namespace scalevec {

inline constexpr std::size_t kMaxBuffers = 4;
inline constexpr std::size_t kMaxConstants = 16;
inline constexpr std::size_t kMaxScalars = 4;

// The lr and the decay of options that were given none.
struct MethodDefaults {
  double lr = 1e-3;
  double weight_decay = 0.0;
  DecayCoupling coupling = DecayCoupling::lr;
};

// Step t of a parameter, as a method's constants() sees it.
template <std::size_t kPowers>
struct StepAt {
  double lr;   // η_t
  double t;    // ≥ 1
  bool first;  // t is 1, or optional buffers begin at this step
  double power[kPowers > 0 ? kPowers : 1];
  const double* scalars = nullptr;  // the method's kScalars

  // x/(1 − βᵗ) and 1/√(1 − βᵗ) for the k-th of the method's powers.
  SCALEVEC_HD constexpr double over_bias(double x, std::size_t k) const { return x / (1.0 - power[k]); }
  SCALEVEC_HD double inverse_root_bias(std::size_t k) const { return 1.0 / std::sqrt(1.0 - power[k]); }
};

// The same of a method whose constants depend on lr alone.
struct SteadyStep {
  double lr;
  bool first;
};

// In place of a buffer that the options do not ask for.
struct Absent {};
template <class Buffer>
inline constexpr bool kHeld = !std::is_same_v<std::remove_cv_t<Buffer>, Absent>;

template <class M>
inline constexpr std::size_t kBuffers = M::kState.size();

// Whether M has a switch, and it is on.
template <class M>
concept kAdaptive = requires {
  requires M::kAdaptive;
};
template <class M>
concept kOwnDecay = requires {
  requires M::kOwnDecay;
};
template <class M>
concept kUnmodified = requires {
  requires M::kUnmodified;
};
template <class M>
concept kSumsOfGroup = requires {
  requires M::kSumsOfGroup;
};

// Whether the method writes the parameter: a first pass does not.
template <class M>
concept kLeavesParam = requires {
  requires !M::kMoves;
};
template <class M>
concept kMoves = !kLeavesParam<M>;

template <class M>
concept kHasAverage = requires {
  M::kAverage;
};

// How many numbers the method keeps of a parameter.
template <class M>
concept kHasScalars = requires {
  M::kScalars;
};
template <class M>
constexpr std::size_t scalar_count() {
  if constexpr (kHasScalars<M>)
    return M::kScalars.size();
  else
    return 0;
}

template <class M>
concept kMeasures = requires {
  typename M::Measure;
};
template <class M>
concept kHasCurvature = requires {
  typename M::Curvature;
};

// Whether a step of the method is a function of lr, t and the element alone: what simulations have.
template <class M>
inline constexpr bool kPlain = scalar_count<M>() == 0 && !kMeasures<M>;

template <class M>
constexpr unsigned optional_buffers() {
  if constexpr (requires { M::kOptional; })
    return M::kOptional;
  else
    return 0;
}

template <class M>
SCALEVEC_HD unsigned held_buffers(const typename M::Values& values) {
  unsigned held = (1u << kBuffers<M>)-1;
  if constexpr (optional_buffers<M>() != 0)
    for (std::size_t k = 0; k < kBuffers<M>; ++k)
      if (optional_buffers<M>() >> k & 1)
        if (!M::needs(values, k)) held &= ~(1u << k);
  return held;
}

// The subsets of buffers that may be held, numbered from 0.
template <class M>
inline constexpr std::size_t kSubsets = std::size_t{1} << std::popcount(optional_buffers<M>());
template <class M>
SCALEVEC_HD constexpr std::size_t subset_of(unsigned held) {
  std::size_t subset = 0, bit = 0;
  for (std::size_t k = 0; k < kBuffers<M>; ++k)
    if (optional_buffers<M>() >> k & 1) subset |= std::size_t{~held >> k & 1} << bit++;
  return subset;
}
template <class M>
SCALEVEC_HD constexpr unsigned held_by(std::size_t subset) {
  unsigned held = (1u << kBuffers<M>)-1;
  std::size_t bit = 0;
  for (std::size_t k = 0; k < kBuffers<M>; ++k)
    if (optional_buffers<M>() >> k & 1)
      if (subset >> bit++ & 1) held &= ~(1u << k);
  return held;
}

namespace detail {
template <class M>
constexpr std::size_t power_count() {
  if constexpr (requires(typename M::Values v) { M::powers(v); })
    return std::tuple_size_v<decltype(M::powers(std::declval<typename M::Values>()))>;
  else
    return 0;
}
template <class M>
constexpr std::size_t constant_count() {
  using C = typename M::template Constants<double>;
  if constexpr (std::is_empty_v<C>)
    return 0;
  else
    return sizeof(C) / sizeof(double);
}
template <class M, class T, std::size_t... I>
SCALEVEC_HD constexpr typename M::template Constants<T> constants_as(const double* from, std::index_sequence<I...>) {
  return {T(from[I])...};
}
template <class M, class T, class... Buffers>
SCALEVEC_HD T call_update(const typename M::template Constants<T>& c, T p, T g, T decay, T& inv_denom,
                          Buffers&... buffers) {
  if constexpr (kOwnDecay<M> && kAdaptive<M>)
    return M::update(c, p, g, decay, buffers..., inv_denom);
  else if constexpr (kOwnDecay<M>)
    return M::update(c, p, g, decay, buffers...);
  else if constexpr (kAdaptive<M>)
    return M::update(c, p, g, buffers..., inv_denom);
  else
    return M::update(c, p, g, buffers...);
}
template <unsigned kHeldBuffers, std::size_t k, class T>
SCALEVEC_HD constexpr decltype(auto) buffer_or_absent(T& buffer, Absent& absent) {
  if constexpr (kHeldBuffers >> k & 1)
    return (buffer);
  else
    return (absent);
}
}  // namespace detail

template <class M>
inline constexpr std::size_t kPowers = detail::power_count<M>();
template <class M>
inline constexpr std::size_t kConstants = detail::constant_count<M>();

// The values of a method's options as numbers, in the order of its table, and back: true is 1.
inline constexpr std::size_t kMaxOptions = 12;
template <class M>
inline constexpr std::size_t kOptions = std::tuple_size_v<decltype(M::Values::table())>;

namespace detail {
template <class Values, std::size_t... I>
SCALEVEC_HD constexpr void to_numbers(const Values& values, double* numbers, std::index_sequence<I...>) {
  constexpr auto table = Values::table();
  ((numbers[I] = static_cast<double>(values.*std::get<I>(table).member)), ...);
}
template <class Values, class T>
SCALEVEC_HD constexpr void set_value(T Values::*member, Values& values, double number) {
  values.*member = static_cast<T>(number);
}
template <class Values, std::size_t... I>
SCALEVEC_HD constexpr Values from_numbers(const double* numbers, std::index_sequence<I...>) {
  constexpr auto table = Values::table();
  Values values;
  (set_value(std::get<I>(table).member, values, numbers[I]), ...);
  return values;
}
}  // namespace detail

template <class M>
SCALEVEC_HD constexpr void values_to_numbers(const typename M::Values& values, double* numbers) {
  static_assert(kOptions<M> <= kMaxOptions);
  detail::to_numbers(values, numbers, std::make_index_sequence<kOptions<M>>());
}
template <class M>
SCALEVEC_HD constexpr typename M::Values values_from_numbers(const double* numbers) {
  return detail::from_numbers<typename M::Values>(numbers, std::make_index_sequence<kOptions<M>>());
}

// Whether the constants change from step to step at a constant lr.
template <class M>
concept kAsksForTime = requires {
  requires M::kTimed;
};
template <class M>
inline constexpr bool kTimed = kPowers<M> != 0 || kAsksForTime<M> || kHasScalars<M>;

template <class M>
SCALEVEC_HD auto step_at(const typename M::Values& values, double lr, double t, bool first) {
  if constexpr (!kTimed<M>) {
    return SteadyStep{lr, first};
  } else {
    StepAt<kPowers<M>> step{lr, t, first, {}};
    if constexpr (kPowers<M> != 0) {
      const auto bases = M::powers(values);
      for (std::size_t k = 0; k < kPowers<M>; ++k) step.power[k] = std::pow(bases[k], t);
    }
    return step;
  }
}

// The constants as numbers, and back as Ts.
template <class M>
SCALEVEC_HD constexpr std::array<double, kConstants<M>> numbers(
    const typename M::template Constants<double>& constants) {
  if constexpr (kConstants<M> == 0)
    return {};
  else
    return std::bit_cast<std::array<double, kConstants<M>>>(constants);
}
template <class M, class T>
SCALEVEC_HD constexpr typename M::template Constants<T> constants_as(const double* numbers) {
  return detail::constants_as<M, T>(numbers, std::make_index_sequence<kConstants<M>>());
}

namespace detail {
template <class M, class T, class... Buffers>
SCALEVEC_HD rules::SteppedValue<T> step_with(const typename M::template Constants<T>& c, const rules::Decay<T>& decay,
                                             T p, T g, T& inv_denom, Buffers&... buffers) {
  const T shrink = decay.shrink * (p - decay.target);
  const T step = call_update<M>(c, p, rules::effective_grad(decay, p, g), shrink, inv_denom, buffers...);
  if constexpr (!kMoves<M>) return {p, step};
  rules::SteppedValue<T> moved = rules::apply_step(decay, p, step);
  if constexpr (kOwnDecay<M>) moved = {p - step, step};
  if constexpr (requires { M::after(c, p, buffers...); }) M::after(c, moved.value, buffers...);
  return moved;
}
}  // namespace detail

// The stored parameter p and raw gradient g of an element to its new value; advances those of the buffers a to d that
// the method has and `kHeldBuffers` says.
template <class M, unsigned kHeldBuffers, class T>
SCALEVEC_HD rules::SteppedValue<T> step_element(const typename M::template Constants<T>& constants,
                                                const rules::Decay<T>& decay, T p, T g, T& a, T& b, T& c, T& d,
                                                T& inv_denom) {
  static_assert(kBuffers<M> <= kMaxBuffers && kConstants<M> <= kMaxConstants);
  Absent none;
  if constexpr (kBuffers<M> == 0)
    return detail::step_with<M>(constants, decay, p, g, inv_denom);
  else if constexpr (kBuffers<M> == 1)
    return detail::step_with<M>(constants, decay, p, g, inv_denom, detail::buffer_or_absent<kHeldBuffers, 0>(a, none));
  else if constexpr (kBuffers<M> == 2)
    return detail::step_with<M>(constants, decay, p, g, inv_denom, detail::buffer_or_absent<kHeldBuffers, 0>(a, none),
                                detail::buffer_or_absent<kHeldBuffers, 1>(b, none));
  else if constexpr (kBuffers<M> == 3)
    return detail::step_with<M>(constants, decay, p, g, inv_denom, detail::buffer_or_absent<kHeldBuffers, 0>(a, none),
                                detail::buffer_or_absent<kHeldBuffers, 1>(b, none),
                                detail::buffer_or_absent<kHeldBuffers, 2>(c, none));
  else
    return detail::step_with<M>(constants, decay, p, g, inv_denom, detail::buffer_or_absent<kHeldBuffers, 0>(a, none),
                                detail::buffer_or_absent<kHeldBuffers, 1>(b, none),
                                detail::buffer_or_absent<kHeldBuffers, 2>(c, none),
                                detail::buffer_or_absent<kHeldBuffers, 3>(d, none));
}

// Lists of methods as types.
template <class... M>
struct TypeList {
  static constexpr std::size_t kSize = sizeof...(M);
};

// Calls body(std::type_identity<M>) for each in order.
template <class... M, class F>
constexpr void for_each_type(TypeList<M...>, F&& body) {
  (body(std::type_identity<M>()), ...);
}

template <class Wanted, class... M>
constexpr std::size_t index_in(TypeList<M...>) {
  std::size_t at = 0;
  static_cast<void>(((std::is_same_v<Wanted, M> ? false : (++at, true)) && ...));
  return at;
}

namespace detail {
template <class M>
struct KernelOf {
  using type = M;
};
template <class M>
requires requires { typename M::Kernel; }
struct KernelOf<M> {
  using type = typename M::Kernel;
};
template <class Done, class... Rest>
struct Distinct {
  using type = Done;
};
template <class... Done, class M, class... Rest>
struct Distinct<TypeList<Done...>, M, Rest...> {
  using type =
      typename Distinct<std::conditional_t<(std::is_same_v<M, Done> || ...), TypeList<Done...>, TypeList<Done..., M>>,
                        Rest...>::type;
};
template <class List>
struct KernelsOf;
template <class... M>
struct KernelsOf<TypeList<M...>> {
  using type = typename Distinct<TypeList<>, typename KernelOf<M>::type...>::type;
};
}  // namespace detail

namespace detail {
template <class Done, class... Rest>
struct PlainOnes {
  using type = Done;
};
template <class... Done, class M, class... Rest>
struct PlainOnes<TypeList<Done...>, M, Rest...> {
  using type =
      typename PlainOnes<std::conditional_t<kPlain<M>, TypeList<Done..., M>, TypeList<Done...>>, Rest...>::type;
};
template <class List>
struct PlainOf;
template <class... M>
struct PlainOf<TypeList<M...>> {
  using type = typename PlainOnes<TypeList<>, M...>::type;
};
// The passes that M has beside its update.
template <class M>
struct PassesOf {
  using type = TypeList<>;
};
template <class M>
requires(kMeasures<M> && !kHasCurvature<M>) struct PassesOf<M> {
  using type = TypeList<typename M::Measure>;
};
template <class M>
requires(!kMeasures<M> && kHasCurvature<M>) struct PassesOf<M> {
  using type = TypeList<typename M::Curvature>;
};
template <class Done, class... Lists>
struct Joined {
  using type = Done;
};
template <class... Done, class... Next, class... Lists>
struct Joined<TypeList<Done...>, TypeList<Next...>, Lists...> {
  using type = typename Joined<TypeList<Done..., Next...>, Lists...>::type;
};
template <class List>
struct AllPassesOf;
template <class... M>
struct AllPassesOf<TypeList<M...>> {
  using type = typename Joined<TypeList<>, typename PassesOf<M>::type...>::type;
};
}  // namespace detail

// The methods of a list that are kPlain; the passes that its methods have beside their updates.
template <class List>
using PlainOf = typename detail::PlainOf<List>::type;
template <class List>
using PassesOf = typename detail::AllPassesOf<List>::type;
template <class... Lists>
using Joined = typename detail::Joined<TypeList<>, Lists...>::type;

// The method whose constants and update M has, and the distinct ones of a list.
template <class M>
using KernelOf = typename detail::KernelOf<M>::type;
template <class List>
using KernelsOf = typename detail::KernelsOf<List>::type;

}  // namespace scalevec
