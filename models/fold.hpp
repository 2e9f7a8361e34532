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
  std::vector<std::string> folded;  // scales that are 1 now
  std::vector<Kept> kept;
};

// The same function with every input-class scale moved into the maps that read it, W ← W diag(γ), γ ← 1 (T1). Products
// are taken in float64 and rounded once to the model's dtype. Output-class scales stay, and with tied embeddings the
// final norm's, unless `untie` gives the model an unembedding of its own. `model` is left as it is.
FoldResult fold(const Decoder& model, bool untie = false);

}  // namespace scalevec
