#pragma once

#include <cstdint>

namespace scalevec {

// The largest difference of the logits of a decoder with γ uniform in [least, largest] and of the same decoder folded,
// divided by the largest logit (T1 in docs/theory.md); in float64 or float32. `width` is a multiple of 32.
double fold_gap(std::int64_t layers, std::int64_t width, double least, double largest, bool float64,
                std::uint64_t seed);

}  // namespace scalevec
