#pragma once

#include <memory>
#include <string>
#include <vector>

#include "scalevec/models/decoder.hpp"

namespace scalevec {

struct FoldResult {
  struct Kept {
    std::string scale, reason;
  };
  std::shared_ptr<Decoder> model;
  std::vector<std::string> folded;  // scales that are 1 or gone in it
  std::vector<Kept> kept;
};

// The same function with every input-class scale moved into the matrices it can be multiplied into (T1), γ ← 1: branch
// scales, DP's γ_a and multipliers are gone, every form is plain. Products are taken in float64 and rounded once to the
// model's dtype. Output-class scales keep their value, and so does the final norm's with tied embeddings, unless
// `untie` gives the model an unembedding of its own. `model` is left as it is.
FoldResult fold(const Decoder& model, bool untie = false);

}  // namespace scalevec
