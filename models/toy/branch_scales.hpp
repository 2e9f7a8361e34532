#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "models/toy/toy.hpp"

namespace scalevec::models {

// The toy of T6 (docs/theory.md). Parameters: "branch.C.weight" [1, replicas] for each branch C, whose elements are w_c
// of the replicas, and input-class scales: "norm.gamma" [replicas] for all branches, or "branch.C.gamma" for each (HG).
// θ [branches, replicas] = γ_cw_c.
class BranchScales : public QuadraticToy {
 public:
  explicit BranchScales(const BranchScalesOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override;

 private:
  std::vector<torch::Tensor> weights_, gammas_;  // one γ, or as many as weights
};

}  // namespace scalevec::models
