#pragma once

#include <math.h>
#include <string.h>

#include <cstdint>
#include <type_traits>

#include "models/kernels/cuda/row_launches.hpp"
#include "optim/kernels/element_types.hpp"

// What the row kernels share: vectors of 16 and 32 bytes, and a row's threads. A block of kThreads is divided into
// groups of a power of two of threads, and each group takes a row, so that short rows fill a block too.
namespace scalevec::models::kernels::cuda {

using scalevec::kernels::load;
using scalevec::kernels::store;

inline constexpr int kThreads = 256;
inline constexpr int kWarp = 32;
inline constexpr int kVector = 8;  // elements of a vector, of either type

// Elements that are read and written together: 16 bytes at a time where kSize is kVector, else one by one.
template <class T, int kSize>
struct alignas(kSize == kVector ? 16 : sizeof(T)) Pack {
  T value[kSize];
};

template <int kSize, class T>
__device__ inline Pack<T, kSize> read(const T* row, std::int64_t vector) {
  return reinterpret_cast<const Pack<T, kSize>*>(row)[vector];
}

template <class T, int kSize>
__device__ inline void write(T* row, std::int64_t vector, const float (&values)[kSize]) {
  Pack<T, kSize> out;
  for (int e = 0; e < kSize; ++e) store(out.value[e], values[e]);
#if defined(__CUDA_ARCH__)
  // The processor's own conversion of a pair, which rounds to nearest even as store() does.
  if constexpr (std::is_same_v<T, Bf16> && kSize % 2 == 0)
    for (int e = 0; e < kSize; e += 2) {
      std::uint32_t pair;
      asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(values[e + 1]), "f"(values[e]));
      memcpy(&out.value[e], &pair, sizeof(pair));
    }
#endif
  reinterpret_cast<Pack<T, kSize>*>(row)[vector] = out;
}

// A vector of a scale vector; ones where there is none.
template <int kSize>
__device__ inline Pack<float, kSize> read_scale(const float* gamma, std::int64_t vector) {
  if (gamma) return read<kSize>(gamma, vector);
  Pack<float, kSize> ones;
  for (int e = 0; e < kSize; ++e) ones.value[e] = 1.0f;
  return ones;
}

// x as the type stores it.
template <class T>
__device__ inline float rounded(float x) {
  T stored;
  store(stored, x);
  return load(stored);
}

// Where a thread stands: the row of its group in this block's pass, and its place in the group.
struct Place {
  int lane, row;
};
__device__ inline Place place_of(int group) {
  const int thread = static_cast<int>(threadIdx.x);
  return {thread % group, thread / group};
}

// op over the threads of a group, for all of them, in a fixed order: a butterfly within a warp, then warp by warp.
// Every thread of the block takes part. `shared` has kThreads / kWarp elements.
template <class T, class Op>
__device__ inline T group_reduce(T value, int group, T* shared, const Op& op) {
  for (int width = (group < kWarp ? group : kWarp) / 2; width > 0; width /= 2)
    value = op(value, __shfl_xor_sync(0xFFFFFFFFu, value, width));
  if (group <= kWarp) return value;
  const int thread = static_cast<int>(threadIdx.x), warps = group / kWarp, first = thread / group * warps;
  __syncthreads();
  if (thread % kWarp == 0) shared[thread / kWarp] = value;
  __syncthreads();
  value = shared[first];
  for (int w = 1; w < warps; ++w) value = op(value, shared[first + w]);
  return value;
}
template <class T>
__device__ inline T group_sum(T value, int group, T* shared) {
  return group_reduce(value, group, shared, [](T a, T b) { return a + b; });
}

// e^x and 1/(1 + e^−x), to what the type of the values they are made from can tell.
template <class T>
__device__ inline float exponential(float x) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, Bf16>) return __expf(x);
#endif
  return expf(x);
}
template <class T>
__device__ inline float sigmoid(float x) {
#if defined(__CUDA_ARCH__)
  if constexpr (std::is_same_v<T, Bf16>) return __fdividef(1.0f, 1.0f + __expf(-x));
#endif
  return 1.0f / (1.0f + expf(-x));
}

// A block's partial sums over rows, added over its groups, to `part`: a thread's sum[k][e] goes to column(v) + e, where
// v = lane + k·group is below `count`. Every thread of the block takes part.
template <int kHeld, int kSize, class Column>
__device__ inline void write_part(float (&sum)[kHeld][kSize], int group, std::int64_t count, const Column& column,
                                  float* part) {
  __shared__ float shared[kSize * kThreads];
  const int thread = static_cast<int>(threadIdx.x), lane = thread % group, apart = group < kWarp ? kWarp : group;
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    if (std::int64_t{k} * group >= count) break;
    for (int width = group; width < kWarp; width *= 2)
      for (int e = 0; e < kSize; ++e) sum[k][e] += __shfl_xor_sync(0xFFFFFFFFu, sum[k][e], width);
    __syncthreads();
    for (int e = 0; e < kSize; ++e) shared[e * kThreads + thread] = sum[k][e];
    __syncthreads();
    const std::int64_t v = lane + std::int64_t{k} * group;
    if (thread >= group || v >= count) continue;
    for (int e = 0; e < kSize; ++e) {
      float total = shared[e * kThreads + thread];
      for (int other = thread + apart; other < kThreads; other += apart) total += shared[e * kThreads + other];
      part[column(v) + e] = total;
    }
  }
}

struct PartSums {
  const float* parts;  // [count, d]
  std::int64_t count, d;
  float* out;  // [d]
};

// out_j = Σ_p parts_pj: kWarp columns to a block, each by kThreads / kWarp threads.
__global__ void __launch_bounds__(kThreads) part_sums_kernel(PartSums a) {
  __shared__ float shared[kThreads];
  const int thread = static_cast<int>(threadIdx.x);
  const std::int64_t column = static_cast<std::int64_t>(blockIdx.x) * kWarp + thread % kWarp;
  float sum = 0.0f;
  if (column < a.d)
#pragma unroll 8
    for (std::int64_t p = thread / kWarp; p < a.count; p += kThreads / kWarp) sum += a.parts[p * a.d + column];
  shared[thread] = sum;
  __syncthreads();
  if (thread >= kWarp || column >= a.d) return;
  for (int w = 1; w < kThreads / kWarp; ++w) sum += shared[w * kWarp + thread];
  a.out[column] = sum;
}

template <class Launch>
void launch_part_sums(const PartSums& a, const Launch& launch) {
  launch((a.d + kWarp - 1) / kWarp, &part_sums_kernel, a);
}

// The fewest threads, a power of two from `least` to kThreads, of which each takes at most `held` of a row's vectors.
inline int group_for(std::int64_t vectors, int held, int least) {
  int group = least;
  while (group < kThreads && std::int64_t{group} * held < vectors) group *= 2;
  return group;
}

inline bool aligned(const void* data) { return reinterpret_cast<std::uintptr_t>(data) % 16 == 0; }
// Whether every row begins where a vector may; for null rows too.
inline bool vectors_fit(const RowsIn& rows) { return aligned(rows.data) && rows.stride % kVector == 0; }

// Calls body with a value of the type.
template <class Body>
void by_type(Type type, const Body& body) {
  if (type == Type::bfloat16)
    body(Bf16{});
  else
    body(float{});
}

// Calls body with the number of elements of a vector, as a constant: kVector if vectors fit, else 1.
template <class Body>
void by_size(bool fit, const Body& body) {
  if (fit)
    body(std::integral_constant<int, kVector>());
  else
    body(std::integral_constant<int, 1>());
}

}  // namespace scalevec::models::kernels::cuda
