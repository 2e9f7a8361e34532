#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "models/scaled_map.hpp"

// The experts of a mixture all at once: each row goes through the map of its own expert, without the host knowing how
// many rows an expert has.
namespace scalevec::models {

// The N·top_k assignments of tokens to experts, sorted by expert; those of one expert in the order of their tokens.
struct Assignments {
  torch::Tensor order;    // [N·top_k] int64: which of experts.flatten() comes at each place
  torch::Tensor inverse;  // [N·top_k] int64: at which place each of them is
  torch::Tensor expert;   // [N·top_k] int64, of each place, rising
  torch::Tensor ends;     // [experts] int32: the place behind the last of each expert
};

// experts [N, top_k] int64 in [0, count).
Assignments sorted_by_expert(const torch::Tensor& experts, std::int64_t count);

// x[order] for a permutation of rows with this inverse. Its gradient is a permutation too, without atomics.
torch::Tensor permuted(const torch::Tensor& x, const torch::Tensor& order, const torch::Tensor& inverse);

// y [N·top_k, out]: row i of x [N·top_k, in], which is sorted, through maps[expert of i]. Maps of one shape, which have
// the same parts defined. `columns` [in], or undefined, are the scale vectors that all of them share. By LibTorch's
// grouped product in bfloat16 on a GPU of compute capability 9.x or 10.x, for widths that are multiples of 8; else by a
// product of batches, over blocks of rows that are filled up with zeros to one length.
torch::Tensor apply_grouped(const std::vector<const ScaledMap*>& maps, const torch::Tensor& x, const Assignments& a,
                            const torch::Tensor& columns, const Norm& norm);

}  // namespace scalevec::models
