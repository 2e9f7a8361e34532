#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string_view>

namespace scalevec::models {

// A CPU tensor of `shape` with independent N(0, std²) values. Each value is a function of (seed, name, row-major index
// of the element) only; it does not depend on the number of threads or on what else a model contains. Values are drawn
// in double precision and then rounded to `dtype`, so a float32 tensor is the rounded float64 tensor.
torch::Tensor normal_values(at::IntArrayRef shape, double std, std::uint64_t seed, std::string_view name,
                            torch::Dtype dtype = torch::kFloat32);

}  // namespace scalevec::models
