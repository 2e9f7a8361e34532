#pragma once

#include <torch/types.h>

namespace scalevec::models::ops {

// Causal attention softmax(scale·q kᵀ) v. q is [B, T, H, d]; k and v are [B, T, H_kv, d] with H_kv a divisor of H (each
// key head serves H/H_kv neighbouring query heads). `window`: the number of positions that a query attends to,
// including its own; 0: its own and all before it. Returns [B, T, H, d], contiguous. On the CPU, for float32 and
// float64 and d a multiple of 16, it is computed in blocks that fit the cache, with the same bits for any number of
// threads. It then saves its inputs, its output and one number per query and head for the backward pass. In all other
// cases `composed` is used. scale must be more than 0. `max_logit`, unless null, is set to the largest scale·q·k of
// each query head over the batch and all pairs of positions that attend [H], without gradient: free in blocks, else by
// composed::max_logit().
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                        std::int64_t window, torch::Tensor* max_logit = nullptr);

// The same with the scores cap·tanh(scale·q kᵀ/cap) (Gemma 2, https://arxiv.org/abs/2408.00118, section 2), for blocks
// of queries on every device: of the memory that is kept for the backward pass nothing grows with T². Under autocast q,
// k, v and the products are in its type; scores, weights and sums are in float32, or float64 for float64.
torch::Tensor capped_attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                               double cap, std::int64_t window);

namespace composed {
// The same by at::scaled_dot_product_attention.
torch::Tensor attention(const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v, double scale,
                        std::int64_t window);
// The largest scale·q·k of each query head [H], in float32 or float64. Computes all products once more, for blocks of
// queries.
torch::Tensor max_logit(const torch::Tensor& q, const torch::Tensor& k, double scale, std::int64_t window);
}  // namespace composed

}  // namespace scalevec::models::ops
