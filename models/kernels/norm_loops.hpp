// Part of row_kernels_isa.cpp, once per instruction set: internal linkage throughout.
#pragma once

#include <cstdint>

#include "models/kernels/row_arithmetic.hpp"
#include "models/kernels/row_kernels.hpp"

namespace scalevec::models::kernels {
namespace {

// `y` may be x's own memory.
template <class T>
void norm(Rows<const T> x, const T* __restrict__ gamma, T eps, T* y, T* rstd, std::int64_t d, std::int64_t begin,
          std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* from = x[r];
    T* to = y + r * d;
    const T scale = rstd[r] = inverse_rms(from, eps, d);
    if (gamma) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * scale * gamma[j];
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * scale;
    }
  }
}

template <class T>
void add_norm(Rows<const T> x, Rows<const T> add, const T* __restrict__ gamma, T eps, T* sum, T* y, T* rstd,
              std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ a = x[r];
    const T* __restrict__ b = add[r];
    T* __restrict__ to = sum + r * d;
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) to[j] = a[j] + b[j];
    norm<T>({sum, 1, d, 0}, gamma, eps, y, rstd, d, r, r + 1);
  }
}

template <class T>
void norm_backward(Rows<const T> grad, Rows<const T> x, const T* __restrict__ gamma, const T* rstd, Rows<const T> more,
                   T* dx, T* __restrict__ dgamma, std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ g = grad[r];
    const T* __restrict__ from = x[r];
    T* __restrict__ to = dx + r * d;
    const T scale = rstd[r];
    const T dot = sum_of<T>(d, [=](std::int64_t j) { return g[j] * gamma[j] * from[j]; });
    const T along = dot * scale * scale * scale / static_cast<T>(d);
    if (more.data) {
      const T* __restrict__ other = more[r];
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) {
        to[j] = other[j] + (g[j] * gamma[j] * scale - from[j] * along);
        dgamma[j] += g[j] * from[j] * scale;
      }
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) {
        to[j] = g[j] * gamma[j] * scale - from[j] * along;
        dgamma[j] += g[j] * from[j] * scale;
      }
    }
  }
}

template <class T>
void unscaled_norm_backward(Rows<const T> grad, const T* y, const T* rstd, Rows<const T> more, T* dx, std::int64_t d,
                            std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ g = grad[r];
    const T* __restrict__ unit = y + r * d;
    T* __restrict__ to = dx + r * d;
    const T dot = sum_of<T>(d, [=](std::int64_t j) { return g[j] * unit[j]; });
    const T along = dot / static_cast<T>(d), scale = rstd[r];
    if (more.data) {
      const T* __restrict__ other = more[r];
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = other[j] + scale * (g[j] - unit[j] * along);
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = scale * (g[j] - unit[j] * along);
    }
  }
}

}  // namespace
}  // namespace scalevec::models::kernels
