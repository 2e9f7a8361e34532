#pragma once

#include "optim/methods/block_method.hpp"
#include "optim/methods/lion.hpp"

namespace scalevec::methods {

// Lion whose momentum is codes of 8 bits with a scale per 256 elements. State: 1 byte per element and 4 per block.
struct Lion8bit : Lion {
  using Rule = Lion;
  static constexpr const char* kName = "lion8bit";
  static constexpr const char* kSource = "Dettmers et al., arXiv 2110.02861";
  static constexpr std::array kSigned{true};
};

}  // namespace scalevec::methods
