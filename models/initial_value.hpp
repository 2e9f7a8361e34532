#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string_view>

namespace scalevec {

// A CPU tensor of independent N(0, std²) values that are a function of (seed, name, row-major element index) alone: not
// of the thread count, nor of what else a model holds. Drawn in double precision and then rounded to `dtype`, so that a
// float32 tensor is the rounded float64 one.
torch::Tensor normal_values(at::IntArrayRef shape, double std, std::uint64_t seed, std::string_view name,
                            torch::Dtype dtype = torch::kFloat32);

}  // namespace scalevec
