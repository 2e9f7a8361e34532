#pragma once

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <vector>

#include "scalevec/optim/kernels/elementwise.hpp"
#include "scalevec/optim/method_options.hpp"
#include "scalevec/optim/state_memory.hpp"

// What the optimizer asks of a method. Not installed.
namespace scalevec {

// What a method keeps of one parameter: the buffers in the order of Method::state. A device that steps the parameter
// counts its steps itself, in the int64 scalar `device_step`, and `step` is not used.
struct ParamState : torch::optim::OptimizerParamState {
  std::string method;
  std::int64_t step = 0;
  torch::Tensor device_step;
  std::vector<torch::Tensor> buffers;

  std::unique_ptr<OptimizerParamState> clone() const override { return std::make_unique<ParamState>(*this); }
};

// One state tensor, float64 for a float64 parameter and float32 otherwise, starting at zero.
struct BufferSpec {
  std::string name;
  std::vector<std::int64_t> shape;
};

class Method {
 public:
  virtual ~Method() = default;

  // True if adaptive_lr is defined: the rule reports 1/(√v̂ + ε).
  virtual bool adaptive() const { return false; }

  // The state of a parameter of shape `sizes`.
  virtual std::vector<BufferSpec> state(const MethodOptions& options, c10::IntArrayRef sizes) const = 0;

  // The constants of the pass over the elements in the parameter's step number `step` ≥ 1: all of an elementwise
  // method's step, and of a matrix method's the first pass, rules::Momentum.
  virtual kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay,
                             std::int64_t step) const = 0;
};

// A method whose whole step is one rule on each element. Its buffers are laid out like the parameter.
class ElementwiseMethod : public Method {
 public:
  virtual std::vector<std::string> buffers(const MethodOptions& options) const = 0;
  std::vector<BufferSpec> state(const MethodOptions& options, c10::IntArrayRef sizes) const final {
    std::vector<BufferSpec> out;
    for (std::string& name : buffers(options)) out.push_back({std::move(name), sizes.vec()});
    return out;
  }
};

// One matrix's step. `param`, `grad` and every buffer are contiguous, on the CPU and not empty.
struct MatrixJob {
  const MethodOptions* options = nullptr;
  std::int64_t step = 0;        // ≥ 1
  std::int64_t row_blocks = 1;  // divides the rows
  kernels::Dtype dtype = kernels::Dtype::float32;
  torch::Tensor param, grad;
  std::vector<torch::Tensor> buffers;
  rules::Decay<double> decay;  // clip factor and l2 enter the update's forming, shrink the last pass
  torch::Tensor update;        // out: what the last pass subtracts `scale` times; in the state's type, like `param`
  double scale = 0.0;
};

// A method whose update is formed from the matrix as a whole and then subtracted by rules::ApplyUpdate.
class MatrixMethod : public Method {
 public:
  // Fills update and scale and advances the buffers. A pure function of the job: the number of threads and what other
  // jobs there are do not change a bit.
  virtual void form_update(MatrixJob& job) const = 0;

  // True if form_update calls LAPACK, which MKL runs differently inside a parallel region: never called there.
  virtual bool factorises() const { return false; }
};

// Number options by their range: [0, 1) and [0, inf).
inline OptionField fraction(const char* name, double* value) { return {name, value, 0.0, 1.0, true, {}}; }
inline OptionField nonnegative(const char* name, double* value) {
  return {name, value, 0.0, std::numeric_limits<double>::infinity(), false, {}};
}

// The one instance of a method.
template <class M>
const Method& method_instance() {
  static const M method;
  return method;
}

// The group's options; throws std::invalid_argument if they are of a foreign type.
MethodOptions& method_options(torch::optim::OptimizerParamGroup& group);
const MethodOptions& method_options(const torch::optim::OptimizerParamGroup& group);

// The method's buffers for this parameter, zero, on the CPU: laid out like it for an elementwise method, else
// contiguous.
std::unique_ptr<ParamState> new_state(const torch::Tensor& param, const MethodOptions& options, StateMemory& memory);

// Steps made so far; waits for the device that counts them, if any.
std::int64_t steps_of(const ParamState& state);

// Brings the buffers to `device`, and the count to it (`counts`) or to the host.
void place_state(ParamState& state, torch::Device device, bool counts);

// The parameter's dtype; throws std::invalid_argument with `name` for one that the kernels lack.
kernels::Dtype kernel_dtype(const torch::Tensor& param, const std::string& name);

std::string shape_text(c10::IntArrayRef sizes);  // "[3,4]"

// Why the options' method cannot train a tensor of this shape with so many row blocks, or empty.
std::string shape_error(const MethodOptions& options, c10::IntArrayRef sizes, std::int64_t row_blocks);

}  // namespace scalevec
