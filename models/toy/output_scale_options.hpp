#pragma once

#include <cstdint>
#include <string>

namespace scalevec {

// The toy of an output-norm scale under noise (T5).
struct OutputScaleOptions {
  std::int64_t replicas = 256;  // independent coordinates γ_i
  double curvature = 1.0;       // h > 0
  double target = 2.0;          // γ*
  double sigma = 1.5;           // standard deviation of the gradient noise, ≥ 0
  double initial = 1.0;         // γ_i at step 0
  std::uint64_t seed = 0;       // of the noise

  // The first thing wrong, as "field: got VALUE; allowed: …"; empty if nothing is.
  std::string error() const;
};

}  // namespace scalevec
