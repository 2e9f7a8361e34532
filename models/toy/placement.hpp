#pragma once

#include <torch/types.h>

#include <cstdint>

#include "scalevec/models/toy/toy.hpp"

namespace scalevec {

// T7: "map.weight" [replicas·rows, columns], a replica a block of rows (row_blocks of its role, so that Muon
// orthogonalises each by itself), "input.gamma" v [replicas·columns] and "output.gamma" u [replicas·rows] as the
// placement has them. v is input-class; u is too, through the rows, unless a norm stands between (DNP). θ [replicas,
// rows, columns]. Under DNP, map.weight is a matrix before a norm if there is one replica: a trace's norm is the whole
// tensor's.
class Placement : public QuadraticToy {
 public:
  explicit Placement(const PlacementOptions& options, std::uint64_t seed = 0);

  torch::Tensor theta() const override;

 private:
  PlacementOptions options_;
  torch::Tensor weight_, u_, v_;
};

}  // namespace scalevec
