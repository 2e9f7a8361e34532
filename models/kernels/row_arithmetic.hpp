// Part of row_kernels_isa.cpp, once per instruction set: internal linkage throughout.
#pragma once

#include <cmath>
#include <cstdint>

#include "models/kernels/exponential.hpp"

namespace scalevec::models::kernels {
namespace {

template <class T>
inline __attribute__((always_inline)) T sigmoid(T x) {
  return T(1) / (T(1) + exponential(-x));
}

// Σ f(j) over [0, d), in four independent sums, since a single sum would have to wait for each addition.
template <class T, class F>
inline __attribute__((always_inline)) T sum_of(std::int64_t d, const F& f) {
  const std::int64_t q = d / 4;
  T a = 0, b = 0, c = 0, e = 0;
#pragma omp simd reduction(+ : a, b, c, e)
  for (std::int64_t j = 0; j < q; ++j) {
    a += f(j);
    b += f(j + q);
    c += f(j + 2 * q);
    e += f(j + 3 * q);
  }
  for (std::int64_t j = 4 * q; j < d; ++j) a += f(j);
  return (a + b) + (c + e);
}

template <class T>
inline __attribute__((always_inline)) T inverse_rms(const T* x, T eps, std::int64_t d) {
  return T(1) / std::sqrt(sum_of<T>(d, [=](std::int64_t j) { return x[j] * x[j]; }) / static_cast<T>(d) + eps);
}

}  // namespace
}  // namespace scalevec::models::kernels
