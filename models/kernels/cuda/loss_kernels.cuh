#pragma once

#include "models/kernels/cuda/row_groups.cuh"

namespace scalevec::models::kernels::cuda {

// A row of any alignment: the vectors between its first and last multiple of 16 bytes, and the single elements before
// and after them. A vocabulary's size is often odd.
template <class T>
struct RowSpan {
  std::int64_t head, vectors, d;

  // All elements are single ones unless `together`.
  __device__ RowSpan(const T* row, std::int64_t size, bool together) : head(0), vectors(0), d(size) {
    if (!together) return;
    const auto past = static_cast<std::int64_t>(reinterpret_cast<std::uintptr_t>(row) % 16);
    head = (past == 0 ? 0 : 16 - past) / static_cast<std::int64_t>(sizeof(T));
    if (head > d) head = d;
    vectors = (d - head) / kVector;
  }
  // Element number i of those outside the vectors.
  __device__ std::int64_t single(std::int64_t i) const { return i < head ? i : i + vectors * kVector; }
  __device__ std::int64_t singles() const { return d - vectors * kVector; }
};

// Σ exp(x − top) with top the largest x so far.
template <class T>
struct OnlineSum {
  float top = -INFINITY, sum = 0.0f;

  template <int kSize>
  __device__ void add(const Pack<T, kSize>& x) {
    float most = top;
    for (int e = 0; e < kSize; ++e) most = fmaxf(most, load(x.value[e]));
    if (most > top) {
      sum *= exponential<T>(top - most);
      top = most;
    }
    // Nothing but −∞ so far: those add nothing.
    const float shift = top == -INFINITY ? 0.0f : top;
    for (int e = 0; e < kSize; ++e) sum += exponential<T>(load(x.value[e]) - shift);
  }
};

inline constexpr int kLossHeld = 4;  // vectors a thread has in flight

template <class T>
__global__ void __launch_bounds__(kThreads) cross_entropy_kernel(CrossEntropyForward a) {
  __shared__ float shared[kThreads / kWarp];
  const std::int64_t row = blockIdx.x;
  const int thread = static_cast<int>(threadIdx.x);
  const T* x = static_cast<const T*>(a.logits) + row * a.d;
  const RowSpan<T> span(x, a.d, true);
  OnlineSum<T> own;
  for (std::int64_t i = thread; i < span.singles(); i += kThreads) own.add(read<1>(x, span.single(i)));
  for (std::int64_t begin = thread; begin < span.vectors; begin += kLossHeld * kThreads) {
    Pack<T, kVector> held[kLossHeld];
#pragma unroll
    for (int k = 0; k < kLossHeld; ++k)
      if (begin + k * kThreads < span.vectors) held[k] = read<kVector>(x + span.head, begin + k * kThreads);
#pragma unroll
    for (int k = 0; k < kLossHeld; ++k)
      if (begin + k * kThreads < span.vectors) own.add(held[k]);
  }
  const float top = group_reduce(own.top, kThreads, shared, [](float p, float q) { return p > q ? p : q; });
  const float share = own.top == -INFINITY ? 0.0f : own.sum * exponential<T>(own.top - top);
  // A thread that saw a NaN has it in its sum.
  const float sum = group_sum(own.sum == own.sum ? share : own.sum, kThreads, shared);
  if (thread != 0) return;
  const float lse = top + logf(sum);
  const std::int64_t target = a.target[row];
  a.lse[row] = lse;
  a.rows[row] = target >= 0 && target < a.d ? lse - load(x[target]) : NAN;
}

// One block.
__global__ void __launch_bounds__(kThreads) mean_kernel(CrossEntropyForward a) {
  __shared__ double shared[kThreads / kWarp];
  double sum = 0.0;
  for (std::int64_t r = threadIdx.x; r < a.n; r += kThreads) sum += static_cast<double>(a.rows[r]);
  sum = group_sum(sum, kThreads, shared);
  if (threadIdx.x == 0) *a.loss = static_cast<float>(sum / static_cast<double>(a.n));
}

template <class T>
__global__ void __launch_bounds__(kThreads) cross_entropy_backward_kernel(CrossEntropyBackward a) {
  const std::int64_t row = blockIdx.x, target = a.target[row];
  const int thread = static_cast<int>(threadIdx.x);
  const T* x = static_cast<const T*>(a.logits) + row * a.d;
  T* to = static_cast<T*>(a.dlogits) + row * a.d;
  const auto distance = reinterpret_cast<std::uintptr_t>(x) - reinterpret_cast<std::uintptr_t>(to);
  const RowSpan<T> span(x, a.d, distance % 16 == 0);
  const float lse = a.lse[row];
  const float scale = target >= 0 && target < a.d ? *a.grad / static_cast<float>(a.n) : NAN;
  const auto slope = [&](T logit, std::int64_t j) {
    return scale * (exponential<T>(load(logit) - lse) - (j == target ? 1.0f : 0.0f));
  };
  for (std::int64_t i = thread; i < span.singles(); i += kThreads) {
    const std::int64_t j = span.single(i);
    store(to[j], slope(x[j], j));
  }
  for (std::int64_t begin = thread; begin < span.vectors; begin += kLossHeld * kThreads) {
    Pack<T, kVector> held[kLossHeld];
#pragma unroll
    for (int k = 0; k < kLossHeld; ++k)
      if (begin + k * kThreads < span.vectors) held[k] = read<kVector>(x + span.head, begin + k * kThreads);
#pragma unroll
    for (int k = 0; k < kLossHeld; ++k) {
      const std::int64_t v = begin + k * kThreads;
      if (v >= span.vectors) continue;
      float out[kVector];
      for (int e = 0; e < kVector; ++e) out[e] = slope(held[k].value[e], span.head + v * kVector + e);
      write<T, kVector>(to + span.head, v, out);
    }
  }
}

template <class Launch>
void launch_cross_entropy(const CrossEntropyForward& a, const Launch& launch) {
  by_type(a.type, [&](auto zero) { launch(a.n, &cross_entropy_kernel<decltype(zero)>, a); });
  launch(1, &mean_kernel, a);
}

template <class Launch>
void launch_cross_entropy_backward(const CrossEntropyBackward& a, const Launch& launch) {
  by_type(a.type, [&](auto zero) { launch(a.n, &cross_entropy_backward_kernel<decltype(zero)>, a); });
}

}  // namespace scalevec::models::kernels::cuda
