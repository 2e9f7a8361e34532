#pragma once

#include <torch/types.h>

#include <cstdint>

#include "models/toy/toy.hpp"

namespace scalevec::models {

// The toy of T7 (docs/theory.md). Parameters, as far as the placement has them: "map.weight" W [replicas·rows,
// columns], in which a replica is a block of rows (row_blocks of its role, so that Muon orthogonalises each
// separately); "input.gamma" v [replicas·columns]; "output.gamma" u [replicas·rows]. v is input-class. u is too,
// through the rows of W, unless a norm stands between (DNP). θ [replicas, rows, columns]. Under DNP, map.weight is a
// matrix before a norm only if there is one replica, because the norm in a trace is that of the whole tensor.
class Placement : public QuadraticToy {
 public:
  explicit Placement(const PlacementOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override;

 private:
  PlacementOptions options_;
  torch::Tensor weight_, u_, v_;
};

}  // namespace scalevec::models
