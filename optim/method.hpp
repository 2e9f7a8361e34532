#pragma once

#include <string>
#include <vector>

#include "scalevec/optim/kernels/elementwise.hpp"
#include "scalevec/optim/method_options.hpp"

// What the optimizer asks of a method. Not installed.
namespace scalevec {

class Method {
 public:
  virtual ~Method() = default;

  // True if adaptive_lr is defined: the rule reports 1/(√v̂ + ε).
  virtual bool adaptive() const { return false; }

  // Names of the state tensors, each shaped like the parameter, starting at zero.
  virtual std::vector<std::string> buffers(const MethodOptions& options) const = 0;

  // The constants of the parameter's step number `step` ≥ 1.
  virtual kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step) const = 0;
};

}  // namespace scalevec
