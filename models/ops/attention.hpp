#pragma once

#include <torch/types.h>

namespace scalevec::ops {

// Causal attention softmax(scale·q kᵀ) v: q [B, T, H, d], k and v [B, T, H_kv, d] with H_kv a divisor of H (each key
// head serves H/H_kv neighbouring query heads); window: positions a query sees, itself among them, 0 for all before it.
// Returns [B, T, H, d], contiguous. On the CPU, for float32 and float64 and d a multiple of 16, in blocks that fit the
// cache, with the same bits for any number of threads; saves its inputs, its output and one number per query and head.
// Otherwise `composed`.
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                        std::int64_t window);

namespace composed {
// at::scaled_dot_product_attention.
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                        std::int64_t window);
}  // namespace composed

// [T, T] bool: position i (rows) sees i itself and the window − 1 positions before it; 0: all before it.
torch::Tensor visible(std::int64_t length, std::int64_t window, const torch::TensorOptions& like);

}  // namespace scalevec::ops
