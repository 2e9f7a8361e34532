#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <type_traits>
#include <utility>

#include "optim/cuda/layout.hpp"
#include "optim/cuda/multi_tensor.hpp"
#include "optim/kernels/state_codes.hpp"

// What a thread does with the elements of a tensor. See layout.hpp for who takes which.
namespace scalevec::cuda {

using kernels::Dtype;

inline constexpr int kSumCount = 7;  // the sums of StepSums, in its order, then `stalled`

struct TensorRow {
  void* param;
  void* state[kMaxBuffers];
  std::int64_t* step;
  std::int64_t size;
  std::int32_t group;
  Dtype dtype;
  kernels::Rounding rounding = kernels::Rounding::nearest;
  std::int16_t* low = nullptr;
  std::uint64_t stream = 0;
  std::int64_t parts = 1;
  void* held_norm = nullptr;
  double* numbers = nullptr;

  bool operator==(const TensorRow&) const = default;
};

inline TensorRow row_of(const TensorJob& job) {
  TensorRow row{job.param,    {},      job.step,   job.size,  job.group,     job.dtype,
                job.rounding, job.low, job.stream, job.parts, job.held_norm, job.numbers};
  for (std::size_t k = 0; k < kMaxBuffers; ++k) row.state[k] = job.state[k];
  return row;
}

template <class P>
using Compute = std::conditional_t<std::is_same_v<P, double>, double, float>;

// Stores the new value of element `i` as the tensor's rounding has it. Whether neither it nor its low part changed.
// `random` is the element's of kernels::rounding_words().
template <class P, class T>
__device__ bool store_element(const TensorRow& tensor, P& p, std::int64_t i, std::uint32_t random, T value) {
  const P before = p;
  if constexpr (kernels::kShort<P>) {
    if (tensor.rounding == kernels::Rounding::stochastic) {
      store_stochastic(p, value, random);
    } else if (tensor.rounding == kernels::Rounding::compensated) {
      const std::int16_t low = tensor.low[i];
      split(p, tensor.low[i], value);
      return load(p) == load(before) && tensor.low[i] == low;
    } else {
      store(p, value);
    }
  } else {
    store(p, value);
  }
  return load(p) == load(before);
}

// Adds an element's part to a thread's sums, in double, where a product of floats is exact: |p × Δ|² and Σ g·Δ are
// small differences. `stalled`: it was to move and did not.
template <class P, class T>
__device__ inline void add_sums(T p, T g, P stored, T inv_denom, bool stalled, double (&sum)[kSumCount]) {
  const double g64 = static_cast<double>(g), p64 = static_cast<double>(p);
  const double delta = static_cast<double>(load(stored)) - p64;
  sum[0] += g64 * g64;
  sum[1] += p64 * p64;
  sum[2] += delta * delta;
  sum[3] += p64 * delta;
  sum[4] += g64 * delta;
  sum[5] += static_cast<double>(inv_denom);
  if constexpr (kernels::kShort<P>) sum[6] += stalled ? 1.0 : 0.0;
}

// What is done with a tensor's elements: the pass before a method's step, with its two sums; the step, the step with
// its sums, the sums that a modifier needs, or the modified step with its sums.
enum class Pass { before, step, summed, measured, modified };

template <class M, unsigned kHeldBuffers, class P, Pass kKind>
__device__ void apply(const TensorRow& tensor, const void* grads, Range range, const Constants& c,
                      const GroupOptions& group, const kernels::StepScales& scales, double (&total)[kSumCount]) {
  constexpr bool kSums = kKind == Pass::summed || kKind == Pass::modified;
  constexpr bool kOfModifier = kKind == Pass::measured || kKind == Pass::modified;
  using T = Compute<P>;
  P* __restrict__ params = static_cast<P*>(tensor.param);
  const P* __restrict__ gradients = static_cast<const P*>(grads);
  T* __restrict__ state0 = static_cast<T*>(tensor.state[0]);
  T* __restrict__ state1 = static_cast<T*>(tensor.state[1]);
  T* __restrict__ state2 = static_cast<T*>(tensor.state[2]);
  T* __restrict__ state3 = static_cast<T*>(tensor.state[3]);
  const rules::Decay<T> decay = c.decay.template as<T>();
  const auto constants = constants_as<M, T>(c.values.data());
  const int thread = static_cast<int>(threadIdx.x);
  for (std::int64_t pass = 0; pass < passes_of(range); ++pass) {
    T p[kLanes], g[kLanes], state[kMaxBuffers][kLanes];
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t i = element(range, pass, lane, thread);
      p[lane] = g[lane] = T(0);
      for (std::size_t k = 0; k < kMaxBuffers; ++k) state[k][lane] = T(0);
      if (i >= range.end) continue;
      p[lane] = load(params[i]);
      g[lane] = load(gradients[i]);
      if constexpr (kHeldBuffers & 1) state[0][lane] = state0[i];
      if constexpr (kHeldBuffers & 2) state[1][lane] = state1[i];
      if constexpr (kHeldBuffers & 4) state[2][lane] = state2[i];
      if constexpr (kHeldBuffers & 8) state[3][lane] = state3[i];
    }
    double sum[kSumCount] = {};
    // A thread's lanes are as far apart as the elements of a block of random numbers.
    static_assert(kLanes == 4 && kThreads == kernels::kRandomSpan && kernels::kChunk % kPass == 0);
    PhiloxBlock random{};
    if (kernels::kShort<P> && tensor.rounding == kernels::Rounding::stochastic)
      random = kernels::rounding_words(tensor.stream, c.step, (range.begin + pass * kPass) / kLanes + thread);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t i = element(range, pass, lane, thread);
      if (i >= range.end) continue;
      T inv_denom = T(0), old = p[lane];
      P stored = params[i];
      if constexpr (kernels::kShort<P>)
        if (tensor.rounding == kernels::Rounding::compensated) old = joined(stored, tensor.low[i]);
      rules::Decay<T> own = decay;
      if constexpr (kOfModifier) own.shrink = T(0);
      rules::SteppedValue<T> moved = step_element<M, kHeldBuffers>(
          constants, own, old, g[lane], state[0][lane], state[1][lane], state[2][lane], state[3][lane], inv_denom);
      if constexpr (kOfModifier) {
        const auto s = kernels::switched(decay, group.cautious, group.cautious_decay, old, g[lane], moved.by);
        if constexpr (kKind == Pass::measured) {
          const double u = static_cast<double>(s.update), q = static_cast<double>(s.decay),
                       x = static_cast<double>(old);
          sum[0] += s.agrees ? 1.0 : 0.0;
          sum[1] += u * u;
          sum[2] += u * q;
          sum[3] += q * q;
          sum[4] += x * x;
          sum[5] += x * u;
          continue;
        }
        moved.by = static_cast<T>(scales.value) * old + static_cast<T>(scales.decay) * s.decay +
                   static_cast<T>(scales.update) * s.update;
        moved.value = old - moved.by;
      }
      if constexpr (kKind == Pass::before) {
        sum[0] += static_cast<double>(moved.by);
        sum[1] += static_cast<double>(inv_denom);
      }
      const bool still = store_element(tensor, stored, i, random.word[lane], moved.value);
      if constexpr (kMoves<M>) params[i] = stored;
      if constexpr (kHeldBuffers & 1) state0[i] = state[0][lane];
      if constexpr (kHeldBuffers & 2) state1[i] = state[1][lane];
      if constexpr (kHeldBuffers & 4) state2[i] = state[2][lane];
      if constexpr (kHeldBuffers & 8) state3[i] = state[3][lane];
      if constexpr (kSums && kMoves<M>)
        add_sums(p[lane], g[lane], stored, inv_denom, still && moved.by != T(0), sum);
      else if constexpr (kSums)
        sum[4] += static_cast<double>(moved.by), sum[5] += static_cast<double>(inv_denom);
    }
    if constexpr (kKind != Pass::step)
      for (int k = 0; k < kSumCount; ++k) total[k] += sum[k];
  }
}

// The largest of every thread's values, for all threads, of each of kCount kinds. `shared` has kCount for each warp.
template <class T, int kCount>
__device__ inline void block_max(T (&value)[kCount], T* shared) {
  constexpr int kWarp = 32, kWarps = kThreads / kWarp;
  const int thread = static_cast<int>(threadIdx.x);
  for (int k = 0; k < kCount; ++k)
    for (int width = kWarp / 2; width > 0; width /= 2) {
      const T other = __shfl_xor_sync(0xFFFFFFFFu, value[k], width);
      value[k] = value[k] < other ? other : value[k];
    }
  __syncthreads();
  if (thread % kWarp == 0)
    for (int k = 0; k < kCount; ++k) shared[thread / kWarp * kCount + k] = value[k];
  __syncthreads();
  for (int w = 0; w < kWarps; ++w)
    for (int k = 0; k < kCount; ++k) value[k] = value[k] < shared[w * kCount + k] ? shared[w * kCount + k] : value[k];
}

// The step of a method with states of 8 bits. A thread's lanes are places in consecutive blocks of states.
template <class M, class P, Pass kKind>
__device__ void apply_codes(const TensorRow& tensor, const void* grads, Range range, const Constants& c,
                            double (&total)[kSumCount]) {
  using T = Compute<P>;
  constexpr int kCount = static_cast<int>(M::kSigned.size());
  static_assert(kThreads == kStateBlock && kernels::kChunk % kPass == 0);
  __shared__ T shared[kThreads / 32 * kCount * kLanes];
  P* __restrict__ params = static_cast<P*>(tensor.param);
  const P* __restrict__ gradients = static_cast<const P*>(grads);
  const rules::Decay<T> decay = c.decay.template as<T>();
  const int thread = static_cast<int>(threadIdx.x);
  const auto each_buffer = [](const auto& body) {
    body(std::integral_constant<int, 0>());
    if constexpr (kCount == 2) body(std::integral_constant<int, 1>());
  };
  static_assert(kCount <= 2);
  for (std::int64_t pass = 0; pass < passes_of(range); ++pass) {
    T state[2][kLanes] = {}, most[kCount * kLanes];
    double sum[kSumCount] = {};
    PhiloxBlock random{};
    if (kernels::kShort<P> && tensor.rounding == kernels::Rounding::stochastic)
      random = kernels::rounding_words(tensor.stream, c.step, (range.begin + pass * kPass) / kLanes + thread);
    const std::int64_t block = (range.begin + pass * kPass) / kStateBlock;  // of the first lane
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t i = element(range, pass, lane, thread);
      if (i < range.end) {
        each_buffer([&](auto k) {
          state[k][lane] =
              kernels::decoded<M::kSigned[k]>(static_cast<const std::uint8_t*>(tensor.state[k])[i],
                                              static_cast<const T*>(tensor.state[kCount + k])[block + lane]);
        });
        P stored = params[i];
        const T p = load(stored), g = load(gradients[i]);
        T old = p, inv_denom = T(0), none = T(0);
        if constexpr (kernels::kShort<P>)
          if (tensor.rounding == kernels::Rounding::compensated) old = joined(stored, tensor.low[i]);
        rules::SteppedValue<T> moved;
        if constexpr (kInStages<M>) {
          using Advance = typename M::Advance;
          using Move = typename M::Move;
          T unused = T(0);
          step_element<Advance, (1u << kCount) - 1>(constants_as<Advance, T>(c.values.data()), decay, old, g,
                                                    state[0][lane], state[1][lane], none, none, unused);
          T root[2] = {state[0][lane], state[1][lane]};
          root[kCount - 1] = sqrt(root[kCount - 1]);
          moved = step_element<Move, (1u << kCount) - 1>(constants_as<Move, T>(c.values.data()), decay, old, g, root[0],
                                                         root[1], none, none, inv_denom);
        } else {
          moved = step_element<M, (1u << kCount) - 1>(constants_as<M, T>(c.values.data()), decay, old, g,
                                                      state[0][lane], state[1][lane], none, none, inv_denom);
        }
        const bool still = store_element(tensor, stored, i, random.word[lane], moved.value);
        params[i] = stored;
        if constexpr (kKind == Pass::summed) add_sums(p, g, stored, inv_denom, still && moved.by != T(0), sum);
      }
      for (int k = 0; k < kCount; ++k) {
        const T x = state[k][lane] < T(0) ? -state[k][lane] : state[k][lane];
        most[k * kLanes + lane] = T(0) < x ? x : T(0);  // 0 of a NaN
      }
    }
    block_max(most, shared);
#pragma unroll
    for (int lane = 0; lane < kLanes; ++lane) {
      const std::int64_t i = element(range, pass, lane, thread);
      if (i >= range.end) continue;
      each_buffer([&](auto k) {
        constexpr std::uint32_t kStep = kernels::kWeylStep[k], kBy = kernels::kWeylIndex[k];
        const T scale = kernels::power_of_two_scale(most[k * kLanes + lane]);
        const std::uint32_t place = (kernels::first_place(block + lane) + static_cast<std::uint32_t>(thread)) %
                                    static_cast<std::uint32_t>(kStateBlock);
        const std::uint32_t dither =
            kernels::code_dither<M::kSigned[k]>(static_cast<std::uint32_t>(c.step) * kStep, kBy, place);
        static_cast<std::uint8_t*>(tensor.state[k])[i] =
            kernels::encoded<M::kSigned[k]>(state[k][lane], T(1) / scale, dither);
        if (thread == 0) static_cast<T*>(tensor.state[kCount + k])[block + lane] = scale;
      });
    }
    if constexpr (kKind == Pass::summed)
      for (int k = 0; k < kSumCount; ++k) total[k] += sum[k];
  }
}

template <class M, class P, Pass kKind, std::size_t... subset>
__device__ void step_unit(const TensorRow& tensor, const void* grad, unsigned held, const Constants& c,
                          const GroupOptions& group, const kernels::StepScales& scales, Range range,
                          double (&total)[kSumCount], std::index_sequence<subset...>) {
  if constexpr (kHasCodes<M>)
    apply_codes<M, P, kKind>(tensor, grad, range, c, total);
  else
    ((held_by<M>(subset) == held ? apply<M, held_by<M>(subset), P, kKind>(tensor, grad, range, c, group, scales, total)
                                 : void()),
     ...);
}

}  // namespace scalevec::cuda
