// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has
// internal linkage: code for a newer instruction set must not be picked by the linker for an older machine.
#include <cstring>

#include "optim/kernels/block_states.hpp"
#include "optim/kernels/library_rules.hpp"
#include "optim/kernels/rule_loops.hpp"

namespace scalevec::kernels {
namespace {

// Elements that a part of a tensor has, on which step_in_float() and modified_chunk() work at a time: few enough for
// the nearest cache, those of whole blocks of random numbers.
constexpr std::int64_t kPart = 1024;

template <class T>
struct Part {
  T value[kPart], grad[kPart], by[kPart];
  std::uint32_t random[kPart];
};

// Stores part.value as elements from + [0, n) of the tensor, and adds to `sums` what they are of.
template <class P, Rounding kRounding, bool kSums>
void store_part(const Job& job, std::int64_t from, std::int64_t n, const Part<Compute<P>>& part, StepSums* sums) {
  using T = Compute<P>;
  static_assert(kPart % kBlock == 0);
  T old[kSums ? kBlock : 1];  // of the block, for sums_in_double()
  for (std::int64_t first = 0; first < n; first += kBlock) {
    const std::int64_t size = first + kBlock < n ? kBlock : n - first;
    P* __restrict__ p = static_cast<P*>(job.param) + from + first;
    std::int16_t* __restrict__ low = kRounding == Rounding::compensated ? job.store->low + from + first : nullptr;
    const T* __restrict__ value = part.value + first;
    const T* __restrict__ grad = part.grad + first;
    const T* __restrict__ by = part.by + first;
    const std::uint32_t* __restrict__ random = part.random + first;
    T gg = 0, pp = 0, dd = 0, pd = 0, gd = 0, still = 0;
#pragma omp simd reduction(+ : gg, pp, dd, pd, gd, still)
    for (std::int64_t i = 0; i < size; ++i) {
      const T old_p = load(p[i]);
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
        const T new_p = load(p[i]), delta = new_p - old_p;
        gg += grad[i] * grad[i];
        pp += old_p * old_p;
        dd += delta * delta;
        pd += old_p * delta;
        gd += grad[i] * delta;
        if constexpr (kShort<P>) still += ((by[i] != T(0)) & (new_p == old_p) & (low_change == 0)) ? T(1) : T(0);
      }
    }
    if constexpr (kSums) {
      BlockSums block{static_cast<double>(gg), static_cast<double>(pp), static_cast<double>(dd),
                      static_cast<double>(pd), static_cast<double>(gd)};
      if constexpr (!std::is_same_v<P, double>)
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
void store_part(const Job& job, std::int64_t from, std::int64_t n, const Part<Compute<P>>& part, StepSums* sums) {
  if (sums)
    store_part<P, kRounding, true>(job, from, n, part, sums);
  else
    store_part<P, kRounding, false>(job, from, n, part, nullptr);
}

// The random numbers of the part that begins at `from`, a multiple of kPart.
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

// Stores a part as the tensor's rounding has it.
template <class P>
void store_rounded(const Job& job, std::int64_t from, std::int64_t n, Part<Compute<P>>& part, StepSums* sums) {
  const Store how = job.store ? *job.store : Store{};
  if constexpr (kShort<P>) {
    switch (how.rounding) {
      case Rounding::nearest:
        return store_part<P, Rounding::nearest>(job, from, n, part, sums);
      case Rounding::stochastic:
        fill_random(how, from / kPart * kPart, part.random);
        // A part may begin behind the border of a row block.
        if (const std::int64_t skipped = from % kPart; skipped != 0)
          std::memmove(part.random, part.random + skipped, static_cast<std::size_t>(n) * sizeof part.random[0]);
        return store_part<P, Rounding::stochastic>(job, from, n, part, sums);
      case Rounding::compensated:
        return store_part<P, Rounding::compensated>(job, from, n, part, sums);
    }
  } else {
    store_part<P, Rounding::nearest>(job, from, n, part, sums);
  }
}

// Elements from + [0, n) of the tensor.
template <class P>
void load_part(const Job& job, std::int64_t from, std::int64_t n, Compute<P>* __restrict__ value,
               Compute<P>* __restrict__ grad) {
  const P* __restrict__ p = static_cast<const P*>(job.param) + from;
  const P* __restrict__ g = static_cast<const P*>(job.grad) + from;
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) grad[i] = load(g[i]);
  if constexpr (kShort<P>)
    if (job.store && job.store->rounding == Rounding::compensated) {
      const std::int16_t* __restrict__ low = job.store->low + from;
#pragma omp simd
      for (std::int64_t i = 0; i < n; ++i) value[i] = joined(p[i], low[i]);
      return;
    }
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) value[i] = load(p[i]);
}

// What of a job's sums its parts don't have.
template <class P>
void finish_sums(std::int64_t count, StepSums& total) {
  total.count = count;
  total.rounding_sq = rounding_sq(kSpacing<P>, total.param_sq);
  if (kShort<P>) total.stalled_of = static_cast<double>(count);
}

// A part of the tensor as floats, their step, and then how the type takes them: so that another type of 16 bits, or
// another rounding, costs the compiler no further copy of the rules.
template <class P>
void step_in_float(const Job& job, std::int64_t begin, std::int64_t end, StepSums* sums) {
  const RuleLoops& loops = *job.rule.loops;
  Part<float> part;
  Job floats{job.rule, Dtype::float32, part.value, part.grad, {}, 0, {}, {}};
  StepSums total, of_floats;
  for (std::int64_t from = begin; from < end; from += kPart) {
    const std::int64_t n = from + kPart < end ? kPart : end - from;
    load_part<P>(job, from, n, part.value, part.grad);
    for (std::size_t k = 0; k < kMaxBuffers; ++k)
      floats.state[k] = job.state[k] && !loops.codes ? static_cast<float*>(job.state[k]) + from : job.state[k];
    floats.first = from;
    if (sums)
      loops.float32_part(floats, 0, n, &of_floats, part.by);
    else
      loops.float32(floats, 0, n, nullptr, nullptr);
    if (loops.moves) store_rounded<P>(job, from, n, part, sums ? &total : nullptr);
  }
  if (!sums) return;
  total.inv_denom = of_floats.inv_denom;
  if (!loops.moves) total.grad_update = of_floats.grad_update;
  finish_sums<P>(end - begin, total);
  *sums = total;
}

// A part of a tensor whose step is modified: what the rule subtracts without the decay, in `by`, from the values `old`.
template <class T>
struct ModifiedPart : Part<T> {
  T old[kPart];
  T state[kMaxBuffers][kPart];  // what a pass that writes nothing has in place of the tensor's
};

// The rule's step on elements from + [0, n), in which the tensor's state advances or not. Σ 1/(√v̂ + ε).
template <class P>
double form_part(const Job& job, std::int64_t from, std::int64_t n, bool advance, ModifiedPart<Compute<P>>& part) {
  using T = Compute<P>;
  load_part<P>(job, from, n, part.value, part.grad);
#pragma omp simd
  for (std::int64_t i = 0; i < n; ++i) part.old[i] = part.value[i];
  Job own{job.rule, Dtype::float32, part.value, part.grad, {}, 0, {}, {}};
  own.rule.decay.shrink = 0.0;
  for (std::size_t k = 0; k < kMaxBuffers; ++k) {
    if (!job.state[k]) continue;
    T* const held = static_cast<T*>(job.state[k]) + from;
    own.state[k] = advance ? held : part.state[k];
    if (!advance)
      for (std::int64_t i = 0; i < n; ++i) part.state[k][i] = held[i];
  }
  StepSums sums;
  const RuleLoops& loops = *job.rule.loops;
  (std::is_same_v<T, double> ? loops.float64_part : loops.float32_part)(own, 0, n, &sums, part.by);
  return sums.inv_denom;
}

template <class P>
ModifierSums measure_typed(const Job& job, std::int64_t begin, std::int64_t end) {
  using T = Compute<P>;
  const bool cautious = job.modifier->cautious, cautious_decay = job.modifier->cautious_decay;
  const rules::Decay<T> decay = job.rule.decay.template as<T>();
  ModifiedPart<T> part;
  ModifierSums total;
  for (std::int64_t from = begin; from < end; from = (from / kPart + 1) * kPart) {
    const std::int64_t to = (from / kPart + 1) * kPart, n = (to < end ? to : end) - from;
    form_part<P>(job, from, n, false, part);
    double agreeing = 0, uu = 0, uq = 0, qq = 0, pp = 0, pu = 0;
#pragma omp simd reduction(+ : agreeing, uu, uq, qq, pp, pu)
    for (std::int64_t i = 0; i < n; ++i) {
      const Switched<T> s = switched(decay, cautious, cautious_decay, part.old[i], part.grad[i], part.by[i]);
      const double u = static_cast<double>(s.update), q = static_cast<double>(s.decay),
                   p = static_cast<double>(part.old[i]);
      agreeing += s.agrees ? 1.0 : 0.0;
      uu += u * u;
      uq += u * q;
      qq += q * q;
      pp += p * p;
      pu += p * u;
    }
    total += {agreeing, uu, uq, qq, pp, pu};
  }
  return total;
}

template <class P>
void modified_typed(const Job& job, const StepScales& scales, std::int64_t begin, std::int64_t end, StepSums* sums) {
  using T = Compute<P>;
  const bool cautious = job.modifier->cautious, cautious_decay = job.modifier->cautious_decay;
  const rules::Decay<T> decay = job.rule.decay.template as<T>();
  const T of_value = static_cast<T>(scales.value), of_update = static_cast<T>(scales.update),
          of_decay = static_cast<T>(scales.decay);
  ModifiedPart<T> part;
  StepSums total;
  for (std::int64_t from = begin; from < end; from = (from / kPart + 1) * kPart) {
    const std::int64_t to = (from / kPart + 1) * kPart, n = (to < end ? to : end) - from;
    total.inv_denom += form_part<P>(job, from, n, true, part);
#pragma omp simd
    for (std::int64_t i = 0; i < n; ++i) {
      const T p = part.old[i];
      const Switched<T> s = switched(decay, cautious, cautious_decay, p, part.grad[i], part.by[i]);
      part.by[i] = of_value * p + of_decay * s.decay + of_update * s.update;
      part.value[i] = p - part.by[i];
    }
    store_rounded<P>(job, from, n, part, sums ? &total : nullptr);
  }
  if (!sums) return;
  finish_sums<P>(end - begin, total);
  *sums = total;
}

void modified_chunk(const Job& job, const StepScales& scales, std::int64_t begin, std::int64_t end, StepSums* sums) {
  switch (job.dtype) {
    case Dtype::float32:
      return modified_typed<float>(job, scales, begin, end, sums);
    case Dtype::float64:
      return modified_typed<double>(job, scales, begin, end, sums);
    case Dtype::bfloat16:
      return modified_typed<Bf16>(job, scales, begin, end, sums);
    case Dtype::float16:
      return modified_typed<F16>(job, scales, begin, end, sums);
  }
}

ModifierSums measure_chunk(const Job& job, std::int64_t begin, std::int64_t end) {
  switch (job.dtype) {
    case Dtype::float32:
      return measure_typed<float>(job, begin, end);
    case Dtype::float64:
      return measure_typed<double>(job, begin, end);
    case Dtype::bfloat16:
      return measure_typed<Bf16>(job, begin, end);
    case Dtype::float16:
      return measure_typed<F16>(job, begin, end);
  }
  return {};
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
const Table SCALEVEC_ISA_TABLE{&step_chunk, &modified_chunk, &measure_chunk, &square_sum, &loops_of};

}  // namespace scalevec::kernels
