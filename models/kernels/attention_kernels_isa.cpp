// Compiled once per instruction set with SCALEVEC_ISA_TABLE set. Everything but the table has internal linkage: code
// for a newer instruction set must not be picked by the linker for an older machine.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "models/kernels/attention_kernels.hpp"
#include "models/kernels/exponential.hpp"

#define SCALEVEC_JOIN_(a, b) a##b
#define SCALEVEC_JOIN(a, b) SCALEVEC_JOIN_(a, b)

namespace scalevec::models::kernels {
namespace {

#if defined(__AVX512F__)
constexpr std::int64_t kVectorBytes = 64;
constexpr int kTileRows = 8;
#elif defined(__AVX2__)
constexpr std::int64_t kVectorBytes = 32;
constexpr int kTileRows = 4;
#else
constexpr std::int64_t kVectorBytes = 16;
constexpr int kTileRows = 4;
#endif

template <class T>
struct VectorOf {
  typedef T type __attribute__((vector_size(kVectorBytes), aligned(alignof(T)), may_alias));
};
template <class T>
using Vector = typename VectorOf<T>::type;
template <class T>
constexpr std::int64_t kLanes = kVectorBytes / static_cast<std::int64_t>(sizeof(T));

// Columns of scores and of the transposed keys are padded to this.
constexpr std::int64_t kPad = 32;
constexpr std::int64_t padded(std::int64_t n) { return (n + kPad - 1) / kPad * kPad; }

// A(m, k) = a[m·row + k·column]: a matrix or its transpose.
template <class T>
struct Factor {
  const T* data;
  std::int64_t row, column;
};

// C[kRows, kColumns vectors] = or += A B over `depth`, held in registers.
template <int kRows, int kColumns, bool kAdd, class T>
inline __attribute__((always_inline)) void tile(std::int64_t depth, Factor<T> a, const T* b, std::int64_t ldb, T* c,
                                                std::int64_t ldc) {
  Vector<T> sum[kRows][kColumns] = {};
  for (std::int64_t k = 0; k < depth; ++k) {
    Vector<T> right[kColumns];
#pragma GCC unroll 8
    for (int n = 0; n < kColumns; ++n) right[n] = *reinterpret_cast<const Vector<T>*>(b + k * ldb + n * kLanes<T>);
#pragma GCC unroll 8
    for (int m = 0; m < kRows; ++m) {
      const T left = a.data[m * a.row + k * a.column];
#pragma GCC unroll 8
      for (int n = 0; n < kColumns; ++n) sum[m][n] += left * right[n];
    }
  }
#pragma GCC unroll 8
  for (int m = 0; m < kRows; ++m)
#pragma GCC unroll 8
    for (int n = 0; n < kColumns; ++n) {
      auto* to = reinterpret_cast<Vector<T>*>(c + m * ldc + n * kLanes<T>);
      *to = kAdd ? *to + sum[m][n] : sum[m][n];
    }
}

template <int kRows, bool kAdd, class T>
void row_panel(std::int64_t depth, Factor<T> a, const T* b, std::int64_t ldb, T* c, std::int64_t ldc,
               std::int64_t columns) {
  std::int64_t n = 0;
  for (; n + 2 * kLanes<T> <= columns; n += 2 * kLanes<T>) tile<kRows, 2, kAdd>(depth, a, b + n, ldb, c + n, ldc);
  for (; n < columns; n += kLanes<T>) tile<kRows, 1, kAdd>(depth, a, b + n, ldb, c + n, ldc);
}

// C [rows, columns] = or += A [rows, depth] B [depth, columns]; columns a multiple of 16.
template <bool kAdd, class T>
void product(std::int64_t rows, std::int64_t columns, std::int64_t depth, Factor<T> a, const T* b, std::int64_t ldb,
             T* c, std::int64_t ldc) {
  std::int64_t m = 0;
  for (; m + kTileRows <= rows; m += kTileRows)
    row_panel<kTileRows, kAdd>(depth, {a.data + m * a.row, a.row, a.column}, b, ldb, c + m * ldc, ldc, columns);
  for (; m < rows; ++m)
    row_panel<1, kAdd>(depth, {a.data + m * a.row, a.row, a.column}, b, ldb, c + m * ldc, ldc, columns);
}

// to [dim, width] = rows^T, with zeros behind the last position.
template <class T>
void transpose(HeadRows<const T> rows, std::int64_t length, std::int64_t dim, T* to, std::int64_t width) {
  for (std::int64_t j = 0; j < length; j += 16)
    for (std::int64_t d = 0; d < dim; ++d)
      for (std::int64_t i = j; i < std::min(length, j + 16); ++i) to[d * width + i] = rows[i][d];
  for (std::int64_t d = 0; d < dim; ++d) std::fill(to + d * width + length, to + (d + 1) * width, T(0));
}

// Queries of a block: its scores stay in the second-level cache.
std::int64_t block_rows(std::int64_t length) { return length <= 1024 ? 64 : 32; }

// First position that the block's queries see, a multiple of kPad.
template <class T>
std::int64_t first_key(const AttentionHead<T>& head, std::int64_t first_row) {
  return head.window > 0 ? std::max<std::int64_t>(0, first_row - head.window + 1) / kPad * kPad : 0;
}

// First position that query i sees.
template <class T>
std::int64_t first_visible(const AttentionHead<T>& head, std::int64_t i) {
  return head.window > 0 ? std::max<std::int64_t>(0, i - head.window + 1) : 0;
}

template <class T>
std::int64_t scratch_size(std::int64_t length, std::int64_t dim) {
  return 2 * padded(length) * (dim + block_rows(length)) + block_rows(length);
}

template <class T>
void forward(const AttentionHead<T>& head, HeadRows<T> out, T* lse, T* max_logit, T* scratch) {
  const std::int64_t length = head.length, dim = head.dim, width = padded(length), block = block_rows(length);
  T* keys = scratch;
  T* scores = keys + width * dim;
  T most = -std::numeric_limits<T>::infinity();
  transpose(head.k, length, dim, keys, width);
  for (std::int64_t begin = 0; begin < length; begin += block) {
    const std::int64_t end = std::min(length, begin + block), from = first_key(head, begin), to = padded(end);
    product<false, T>(end - begin, to - from, dim, {head.q[begin], head.q.stride, 1}, keys + from, width, scores,
                      width);
    T inverse[64];
    for (std::int64_t i = begin; i < end; ++i) {
      T* __restrict__ s = scores + (i - begin) * width;
      const std::int64_t low = first_visible(head, i) - from, high = i + 1 - from;
      T top = s[low];
#pragma omp simd reduction(max : top)
      for (std::int64_t j = low; j < high; ++j) top = top > s[j] ? top : s[j];
      T sum = 0;
      const T scale = head.scale;
#pragma omp simd reduction(+ : sum)
      for (std::int64_t j = low; j < high; ++j) {
        s[j] = exponential((s[j] - top) * scale);
        sum += s[j];
      }
      std::fill(s, s + low, T(0));
      std::fill(s + high, s + (to - from), T(0));
      inverse[i - begin] = T(1) / sum;
      lse[i] = top * scale + std::log(sum);
      most = std::max(most, top * scale);
    }
    product<false, T>(end - begin, dim, end - from, {scores, width, 1}, head.v[from], head.v.stride, out[begin],
                      out.stride);
    for (std::int64_t i = begin; i < end; ++i) {
      T* __restrict__ y = out[i];
      const T scale = inverse[i - begin];
#pragma omp simd
      for (std::int64_t d = 0; d < dim; ++d) y[d] *= scale;
    }
  }
  if (max_logit) *max_logit = most;
}

template <class T>
void backward(const AttentionHead<T>& head, HeadRows<const T> out, HeadRows<const T> grad, const T* lse, HeadRows<T> dq,
              HeadRows<T> dk, HeadRows<T> dv, T* scratch) {
  const std::int64_t length = head.length, dim = head.dim, width = padded(length), block = block_rows(length);
  T* keys = scratch;
  T* values = keys + width * dim;
  T* p = values + width * dim;
  T* ds = p + width * block;
  transpose(head.k, length, dim, keys, width);
  transpose(head.v, length, dim, values, width);
  for (std::int64_t begin = 0; begin < length; begin += block) {
    const std::int64_t end = std::min(length, begin + block), from = first_key(head, begin), to = padded(end);
    const std::int64_t rows = end - begin, seen = end - from;
    product<false, T>(rows, to - from, dim, {head.q[begin], head.q.stride, 1}, keys + from, width, p, width);
    product<false, T>(rows, to - from, dim, {grad[begin], grad.stride, 1}, values + from, width, ds, width);
    for (std::int64_t i = begin; i < end; ++i) {
      const T* __restrict__ y = out[i];
      const T* __restrict__ g = grad[i];
      T along = 0;
#pragma omp simd reduction(+ : along)
      for (std::int64_t d = 0; d < dim; ++d) along += y[d] * g[d];
      T* __restrict__ weight = p + (i - begin) * width;
      T* __restrict__ slope = ds + (i - begin) * width;
      const std::int64_t low = first_visible(head, i) - from, high = i + 1 - from;
      const T scale = head.scale, shift = lse[i];
#pragma omp simd
      for (std::int64_t j = low; j < high; ++j) {
        weight[j] = exponential(weight[j] * scale - shift);
        slope[j] = weight[j] * (slope[j] - along) * scale;
      }
      for (T* row : {weight, slope}) {
        std::fill(row, row + low, T(0));
        std::fill(row + high, row + seen, T(0));
      }
    }
    product<false, T>(rows, dim, seen, {ds, width, 1}, head.k[from], head.k.stride, dq[begin], dq.stride);
    product<true, T>(seen, dim, rows, {ds, 1, width}, head.q[begin], head.q.stride, dk[from], dk.stride);
    product<true, T>(seen, dim, rows, {p, 1, width}, grad[begin], grad.stride, dv[from], dv.stride);
  }
}

template <class T>
constexpr AttentionKernels<T> kernels_of() {
  return {scratch_size<T>, forward<T>, backward<T>};
}

}  // namespace

extern const AttentionTable SCALEVEC_JOIN(attention_, SCALEVEC_ISA_TABLE);
const AttentionTable SCALEVEC_JOIN(attention_, SCALEVEC_ISA_TABLE){kernels_of<float>(), kernels_of<double>()};

}  // namespace scalevec::models::kernels
