#pragma once

#include <cstdint>

#include "optim/kernels/element_types.hpp"

struct CUstream_st;

// The fused operators (models/ops) as CUDA kernels. No LibTorch and no CUDA header: raw addresses of device memory and
// a stream. A launch enqueues and waits for nothing. Every sum has a fixed order that depends on the shape alone, so
// the bits are the same in each call and on each GPU; there are no atomics. Without CUDA, row_launches() is null.
namespace scalevec::models::kernels::cuda {

using scalevec::kernels::Bf16;
using Stream = CUstream_st*;  // cudaStream_t

enum class Type : std::uint8_t { float32, bfloat16 };

// Rows that are `stride` elements apart; the elements of a row are contiguous.
struct RowsIn {
  const void* data = nullptr;
  Type type = Type::float32;
  std::int64_t stride = 0;
};

// Contiguous rows.
struct RowsOut {
  void* data = nullptr;
  Type type = Type::float32;
};

// A sum over all rows is added from partial sums of this many blocks at most: scratch has min(n, kMaxParts) rows of d.
inline constexpr std::int64_t kMaxParts = 256;

// y = γ ⊙ x·rstd over n rows of d, rstd = 1/√(mean x² + eps) [n]; gamma [d] or null. If `add` is not null, x + add,
// rounded to x's type and written to `sum`, takes the place of x.
struct NormForward {
  RowsIn x, add;
  const float* gamma = nullptr;
  RowsOut sum, y;
  float* rstd = nullptr;
  float eps = 0.0f;
  std::int64_t n = 0, d = 0;
};

// dx = ∂L/∂x from grad = ∂L/∂y and rstd, plus `more`, of dx's type, unless null. `saved` holds x where gamma is not
// null, else y. `rounded` [n, d], unless null, is dx in bfloat16. dgamma [d], with scratch `parts`, goes with gamma.
struct NormBackward {
  RowsIn grad, saved, more;
  const float* gamma = nullptr;
  const float* rstd = nullptr;
  RowsOut dx;
  Bf16* rounded = nullptr;
  float* parts = nullptr;
  float* dgamma = nullptr;
  std::int64_t n = 0, d = 0;
};

// γ = m·α/√(mean α²), m = magnitude or e^magnitude: alpha and gamma [d], magnitude [1].
struct RadialForward {
  const float* alpha = nullptr;
  const float* magnitude = nullptr;
  bool exponential = false;
  float* gamma = nullptr;
  std::int64_t d = 0;
};

struct RadialBackward {
  const float* grad = nullptr;
  const float* alpha = nullptr;
  const float* magnitude = nullptr;
  bool exponential = false;
  float* dalpha = nullptr;
  float* dmagnitude = nullptr;
  std::int64_t d = 0;
};

// y = silu(u) ⊙ v, of the inputs' type, with u = gate and v = up; or, if rstd [n, 2] is not null, u = γ ⊙ gate·rstd₀
// and v = up·rstd₁, as in NormForward, and rstd is written.
struct SwigluForward {
  RowsIn gate, up;
  const float* gamma = nullptr;
  void* y = nullptr;
  float* rstd = nullptr;
  float eps = 0.0f;
  std::int64_t n = 0, d = 0;
};

// dgate and dup are contiguous, of the inputs' type. gamma, parts and dgamma as in NormBackward.
struct SwigluBackward {
  RowsIn grad, gate, up;
  const float* gamma = nullptr;
  const float* rstd = nullptr;
  void* dgate = nullptr;
  void* dup = nullptr;
  float* parts = nullptr;
  float* dgamma = nullptr;
  std::int64_t n = 0, d = 0;
};

// Row r of n, `together` heads of d elements, at position r/rows_per_token mod length: y = γ ⊙ x·rstd, with elements i
// and i + d/2 of each head rotated by the angle i of the position. cos, sin [length, d/2]; sign −1 rotates back. gamma
// [together·d] or null; rstd [n], or null for no norm and no γ. x and y are contiguous and of one type.
struct RotateForward {
  const void* x = nullptr;
  Type type = Type::float32;
  const float* gamma = nullptr;
  const float* cos = nullptr;
  const float* sin = nullptr;
  float sign = 1.0f, eps = 0.0f;
  void* y = nullptr;
  float* rstd = nullptr;
  std::int64_t n = 0, together = 1, d = 0, length = 1, rows_per_token = 1;
};

// Of a rotation with a norm. gamma, parts [.., together·d] and dgamma as in NormBackward.
struct RotateBackward {
  const void* grad = nullptr;
  const void* x = nullptr;
  Type type = Type::float32;
  const float* gamma = nullptr;
  const float* rstd = nullptr;
  const float* cos = nullptr;
  const float* sin = nullptr;
  void* dx = nullptr;
  float* parts = nullptr;
  float* dgamma = nullptr;
  std::int64_t n = 0, together = 1, d = 0, length = 1, rows_per_token = 1;
};

// lse = log Σ_j exp(logits_j), rows = lse − logits_target [n], loss = mean rows, of contiguous logits [n, d]. A target
// that is not in [0, d) makes its row and the loss NaN.
struct CrossEntropyForward {
  const void* logits = nullptr;
  Type type = Type::float32;
  const std::int64_t* target = nullptr;
  float* lse = nullptr;
  float* rows = nullptr;
  float* loss = nullptr;
  std::int64_t n = 0, d = 0;
};

// dlogits_j = grad/n·(exp(logits_j − lse) − [j = target]), of logits' type and possibly in their memory; grad [1].
struct CrossEntropyBackward {
  const void* logits = nullptr;
  Type type = Type::float32;
  const std::int64_t* target = nullptr;
  const float* lse = nullptr;
  const float* grad = nullptr;
  void* dlogits = nullptr;
  std::int64_t n = 0, d = 0;
};

// out_ij = row_i w_ij column_j, w [n, d] contiguous; row [n], column [d] may be null.
struct ScaleMatrix {
  RowsIn w;
  const float* row = nullptr;
  const float* column = nullptr;
  RowsOut out;
  std::int64_t n = 0, d = 0;
};

// From grad = ∂L/∂out: dw_ij = row_i grad_ij column_j, of w's type; drow_i = Σ_j w_ij grad_ij column_j; dcolumn_j =
// Σ_i w_ij grad_ij row_i, with scratch `parts`. drow and dcolumn may be null.
struct ScaleMatrixBackward {
  RowsIn grad, w;
  const float* row = nullptr;
  const float* column = nullptr;
  void* dw = nullptr;
  float* drow = nullptr;
  float* parts = nullptr;
  float* dcolumn = nullptr;
  std::int64_t n = 0, d = 0;
};

struct RowLaunches {
  void (*norm)(const NormForward&, Stream);
  void (*norm_backward)(const NormBackward&, Stream);
  void (*radial)(const RadialForward&, Stream);
  void (*radial_backward)(const RadialBackward&, Stream);
  void (*swiglu)(const SwigluForward&, Stream);
  void (*swiglu_backward)(const SwigluBackward&, Stream);
  void (*rotate)(const RotateForward&, Stream);
  void (*rotate_backward)(const RotateBackward&, Stream);
  void (*cross_entropy)(const CrossEntropyForward&, Stream);
  void (*cross_entropy_backward)(const CrossEntropyBackward&, Stream);
  void (*scale_matrix)(const ScaleMatrix&, Stream);
  void (*scale_matrix_backward)(const ScaleMatrixBackward&, Stream);
};

// The kernels of a CUDA build; null in another.
const RowLaunches* row_launches();

}  // namespace scalevec::models::kernels::cuda
