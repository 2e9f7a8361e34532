#pragma once

#include <torch/types.h>

#include <vector>

#include "models/norm.hpp"
#include "models/scale_vector.hpp"

namespace scalevec::models {

// A linear map W with everything that scales it. With V = s·diag(r) W diag(c):
//   y = γ_a ⊙ (V(γ_b ⊙ x)) + bias          if norm is false
//   y = γ_a ⊙ Norm(V(γ_b ⊙ x) + bias)      if norm is true
struct ScaledMap {
  torch::Tensor weight;  // W [out, in]
  torch::Tensor bias;    // [out]; undefined: none
  ScaleVector in;        // γ_b of this map only [in]; undefined: none
  ScaleVector out;       // γ_a [out]; undefined: none
  bool norm = false;
  // Whether γ_a behind a norm can be multiplied into the columns of the map that reads y: that of V into the output
  // projection, that of up into down.
  bool out_folds_into_reader = false;
  torch::Tensor scalar, rows, columns;  // s [1], r [out], c [in]; undefined: none
};

// y [.., out] for x [.., in], by scaling activations.
torch::Tensor apply_naive(const ScaledMap& map, const torch::Tensor& x, const Norm& norm);

// x [.., in] through V of every map, together with the scale vectors that can be multiplied into it, by scaling
// matrices. `columns` [in], or undefined, are the scale vectors before the maps that are shared by all of them. The
// norm of a map and everything behind it is left to the caller, except the norm (with `eps`) of `normed`, which is one
// of the maps or null.
std::vector<torch::Tensor> apply_folded(const std::vector<const ScaledMap*>& maps, const torch::Tensor& x,
                                        const torch::Tensor& columns, const ScaledMap* normed = nullptr,
                                        double eps = 0.0);

}  // namespace scalevec::models
