#pragma once

#include "models/kernels/cuda/row_groups.cuh"

namespace scalevec::models::kernels::cuda {

template <int kSize>
inline constexpr int kMatrixHeld = kSize == 1 ? 8 : 2;

template <class W, class Y, int kSize>
__global__ void __launch_bounds__(kThreads) scale_matrix_kernel(ScaleMatrix a, int group) {
  constexpr int kHeld = kMatrixHeld<kSize>;
  const Place p = place_of(group);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / group) + p.row;
  if (row >= a.n) return;
  const std::int64_t vectors = a.d / kSize;
  const W* w = static_cast<const W*>(a.w.data) + row * a.w.stride;
  Y* out = static_cast<Y*>(a.out.data) + row * a.d;
  const float scale = a.row ? a.row[row] : 1.0f;
  for (std::int64_t begin = p.lane; begin < vectors; begin += std::int64_t{kHeld} * group) {
    Pack<W, kSize> held[kHeld];
#pragma unroll
    for (int k = 0; k < kHeld; ++k)
      if (begin + std::int64_t{k} * group < vectors) held[k] = read<kSize>(w, begin + std::int64_t{k} * group);
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = begin + std::int64_t{k} * group;
      if (v >= vectors) continue;
      const Pack<float, kSize> column = read_scale<kSize>(a.column, v);
      float to[kSize];
      for (int e = 0; e < kSize; ++e) to[e] = load(held[k].value[e]) * scale * column.value[e];
      write<Y, kSize>(out, v, to);
    }
  }
}

template <class G, class W, int kSize>
__global__ void __launch_bounds__(kThreads)
    scale_matrix_backward_kernel(ScaleMatrixBackward a, int group, std::int64_t blocks) {
  constexpr int kHeld = kMatrixHeld<kSize>;
  __shared__ float shared[kThreads / kWarp];
  const Place p = place_of(group);
  const int rows_at_once = kThreads / group;
  const std::int64_t stride = blocks * rows_at_once, block = blockIdx.x;
  const std::int64_t all = a.d / kSize, rest = p.lane + std::int64_t{kHeld} * group;
  float* part = a.dcolumn ? a.parts + block * a.d : nullptr;
  float sum[kHeld][kSize] = {};
  if (part)
    for (std::int64_t v = rest; v < all; v += group)
      for (int e = 0; e < kSize; ++e) part[v * kSize + e] = 0.0f;
  for (std::int64_t first = block * rows_at_once; first < a.n; first += stride) {
    const std::int64_t row = first + p.row, vectors = row < a.n ? all : 0;
    const G* grad = static_cast<const G*>(a.grad.data) + row * a.grad.stride;
    const W* w = static_cast<const W*>(a.w.data) + row * a.w.stride;
    W* dw = static_cast<W*>(a.dw) + row * a.d;
    const float scale = a.row && row < a.n ? a.row[row] : 1.0f;
    float dot = 0.0f;
    // Writes the gradient of one vector, and leaves in `share` what it adds to the column's.
    const auto step = [&](std::int64_t v, const Pack<G, kSize>& g, const Pack<W, kSize>& from, float(&share)[kSize]) {
      const Pack<float, kSize> column = read_scale<kSize>(a.column, v);
      float to[kSize];
      for (int e = 0; e < kSize; ++e) {
        const float slope = load(g.value[e]), product = slope * load(from.value[e]);
        dot += product * column.value[e];
        share[e] = product * scale;
        to[e] = slope * scale * column.value[e];
      }
      write<W, kSize>(dw, v, to);
    };
    Pack<G, kSize> g[kHeld];
    Pack<W, kSize> from[kHeld];
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = p.lane + std::int64_t{k} * group;
      if (v >= vectors) continue;
      g[k] = read<kSize>(grad, v);
      from[k] = read<kSize>(w, v);
    }
    float share[kSize];
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = p.lane + std::int64_t{k} * group;
      if (v >= vectors) continue;
      step(v, g[k], from[k], share);
      for (int e = 0; e < kSize; ++e) sum[k][e] += share[e];
    }
    for (std::int64_t v = rest; v < vectors; v += group) {
      step(v, read<kSize>(grad, v), read<kSize>(w, v), share);
      if (part)
        for (int e = 0; e < kSize; ++e) part[v * kSize + e] += share[e];
    }
    if (!a.drow) continue;
    dot = group_sum(dot, group, shared);
    if (row < a.n && p.lane == 0) a.drow[row] = dot;
  }
  if (part)
    write_part(
        sum, group, all, [](std::int64_t v) { return v * kSize; }, part);
}

template <class Launch>
void launch_scale_matrix(const ScaleMatrix& a, const Launch& launch) {
  const bool fit = a.d % kVector == 0 && vectors_fit(a.w) && aligned(a.out.data) && aligned(a.column);
  by_size(fit, [&](auto size) {
    constexpr int kSize = decltype(size)::value;
    const int group = group_for(a.d / kSize, kMatrixHeld<kSize>, kWarp), rows = kThreads / group;
    by_type(a.w.type, [&](auto w) {
      by_type(a.out.type, [&](auto out) {
        launch((a.n + rows - 1) / rows, &scale_matrix_kernel<decltype(w), decltype(out), kSize>, a, group);
      });
    });
  });
}

template <class Launch>
void launch_scale_matrix_backward(const ScaleMatrixBackward& a, const Launch& launch) {
  const bool fit = a.d % kVector == 0 && vectors_fit(a.grad) && vectors_fit(a.w) && aligned(a.dw) && aligned(a.column);
  std::int64_t blocks = 0;
  by_size(fit, [&](auto size) {
    constexpr int kSize = decltype(size)::value;
    const int group = group_for(a.d / kSize, kMatrixHeld<kSize>, kWarp), rows = kThreads / group;
    blocks = (a.n + rows - 1) / rows;
    if (a.dcolumn && blocks > kMaxParts) blocks = kMaxParts;
    by_type(a.grad.type, [&](auto grad) {
      by_type(a.w.type, [&](auto w) {
        launch(blocks, &scale_matrix_backward_kernel<decltype(grad), decltype(w), kSize>, a, group, blocks);
      });
    });
  });
  if (a.dcolumn) launch_part_sums({a.parts, blocks, a.d, a.dcolumn}, launch);
}

}  // namespace scalevec::models::kernels::cuda
