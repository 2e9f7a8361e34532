#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "scalevec/models/toy/toy.hpp"

namespace scalevec {

// T6: branches "branch.C.weight" [1, replicas] that read one input, each element a replica's w_c, and the input-class
// scale "norm.gamma" [replicas] of all of them or "branch.C.gamma" of each (HG). θ [branches, replicas] = γ_cw_c.
class BranchScales : public QuadraticToy {
 public:
  explicit BranchScales(const BranchScalesOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override;

 private:
  std::vector<torch::Tensor> weights_, gammas_;  // one γ, or as many as weights
};

}  // namespace scalevec
