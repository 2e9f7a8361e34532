#pragma once

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "scalevec/optim/kernels/elementwise.hpp"
#include "scalevec/optim/method_options.hpp"
#include "scalevec/optim/state_memory.hpp"

// What the optimizer asks of a method. Not installed.
namespace scalevec {

// The buffer behind the method's own, of a parameter of 16 bits under rounding "compensated".
inline constexpr const char* kLowPart = "low_part";

// What a method keeps of one parameter: the buffers that it holds, in the order of Method::state. A device that steps
// the parameter counts its steps itself, in the int64 scalar `device_step`, and `step` is not used.
struct ParamState : torch::optim::OptimizerParamState {
  ParamState(const torch::Tensor& param, std::string_view of_method)
      : of(param.getIntrusivePtr()), method(of_method), sizes(param.sizes().vec()) {}

  // While it is watched, the address by which the state is found is no other tensor's.
  c10::weak_intrusive_ptr<c10::TensorImpl> of;
  std::string method;
  std::vector<std::int64_t> sizes;  // of the parameter when the state was made
  std::int64_t step = 0;
  torch::Tensor device_step;
  std::vector<std::string> names;
  std::vector<torch::Tensor> buffers;
  kernels::Store store{};  // of the step being made, where it is not to nearest

  torch::Tensor buffer(std::string_view name) const;  // undefined if it is not held

  std::unique_ptr<OptimizerParamState> clone() const override { return std::make_unique<ParamState>(*this); }
};

// One state tensor that a method may hold, float64 for a float64 parameter and float32 otherwise, starting at zero.
struct BufferSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  bool needed = true;     // under the options of the moment
  bool low_part = false;  // int16, the optimizer's and not the method's: see kernels::split()
};

class Method {
 public:
  virtual ~Method() = default;

  // True if adaptive_lr is defined: the rule reports 1/(√v̂ + ε).
  virtual bool adaptive() const { return false; }

  // Every buffer that the state of a parameter of shape `sizes` may hold.
  virtual std::vector<BufferSpec> state(const MethodOptions& options, c10::IntArrayRef sizes) const = 0;

  // Whether a buffer that an option asks for may begin, and one that none asks for may go, in the middle of training.
  // Otherwise a step under such options is refused.
  virtual bool buffers_may_change() const { return false; }

  // Whether both options need the same buffers.
  virtual bool same_buffers(const MethodOptions&, const MethodOptions&) const { return true; }

  // Whether a buffer as long as the parameter has a row for each of its rows, so that rows may be moved and dropped.
  virtual bool rows_may_move() const { return true; }

  // The constants of the pass over the elements in the parameter's step number `step` ≥ 1: all of an elementwise
  // method's step, and of a matrix method's the first pass, rules::Momentum. `fresh`: buffers that may change begin at
  // this step.
  virtual kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                             bool fresh) const = 0;
};

// A method whose whole step is one rule on each element. Its buffers are laid out like the parameter.
class ElementwiseMethod : public Method {
 public:
  virtual std::vector<std::string> buffers(const MethodOptions& options) const = 0;
  virtual bool needs(const MethodOptions&, std::string_view) const { return true; }
  std::vector<BufferSpec> state(const MethodOptions& options, c10::IntArrayRef sizes) const final {
    std::vector<BufferSpec> out;
    for (std::string& name : buffers(options)) {
      const bool needed = needs(options, name);
      out.push_back({std::move(name), sizes.vec(), needed});
    }
    return out;
  }
};

// One matrix's step. `param`, `grad` and every buffer, the method's own, are contiguous, on the CPU and not empty.
struct MatrixJob {
  const MethodOptions* options = nullptr;
  std::int64_t step = 0;        // ≥ 1
  std::int64_t row_blocks = 1;  // divides the rows
  kernels::Dtype dtype = kernels::Dtype::float32;
  torch::Tensor param, grad;
  std::vector<std::string> names;  // of the buffers
  std::vector<torch::Tensor> buffers;
  rules::Decay<double> decay;  // clip factor and l2 enter the update's forming, shrink the last pass
  torch::Tensor update;        // out: what the last pass subtracts `scale` times; in the state's type, like `param`
  double scale = 0.0;
  kernels::Store store{};
};

// The pass that advances the first buffer by rules::Momentum and fills `mean`, which is laid out like it.
inline kernels::Job momentum_pass(const MatrixJob& job, const kernels::Rule& rule, const torch::Tensor& mean) {
  return {rule,
          job.dtype,
          job.param.data_ptr(),
          job.grad.const_data_ptr(),
          {job.buffers[0].data_ptr(), mean.data_ptr(), nullptr},
          job.param.numel(),
          &job.store};
}

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

// A parameter's state as it was saved.
struct SavedParam {
  std::string name;
  bool named = false;  // by set_names(), and not by its place
  std::optional<std::vector<std::int64_t>> shape;
  std::int64_t step = -1;                         // negative: never stepped, no state
  std::optional<std::vector<std::string>> names;  // of the buffers; none: in the order of the method's
  std::vector<torch::Tensor> buffers;
};

struct SavedOptimizer {
  struct Group {
    std::string method;
    std::unique_ptr<MethodOptions> options;
    double noted_lr = -1.0;
    std::vector<SavedParam> params;
  };
  std::optional<double> max_norm;
  std::optional<bool> check_finite;
  std::vector<Group> groups;
};

// Every buffer that the parameter's state may hold: the method's, then the low part.
std::vector<BufferSpec> state_of(const torch::Tensor& param, const MethodOptions& options);

// How the options have the parameter rounded: to nearest where it is not of 16 bits.
kernels::Rounding rounding_of(const torch::Tensor& param, const MethodOptions& options);

// A zero buffer of `param`'s state on the CPU: laid out like it for an elementwise method where its memory is dense,
// else contiguous.
torch::Tensor new_buffer(const torch::Tensor& param, const Method& method, const BufferSpec& spec, StateMemory& memory);

// Steps made so far; waits for the device that counts them, if any.
std::int64_t steps_of(const ParamState& state);

// The parameter's dtype; throws std::invalid_argument with `name` for one that the kernels lack.
kernels::Dtype kernel_dtype(const torch::Tensor& param, const std::string& name);

std::string shape_text(c10::IntArrayRef sizes);  // "[3,4]"

// Of a few integers, compared at every step: quicker than ArrayRef's equality, which calls memcmp.
inline bool same_integers(c10::IntArrayRef a, c10::IntArrayRef b) {
  if (a.size() != b.size()) return false;
  for (size_t i = 0; i < a.size(); ++i)
    if (a[i] != b[i]) return false;
  return true;
}

// Why the options' method cannot train a tensor of this shape with so many row blocks, or empty.
std::string shape_error(const MethodOptions& options, c10::IntArrayRef sizes, std::int64_t row_blocks);

}  // namespace scalevec
