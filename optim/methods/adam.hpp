#pragma once

#include "optim/methods/adamw.hpp"

namespace scalevec::methods {

// AdamW whose decay, 0 by default, is part of the gradient.
struct Adam : AdamW {
  using Kernel = AdamW;
  static constexpr const char* kName = "adam";
  static constexpr const char* kSource = "Kingma & Ba, arXiv 1412.6980";
  static constexpr MethodDefaults kDefaults{1e-3, 0.0, DecayCoupling::l2};  // torch.optim.Adam's
};

}  // namespace scalevec::methods
