#pragma once

#include <torch/types.h>

#include <vector>

#include "scalevec/models/norm.hpp"
#include "scalevec/models/scale_vector.hpp"

namespace scalevec {

// A linear map with everything that scales it. With V = s·diag(r) W diag(c):
//   y = γ_a ⊙ (V(γ_b ⊙ x)) + bias          without a norm of its own
//   y = γ_a ⊙ Norm(V(γ_b ⊙ x) + bias)      with one
struct ScaledMap {
  torch::Tensor weight;  // W [out, in]
  torch::Tensor bias;    // [out]; undefined: none
  ScaleVector in;        // γ_b, of this map alone
  ScaleVector out;       // γ_a
  bool norm = false;
  // Folded execution multiplies γ_a into the columns of the map that reads y (V into the output projection, up into down).
  bool out_moves_on = false;
  torch::Tensor scalar, rows, columns;  // s [1], r [out], c [in]; undefined: none
};

// Scaling activations.
torch::Tensor apply_naive(const ScaledMap& map, const torch::Tensor& x, const Norm& norm);

// W' [out, in] with every scale that folds into this map; `columns` [in], or undefined, are the scales in front of it that
// are not its own.
torch::Tensor folded_weight(const ScaledMap& map, const torch::Tensor& columns);

// The same outputs from one product of x with the maps' folded weights stacked, except that γ_a is left to the reader
// where out_moves_on.
std::vector<torch::Tensor> apply_folded(const std::vector<const ScaledMap*>& maps, const torch::Tensor& x,
                                        const torch::Tensor& columns, const Norm& norm);

}  // namespace scalevec
