#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string_view>
#include <vector>

namespace scalevec::kernels {

// One Newton-Schulz step X ← aX + bXXᵀX + c(XXᵀ)²X.
struct NewtonSchulz {
  double a, b, c;
};

struct OrthogonaliseOptions {
  std::vector<NewtonSchulz> steps;
  // The matrix is first scaled by a power of two to ‖·‖_F in [1, 2), then divided by max(norm_factor·‖·‖_F, eps).
  double norm_factor = 1.0;
  double eps = 1e-7;
  torch::Dtype dtype = torch::kBFloat16;  // of the iteration
  // The steps are taken on the Gram matrix of the smaller side, in float32 or float64 whatever dtype says, and the
  // matrix is multiplied by their product after every fifth and at the end: 3m²n + 17m³ operations for five steps of m
  // ≤ n in place of 15m²n + 5m³.
  bool gram = false;
};

// The steps of a named set: "quintic" (3.4445, −4.7750, 2.0315) at every step (Jordan et al., Muon 2024), or
// "polar_express" (arXiv 2505.16932, Algorithm 1: its list with the safety factor 1.01, the last triple repeated).
OrthogonaliseOptions orthogonalise_options(std::string_view coefficients, std::int64_t steps);

// Replaces `matrix` [rows, cols] (contiguous, float32 or float64, not empty) by the Newton-Schulz approximation of its
// polar factor UVᵀ; zeros stay. The Gram matrix is that of the smaller side.
void orthogonalise(torch::Tensor& matrix, const OrthogonaliseOptions& options);

// The same of every matrix of `batch` [n, rows, cols], on any device and by LibTorch's batched products; asks for no
// value. Rounding differs from orthogonalise()'s.
void orthogonalise_batch(torch::Tensor& batch, const OrthogonaliseOptions& options);

}  // namespace scalevec::kernels
