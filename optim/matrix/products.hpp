#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>

// Products of matrices in fixed tiles, each on one thread: bit-identical for any number of threads. Operands may be
// transposed views; results are contiguous (a product may also fill a transposed view of contiguous memory).
namespace scalevec::kernels {

// Calls body(begin, length) for consecutive strips of rows on LibTorch's threads, its inner calls on one thread.
void for_row_strips(std::int64_t rows, const std::function<void(std::int64_t, std::int64_t)>& body);

// out = beta·base + alpha·A·Aᵀ for A [m, n] and symmetric base [m, m] (undefined: none): half of the tiles are computed
// and mirrored.
void symmetric_product(torch::Tensor& out, const torch::Tensor& a, double alpha = 1.0, const torch::Tensor& base = {},
                       double beta = 0.0);

// out = A·B of symmetric matrices that commute, so that it is symmetric too: half of the tiles as well.
void commuting_product(torch::Tensor& out, const torch::Tensor& a, const torch::Tensor& b);

// out = A·B + beta·base (undefined: none). The three of `out`'s shape are stripped along its contiguous rows.
void product(torch::Tensor& out, const torch::Tensor& a, const torch::Tensor& b, const torch::Tensor& base = {},
             double beta = 0.0);

}  // namespace scalevec::kernels
