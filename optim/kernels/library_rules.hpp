#pragma once

#include "optim/kernels/elementwise.hpp"
#include "optim/kernels/passes.hpp"
#include "optim/methods/blockwise.hpp"
#include "optim/methods/elementwise.hpp"

// The rules that the library has compiled for every instruction set.
namespace scalevec::kernels {

using LibraryRules = Joined<KernelsOf<ElementwiseMethods>, PassesOf<ElementwiseMethods>, BlockMethods,
                            TypeList<MomentumPass, ReadPass, ApplyPass, MomentsPass, SignalPass>>;

template <class M>
const RuleLoops& library_loops(unsigned held) {
  constexpr std::size_t rule = index_in<KernelOf<M>>(LibraryRules());
  static_assert(rule < LibraryRules::kSize);
  return *chosen_table().loops_of(rule, subset_of<M>(held));
}

template <class M>
const RuleLoops& library_code_loops() {
  return *chosen_table().loops_of(index_in<M>(LibraryRules()), 0);
}

// The rule of a matrix method's pass.
template <class Pass>
Rule pass_rule(const rules::Decay<double>& decay, const typename Pass::template Constants<double>& constants) {
  return make_rule<Pass>(library_loops<Pass>((1u << kBuffers<Pass>)-1), decay, constants);
}

}  // namespace scalevec::kernels
