#pragma once

// A program that is compiled without -fopenmp-simd is not told so at every loop.
#if !defined(SCALEVEC_ISA_TABLE) && defined(__GNUC__)
#pragma GCC system_header
#endif

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "optim/core/method_traits.hpp"
#include "optim/kernels/element_types.hpp"
#include "optim/kernels/elementwise.hpp"

// The loops over memory that a method's rule is compiled into. Included by the library once per instruction set, and by
// a program for the methods of its own. Everything has internal linkage: code for a newer instruction set must not be
// picked by the linker for an older machine.
namespace scalevec::kernels {
namespace {

template <class P>
using Compute = std::conditional_t<std::is_same_v<P, double>, double, float>;

// Elements of a float partial sum: a vector lane adds 32 of them, whose rounding stays below 1e-6 of a sum of terms of
// one sign even where every addition rounds the same way. Without -fopenmp-simd, of which no macro of the compiler
// tells, and under the sanitizers of addresses and threads the sum is serial, in one lane.
#if !defined(SCALEVEC_OPENMP_SIMD) || defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
constexpr std::int64_t kLanes = 1;
#elif defined(__AVX512F__)
constexpr std::int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr std::int64_t kLanes = 8;
#else
constexpr std::int64_t kLanes = 4;
#endif
constexpr std::int64_t kBlock = 32 * kLanes;

// Asks for the page that comes next in a stream, so that its address is translated by the time it is read: hardware
// prefetchers end at a page. For parameter and gradient only: the state lies on huge pages.
inline __attribute__((always_inline)) void next_page(const void* at) {
  constexpr std::uintptr_t kPage = 4096;
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(at) + kPage));
}

// Whether every line of the next block is asked for: beside the arithmetic of AVX2, the prefetchers of Intel's
// processors fall behind. With the longer blocks of AVX-512 the step is slower for it; AMD's processors were not
// measured with AVX2.
#if defined(__AVX2__) && !defined(__AVX512F__)
const bool kAsksAhead = (__builtin_cpu_init(), __builtin_cpu_is("intel") != 0);
#else
constexpr bool kAsksAhead = false;
#endif
template <class X>
inline __attribute__((always_inline)) void ask_for(const X* stream, std::int64_t i) {
  const std::uintptr_t offset = static_cast<std::uintptr_t>(i) * sizeof(X);
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(stream) + offset), 0, 2);
}

// A block's sums: its part of StepSums.
struct BlockSums {
  double grad_sq, param_sq, update_sq, param_update, grad_update;
};

// Whether float's rounding or range shows in these sums: where |p × Δ|² or Σ g·Δ is a small difference of large terms
// (of the rotation beyond 7.5e-6, where cos² between p and Δ is above ¾; of Σ g·Δ beyond 3e-4), and where squares may
// have left float's range.
inline bool inexact(const BlockSums& s) {
  constexpr double kLeast = 1e-30, kMost = 1e37;
  const bool in_range = s.grad_sq > kLeast && s.param_sq > kLeast && s.update_sq > kLeast && s.grad_sq < kMost &&
                        s.param_sq < kMost && s.update_sq < kMost;
  return !in_range || s.param_update * s.param_update > 0.75 * s.param_sq * s.update_sq ||
         s.grad_update * s.grad_update < 1e-5 * s.grad_sq * s.update_sq;
}

// The same sums in double, where products of floats are exact.
template <class Old, class P, class Grad>
__attribute__((noinline)) BlockSums sums_in_double(const Old* old, const P* param, const Grad* grad,
                                                   std::int64_t size) {
  double gg = 0, pp = 0, dd = 0, pd = 0, gd = 0;
#pragma omp simd reduction(+ : gg, pp, dd, pd, gd)
  for (std::int64_t i = 0; i < size; ++i) {
    const double before = static_cast<double>(load(old[i])), slope = static_cast<double>(load(grad[i]));
    const double delta = static_cast<double>(load(param[i])) - before;
    gg += slope * slope;
    pp += before * before;
    dd += delta * delta;
    pd += before * delta;
    gd += slope * delta;
  }
  return {gg, pp, dd, pd, gd};
}

// What apply() sums: nothing, all, or, of a part of a tensor whose type its caller stores, what only it knows: the
// denominators, and by how much each element was to move, in `by`. Of a pass that does not move the parameter there are
// two sums: inv_denom, and as grad_update what the pass returns.
enum class Sums { none, all, part };

// The rule of `M` on the elements [begin, end), with the buffers that kHeldBuffers says.
template <class M, unsigned kHeldBuffers, class P, Sums kSums>
void apply(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums, void* moved_by) {
  using T = Compute<P>;
  T* __restrict__ by = static_cast<T*>(moved_by);
  constexpr bool kKeeps = kSums == Sums::all && kMoves<M> && !std::is_same_v<P, double>;
  P* __restrict__ p = static_cast<P*>(job.param);
  const P* __restrict__ g = static_cast<const P*>(job.grad);
  T* __restrict__ s0 = static_cast<T*>(job.state[0]);
  T* __restrict__ s1 = static_cast<T*>(job.state[1]);
  T* __restrict__ s2 = static_cast<T*>(job.state[2]);
  T* __restrict__ s3 = static_cast<T*>(job.state[3]);
  const rules::Decay<T> decay = job.rule.decay.template as<T>();
  const auto constants = constants_as<M, T>(job.rule.constants.data());
  double total[6] = {};
  // Part after part goes on with the same sum, so that its additions are those of a tensor in float.
  if constexpr (kSums == Sums::part) total[4] = sums->grad_update, total[5] = sums->inv_denom;
  P old[kKeeps ? kBlock : 1];  // of the block, for sums_in_double()
  for (std::int64_t from = begin; from < end; from += kBlock) {
    const std::int64_t to = from + kBlock < end ? from + kBlock : end;
    next_page(p + from);
    next_page(g + from);
    if (kAsksAhead)
      for (std::int64_t i = from + kBlock; i < from + 2 * kBlock; i += 64 / sizeof(T)) {
        ask_for(p, i);
        ask_for(g, i);
        if constexpr (kHeldBuffers & 1) ask_for(s0, i);
        if constexpr (kHeldBuffers & 2) ask_for(s1, i);
        if constexpr (kHeldBuffers & 4) ask_for(s2, i);
        if constexpr (kHeldBuffers & 8) ask_for(s3, i);
      }
    T gg = 0, pp = 0, dd = 0, pd = 0, gd = 0, inv = 0;
#pragma omp simd reduction(+ : gg, pp, dd, pd, gd, inv)
    for (std::int64_t i = from; i < to; ++i) {
      const T old_p = load(p[i]);
      const T grad = load(g[i]);
      if constexpr (kKeeps) old[i - from] = p[i];
      T a = kHeldBuffers & 1 ? s0[i] : T(0);
      T b = kHeldBuffers & 2 ? s1[i] : T(0);
      T c = kHeldBuffers & 4 ? s2[i] : T(0);
      T d = kHeldBuffers & 8 ? s3[i] : T(0);
      T inv_denom = 0;
      const rules::SteppedValue<T> moved =
          step_element<M, kHeldBuffers>(constants, decay, old_p, grad, a, b, c, d, inv_denom);
      if constexpr (kMoves<M>) store(p[i], moved.value);
      if constexpr (kHeldBuffers & 1) s0[i] = a;
      if constexpr (kHeldBuffers & 2) s1[i] = b;
      if constexpr (kHeldBuffers & 4) s2[i] = c;
      if constexpr (kHeldBuffers & 8) s3[i] = d;
      if constexpr (kSums != Sums::none) inv += inv_denom;
      if constexpr (kSums != Sums::none && !kMoves<M>) gd += moved.by;
      if constexpr (kSums == Sums::part && kMoves<M>) by[i] = moved.by;
      if constexpr (kSums == Sums::all && kMoves<M>) {
        const T delta = moved.value - old_p;  // what was stored: P is T here
        gg += grad * grad;
        pp += old_p * old_p;
        dd += delta * delta;
        pd += old_p * delta;
        gd += grad * delta;
      }
    }
    if constexpr (kSums != Sums::none) {
      BlockSums block{static_cast<double>(gg), static_cast<double>(pp), static_cast<double>(dd),
                      static_cast<double>(pd), static_cast<double>(gd)};
      if constexpr (kKeeps)
        if (__builtin_expect(inexact(block), 0)) block = sums_in_double(old, p + from, g + from, to - from);
      total[0] += block.grad_sq;
      total[1] += block.param_sq;
      total[2] += block.update_sq;
      total[3] += block.param_update;
      total[4] += block.grad_update;
      total[5] += static_cast<double>(inv);
    }
  }
  if constexpr (kSums != Sums::none)
    *sums = StepSums{total[0], total[1], total[2],    total[3],
                     total[4], total[5], end - begin, rounding_sq(kSpacing<P>, total[1])};
}

template <class M, std::size_t subset>
constexpr RuleLoops loops_of_subset() {
  constexpr unsigned held = held_by<M>(subset);
  return {&apply<M, held, float, Sums::none>,
          &apply<M, held, float, Sums::all>,
          &apply<M, held, float, Sums::part>,
          &apply<M, held, double, Sums::none>,
          &apply<M, held, double, Sums::all>,
          &apply<M, held, double, Sums::part>,
          &apply<M, held, Bf16, Sums::none>,
          kMoves<M>,
          held};
}
template <class M, std::size_t... subset>
constexpr std::array<RuleLoops, sizeof...(subset)> loops_of_subsets(std::index_sequence<subset...>) {
  return {loops_of_subset<M, subset>()...};
}

// The loops of a method, by subset_of<M>(held).
template <class M>
constexpr std::array<RuleLoops, kSubsets<M>> kLoops = loops_of_subsets<M>(std::make_index_sequence<kSubsets<M>>());

}  // namespace
}  // namespace scalevec::kernels
