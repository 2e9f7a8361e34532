// Part of row_kernels_isa.cpp, once per instruction set: internal linkage throughout.
#pragma once

#include <cmath>
#include <cstdint>

#include "models/kernels/exponential.hpp"

namespace scalevec::models::kernels {
namespace {

template <class T>
void cross_entropy(const T* logits, const std::int64_t* target, T* lse, T* loss, std::int64_t d, std::int64_t begin,
                   std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ x = logits + r * d;
    T top = x[0];
#pragma omp simd reduction(max : top)
    for (std::int64_t j = 0; j < d; ++j) top = top > x[j] ? top : x[j];
    T sum = 0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < d; ++j) sum += exponential(x[j] - top);
    lse[r] = top + std::log(sum);
    loss[r] = lse[r] - x[target[r]];
  }
}

template <class T>
void cross_entropy_backward(const T* logits, const std::int64_t* target, const T* lse, T scale, T* dlogits,
                            std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t r = begin; r < end; ++r) {
    const T* __restrict__ x = logits + r * d;
    T* __restrict__ to = dlogits + r * d;
    const T shift = lse[r];
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) to[j] = scale * exponential(x[j] - shift);
    to[target[r]] -= scale;
  }
}

}  // namespace
}  // namespace scalevec::models::kernels
