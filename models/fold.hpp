#pragma once

#include <memory>
#include <string>
#include <vector>

#include "models/decoder.hpp"

namespace scalevec::models {

// The result of fold().
struct FoldResult {
  struct Kept {
    std::string scale, reason;
  };
  std::shared_ptr<Decoder> model;   // computes the same function
  std::vector<std::string> folded;  // names of scale vectors that are 1 or absent in it
  std::vector<Kept> kept;           // scale vectors that keep their value, with the reason
};

// Multiplies every input-class scale vector into the matrices that can absorb it and sets it to 1; the function stays
// the same (T1 in docs/theory.md). In the result, branch scales, the γ_a of DP and multipliers are absent, and every
// form is plain. Products are computed in float64 and rounded once to the model's dtype. Output-class scale vectors
// keep their value. So does the γ of the final norm if the embeddings are tied, unless `untie` gives the model an
// unembedding of its own. `model` is not changed.
FoldResult fold(const Decoder& model, bool untie = false);

}  // namespace scalevec::models
