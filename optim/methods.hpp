#pragma once

#include "optim/method_options.hpp"
#include "optim/methods/blockwise.hpp"
#include "optim/methods/elementwise.hpp"
#include "optim/methods/matrix/matrix.hpp"
#include "optim/optimizer.hpp"

// The methods: an options class and an optimizer class of each, AdamWOptions and AdamW of methods::AdamW, whose file
// says what its options mean. Every constructor takes lr; other defaults are PyTorch's where PyTorch has the method.
// The elementwise ones train tensors of any shape, matrix methods tensors [rows, cols] only; both keep a mean for each
// element, in float64 of float64 parameters and in float32 of others. A value out of its option's range is refused, by
// the optimizer's constructor or its next step. Formulas: docs/optimizers. Shared options: see MethodOptions.
namespace scalevec {

// An optimizer of one method for all its parameters; a group given with options of another method trains by that one.
// Constructors throw std::invalid_argument as Optimizer's does.
template <class Options>
class SingleMethodOptimizer : public Optimizer {
 public:
  explicit SingleMethodOptimizer(std::vector<torch::Tensor> params, Options defaults = {})
      : SingleMethodOptimizer(std::vector<torch::optim::OptimizerParamGroup>{std::move(params)}, std::move(defaults)) {}
  explicit SingleMethodOptimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups, Options defaults = {})
      : Optimizer(groups, std::make_unique<Options>(std::move(defaults))) {}
};

#define SCALEVEC_METHOD(name, type)                 \
  template <>                                       \
  const Method& implementation_of<methods::type>(); \
  extern template class OptionsOf<methods::type>;   \
  using type##Options = OptionsOf<methods::type>;   \
  using type = SingleMethodOptimizer<type##Options>;
SCALEVEC_ELEMENTWISE_METHODS(SCALEVEC_METHOD, SCALEVEC_METHOD)
SCALEVEC_BLOCK_METHODS(SCALEVEC_METHOD, SCALEVEC_METHOD)
SCALEVEC_MATRIX_METHODS(SCALEVEC_METHOD, SCALEVEC_METHOD)
#undef SCALEVEC_METHOD

}  // namespace scalevec
