#pragma once

#include "optim/methods/nadam.hpp"

namespace scalevec::methods {

// NAdam whose decay is decoupled.
struct NAdamW : NAdam {
  using Kernel = NAdam;
  static constexpr const char* kName = "nadamw";
  static constexpr const char* kSource = "torch.optim.NAdam with decoupled_weight_decay";
  static constexpr MethodDefaults kDefaults{2e-3, 0.0, DecayCoupling::lr};
};

}  // namespace scalevec::methods
