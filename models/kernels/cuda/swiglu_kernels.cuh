#pragma once

#include "models/kernels/cuda/row_groups.cuh"

namespace scalevec::models::kernels::cuda {

// Vectors of each row that a thread keeps in registers.
template <int kSize>
inline constexpr int kSwigluHeld = kSize == 1 ? 8 : 2;

template <class T, bool kNorm, int kSize>
__global__ void __launch_bounds__(kThreads) swiglu_kernel(SwigluForward a, int group) {
  constexpr int kHeld = kSwigluHeld<kSize>;
  __shared__ float shared[kThreads / kWarp];
  const Place p = place_of(group);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / group) + p.row;
  const std::int64_t vectors = row < a.n ? a.d / kSize : 0, rest = p.lane + std::int64_t{kHeld} * group;
  const T* gate = static_cast<const T*>(a.gate.data) + row * a.gate.stride;
  const T* up = static_cast<const T*>(a.up.data) + row * a.up.stride;
  T* y = static_cast<T*>(a.y) + row * a.d;
  Pack<T, kSize> from[kHeld], by[kHeld];
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t v = p.lane + std::int64_t{k} * group;
    if (v >= vectors) continue;
    from[k] = read<kSize>(gate, v);
    by[k] = read<kSize>(up, v);
  }
  float gate_rstd = 1.0f, up_rstd = 1.0f;
  if constexpr (kNorm) {
    float gate_square = 0.0f, up_square = 0.0f;
    const auto add = [&](const Pack<T, kSize>& first, const Pack<T, kSize>& second) {
      for (int e = 0; e < kSize; ++e) {
        const float x = load(first.value[e]), z = load(second.value[e]);
        gate_square += x * x;
        up_square += z * z;
      }
    };
#pragma unroll
    for (int k = 0; k < kHeld; ++k)
      if (p.lane + std::int64_t{k} * group < vectors) add(from[k], by[k]);
    for (std::int64_t v = rest; v < vectors; v += group) add(read<kSize>(gate, v), read<kSize>(up, v));
    const auto width = static_cast<float>(a.d);
    gate_rstd = 1.0f / sqrtf(group_sum(gate_square, group, shared) / width + a.eps);
    up_rstd = 1.0f / sqrtf(group_sum(up_square, group, shared) / width + a.eps);
    if (row < a.n && p.lane == 0) {
      a.rstd[2 * row] = gate_rstd;
      a.rstd[2 * row + 1] = up_rstd;
    }
  }
  const auto output = [&](std::int64_t v, const Pack<T, kSize>& first, const Pack<T, kSize>& second) {
    const Pack<float, kSize> gamma = read_scale<kSize>(kNorm ? a.gamma : nullptr, v);
    float out[kSize];
    for (int e = 0; e < kSize; ++e) {
      const float u = load(first.value[e]) * gate_rstd * gamma.value[e];
      out[e] = u * sigmoid<T>(u) * (load(second.value[e]) * up_rstd);
    }
    write<T, kSize>(y, v, out);
  };
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t v = p.lane + std::int64_t{k} * group;
    if (v < vectors) output(v, from[k], by[k]);
  }
  for (std::int64_t v = rest; v < vectors; v += group) output(v, read<kSize>(gate, v), read<kSize>(up, v));
}

// With n = gate·rstd₀, u = γ ⊙ n, v = up·rstd₁: du = g ⊙ v ⊙ silu'(u), dγ = Σ du ⊙ n; then the gradients of the two
// norms, of γ ⊙ du and of g ⊙ silu(u), as in norm_backward_kernel.
template <class T, bool kNorm, int kSize>
__global__ void __launch_bounds__(kThreads) swiglu_backward_kernel(SwigluBackward a, int group, std::int64_t blocks) {
  constexpr int kHeld = kSwigluHeld<kSize>;
  __shared__ float shared[kThreads / kWarp];
  const Place p = place_of(group);
  const int rows_at_once = kThreads / group;
  const std::int64_t stride = blocks * rows_at_once, block = blockIdx.x;
  const std::int64_t all = a.d / kSize, rest = p.lane + std::int64_t{kHeld} * group;
  const bool with_gamma = kNorm && a.gamma;
  float* part = with_gamma ? a.parts + block * a.d : nullptr;
  float sum[kHeld][kSize] = {};
  if (with_gamma)
    for (std::int64_t v = rest; v < all; v += group)
      for (int e = 0; e < kSize; ++e) part[v * kSize + e] = 0.0f;

  for (std::int64_t first = block * rows_at_once; first < a.n; first += stride) {
    const std::int64_t row = first + p.row, vectors = row < a.n ? all : 0;
    const T* grad = static_cast<const T*>(a.grad.data) + row * a.grad.stride;
    const T* gate = static_cast<const T*>(a.gate.data) + row * a.gate.stride;
    const T* up = static_cast<const T*>(a.up.data) + row * a.up.stride;
    T* dgate = static_cast<T*>(a.dgate) + row * a.d;
    T* dup = static_cast<T*>(a.dup) + row * a.d;
    const float gate_rstd = kNorm && row < a.n ? a.rstd[2 * row] : 1.0f;
    const float up_rstd = kNorm && row < a.n ? a.rstd[2 * row + 1] : 1.0f;
    float gate_dot = 0.0f, up_dot = 0.0f;
    // Gradients before the norms, in place of their vectors; what they add to the sums.
    struct Slopes {
      float gate[kSize], up[kSize], gamma[kSize];
    };
    const auto slopes_of = [&](std::int64_t v, const Pack<T, kSize>& g, const Pack<T, kSize>& x,
                               const Pack<T, kSize>& z) {
      const Pack<float, kSize> scale = read_scale<kSize>(kNorm ? a.gamma : nullptr, v);
      Slopes out;
      for (int e = 0; e < kSize; ++e) {
        const float unit = load(x.value[e]) * gate_rstd, other = load(z.value[e]) * up_rstd;
        const float gamma = scale.value[e], u = unit * gamma, slope = load(g.value[e]);
        const float s = sigmoid<T>(u), silu = u * s, du = slope * other * (s + silu * (1.0f - s));
        out.gamma[e] = du * unit;
        out.gate[e] = du * gamma;
        out.up[e] = slope * silu;
        gate_dot += out.gate[e] * unit;
        up_dot += out.up[e] * other;
      }
      return out;
    };
    const auto output = [&](std::int64_t v, const Slopes& slopes, const Pack<T, kSize>& x, const Pack<T, kSize>& z,
                            float gate_along, float up_along) {
      float dx[kSize], dz[kSize];
      for (int e = 0; e < kSize; ++e) {
        dx[e] = gate_rstd * (slopes.gate[e] - load(x.value[e]) * gate_rstd * gate_along);
        dz[e] = up_rstd * (slopes.up[e] - load(z.value[e]) * up_rstd * up_along);
      }
      write<T, kSize>(dgate, v, dx);
      write<T, kSize>(dup, v, dz);
    };
    Pack<T, kSize> g[kHeld], x[kHeld], z[kHeld];
    Slopes held[kHeld];
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = p.lane + std::int64_t{k} * group;
      if (v >= vectors) continue;
      g[k] = read<kSize>(grad, v);
      x[k] = read<kSize>(gate, v);
      z[k] = read<kSize>(up, v);
    }
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = p.lane + std::int64_t{k} * group;
      if (v >= vectors) continue;
      held[k] = slopes_of(v, g[k], x[k], z[k]);
      for (int e = 0; e < kSize; ++e) sum[k][e] += held[k].gamma[e];
    }
    float gate_along = 0.0f, up_along = 0.0f;
    if constexpr (kNorm) {
      for (std::int64_t v = rest; v < vectors; v += group) {
        const Slopes slopes = slopes_of(v, read<kSize>(grad, v), read<kSize>(gate, v), read<kSize>(up, v));
        if (with_gamma)
          for (int e = 0; e < kSize; ++e) part[v * kSize + e] += slopes.gamma[e];
      }
      gate_along = group_sum(gate_dot, group, shared) / static_cast<float>(a.d);
      up_along = group_sum(up_dot, group, shared) / static_cast<float>(a.d);
    }
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = p.lane + std::int64_t{k} * group;
      if (v < vectors) output(v, held[k], x[k], z[k], gate_along, up_along);
    }
    for (std::int64_t v = rest; v < vectors; v += group) {
      const Pack<T, kSize> one = read<kSize>(gate, v), two = read<kSize>(up, v);
      output(v, slopes_of(v, read<kSize>(grad, v), one, two), one, two, gate_along, up_along);
    }
  }
  if (with_gamma)
    write_part(
        sum, group, all, [](std::int64_t v) { return v * kSize; }, part);
}

template <class Launch>
void launch_swiglu(const SwigluForward& a, const Launch& launch) {
  const auto run = [&](auto size, auto kernel) {
    constexpr int kSize = decltype(size)::value;
    const int group = group_for(a.d / kSize, kSwigluHeld<kSize>, kWarp), rows = kThreads / group;
    launch((a.n + rows - 1) / rows, kernel, a, group);
  };
  const bool fit = a.d % kVector == 0 && vectors_fit(a.gate) && vectors_fit(a.up) && aligned(a.y) && aligned(a.gamma);
  by_type(a.gate.type, [&](auto zero) {
    using T = decltype(zero);
    by_size(fit, [&](auto size) {
      constexpr int kSize = decltype(size)::value;
      if (a.rstd)
        run(size, &swiglu_kernel<T, true, kSize>);
      else
        run(size, &swiglu_kernel<T, false, kSize>);
    });
  });
}

template <class Launch>
void launch_swiglu_backward(const SwigluBackward& a, const Launch& launch) {
  std::int64_t blocks = 0;
  const auto run = [&](auto size, auto kernel) {
    constexpr int kSize = decltype(size)::value;
    const int group = group_for(a.d / kSize, kSwigluHeld<kSize>, kWarp), rows = kThreads / group;
    blocks = (a.n + rows - 1) / rows;
    if (a.gamma && blocks > kMaxParts) blocks = kMaxParts;
    launch(blocks, kernel, a, group, blocks);
  };
  const bool fit = a.d % kVector == 0 && vectors_fit(a.grad) && vectors_fit(a.gate) && vectors_fit(a.up) &&
                   aligned(a.dgate) && aligned(a.dup) && aligned(a.gamma);
  by_type(a.gate.type, [&](auto zero) {
    using T = decltype(zero);
    by_size(fit, [&](auto size) {
      constexpr int kSize = decltype(size)::value;
      if (a.rstd)
        run(size, &swiglu_backward_kernel<T, true, kSize>);
      else
        run(size, &swiglu_backward_kernel<T, false, kSize>);
    });
  });
  if (a.gamma) launch_part_sums({a.parts, blocks, a.d, a.dgamma}, launch);
}

}  // namespace scalevec::models::kernels::cuda
