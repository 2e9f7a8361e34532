// Part of row_kernels_isa.cpp, once per instruction set: internal linkage throughout.
#pragma once

#include <cstdint>

#include "models/kernels/row_arithmetic.hpp"
#include "models/kernels/row_kernels.hpp"

namespace scalevec::models::kernels {
namespace {

template <class T>
void swiglu(Rows<const T> gate, Rows<const T> up, const T* __restrict__ gamma, T eps, T* y, T* rstd, std::int64_t d,
            std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ a = gate[r];
    const T* __restrict__ b = up[r];
    T* __restrict__ to = y + r * d;
    if (!rstd) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = a[j] * sigmoid(a[j]) * b[j];
      continue;
    }
    const T ra = rstd[2 * r] = inverse_rms(a, eps, d), rb = rstd[2 * r + 1] = inverse_rms(b, eps, d);
    if (gamma) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) {
        const T u = gamma[j] * a[j] * ra;
        to[j] = u * sigmoid(u) * b[j] * rb;
      }
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) {
        const T u = a[j] * ra;
        to[j] = u * sigmoid(u) * b[j] * rb;
      }
    }
  }
}

template <class T>
void swiglu_backward(Rows<const T> grad, Rows<const T> gate, Rows<const T> up, const T* __restrict__ gamma,
                     const T* rstd, T* dgate, T* dup, T* __restrict__ dgamma, std::int64_t d, std::int64_t begin,
                     std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ g = grad[r];
    const T* __restrict__ a = gate[r];
    const T* __restrict__ b = up[r];
    T* __restrict__ da = dgate + r * d;
    T* __restrict__ db = dup + r * d;
    if (!rstd) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) {
        const T s = sigmoid(a[j]), silu = a[j] * s;
        db[j] = g[j] * silu;
        da[j] = g[j] * b[j] * (s + silu * (T(1) - s));
      }
      continue;
    }
    const T ra = rstd[2 * r], rb = rstd[2 * r + 1];
    T dot_a = 0, dot_b = 0;
    if (gamma) {
#pragma omp simd reduction(+ : dot_a, dot_b)
      for (std::int64_t j = 0; j < d; ++j) {
        const T unit = a[j] * ra, other = b[j] * rb, u = gamma[j] * unit;
        const T s = sigmoid(u), silu = u * s;
        const T du = g[j] * other * (s + silu * (T(1) - s));
        dgamma[j] += du * unit;
        da[j] = du * gamma[j];
        db[j] = g[j] * silu;
        dot_a += da[j] * unit;
        dot_b += db[j] * other;
      }
    } else {
#pragma omp simd reduction(+ : dot_a, dot_b)
      for (std::int64_t j = 0; j < d; ++j) {
        const T u = a[j] * ra, other = b[j] * rb;
        const T s = sigmoid(u), silu = u * s;
        da[j] = g[j] * other * (s + silu * (T(1) - s));
        db[j] = g[j] * silu;
        dot_a += da[j] * u;
        dot_b += db[j] * other;
      }
    }
    const T along_a = dot_a * ra / static_cast<T>(d), along_b = dot_b * rb / static_cast<T>(d);
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) {
      da[j] = ra * (da[j] - a[j] * along_a);
      db[j] = rb * (db[j] - b[j] * along_b);
    }
  }
}

}  // namespace
}  // namespace scalevec::models::kernels
