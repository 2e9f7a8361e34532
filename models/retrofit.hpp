#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/decoder.hpp"

namespace scalevec::models {

struct RetrofitResult {
  std::shared_ptr<Decoder> model;    // in the dtype of `from`
  std::vector<std::string> inexact;  // what keeps it from being the same function, a line each; empty: it is
  std::vector<std::string> moved;    // what went into matrices, a line each
  double logit_gap = 0.0;            // largest difference of logits over their largest size, on tokens drawn by `seed`
};

// The function of `from` under other scale vectors: `options` are `from`'s but for `scales`, `scale_vectors` and
// `qk_norm_scale`. A γ_b is copied to its branches; a γ_a behind a map without a norm starts from 1; magnitude and
// direction (OR, ER, product, …) are made of γ's values: the magnitude its root mean square. What a place cannot hold
// goes into the matrices that read it: signs and zeros under a form that is positive, a γ_b that has no place. A norm
// that the design adds behind a map is not exact: its γ_a starts from the root mean square that the map's output has
// for an input of independent elements of size 1; likewise where a scale of the output class has no place. Both are
// named. std::invalid_argument names options that differ otherwise, and a scale that cannot be made: of zeros alone, or
// shared by maps that have their own in `from`.
RetrofitResult retrofit(const Decoder& from, const DecoderOptions& options, std::uint64_t seed = 0);

}  // namespace scalevec::models
