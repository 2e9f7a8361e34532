// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has
// internal linkage: code for a newer instruction set must not be picked by the linker for an older machine.
#include <cmath>
#include <type_traits>

#include "scalevec/optim/kernels/bfloat16.hpp"
#include "scalevec/optim/kernels/elementwise.hpp"

namespace scalevec::kernels {
namespace {

template <class P>
using Compute = std::conditional_t<std::is_same_v<P, double>, double, float>;

// Elements of a float partial sum: a vector lane adds 32 of them, whose rounding stays below 1e-6 of a sum of terms of
// one sign even where every addition rounds the same way.
#if defined(__AVX512F__)
constexpr std::int64_t kLanes = 16;
#elif defined(__AVX2__)
constexpr std::int64_t kLanes = 8;
#else
constexpr std::int64_t kLanes = 4;
#endif
constexpr std::int64_t kBlock = 32 * kLanes;

// Asks for the page that comes next in a stream, so that its address is translated by the time it is read: hardware
// prefetchers end at a page. For parameter and gradient only: the state lies on huge pages. Prefetching every line is
// slower than none.
inline __attribute__((always_inline)) void next_page(const void* at) {
  constexpr std::uintptr_t kPage = 4096;
  __builtin_prefetch(reinterpret_cast<const void*>(reinterpret_cast<std::uintptr_t>(at) + kPage));
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
template <class P>
__attribute__((noinline)) BlockSums sums_in_double(const P* old, const P* param, const P* grad, std::int64_t size) {
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

template <class P, int kStates, bool kSums, class F>
inline __attribute__((always_inline)) void apply(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums,
                                                 F rule) {
  using T = Compute<P>;
  constexpr bool kKeeps = kSums && !std::is_same_v<P, double>;
  P* __restrict__ p = static_cast<P*>(job.param);
  const P* __restrict__ g = static_cast<const P*>(job.grad);
  T* __restrict__ s0 = static_cast<T*>(job.state[0]);
  T* __restrict__ s1 = static_cast<T*>(job.state[1]);
  T* __restrict__ s2 = static_cast<T*>(job.state[2]);
  double total[6] = {};
  P old[kKeeps ? kBlock : 1];  // of the block, for sums_in_double()
  for (std::int64_t from = begin; from < end; from += kBlock) {
    const std::int64_t to = from + kBlock < end ? from + kBlock : end;
    next_page(p + from);
    next_page(g + from);
    T gg = 0, pp = 0, dd = 0, pd = 0, gd = 0, inv = 0;
#pragma omp simd reduction(+ : gg, pp, dd, pd, gd, inv)
    for (std::int64_t i = from; i < to; ++i) {
      const T old_p = load(p[i]);
      const T grad = load(g[i]);
      if constexpr (kKeeps) old[i - from] = p[i];
      T a = kStates > 0 ? s0[i] : T(0);
      T b = kStates > 1 ? s1[i] : T(0);
      T c = kStates > 2 ? s2[i] : T(0);
      T inv_denom = 0;
      store(p[i], rule(old_p, grad, a, b, c, inv_denom));
      if constexpr (kStates > 0) s0[i] = a;
      if constexpr (kStates > 1) s1[i] = b;
      if constexpr (kStates > 2) s2[i] = c;
      if constexpr (kSums) {
        const T delta = load(p[i]) - old_p;
        gg += grad * grad;
        pp += old_p * old_p;
        dd += delta * delta;
        pd += old_p * delta;
        gd += grad * delta;
        inv += inv_denom;
      }
    }
    if constexpr (kSums) {
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
  if constexpr (kSums)
    *sums = StepSums{total[0], total[1], total[2],    total[3],
                     total[4], total[5], end - begin, rounding_sq(kSpacing<P>, total[1])};
}

// A rule's call as apply() makes it, whatever states the rule has.
#define SCALEVEC_CALL(...) \
  [r](T p, T g, T & a, T & b, T & c, T & inv) __attribute__((always_inline)) { return r(__VA_ARGS__); }

template <class P, bool kSums>
void step_typed(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums) {
  using T = Compute<P>;
  if (const auto* rule = std::get_if<rules::AdamW<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 2, kSums>(job, begin, end, sums, SCALEVEC_CALL(p, g, a, b, inv));
  } else if (const auto* rule = std::get_if<rules::Sgd<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    if (job.state[0] == nullptr)
      apply<P, 0, kSums>(job, begin, end, sums, SCALEVEC_CALL(p, g, a));
    else
      apply<P, 1, kSums>(job, begin, end, sums, SCALEVEC_CALL(p, g, a));
  } else if (const auto* rule = std::get_if<rules::Signum<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 1, kSums>(job, begin, end, sums, SCALEVEC_CALL(p, g, a));
  } else if (const auto* rule = std::get_if<rules::Lion<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 1, kSums>(job, begin, end, sums, SCALEVEC_CALL(p, g, a));
  } else if (const auto* rule = std::get_if<rules::AdEMAMix<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 3, kSums>(job, begin, end, sums, SCALEVEC_CALL(p, g, a, b, c, inv));
  } else if (const auto* rule = std::get_if<rules::Momentum<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 2, kSums>(job, begin, end, sums, SCALEVEC_CALL(p, g, a, b));
  } else if (const auto* rule = std::get_if<rules::ApplyUpdate<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 1, kSums>(job, begin, end, sums, SCALEVEC_CALL(p, a));
  }
}

#undef SCALEVEC_CALL

template <class P>
void step_dtype(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums) {
  if (sums)
    step_typed<P, true>(job, begin, end, sums);
  else
    step_typed<P, false>(job, begin, end, nullptr);
}

void step_chunk(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums) {
  switch (job.dtype) {
    case Dtype::float32:
      return step_dtype<float>(job, begin, end, sums);
    case Dtype::float64:
      return step_dtype<double>(job, begin, end, sums);
    case Dtype::bfloat16:
      return step_dtype<Bf16>(job, begin, end, sums);
  }
}

template <class P>
double square_sum_typed(const GradView& view, std::int64_t begin, std::int64_t end) {
  using T = Compute<P>;
  const P* __restrict__ g = static_cast<const P*>(view.grad);
  double total = 0;
  for (std::int64_t from = begin; from < end; from += kBlock) {
    const std::int64_t to = from + kBlock < end ? from + kBlock : end;
    next_page(g + from);
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t i = from; i < to; ++i) {
      const T x = load(g[i]);
      sum += x * x;
    }
    total += static_cast<double>(sum);
  }
  if (total <= 1.7e308 && total >= 1e-280) return total;
  total = 0;
  for (std::int64_t i = begin; i < end; ++i) {
    const double x = static_cast<double>(load(g[i]));
    total += x * x;
  }
  return total;
}

double square_sum(const GradView& view, std::int64_t begin, std::int64_t end) {
  switch (view.dtype) {
    case Dtype::float32:
      return square_sum_typed<float>(view, begin, end);
    case Dtype::float64:
      return square_sum_typed<double>(view, begin, end);
    case Dtype::bfloat16:
      return square_sum_typed<Bf16>(view, begin, end);
  }
  return 0;
}

}  // namespace

extern const Table SCALEVEC_ISA_TABLE;
const Table SCALEVEC_ISA_TABLE{&step_chunk, &square_sum};

}  // namespace scalevec::kernels
