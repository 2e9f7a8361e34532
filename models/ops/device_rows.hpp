#pragma once

#include <torch/types.h>

#include <algorithm>

#include "models/kernels/cuda/row_launches.hpp"
#include "models/ops/kernel_rows.hpp"

// Tensors as the kernels on a device take them. Not installed.
namespace scalevec::models::ops::device {

namespace cuda = kernels::cuda;

inline cuda::Type type_of(const torch::Tensor& x) {
  return x.scalar_type() == torch::kBFloat16 ? cuda::Type::bfloat16 : cuda::Type::float32;
}

// x itself if its rows are equally far apart, else a contiguous copy.
inline torch::Tensor with_equal_rows(const torch::Tensor& x) {
  if (x.is_contiguous() || x.dim() < 2) return x.contiguous();
  bool fits = x.stride(-1) == 1;
  for (std::int64_t i = 0; i + 2 < x.dim(); ++i) fits = fits && x.stride(i) == x.stride(i + 1) * x.size(i + 1);
  return fits ? x : x.contiguous();
}

inline cuda::RowsIn rows_in(const torch::Tensor& x) {
  if (!x.defined()) return {};
  return {x.const_data_ptr(), type_of(x), x.is_contiguous() || x.dim() < 2 ? x.size(-1) : x.stride(-2)};
}

inline cuda::RowsOut rows_out(torch::Tensor& x) {
  return x.defined() ? cuda::RowsOut{x.data_ptr(), type_of(x)} : cuda::RowsOut{};
}

// A scale vector in float32.
inline torch::Tensor scale_of(const Maybe& gamma) {
  return gamma ? gamma->to(torch::kFloat32).contiguous() : torch::Tensor();
}

// The type that its gradient is given in.
inline std::int64_t type_or_float(const Maybe& gamma) {
  return static_cast<std::int64_t>(gamma ? gamma->scalar_type() : torch::kFloat32);
}

inline float* floats(torch::Tensor& x) { return x.defined() ? x.data_ptr<float>() : nullptr; }

// Scratch for the partial sums over n rows.
inline torch::Tensor scratch(const torch::Tensor& like, std::int64_t n, std::int64_t d) {
  return at::empty({std::min(n, cuda::kMaxParts), d}, like.options().dtype(torch::kFloat32));
}

}  // namespace scalevec::models::ops::device
