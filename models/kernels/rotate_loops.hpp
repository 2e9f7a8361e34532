// Part of row_kernels_isa.cpp, once per instruction set: internal linkage throughout.
#pragma once

#include <cstdint>

#include "models/kernels/row_arithmetic.hpp"
#include "models/kernels/row_kernels.hpp"

namespace scalevec::models::kernels {
namespace {

template <class T>
void rotate(Rows<const T> x, const T* cos, const T* sin, T sign, T* y, std::int64_t length, std::int64_t heads,
            std::int64_t d, std::int64_t begin, std::int64_t end) {
  const std::int64_t half = d / 2;
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ from = x[r];
    const std::int64_t position = (r / heads) % length;
    const T* __restrict__ c = cos + position * half;
    const T* __restrict__ s = sin + position * half;
    T* __restrict__ to = y + r * d;
#pragma omp simd
    for (std::int64_t i = 0; i < half; ++i) {
      const T a = from[i], b = from[i + half], t = sign * s[i];
      to[i] = a * c[i] - b * t;
      to[i + half] = b * c[i] + a * t;
    }
  }
}

// A row is a group of heads that are normalised together.
template <class T>
void norm_rotate(const T* x, const T* __restrict__ gamma, const T* cos, const T* sin, T eps, T* y, T* rstd,
                 std::int64_t length, std::int64_t rows_per_token, std::int64_t heads, std::int64_t d,
                 std::int64_t begin, std::int64_t end) {
  const std::int64_t half = d / 2, width = heads * d;
  for (std::int64_t r = begin; r < end; ++r) {
    const std::int64_t position = (r / rows_per_token) % length;
    const T* __restrict__ c = cos + position * half;
    const T* __restrict__ s = sin + position * half;
    const T scale = rstd[r] = inverse_rms(x + r * width, eps, width);
    for (std::int64_t h = 0; h < heads; ++h) {
      const T* __restrict__ from = x + r * width + h * d;
      T* __restrict__ to = y + r * width + h * d;
      if (gamma) {
        const T* __restrict__ by = gamma + h * d;
#pragma omp simd
        for (std::int64_t i = 0; i < half; ++i) {
          const T a = from[i] * scale * by[i], b = from[i + half] * scale * by[i + half];
          to[i] = a * c[i] - b * s[i];
          to[i + half] = b * c[i] + a * s[i];
        }
      } else {
#pragma omp simd
        for (std::int64_t i = 0; i < half; ++i) {
          const T a = from[i] * scale, b = from[i + half] * scale;
          to[i] = a * c[i] - b * s[i];
          to[i + half] = b * c[i] + a * s[i];
        }
      }
    }
  }
}

template <class T>
void norm_rotate_backward(Rows<const T> grad, const T* x, const T* __restrict__ gamma, const T* rstd, const T* cos,
                          const T* sin, T* dx, T* __restrict__ dgamma, std::int64_t length, std::int64_t rows_per_token,
                          std::int64_t heads, std::int64_t d, std::int64_t begin, std::int64_t end) {
  const std::int64_t half = d / 2, width = heads * d;
  for (std::int64_t r = begin; r < end; ++r) {
    const std::int64_t position = (r / rows_per_token) % length;
    const T* __restrict__ c = cos + position * half;
    const T* __restrict__ s = sin + position * half;
    const T* __restrict__ from = x + r * width;
    T* __restrict__ to = dx + r * width;
    const T scale = rstd[r];
    T dot = 0;
    for (std::int64_t h = 0; h < heads; ++h) {
      const T* __restrict__ g = grad[r * heads + h];
      const T* __restrict__ f = from + h * d;
      T* __restrict__ t = to + h * d;
      if (gamma) {
        const T* __restrict__ by = gamma + h * d;
        T* __restrict__ sum = dgamma + h * d;
#pragma omp simd reduction(+ : dot)
        for (std::int64_t i = 0; i < half; ++i) {
          const T a = g[i] * c[i] + g[i + half] * s[i], b = g[i + half] * c[i] - g[i] * s[i];
          sum[i] += a * f[i] * scale;
          sum[i + half] += b * f[i + half] * scale;
          t[i] = a * by[i];
          t[i + half] = b * by[i + half];
          dot += t[i] * f[i] + t[i + half] * f[i + half];
        }
      } else {
#pragma omp simd reduction(+ : dot)
        for (std::int64_t i = 0; i < half; ++i) {
          t[i] = g[i] * c[i] + g[i + half] * s[i];
          t[i + half] = g[i + half] * c[i] - g[i] * s[i];
          dot += t[i] * f[i] + t[i + half] * f[i + half];
        }
      }
    }
    const T along = dot * scale * scale / static_cast<T>(width);
#pragma omp simd
    for (std::int64_t j = 0; j < width; ++j) to[j] = scale * (to[j] - from[j] * along);
  }
}

}  // namespace
}  // namespace scalevec::models::kernels
