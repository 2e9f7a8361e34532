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
  // Behind a norm, γ_a can still be multiplied into the columns of the map that reads y: of V into the output
  // projection, of up into down.
  bool out_moves_on = false;
  torch::Tensor scalar, rows, columns;  // s [1], r [out], c [in]; undefined: none
};

// Scaling activations.
torch::Tensor apply_naive(const ScaledMap& map, const torch::Tensor& x, const Norm& norm);

// x through every map's V with the scales that fold into it, scaling matrices. `columns` [in], or undefined, are the
// scales in front of them that are not their own. A map's norm, and what stands behind it, is left to the caller, but
// the norm of `normed`, one of the maps or null.
std::vector<torch::Tensor> apply_folded(const std::vector<const ScaledMap*>& maps, const torch::Tensor& x,
                                        const torch::Tensor& columns, const ScaledMap* normed = nullptr,
                                        double eps = 0.0);

}  // namespace scalevec
