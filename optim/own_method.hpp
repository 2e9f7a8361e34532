#pragma once

#include <memory>
#include <typeinfo>

#include "optim/kernels/block_states.hpp"
#include "optim/kernels/rule_loops.hpp"
#include "optim/method.hpp"
#include "optim/methods.hpp"

// Methods of a program's own, compiled with the program's flags: -O3 -fopenmp-simd -fno-math-errno
// -DSCALEVEC_OPENMP_SIMD let the compiler vectorise them.
namespace scalevec {

// The one instance of a method that is not the library's.
template <class M>
const Method& implementation_of() {
  if constexpr (kHasCodes<M>) {
    static const CodedMethodOf<M> method([]() -> const kernels::RuleLoops& { return kernels::kCodeLoops<M>; });
    return method;
  } else if constexpr (requires { M::kState; }) {
    static const ElementwiseMethodOf<M> method([] {
      Compiled<M> out{
          [](unsigned held) -> const kernels::RuleLoops& { return kernels::kLoops<M>[subset_of<M>(held)]; }};
      if constexpr (kMeasures<M>)
        out.measure = [](unsigned) -> const kernels::RuleLoops& { return kernels::kLoops<typename M::Measure>[0]; };
      if constexpr (kHasCurvature<M>)
        out.curvature = [](unsigned) -> const kernels::RuleLoops& { return kernels::kLoops<typename M::Curvature>[0]; };
      return out;
    }());
    return method;
  } else {
    static const MatrixMethodOf<M> method;
    return method;
  }
}

// Makes M (core/method_traits.hpp, or MatrixMethodOf for a matrix method) a method of policies, saved optimizers and
// make_method_options(), by the name M::kName. OptionsOf<M> and SingleMethodOptimizer<OptionsOf<M>> are its options and
// optimizer, which need no registering. Calling it again does nothing; throws std::invalid_argument if another method
// has the name. Not to be called while another thread makes optimizers.
template <class M>
void register_method() {
  detail::add_method(M::kName, typeid(M),
                     []() -> std::unique_ptr<MethodOptions> { return std::make_unique<OptionsOf<M>>(); });
}

}  // namespace scalevec
