#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string>

#include "optim/core/method_traits.hpp"
#include "optim/core/option_table.hpp"

// What a method with states of 8 bits is: a struct M, all of whose members are static, with
//  - kName, kSource, kDefaults and SCALEVEC_OPTIONS(…) as every method has them (core/method_traits.hpp);
//  - Rule, an elementwise method of the same Values: its constants and update are computed in the state's type. At most
//    two of its buffers, the first, are not optional; the others are not held, and conflict() refuses what needs them.
//    In place of update() it may have two passes of the same form (kState, Constants, update), which is quicker: the
//    loops are shorter, and the root comes with the coding. Advance (kMoves = false) advances the buffers, and Move
//    gives the step from them, where the last one is there as its root and stays as it is;
//  - kSigned, a std::array of bools: which of those buffers have a sign. One without is never negative, and above zero
//    stays above it.
// For every such buffer of Rule, M keeps codes of 8 bits and, under the name with "_scale" behind it, a number for each
// block of kStateBlock consecutive elements, in row-major order.
namespace scalevec {

inline constexpr std::int64_t kStateBlock = 256;

template <class Rule>
concept kInStages = requires {
  typename Rule::Advance;
  typename Rule::Move;
};

template <class M>
concept kHasCodes = requires {
  M::kSigned;
};

}  // namespace scalevec
