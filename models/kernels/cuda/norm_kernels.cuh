#pragma once

#include "models/kernels/cuda/row_groups.cuh"

namespace scalevec::models::kernels::cuda {

// Vectors of a row that a thread keeps in registers; it reads those beyond them a second time, from the cache.
template <int kSize>
inline constexpr int kNormHeld = 4;
template <>
inline constexpr int kNormHeld<1> = 8;
// Backward a thread keeps two rows, and the sums of γ's gradient.
template <int kSize>
inline constexpr int kNormBackwardHeld = 2;
template <>
inline constexpr int kNormBackwardHeld<1> = 8;

struct None {};  // the type of a tensor that is not there

template <class X, class A, class Y, int kSize>
__global__ void __launch_bounds__(kThreads) norm_kernel(NormForward a, int group) {
  constexpr int kHeld = kNormHeld<kSize>;
  constexpr bool kAdd = !std::is_same_v<A, None>;
  using Added = std::conditional_t<kAdd, A, X>;
  __shared__ float shared[kThreads / kWarp];
  const Place p = place_of(group);
  const std::int64_t row = static_cast<std::int64_t>(blockIdx.x) * (kThreads / group) + p.row;
  const std::int64_t vectors = row < a.n ? a.d / kSize : 0;
  const X* x = static_cast<const X*>(a.x.data) + row * a.x.stride;
  const Added* add = static_cast<const Added*>(a.add.data) + row * a.add.stride;
  X* sum = static_cast<X*>(a.sum.data) + row * a.d;
  Y* y = static_cast<Y*>(a.y.data) + row * a.d;

  const auto value = [&](const Pack<X, kSize>& from, const Pack<Added, kSize>& more, int e) {
    if constexpr (kAdd) return rounded<X>(load(from.value[e]) + load(more.value[e]));
    return load(from.value[e]);
  };
  const auto output = [&](std::int64_t v, const float(&values)[kSize], float scale) {
    const Pack<float, kSize> gamma = read_scale<kSize>(a.gamma, v);
    float out[kSize];
    for (int e = 0; e < kSize; ++e) out[e] = values[e] * scale * gamma.value[e];
    write<Y, kSize>(y, v, out);
  };

  Pack<X, kSize> from[kHeld];
  Pack<Added, kSize> more[kAdd ? kHeld : 1];
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t v = p.lane + std::int64_t{k} * group;
    if (v >= vectors) continue;
    from[k] = read<kSize>(x, v);
    if constexpr (kAdd) more[k] = read<kSize>(add, v);
  }
  float held[kHeld][kSize], square = 0.0f;
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t v = p.lane + std::int64_t{k} * group;
    if (v >= vectors) continue;
    for (int e = 0; e < kSize; ++e) {
      held[k][e] = value(from[k], more[kAdd ? k : 0], e);
      square += held[k][e] * held[k][e];
    }
    if constexpr (kAdd) write<X, kSize>(sum, v, held[k]);
  }
  for (std::int64_t v = p.lane + std::int64_t{kHeld} * group; v < vectors; v += group) {
    const Pack<X, kSize> one = read<kSize>(x, v);
    Pack<Added, kSize> two{};
    if constexpr (kAdd) two = read<kSize>(add, v);
    float values[kSize];
    for (int e = 0; e < kSize; ++e) {
      values[e] = value(one, two, e);
      square += values[e] * values[e];
    }
    if constexpr (kAdd) write<X, kSize>(sum, v, values);
  }
  const float scale = 1.0f / sqrtf(group_sum(square, group, shared) / static_cast<float>(a.d) + a.eps);
  if (row < a.n && p.lane == 0) a.rstd[row] = scale;
#pragma unroll
  for (int k = 0; k < kHeld; ++k) {
    const std::int64_t v = p.lane + std::int64_t{k} * group;
    if (v < vectors) output(v, held[k], scale);
  }
  for (std::int64_t v = p.lane + std::int64_t{kHeld} * group; v < vectors; v += group) {
    const Pack<X, kSize> one = read<kSize>(x, v);
    Pack<Added, kSize> two{};
    if constexpr (kAdd) two = read<kSize>(add, v);
    float values[kSize];
    for (int e = 0; e < kSize; ++e) values[e] = value(one, two, e);
    output(v, values, scale);
  }
}

// With u = x·rstd and t = γ ⊙ grad (grad itself without γ): dx = rstd·(t − u·mean(t ⊙ u)), dγ = Σ grad ⊙ u.
template <class G, class S, class X, bool kGamma, int kSize>
__global__ void __launch_bounds__(kThreads) norm_backward_kernel(NormBackward a, int group, std::int64_t blocks) {
  constexpr int kHeld = kNormBackwardHeld<kSize>;
  __shared__ float shared[kThreads / kWarp];
  const Place p = place_of(group);
  const int rows_at_once = kThreads / group;
  const std::int64_t stride = blocks * rows_at_once, block = blockIdx.x;
  const std::int64_t all = a.d / kSize, rest = p.lane + std::int64_t{kHeld} * group;
  float* part = kGamma ? a.parts + block * a.d : nullptr;
  float sum[kHeld][kSize] = {};
  if constexpr (kGamma) {
    // Only a group that is a whole block has columns beyond those it holds.
    for (std::int64_t v = rest; v < all; v += group)
      for (int e = 0; e < kSize; ++e) part[v * kSize + e] = 0.0f;
  }

  for (std::int64_t first = block * rows_at_once; first < a.n; first += stride) {
    const std::int64_t row = first + p.row, vectors = row < a.n ? all : 0;
    const G* grad = static_cast<const G*>(a.grad.data) + row * a.grad.stride;
    const S* saved = static_cast<const S*>(a.saved.data) + row * a.saved.stride;
    const X* more = static_cast<const X*>(a.more.data) + row * a.more.stride;
    X* dx = static_cast<X*>(a.dx.data) + row * a.d;
    const float rstd = row < a.n ? a.rstd[row] : 0.0f;
    Pack<G, kSize> g[kHeld];
    Pack<S, kSize> s[kHeld];
    float dot = 0.0f;
    const auto unit = [&](S x) { return kGamma ? load(x) * rstd : load(x); };
    const auto scale_at = [&](std::int64_t v) { return read_scale<kSize>(kGamma ? a.gamma : nullptr, v); };
    const auto output = [&](std::int64_t v, const Pack<G, kSize>& from, const Pack<S, kSize>& at, float along) {
      const Pack<float, kSize> gamma = scale_at(v);
      float out[kSize];
      for (int e = 0; e < kSize; ++e)
        out[e] = rstd * (load(from.value[e]) * gamma.value[e] - unit(at.value[e]) * along);
      if (a.more.data) {
        const Pack<X, kSize> other = read<kSize>(more, v);
        for (int e = 0; e < kSize; ++e) out[e] += load(other.value[e]);
      }
      write<X, kSize>(dx, v, out);
      if (a.rounded) write<Bf16, kSize>(a.rounded + row * a.d, v, out);
    };
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = p.lane + std::int64_t{k} * group;
      if (v >= vectors) continue;
      g[k] = read<kSize>(grad, v);
      s[k] = read<kSize>(saved, v);
    }
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = p.lane + std::int64_t{k} * group;
      if (v >= vectors) continue;
      const Pack<float, kSize> gamma = scale_at(v);
      for (int e = 0; e < kSize; ++e) {
        const float u = unit(s[k].value[e]);
        dot += load(g[k].value[e]) * gamma.value[e] * u;
        if constexpr (kGamma) sum[k][e] += load(g[k].value[e]) * u;
      }
    }
    for (std::int64_t v = rest; v < vectors; v += group) {
      const Pack<G, kSize> one = read<kSize>(grad, v);
      const Pack<S, kSize> two = read<kSize>(saved, v);
      const Pack<float, kSize> gamma = scale_at(v);
      for (int e = 0; e < kSize; ++e) {
        const float u = unit(two.value[e]);
        dot += load(one.value[e]) * gamma.value[e] * u;
        if constexpr (kGamma) part[v * kSize + e] += load(one.value[e]) * u;
      }
    }
    const float along = group_sum(dot, group, shared) / static_cast<float>(a.d);
#pragma unroll
    for (int k = 0; k < kHeld; ++k) {
      const std::int64_t v = p.lane + std::int64_t{k} * group;
      if (v < vectors) output(v, g[k], s[k], along);
    }
    for (std::int64_t v = rest; v < vectors; v += group) output(v, read<kSize>(grad, v), read<kSize>(saved, v), along);
  }
  if constexpr (kGamma)
    write_part(
        sum, group, all, [](std::int64_t v) { return v * kSize; }, part);
}

// One block: γ = m·α·rstd.
__global__ void __launch_bounds__(kThreads) radial_kernel(RadialForward a) {
  __shared__ float shared[kThreads / kWarp];
  float square = 0.0f;
  for (std::int64_t j = threadIdx.x; j < a.d; j += kThreads) square += a.alpha[j] * a.alpha[j];
  const float rstd = 1.0f / sqrtf(group_sum(square, kThreads, shared) / static_cast<float>(a.d));
  const float m = a.exponential ? expf(*a.magnitude) : *a.magnitude;
  for (std::int64_t j = threadIdx.x; j < a.d; j += kThreads) a.gamma[j] = a.alpha[j] * rstd * m;
}

// One block. With u = α·rstd: dα = m·rstd·(g − u·mean(g ⊙ u)), ∂L/∂m = Σ g ⊙ u.
__global__ void __launch_bounds__(kThreads) radial_backward_kernel(RadialBackward a) {
  __shared__ float shared[kThreads / kWarp];
  float square = 0.0f, dot = 0.0f;
  for (std::int64_t j = threadIdx.x; j < a.d; j += kThreads) square += a.alpha[j] * a.alpha[j];
  const float rstd = 1.0f / sqrtf(group_sum(square, kThreads, shared) / static_cast<float>(a.d));
  for (std::int64_t j = threadIdx.x; j < a.d; j += kThreads) dot += a.grad[j] * (a.alpha[j] * rstd);
  dot = group_sum(dot, kThreads, shared);
  const float m = a.exponential ? expf(*a.magnitude) : *a.magnitude, along = dot / static_cast<float>(a.d);
  for (std::int64_t j = threadIdx.x; j < a.d; j += kThreads)
    a.dalpha[j] = m * rstd * (a.grad[j] - a.alpha[j] * rstd * along);
  if (threadIdx.x == 0) *a.dmagnitude = a.exponential ? dot * m : dot;
}

template <class X, class A, class Y, class Launch>
void launch_norm_of(const NormForward& a, const Launch& launch) {
  const bool fit = a.d % kVector == 0 && vectors_fit(a.x) && vectors_fit(a.add) && aligned(a.sum.data) &&
                   aligned(a.y.data) && aligned(a.gamma);
  by_size(fit, [&](auto size) {
    constexpr int kSize = decltype(size)::value;
    const int group = group_for(a.d / kSize, kNormHeld<kSize>, kWarp), rows = kThreads / group;
    launch((a.n + rows - 1) / rows, &norm_kernel<X, A, Y, kSize>, a, group);
  });
}

// Of a sum in bfloat16, y is in bfloat16 too, and of x in float32 plus a bfloat16 number the sum is in float32.
template <class Launch>
void launch_norm(const NormForward& a, const Launch& launch) {
  by_type(a.y.type, [&](auto y) {
    using Y = decltype(y);
    if (!a.add.data)
      by_type(a.x.type, [&](auto x) { launch_norm_of<decltype(x), None, Y>(a, launch); });
    else if (a.x.type == Type::float32)
      by_type(a.add.type, [&](auto add) { launch_norm_of<float, decltype(add), Y>(a, launch); });
    else if constexpr (std::is_same_v<Y, Bf16>)
      launch_norm_of<Bf16, Bf16, Bf16>(a, launch);
  });
}

template <class G, class S, class X, bool kGamma, class Launch>
void launch_norm_backward_of(const NormBackward& a, const Launch& launch) {
  const bool fit = a.d % kVector == 0 && vectors_fit(a.grad) && vectors_fit(a.saved) && vectors_fit(a.more) &&
                   aligned(a.dx.data) && aligned(a.rounded) && aligned(a.gamma);
  std::int64_t blocks = 0;
  by_size(fit, [&](auto size) {
    constexpr int kSize = decltype(size)::value;
    const int group = group_for(a.d / kSize, kNormBackwardHeld<kSize>, kWarp), rows = kThreads / group;
    blocks = (a.n + rows - 1) / rows;
    if (kGamma && blocks > kMaxParts) blocks = kMaxParts;
    launch(blocks, &norm_backward_kernel<G, S, X, kGamma, kSize>, a, group, blocks);
  });
  if (kGamma) launch_part_sums({a.parts, blocks, a.d, a.dgamma}, launch);
}

template <class Launch>
void launch_norm_backward(const NormBackward& a, const Launch& launch) {
  // grad has y's type; `saved` has x's with γ, else y's.
  by_type(a.grad.type, [&](auto grad) {
    by_type(a.dx.type, [&](auto dx) {
      using G = decltype(grad);
      using X = decltype(dx);
      if (a.gamma)
        launch_norm_backward_of<G, X, X, true>(a, launch);
      else
        launch_norm_backward_of<G, G, X, false>(a, launch);
    });
  });
}

template <class Launch>
void launch_radial(const RadialForward& a, const Launch& launch) {
  launch(1, &radial_kernel, a);
}
template <class Launch>
void launch_radial_backward(const RadialBackward& a, const Launch& launch) {
  launch(1, &radial_backward_kernel, a);
}

}  // namespace scalevec::models::kernels::cuda
