#pragma once

#include <torch/optim/optimizer.h>
#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "optim/kernels/elementwise.hpp"
#include "optim/method.hpp"
#include "optim/state_memory.hpp"

// What the sources of the optimizer share. Not installed.
namespace scalevec {

// The buffer behind the method's own, of a parameter of 16 bits under rounding "compensated".
inline constexpr const char* kLowPart = "low_part";

// The buffer of an elementwise method's numbers.
inline constexpr const char* kNumbers = "numbers";
// The buffer before that, of a parameter that keeps its norm: the norm of each row block, 0 until it is noted.
inline constexpr const char* kHeldNorm = "held_norm";

// What a method keeps of one parameter: the buffers that it holds, in the order of Method::state. A device that steps
// the parameter counts its steps itself, in the int64 scalar `device_step`; `step` then counts refused ones too.
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
  kernels::Store store{};        // of the step being made, where it is not to nearest
  kernels::Modifier modifier{};  // of the step being made, where the options have one

  torch::Tensor buffer(std::string_view name) const;  // undefined if it is not held

  std::unique_ptr<OptimizerParamState> clone() const override { return std::make_unique<ParamState>(*this); }
};

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

// Every buffer that the parameter's state may hold: the method's, then the held norms and the low part.
std::vector<BufferSpec> state_of(const torch::Tensor& param, std::int64_t row_blocks, const MethodOptions& options);

// How the options have the parameter rounded: to nearest where it is not of 16 bits.
kernels::Rounding rounding_of(const torch::Tensor& param, const MethodOptions& options);

// A zero buffer of `param`'s state on the CPU: laid out like it for an elementwise method where its memory is dense,
// else contiguous.
torch::Tensor new_buffer(const torch::Tensor& param, const Method& method, const BufferSpec& spec, StateMemory& memory);

// Steps made so far; waits for the device that counts them, if any.
std::int64_t steps_of(const ParamState& state);

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
