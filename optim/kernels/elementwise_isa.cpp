// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has
// internal linkage: code for a newer instruction set must not be picked by the linker for an older machine.
#include <cmath>
#include <type_traits>

#include "scalevec/optim/kernels/element_types.hpp"
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
// denominators, and by how much each element was to move, in `by`.
enum class Sums { none, all, part };

template <class P, int kStates, Sums kSums, class F>
inline __attribute__((always_inline)) void apply(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums,
                                                 float* __restrict__ by, F rule) {
  using T = Compute<P>;
  constexpr bool kKeeps = kSums == Sums::all && !std::is_same_v<P, double>;
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
      const rules::Moved<T> moved = rule(old_p, grad, a, b, c, inv_denom);
      store(p[i], moved.value);
      if constexpr (kStates > 0) s0[i] = a;
      if constexpr (kStates > 1) s1[i] = b;
      if constexpr (kStates > 2) s2[i] = c;
      if constexpr (kSums != Sums::none) inv += inv_denom;
      if constexpr (kSums == Sums::part) by[i] = moved.by;
      if constexpr (kSums == Sums::all) {
        const T delta = load(p[i]) - old_p;
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

// A rule's call as apply() makes it, whatever states the rule has.
#define SCALEVEC_CALL(...) \
  [r](T p, T g, T & a, T & b, T & c, T & inv) __attribute__((always_inline)) { return r(__VA_ARGS__); }

template <class P, Sums kSums>
void step_typed(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums, float* by = nullptr) {
  using T = Compute<P>;
  if (const auto* rule = std::get_if<rules::AdamW<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 2, kSums>(job, begin, end, sums, by, SCALEVEC_CALL(p, g, a, b, inv));
  } else if (const auto* rule = std::get_if<rules::Sgd<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    if (job.state[0] == nullptr)
      apply<P, 0, kSums>(job, begin, end, sums, by, SCALEVEC_CALL(p, g, a));
    else
      apply<P, 1, kSums>(job, begin, end, sums, by, SCALEVEC_CALL(p, g, a));
  } else if (const auto* rule = std::get_if<rules::Signum<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 1, kSums>(job, begin, end, sums, by, SCALEVEC_CALL(p, g, a));
  } else if (const auto* rule = std::get_if<rules::Lion<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 1, kSums>(job, begin, end, sums, by, SCALEVEC_CALL(p, g, a));
  } else if (const auto* rule = std::get_if<rules::AdEMAMix<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 3, kSums>(job, begin, end, sums, by, SCALEVEC_CALL(p, g, a, b, c, inv));
  } else if (const auto* rule = std::get_if<rules::Momentum<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 2, kSums>(job, begin, end, sums, by, SCALEVEC_CALL(p, g, a, b));
  } else if (const auto* rule = std::get_if<rules::ApplyUpdate<double>>(&job.rule)) {
    const auto r = rule->template as<T>();
    apply<P, 1, kSums>(job, begin, end, sums, by, SCALEVEC_CALL(p, a));
  }
}

#undef SCALEVEC_CALL

template <class P>
void step_dtype(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums) {
  if (sums)
    step_typed<P, Sums::all>(job, begin, end, sums);
  else
    step_typed<P, Sums::none>(job, begin, end, nullptr);
}

// Elements that step_in_float() works on at a time: few enough for the nearest cache, those of whole blocks of random
// numbers.
constexpr std::int64_t kPart = 1024;

struct Part {
  float value[kPart], grad[kPart], by[kPart];
  std::uint32_t random[kPart];
};

// Stores part.value as elements from + [0, n) of the tensor, and adds to `sums` what they are of.
template <class P, Rounding kRounding, bool kSums>
void store_part(const Job& job, std::int64_t from, std::int64_t n, const Part& part, StepSums* sums) {
  static_assert(kPart % kBlock == 0);
  float old[kSums ? kBlock : 1];  // of the block, for sums_in_double()
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const std::int64_t size = first + kBlock < n ? kBlock : n - first;
    P* __restrict__ p = static_cast<P*>(job.param) + from + first;
    std::int16_t* __restrict__ low = kRounding == Rounding::compensated ? job.store->low + from + first : nullptr;
    const float* __restrict__ value = part.value + first;
    const float* __restrict__ grad = part.grad + first;
    const float* __restrict__ by = part.by + first;
    const std::uint32_t* __restrict__ random = part.random + first;
    float gg = 0, pp = 0, dd = 0, pd = 0, gd = 0, still = 0;
#pragma omp simd reduction(+ : gg, pp, dd, pd, gd, still)
    for (std::int64_t i = 0; i < size; ++i) {
      const float old_p = load(p[i]);
      std::int32_t low_change = 0;
      if constexpr (kRounding == Rounding::nearest) {
        store(p[i], value[i]);
      } else if constexpr (kRounding == Rounding::stochastic) {
        store_stochastic(p[i], value[i], random[i]);
      } else {
        const std::int16_t old_low = low[i];
        split(p[i], low[i], value[i]);
        low_change = low[i] - old_low;
      }
      if constexpr (kSums) {
        old[i] = old_p;
        const float new_p = load(p[i]), delta = new_p - old_p;
        gg += grad[i] * grad[i];
        pp += old_p * old_p;
        dd += delta * delta;
        pd += old_p * delta;
        gd += grad[i] * delta;
        still += ((by[i] != 0.0f) & (new_p == old_p) & (low_change == 0)) ? 1.0f : 0.0f;
      }
    }
    if constexpr (kSums) {
      BlockSums block{static_cast<double>(gg), static_cast<double>(pp), static_cast<double>(dd),
                      static_cast<double>(pd), static_cast<double>(gd)};
      if (__builtin_expect(inexact(block), 0)) block = sums_in_double(old, p, grad, size);
      sums->grad_sq += block.grad_sq;
      sums->param_sq += block.param_sq;
      sums->update_sq += block.update_sq;
      sums->param_update += block.param_update;
      sums->grad_update += block.grad_update;
      sums->stalled += static_cast<double>(still);
    }
  }
}

template <class P, Rounding kRounding>
void store_part(const Job& job, std::int64_t from, std::int64_t n, const Part& part, StepSums* sums) {
  if (sums)
    store_part<P, kRounding, true>(job, from, n, part, sums);
  else
    store_part<P, kRounding, false>(job, from, n, part, nullptr);
}

// The random numbers of the part that begins at `from`.
inline __attribute__((always_inline)) void fill_random(const Store& how, std::int64_t from, std::uint32_t* out) {
  static_assert(kPart == 4 * kRandomSpan && kChunk % kPart == 0);
#pragma omp simd
  for (std::int64_t j = 0; j < kRandomSpan; ++j) {
    const PhiloxBlock four = rounding_words(how.stream, how.step, from / 4 + j);
    out[j] = four.word[0];
    out[kRandomSpan + j] = four.word[1];
    out[2 * kRandomSpan + j] = four.word[2];
    out[3 * kRandomSpan + j] = four.word[3];
  }
}

// A part of the tensor as floats, their step, and then how the type takes them: so that another type of 16 bits, or
// another rounding, costs the compiler no further copy of the rules.
template <class P>
void step_in_float(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums) {
  const Store how = job.store ? *job.store : Store{};
  const P* p = static_cast<const P*>(job.param);
  const P* g = static_cast<const P*>(job.grad);
  const bool read_only = std::holds_alternative<rules::Momentum<double>>(job.rule);
  Part part;
  Job floats{job.rule, Dtype::float32, part.value, part.grad, {nullptr, nullptr, nullptr}, 0, {}};
  StepSums total;
  for (std::int64_t from = begin; from < end; from += kPart) {
    const std::int64_t n = from + kPart < end ? kPart : end - from;
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) part.grad[i] = load(g[from + i]);
    if (how.rounding == Rounding::compensated) {
      const std::int16_t* low = how.low + from;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) part.value[i] = joined(p[from + i], low[i]);
    } else {
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) part.value[i] = load(p[from + i]);
    }
    for (int k = 0; k < 3; ++k) floats.state[k] = job.state[k] ? static_cast<float*>(job.state[k]) + from : nullptr;
    StepSums of_floats;
    if (sums)
      step_typed<float, Sums::part>(floats, 0, n, &of_floats, part.by);
    else
      step_typed<float, Sums::none>(floats, 0, n, nullptr);
    total.inv_denom += of_floats.inv_denom;
    if (read_only) continue;
    StepSums* const own = sums ? &total : nullptr;
    switch (how.rounding) {
      case Rounding::nearest:
        store_part<P, Rounding::nearest>(job, from, n, part, own);
        break;
      case Rounding::stochastic:
        fill_random(how, from, part.random);
        store_part<P, Rounding::stochastic>(job, from, n, part, own);
        break;
      case Rounding::compensated:
        store_part<P, Rounding::compensated>(job, from, n, part, own);
        break;
    }
  }
  if (!sums) return;
  total.count = end - begin;
  total.rounding_sq = rounding_sq(kSpacing<P>, total.param_sq);
  total.stalled_of = static_cast<double>(end - begin);
  *sums = total;
}

void step_chunk(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums) {
  switch (job.dtype) {
    case Dtype::float32:
      return step_dtype<float>(job, begin, end, sums);
    case Dtype::float64:
      return step_dtype<double>(job, begin, end, sums);
    case Dtype::bfloat16:
      if (!sums && (!job.store || job.store->rounding == Rounding::nearest))
        return step_typed<Bf16, Sums::none>(job, begin, end, nullptr);
      return step_in_float<Bf16>(job, begin, end, sums);
    case Dtype::float16:
      return step_in_float<F16>(job, begin, end, sums);
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
    case Dtype::float16:
      return square_sum_typed<F16>(view, begin, end);
  }
  return 0;
}

}  // namespace

extern const Table SCALEVEC_ISA_TABLE;
const Table SCALEVEC_ISA_TABLE{&step_chunk, &square_sum};

}  // namespace scalevec::kernels
