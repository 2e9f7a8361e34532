// Part of row_kernels_isa.cpp, once per instruction set: internal linkage throughout.
#pragma once

#include <cstdint>

namespace scalevec::models::kernels {
namespace {

template <class T>
void scale_matrix(const T* w, const T* row, const T* __restrict__ column, T* out, std::int64_t d, std::int64_t begin,
                  std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    const T* __restrict__ from = w + i * d;
    T* __restrict__ to = out + i * d;
    const T scale = row ? row[i] : T(1);
    if (column) {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * scale * column[j];
    } else {
#pragma omp simd
      for (std::int64_t j = 0; j < d; ++j) to[j] = from[j] * scale;
    }
  }
}

template <class T>
void scale_matrix_backward(T* g, const T* w, const T* row, const T* __restrict__ column, T* drow,
                           T* __restrict__ dcolumn, std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    T* __restrict__ grad = g + i * d;
    const T* __restrict__ from = w + i * d;
    const T scale = row ? row[i] : T(1);
    T sum = 0;
    if (column && dcolumn) {
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < d; ++j) {
        const T product = from[j] * grad[j];
        sum += product * column[j];
        dcolumn[j] += product * scale;
        grad[j] *= scale * column[j];
      }
    } else if (column) {
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < d; ++j) {
        sum += from[j] * grad[j] * column[j];
        grad[j] *= scale * column[j];
      }
    } else {
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = 0; j < d; ++j) {
        sum += from[j] * grad[j];
        grad[j] *= scale;
      }
    }
    if (drow) drow[i] = sum;
  }
}

template <class T>
inline __attribute__((always_inline)) double square(T x) {
  return static_cast<double>(x) * static_cast<double>(x);
}

// Four rows at a time, so that the columns' sums are read and written a quarter as often.
template <class T>
void column_squares(const T* w, double* __restrict__ columns, std::int64_t d, std::int64_t begin, std::int64_t end) {
  std::int64_t i = begin;
  for (; i + 4 <= end; i += 4) {
    const T *a = w + i * d, *b = a + d, *c = b + d, *e = c + d;
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) columns[j] += (square(a[j]) + square(b[j])) + (square(c[j]) + square(e[j]));
  }
  for (; i < end; ++i) {
    const T* a = w + i * d;
#pragma omp simd
    for (std::int64_t j = 0; j < d; ++j) columns[j] += square(a[j]);
  }
}

template <class T>
void row_squares(const T* w, double* rows, std::int64_t d, std::int64_t begin, std::int64_t end) {
  for (std::int64_t i = begin; i < end; ++i) {
    const T* __restrict__ from = w + i * d;
    double sum = 0.0;
#pragma omp simd reduction(+ : sum)
    for (std::int64_t j = 0; j < d; ++j) sum += square(from[j]);
    rows[i - begin] = sum;
  }
}

}  // namespace
}  // namespace scalevec::models::kernels
