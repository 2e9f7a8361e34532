#pragma once

#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <optional>

#include "models/kernels/row_kernels.hpp"
#include "models/ops/dispatch.hpp"
#include "optim/parallel/parallel.hpp"

// Shared by the sources of the fused operators: tensors as rows for the kernels, and loops over rows on several
// threads. Not installed.
namespace scalevec::models::ops {

using kernels::row_kernels;
using kernels::Rows;

// Rows per unit of work. Fixed, so that sums over rows do not depend on the number of threads.
constexpr std::int64_t kRows = 64;

inline std::int64_t row_count(const torch::Tensor& x) { return x.size(-1) == 0 ? 0 : x.numel() / x.size(-1); }
inline std::int64_t chunk_count(std::int64_t rows) { return (rows + kRows - 1) / kRows; }

// The rows that norm_rotate() normalises in x [B, T, H, d]: one head each with `per_head`, else all H heads of a token.
struct NormRows {
  std::int64_t length, rows_per_token, together, d, rows;
  NormRows(const torch::Tensor& x, bool per_head)
      : length(x.size(1)),
        rows_per_token(per_head ? x.size(2) : 1),
        together(per_head ? 1 : x.size(2)),
        d(x.size(3)),
        rows(x.size(0) * x.size(1) * rows_per_token) {}
};

// An autograd function does not accept an undefined tensor as an argument.
using Maybe = std::optional<torch::Tensor>;
inline Maybe maybe(const torch::Tensor& t) { return t.defined() ? Maybe(t) : std::nullopt; }
inline torch::Tensor or_undefined(const Maybe& t) { return t ? *t : torch::Tensor(); }

// Calls body(chunk, first row, end row) for all chunks of `rows` rows, on several threads.
template <class Body>
void over_rows(std::int64_t rows, const Body& body) {
  parallel_for(chunk_count(rows), [&](std::int64_t c) { body(c, c * kRows, std::min(rows, (c + 1) * kRows)); });
}

// x itself if its rows can be described by Rows, else a contiguous copy.
inline torch::Tensor with_row_strides(const torch::Tensor& x) {
  if (x.is_contiguous() || x.dim() < 2) return x.contiguous();
  bool fits = x.stride(-1) == 1;
  for (std::int64_t i = 0; i + 3 < x.dim(); ++i) fits = fits && x.stride(i) == x.stride(i + 1) * x.size(i + 1);
  return fits ? x : x.contiguous();
}

template <class T>
Rows<const T> rows_of(const torch::Tensor& x) {
  if (!x.defined()) return {};
  const std::int64_t d = x.size(-1);
  if (x.is_contiguous() || x.dim() < 2) return {x.const_data_ptr<T>(), 1, d, 0};
  if (x.dim() == 2) return {x.const_data_ptr<T>(), 1, x.stride(0), 0};
  return {x.const_data_ptr<T>(), x.size(-2), x.stride(-3), x.stride(-2)};
}

template <class T>
const T* data_or_null(const torch::Tensor& t) {
  return t.defined() ? t.const_data_ptr<T>() : nullptr;
}

// The sum of parts [count, d] over the first dimension, in order and in double precision: [d].
template <class T>
torch::Tensor sum_of_parts(const torch::Tensor& parts) {
  constexpr std::int64_t kColumns = 1024;
  const std::int64_t count = parts.size(0), d = parts.size(1);
  torch::Tensor out = at::empty({d}, parts.options());
  const T* from = parts.const_data_ptr<T>();
  T* to = out.data_ptr<T>();
  parallel_for((d + kColumns - 1) / kColumns, [&](std::int64_t block) {
    for (std::int64_t j = block * kColumns; j < std::min(d, (block + 1) * kColumns); ++j) {
      double sum = 0.0;
      for (std::int64_t c = 0; c < count; ++c) sum += static_cast<double>(from[c * d + j]);
      to[j] = static_cast<T>(sum);
    }
  });
  return out;
}

inline bool is_reduced(torch::ScalarType type) { return type == torch::kBFloat16 || type == torch::kHalf; }

// x in the type that the elementwise kernels compute in: float32 for activations in bfloat16 or float16.
inline torch::Tensor unrounded(const torch::Tensor& x) {
  return x.defined() && is_reduced(x.scalar_type()) ? x.to(torch::kFloat32) : x;
}

}  // namespace scalevec::models::ops
