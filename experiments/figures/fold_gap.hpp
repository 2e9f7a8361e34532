#pragma once

#include <cstdint>

namespace scalevec {

// Largest difference of the logits between a decoder with γ uniform in [least, largest] and the same folded, divided by
// the largest logit; in float64 or float32. `width` is a multiple of 32.
double fold_gap(std::int64_t layers, std::int64_t width, double least, double largest, bool float64,
                std::uint64_t seed);

}  // namespace scalevec
