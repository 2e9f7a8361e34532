#pragma once

#include "optim/core/method_traits.hpp"
#include "optim/methods/adamw8bit.hpp"
#include "optim/methods/lion8bit.hpp"

// The methods with states of 8 bits, as the list of elementwise.hpp. No LibTorch here.
#define SCALEVEC_BLOCK_METHODS(FIRST, NEXT) \
  FIRST(adamw8bit, AdamW8bit)               \
  NEXT(lion8bit, Lion8bit)

namespace scalevec {

#define SCALEVEC_TYPE(name, type) methods::type
#define SCALEVEC_NEXT_TYPE(name, type) , methods::type
using BlockMethods = TypeList<SCALEVEC_BLOCK_METHODS(SCALEVEC_TYPE, SCALEVEC_NEXT_TYPE)>;
#undef SCALEVEC_TYPE
#undef SCALEVEC_NEXT_TYPE

}  // namespace scalevec
