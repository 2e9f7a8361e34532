#pragma once

#include <cstdint>

// Row by row arithmetic of the fused operators (models/ops). No LibTorch: raw pointers and ranges [begin, end) of rows,
// which the caller distributes over threads. Compiled for several instruction sets; the best one of the machine is used
// at run time. Sums over rows are added to buffers; the caller provides one buffer per range.
namespace scalevec::models::kernels {

// n rows of d elements: row r starts at data + (r / inner)·outer_stride + (r % inner)·inner_stride.
template <class T>
struct Rows {
  T* data = nullptr;
  std::int64_t inner = 1;
  std::int64_t outer_stride = 0, inner_stride = 0;

  T* operator[](std::int64_t r) const { return data + (r / inner) * outer_stride + (r % inner) * inner_stride; }
};

template <class T>
struct RowKernels {
  // y = γ ⊙ x·rstd, rstd = 1/√(mean x² + eps) [n]; gamma [d] or null; y [n, d], which may be x's own memory.
  void (*norm)(Rows<const T> x, const T* gamma, T eps, T* y, T* rstd, std::int64_t d, std::int64_t begin,
               std::int64_t end);
  // The same for sum = x + add [n, d], which is written too.
  void (*add_norm)(Rows<const T> x, Rows<const T> add, const T* gamma, T eps, T* sum, T* y, T* rstd, std::int64_t d,
                   std::int64_t begin, std::int64_t end);
  // Gradients from x and rstd: dx [n, d], plus `more` unless its data is null; adds to dgamma [d].
  void (*norm_backward)(Rows<const T> grad, Rows<const T> x, const T* gamma, const T* rstd, Rows<const T> more, T* dx,
                        T* dgamma, std::int64_t d, std::int64_t begin, std::int64_t end);
  // The same from y = x·rstd, without γ.
  void (*unscaled_norm_backward)(Rows<const T> grad, const T* y, const T* rstd, Rows<const T> more, T* dx,
                                 std::int64_t d, std::int64_t begin, std::int64_t end);

  // y = silu(u) ⊙ v with u = gate and v = up. If rstd [n, 2] is not null, u = γ ⊙ gate·rstd₀ and v = up·rstd₁, and rstd
  // is written.
  void (*swiglu)(Rows<const T> gate, Rows<const T> up, const T* gamma, T eps, T* y, T* rstd, std::int64_t d,
                 std::int64_t begin, std::int64_t end);
  // dgate, dup [n, d]; adds to dgamma [d], which is null if gamma is null.
  void (*swiglu_backward)(Rows<const T> grad, Rows<const T> gate, Rows<const T> up, const T* gamma, const T* rstd,
                          T* dgate, T* dup, T* dgamma, std::int64_t d, std::int64_t begin, std::int64_t end);

  // Row (t, h) of x [n/heads, heads, d], with elements i and i + d/2 rotated by the angles of position t mod length:
  // cos, sin [length, d/2]; sign −1 rotates back.
  void (*rotate)(Rows<const T> x, const T* cos, const T* sin, T sign, T* y, std::int64_t length, std::int64_t heads,
                 std::int64_t d, std::int64_t begin, std::int64_t end);
  // The same for γ ⊙ x·rstd, rstd as in norm: row r of x [n, heads·d] is at position r/rows_per_token mod length;
  // gamma [heads·d] or null; y [n, heads·d]; rstd [n].
  void (*norm_rotate)(const T* x, const T* gamma, const T* cos, const T* sin, T eps, T* y, T* rstd, std::int64_t length,
                      std::int64_t rows_per_token, std::int64_t heads, std::int64_t d, std::int64_t begin,
                      std::int64_t end);
  // grad has rows of d; dx [n, heads·d]; adds to dgamma [heads·d], which is null if gamma is null.
  void (*norm_rotate_backward)(Rows<const T> grad, const T* x, const T* gamma, const T* rstd, const T* cos,
                               const T* sin, T* dx, T* dgamma, std::int64_t length, std::int64_t rows_per_token,
                               std::int64_t heads, std::int64_t d, std::int64_t begin, std::int64_t end);

  // out_ij = row_i w_ij column_j; row, column may be null.
  void (*scale_matrix)(const T* w, const T* row, const T* column, T* out, std::int64_t d, std::int64_t begin,
                       std::int64_t end);
  // From g = ∂L/∂out, in place: g_ij ← row_i g_ij column_j; drow_i = Σ_j w_ij g_ij column_j; adds Σ_i w_ij g_ij row_i
  // to dcolumn_j. drow, dcolumn may be null.
  void (*scale_matrix_backward)(T* g, const T* w, const T* row, const T* column, T* drow, T* dcolumn, std::int64_t d,
                                std::int64_t begin, std::int64_t end);

  // lse = log Σ_j exp(logits_j) and loss = lse − logits_target of each row of [n, d].
  void (*cross_entropy)(const T* logits, const std::int64_t* target, T* lse, T* loss, std::int64_t d,
                        std::int64_t begin, std::int64_t end);
  // dlogits_j = scale·(exp(logits_j − lse) − [j = target]).
  void (*cross_entropy_backward)(const T* logits, const std::int64_t* target, const T* lse, T scale, T* dlogits,
                                 std::int64_t d, std::int64_t begin, std::int64_t end);

  // Adds Σ_i w_ij² over rows i in [begin, end) to columns_j, in double precision.
  void (*column_squares)(const T* w, double* columns, std::int64_t d, std::int64_t begin, std::int64_t end);
  // rows_{i − begin} = Σ_j w_ij².
  void (*row_squares)(const T* w, double* rows, std::int64_t d, std::int64_t begin, std::int64_t end);
};

struct RowTable {
  RowKernels<float> f32;
  RowKernels<double> f64;
};

// The kernels for the best instruction set of the machine.
const RowTable& row_table();

template <class T>
const RowKernels<T>& row_kernels() {
  if constexpr (sizeof(T) == 4)
    return row_table().f32;
  else
    return row_table().f64;
}

}  // namespace scalevec::models::kernels
