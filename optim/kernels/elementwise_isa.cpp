// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has
// internal linkage: code for a newer instruction set must not be picked by the linker for an older machine.
#include "scalevec/optim/kernels/block_states.hpp"
#include "scalevec/optim/kernels/library_rules.hpp"
#include "scalevec/optim/kernels/rule_loops.hpp"

namespace scalevec::kernels {
namespace {

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
  const RuleLoops& loops = *job.rule.loops;
  Part part;
  Job floats{job.rule, Dtype::float32, part.value, part.grad, {}, 0, {}};
  StepSums total, of_floats;
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
    for (std::size_t k = 0; k < kMaxBuffers; ++k)
      floats.state[k] = job.state[k] && !loops.codes ? static_cast<float*>(job.state[k]) + from : job.state[k];
    floats.first = from;
    if (sums)
      loops.float32_part(floats, 0, n, &of_floats, part.by);
    else
      loops.float32(floats, 0, n, nullptr, nullptr);
    if (!loops.moves) continue;
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
  total.inv_denom = of_floats.inv_denom;
  if (!loops.moves) total.grad_update = of_floats.grad_update;
  total.count = end - begin;
  total.rounding_sq = rounding_sq(kSpacing<P>, total.param_sq);
  total.stalled_of = static_cast<double>(end - begin);
  *sums = total;
}

void step_chunk(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums) {
  const RuleLoops& loops = *job.rule.loops;
  switch (job.dtype) {
    case Dtype::float32:
      return (sums ? loops.float32_sums : loops.float32)(job, begin, end, sums, nullptr);
    case Dtype::float64:
      return (sums ? loops.float64_sums : loops.float64)(job, begin, end, sums, nullptr);
    case Dtype::bfloat16:
      if (!sums && (!job.store || job.store->rounding == Rounding::nearest))
        return loops.bfloat16(job, begin, end, nullptr, nullptr);
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

const RuleLoops* loops_of(std::size_t rule, std::size_t subset) {
  const RuleLoops* found = nullptr;
  std::size_t at = 0;
  for_each_type(LibraryRules(), [&]<class M>(std::type_identity<M>) {
    if (at++ != rule) return;
    if constexpr (kHasCodes<M>)
      found = &kCodeLoops<M>;
    else
      found = &kLoops<M>[subset];
  });
  return found;
}

}  // namespace

extern const Table SCALEVEC_ISA_TABLE;
const Table SCALEVEC_ISA_TABLE{&step_chunk, &square_sum, &loops_of};

}  // namespace scalevec::kernels
