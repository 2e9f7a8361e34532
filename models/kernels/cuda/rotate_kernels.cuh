#pragma once

#include "models/kernels/cuda/row_groups.cuh"

namespace scalevec::models::kernels::cuda {

// Pairs of vectors that a thread keeps in registers: one of the first half of a head, and the one it is rotated with.
template <int kSize>
inline constexpr int kPairsHeld = kSize == 1 ? 8 : 2;

// Where the pairs of a row are: pair p is in head p / in_head.
template <int kSize>
struct Pairs {
  std::int64_t half, in_head;
  __device__ explicit Pairs(std::int64_t d) : half(d / 2), in_head(half / kSize) {}

  __device__ std::int64_t column(std::int64_t pair) const {
    const auto p = static_cast<std::uint32_t>(pair), n = static_cast<std::uint32_t>(in_head);
    return 2 * half * (p / n) + static_cast<std::int64_t>(p % n) * kSize;
  }
  // Of its first element in the tables of one position.
  __device__ std::int64_t angle(std::int64_t pair) const {
    return static_cast<std::int64_t>(static_cast<std::uint32_t>(pair) % static_cast<std::uint32_t>(in_head)) * kSize;
  }
};

template <class T, bool kNorm, int kSize>
__global__ void __launch_bounds__(kThreads) rotate_kernel(RotateForward a, int group) {
  constexpr int kHeld = kPairsHeld<kSize>;
  __shared__ float shared[kThreads / kWarp];
  const Place p = place_of(group);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / group) + p.row;
  const Pairs<kSize> pairs(a.d);
  const std::int64_t width = a.together * a.d, count = row < a.n ? width / 2 / kSize : 0;
  const std::int64_t rest = p.lane + std::int64_t{kHeld} * group;
  const std::int64_t position = row < a.n ? row / a.rows_per_token % a.length : 0;
  const T* x = static_cast<const T*>(a.x) + row * width;
  T* y = static_cast<T*>(a.y) + row * width;
  const float *cos = a.cos + position * pairs.half, *sin = a.sin + position * pairs.half;
  const auto first_of = [&](std::int64_t pair) { return read<kSize>(x + pairs.column(pair), 0); };
  const auto second_of = [&](std::int64_t pair) { return read<kSize>(x + pairs.column(pair) + pairs.half, 0); };

  Pack<T, kSize> first[kHeld], second[kHeld];
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t pair = p.lane + std::int64_t{k} * group;
    if (pair >= count) continue;
    first[k] = first_of(pair);
    second[k] = second_of(pair);
  }
  float scale = 1.0f;
  if constexpr (kNorm) {
    float square = 0.0f;
    const auto add = [&](const Pack<T, kSize>& values) {
      for (int e = 0; e < kSize; ++e) square += load(values.value[e]) * load(values.value[e]);
    };
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      if (p.lane + std::int64_t{k} * group >= count) continue;
      add(first[k]);
      add(second[k]);
    }
    for (std::int64_t pair = rest; pair < count; pair += group) {
      add(first_of(pair));
      add(second_of(pair));
    }
    scale = 1.0f / sqrtf(group_sum(square, group, shared) / static_cast<float>(width) + a.eps);
    if (row < a.n && p.lane == 0) a.rstd[row] = scale;
  }
  const auto output = [&](std::int64_t pair, const Pack<T, kSize>& one, const Pack<T, kSize>& two) {
    const std::int64_t j = pairs.column(pair);
    const Pack<float, kSize> c = read<kSize>(cos + pairs.angle(pair), 0), s = read<kSize>(sin + pairs.angle(pair), 0);
    const float* gamma = kNorm ? a.gamma : nullptr;
    const Pack<float, kSize> by_one = read_scale<kSize>(gamma ? gamma + j : nullptr, 0),
                             by_two = read_scale<kSize>(gamma ? gamma + j + pairs.half : nullptr, 0);
    float to[kSize], other[kSize];
    for (int e = 0; e < kSize; ++e) {
      const float u = load(one.value[e]) * scale * by_one.value[e], v = load(two.value[e]) * scale * by_two.value[e];
      const float t = a.sign * s.value[e];
      to[e] = u * c.value[e] - v * t;
      other[e] = v * c.value[e] + u * t;
    }
    write<T, kSize>(y + j, 0, to);
    write<T, kSize>(y + j + pairs.half, 0, other);
  };
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t pair = p.lane + std::int64_t{k} * group;
    if (pair < count) output(pair, first[k], second[k]);
  }
  for (std::int64_t pair = rest; pair < count; pair += group) output(pair, first_of(pair), second_of(pair));
}

// The gradient is rotated back, then taken through the norm as in norm_backward_kernel.
template <class T, int kSize>
__global__ void __launch_bounds__(kThreads) rotate_backward_kernel(RotateBackward a, int group, std::int64_t blocks) {
  constexpr int kHeld = kPairsHeld<kSize>;
  __shared__ float shared[kThreads / kWarp];
  const Place p = place_of(group);
  const int rows_at_once = kThreads / group;
  const std::int64_t stride = blocks * rows_at_once, block = blockIdx.x;
  const Pairs<kSize> pairs(a.d);
  const std::int64_t width = a.together * a.d, all = width / 2 / kSize, rest = p.lane + std::int64_t{kHeld} * group;
  float* part = a.gamma ? a.parts + block * width : nullptr;
  float first_sum[kHeld][kSize] = {}, second_sum[kHeld][kSize] = {};
  if (a.gamma)
    for (std::int64_t pair = rest; pair < all; pair += group)
      for (int e = 0; e < kSize; ++e) part[pairs.column(pair) + e] = part[pairs.column(pair) + pairs.half + e] = 0.0f;

  for (std::int64_t begin = block * rows_at_once; begin < a.n; begin += stride) {
    const std::int64_t row = begin + p.row, count = row < a.n ? all : 0;
    const std::int64_t position = row < a.n ? row / a.rows_per_token % a.length : 0;
    const T* grad = static_cast<const T*>(a.grad) + row * width;
    const T* x = static_cast<const T*>(a.x) + row * width;
    T* dx = static_cast<T*>(a.dx) + row * width;
    const float *cos = a.cos + position * pairs.half, *sin = a.sin + position * pairs.half;
    const float rstd = row < a.n ? a.rstd[row] : 0.0f;
    struct Pair {
      Pack<T, kSize> first, second;
    };
    const auto pair_of = [&](const T* from, std::int64_t pair) {
      const T* at = from + pairs.column(pair);
      return Pair{read<kSize>(at, 0), read<kSize>(at + pairs.half, 0)};
    };
    // The gradient of the norm's output, without and with γ.
    struct Slopes {
      float first[kSize], second[kSize], first_scaled[kSize], second_scaled[kSize];
    };
    float dot = 0.0f;
    const auto slopes_of = [&](std::int64_t pair, const Pair& g, const Pair& at) {
      const std::int64_t j = pairs.column(pair);
      const Pack<float, kSize> c = read<kSize>(cos + pairs.angle(pair), 0), s = read<kSize>(sin + pairs.angle(pair), 0);
      const Pack<float, kSize> by_one = read_scale<kSize>(a.gamma ? a.gamma + j : nullptr, 0),
                               by_two = read_scale<kSize>(a.gamma ? a.gamma + j + pairs.half : nullptr, 0);
      Slopes out;
      for (int e = 0; e < kSize; ++e) {
        const float one = load(g.first.value[e]), two = load(g.second.value[e]);
        out.first[e] = one * c.value[e] + two * s.value[e];
        out.second[e] = two * c.value[e] - one * s.value[e];
        out.first_scaled[e] = out.first[e] * by_one.value[e];
        out.second_scaled[e] = out.second[e] * by_two.value[e];
        dot += out.first_scaled[e] * (load(at.first.value[e]) * rstd) +
               out.second_scaled[e] * (load(at.second.value[e]) * rstd);
      }
      return out;
    };
    const auto output = [&](std::int64_t pair, const Slopes& slopes, const Pair& at, float along) {
      float to[kSize], other[kSize];
      for (int e = 0; e < kSize; ++e) {
        to[e] = rstd * (slopes.first_scaled[e] - load(at.first.value[e]) * rstd * along);
        other[e] = rstd * (slopes.second_scaled[e] - load(at.second.value[e]) * rstd * along);
      }
      write<T, kSize>(dx + pairs.column(pair), 0, to);
      write<T, kSize>(dx + pairs.column(pair) + pairs.half, 0, other);
    };
    Pair g[kHeld], at[kHeld];
    Slopes held[kHeld];
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t pair = p.lane + std::int64_t{k} * group;
      if (pair >= count) continue;
      g[k] = pair_of(grad, pair);
      at[k] = pair_of(x, pair);
    }
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t pair = p.lane + std::int64_t{k} * group;
      if (pair >= count) continue;
      held[k] = slopes_of(pair, g[k], at[k]);
      for (int e = 0; e < kSize; ++e) {
        first_sum[k][e] += held[k].first[e] * (load(at[k].first.value[e]) * rstd);
        second_sum[k][e] += held[k].second[e] * (load(at[k].second.value[e]) * rstd);
      }
    }
    for (std::int64_t pair = rest; pair < count; pair += group) {
      const Pair here = pair_of(x, pair);
      const Slopes slopes = slopes_of(pair, pair_of(grad, pair), here);
      if (!a.gamma) continue;
      for (int e = 0; e < kSize; ++e) {
        part[pairs.column(pair) + e] += slopes.first[e] * (load(here.first.value[e]) * rstd);
        part[pairs.column(pair) + pairs.half + e] += slopes.second[e] * (load(here.second.value[e]) * rstd);
      }
    }
    const float along = group_sum(dot, group, shared) / static_cast<float>(width);
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t pair = p.lane + std::int64_t{k} * group;
      if (pair < count) output(pair, held[k], at[k], along);
    }
    for (std::int64_t pair = rest; pair < count; pair += group) {
      const Pair here = pair_of(x, pair);
      output(pair, slopes_of(pair, pair_of(grad, pair), here), here, along);
    }
  }
  if (!a.gamma) return;
  write_part(
      first_sum, group, all, [&](std::int64_t pair) { return pairs.column(pair); }, part);
  write_part(
      second_sum, group, all, [&](std::int64_t pair) { return pairs.column(pair) + pairs.half; }, part);
}

// Rows of one head are shorter than a warp.
template <int kSize>
int pair_group(std::int64_t pairs) {
  return group_for(pairs, kPairsHeld<kSize>, 4);
}

template <class Launch>
void launch_rotate(const RotateForward& a, const Launch& launch) {
  const bool fit =
      a.d / 2 % kVector == 0 && aligned(a.x) && aligned(a.y) && aligned(a.cos) && aligned(a.sin) && aligned(a.gamma);
  by_type(a.type, [&](auto zero) {
    using T = decltype(zero);
    by_size(fit, [&](auto size) {
      constexpr int kSize = decltype(size)::value;
      const int group = pair_group<kSize>(a.together * a.d / 2 / kSize), rows = kThreads / group;
      launch((a.n + rows - 1) / rows, a.rstd ? &rotate_kernel<T, true, kSize> : &rotate_kernel<T, false, kSize>, a,
             group);
    });
  });
}

template <class Launch>
void launch_rotate_backward(const RotateBackward& a, const Launch& launch) {
  const bool fit = a.d / 2 % kVector == 0 && aligned(a.grad) && aligned(a.x) && aligned(a.dx) && aligned(a.cos) &&
                   aligned(a.sin) && aligned(a.gamma);
  std::int64_t blocks = 0;
  by_type(a.type, [&](auto zero) {
    using T = decltype(zero);
    by_size(fit, [&](auto size) {
      constexpr int kSize = decltype(size)::value;
      const int group = pair_group<kSize>(a.together * a.d / 2 / kSize), rows = kThreads / group;
      blocks = (a.n + rows - 1) / rows;
      if (a.gamma && blocks > kMaxParts) blocks = kMaxParts;
      launch(blocks, &rotate_backward_kernel<T, kSize>, a, group, blocks);
    });
  });
  if (a.gamma) launch_part_sums({a.parts, blocks, a.together * a.d, a.dgamma}, launch);
}

}  // namespace scalevec::models::kernels::cuda
