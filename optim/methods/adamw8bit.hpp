#pragma once

#include "scalevec/optim/methods/adamw.hpp"
#include "scalevec/optim/methods/block_method.hpp"

namespace scalevec::methods {

// AdamW whose two means are codes of 8 bits with a scale per 256 elements. State: 2 bytes per element and 8 per block.
struct AdamW8bit : AdamW {
  using Rule = AdamW;
  static constexpr const char* kName = "adamw8bit";
  static constexpr const char* kSource = "Dettmers et al., arXiv 2110.02861";
  static constexpr std::array kSigned{true, false};
  static std::string conflict(const Values& o) {
    return o.amsgrad ? "amsgrad: got true; allowed: false, since its largest v has no codes; adamw has it" : "";
  }
};

}  // namespace scalevec::methods
