#pragma once

#include <torch/types.h>

#include <array>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

#include "optim/core/param_role.hpp"
#include "optim/kernels/elementwise.hpp"
#include "optim/kernels/passes.hpp"
#include "optim/method_options.hpp"
#include "optim/methods/block_method.hpp"

// What the optimizer asks of a method.
namespace scalevec {

namespace cuda {
struct GroupOptions;
}

// One state tensor that a method may hold, float64 for a float64 parameter and float32 otherwise, starting at zero
// unless it is filled.
struct BufferSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  bool needed = true;  // under the options of the moment
  // A method's own of the state's type; its kScalars, float64 and not by its rows; its codes, uint8 (see
  // kernels/block_states.hpp). Or the optimizer's own: int16 parts, see kernels::split(), or a norm for each row block,
  // see kernels::Modifier.
  enum class Kind : std::uint8_t { values, numbers, codes, low_part, held_norm } kind = Kind::values;
  std::function<void(torch::Tensor& zeros)> fill{};  // where it starts at other values, on the CPU
};

// The weights to validate and to keep in place of p: p + weight times the buffer of this name.
struct AverageSpec {
  std::string buffer;
  double weight = 0.0;
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

  // Whether the options that modify a step (MethodOptions::modified()) mean something for it.
  virtual bool takes_modifiers() const { return true; }

  // Gives the CUDA kernels the rule of a step that is one rule on each element, and the method's own options; false if
  // they do not have the rule.
  virtual bool set_device_values(const MethodOptions&, cuda::GroupOptions&) const { return false; }

  // What torch_method() in optimizer_archive.cpp calls the optimizer of torch::optim whose archives have the same
  // options and buffers; null: none.
  virtual const char* torch_name() const { return nullptr; }

  // Products that the update of a tensor of these sizes and so many row blocks takes beside its passes over memory.
  virtual double flops(const MethodOptions&, c10::IntArrayRef, std::int64_t) const { return 0.0; }

  // Where the weights to validate are others than those that train.
  virtual std::optional<AverageSpec> average(const MethodOptions&) const { return std::nullopt; }

  // Whether a buffer as long as the parameter has a row for each of its rows, so that rows may be moved and dropped.
  virtual bool rows_may_move() const { return true; }

  // Whether a step takes elements by their index, in row-major order, and not as they lie in memory.
  virtual bool by_index() const { return false; }

  // The constants of the pass over the elements in the parameter's step number `step` ≥ 1: all of an elementwise
  // method's step, and of a matrix method's the first pass, kernels::MomentumPass. `fresh`: buffers that may change
  // begin at this step. `numbers`: an elementwise method's, as advance() left them.
  virtual kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                             bool fresh, const double* numbers = nullptr) const = 0;
};

// Two sums of a tensor's pass that comes before its step, or of a group's tensors.
using PassSums = std::array<double, 2>;

// A method whose whole step is one rule on each element. Its buffers are laid out like the parameter.
class ElementwiseMethod : public Method {
 public:
  virtual std::vector<std::string> buffers(const MethodOptions& options) const = 0;
  virtual bool needs(const MethodOptions&, std::string_view) const { return true; }

  // How many numbers it keeps of a parameter from step to step, kMaxScalars at most; they start at zero.
  virtual std::size_t numbers() const { return 0; }
  // From the last step's numbers this step's; `sums` are those that measure() is for, else null.
  virtual void advance(const MethodOptions&, std::int64_t, bool, const PassSums*, double*) const {}
  // Whether a pass comes before the step, whose sums it needs: of the tensor or, if sums_of_group(), of all those of
  // its group that step. It may advance the buffers.
  virtual bool measures() const { return false; }
  virtual bool sums_of_group() const { return false; }
  virtual kernels::Rule measure(const MethodOptions&, const rules::Decay<double>&, std::int64_t, bool,
                                const double*) const {
    throw std::logic_error("a method without a pass before its step");
  }
  // The pass by which its buffers learn curvature, and how often it is wanted: every so many steps, 0 never.
  virtual std::int64_t hessian_every(const MethodOptions&) const { return 0; }
  virtual kernels::Rule curvature(const MethodOptions&, double) const {
    throw std::logic_error("a method that does not estimate curvature");
  }
  // The same for the CUDA kernels, of a method that they have.
  virtual void set_curvature_values(const MethodOptions&, double, cuda::GroupOptions&) const {
    throw std::logic_error("a method that does not estimate curvature on a device");
  }

  std::vector<BufferSpec> state(const MethodOptions& options, c10::IntArrayRef sizes) const final {
    std::vector<BufferSpec> out;
    for (std::string& name : buffers(options)) {
      const bool needed = needs(options, name);
      out.push_back({std::move(name), sizes.vec(), needed});
    }
    if (numbers() > 0)
      out.push_back({"numbers", {static_cast<std::int64_t>(numbers())}, true, BufferSpec::Kind::numbers});
    return out;
  }
};

// Of a method's rule: its loops with the buffers of those bits, and its values for the CUDA kernels, if they have it.
template <class M>
struct Compiled {
  const kernels::RuleLoops& (*loops)(unsigned held);
  void (*set_device_values)(cuda::GroupOptions& group, const typename M::Values& values) = nullptr;
  const kernels::RuleLoops& (*measure)(unsigned held) = nullptr;    // of M::Measure
  const kernels::RuleLoops& (*curvature)(unsigned held) = nullptr;  // of M::Curvature
  void (*set_curvature_values)(cuda::GroupOptions& group, const typename M::Values& values, double samples) = nullptr;
};

// A method as core/method_traits.hpp describes it.
template <class M>
class ElementwiseMethodOf final : public ElementwiseMethod {
 public:
  explicit ElementwiseMethodOf(const Compiled<M>& compiled) : compiled_(compiled) {}

  bool adaptive() const override { return kAdaptive<M>; }
  bool takes_modifiers() const override { return !kOwnDecay<M> && !kHasAverage<M> && !kUnmodified<M>; }
  std::vector<std::string> buffers(const MethodOptions&) const override { return {M::kState.begin(), M::kState.end()}; }
  bool needs(const MethodOptions& options, std::string_view buffer) const override {
    for (std::size_t k = 0; k < kBuffers<M>; ++k)
      if (buffer == M::kState[k]) return held_buffers<M>(values(options)) >> k & 1;
    return false;
  }
  bool buffers_may_change() const override { return optional_buffers<M>() != 0; }
  bool same_buffers(const MethodOptions& a, const MethodOptions& b) const override {
    return held_buffers<M>(values(a)) == held_buffers<M>(values(b));
  }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step, bool fresh,
                     const double* numbers) const override {
    const typename M::Values& own = values(options);
    return kernels::make_rule<M>(compiled_.loops(held_buffers<M>(own)), decay,
                                 M::constants(own, at(options, step, fresh, numbers)));
  }

  std::size_t numbers() const override { return scalar_count<M>(); }
  void advance(const MethodOptions& options, std::int64_t step, bool fresh, const PassSums* sums,
               double* numbers) const override {
    if constexpr (scalar_count<M>() > 0)
      M::advance(values(options), at(options, step, fresh, nullptr), sums ? sums->data() : nullptr, numbers);
  }
  bool measures() const override { return kMeasures<M>; }
  bool sums_of_group() const override { return kSumsOfGroup<M>; }
  kernels::Rule measure(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step, bool fresh,
                        const double* numbers) const override {
    if constexpr (kMeasures<M>) {
      using Pass = typename M::Measure;
      const typename M::Values& own = values(options);
      return kernels::make_rule<Pass>(compiled_.measure(held_buffers<M>(own)), decay,
                                      Pass::constants(own, at(options, step, fresh, numbers)));
    }
    return ElementwiseMethod::measure(options, decay, step, fresh, numbers);
  }
  std::int64_t hessian_every(const MethodOptions& options) const override {
    if constexpr (kHasCurvature<M>)
      return values(options).hessian_every;
    else
      return 0;
  }
  kernels::Rule curvature(const MethodOptions& options, double samples) const override {
    if constexpr (kHasCurvature<M>) {
      using Pass = typename M::Curvature;
      const typename M::Values& own = values(options);
      return kernels::make_rule<Pass>(compiled_.curvature(held_buffers<M>(own)), {}, Pass::constants(own, samples));
    }
    return ElementwiseMethod::curvature(options, samples);
  }
  void set_curvature_values(const MethodOptions& options, double samples, cuda::GroupOptions& group) const override {
    if (!compiled_.set_curvature_values) return ElementwiseMethod::set_curvature_values(options, samples, group);
    compiled_.set_curvature_values(group, values(options), samples);
  }
  std::optional<AverageSpec> average(const MethodOptions& options) const override {
    if constexpr (kHasAverage<M>)
      return AverageSpec{M::kAverage, M::average_weight(values(options))};
    else
      return std::nullopt;
  }

  const char* torch_name() const override {
    if constexpr (requires { M::kTorch; })
      return M::kTorch;
    else
      return nullptr;
  }
  bool set_device_values(const MethodOptions& options, cuda::GroupOptions& group) const override {
    if (!compiled_.set_device_values) return false;
    compiled_.set_device_values(group, values(options));
    return true;
  }

 private:
  static const typename M::Values& values(const MethodOptions& options) {
    return static_cast<const OptionsOf<M>&>(options).values();
  }
  static auto at(const MethodOptions& options, std::int64_t step, bool fresh, const double* numbers) {
    auto out = step_at<M>(values(options), options.lr(), static_cast<double>(step), step == 1 || fresh);
    if constexpr (requires { out.scalars; }) out.scalars = numbers;
    return out;
  }

  Compiled<M> compiled_;
};

// A method with states of 8 bits, as methods/block_method.hpp describes it.
template <class M>
class CodedMethodOf final : public Method {
 public:
  using Rule = typename M::Rule;
  static constexpr std::size_t kCoded = M::kSigned.size();
  static_assert(2 * kCoded <= kMaxBuffers && optional_buffers<Rule>() == (1u << kBuffers<Rule>)-(1u << kCoded));

  using Values = typename M::Values;
  explicit CodedMethodOf(const kernels::RuleLoops& (*loops)(),
                         void (*set_device_values)(cuda::GroupOptions&, const Values&) = nullptr)
      : loops_(loops), set_device_values_(set_device_values) {}

  bool adaptive() const override { return kAdaptive<Rule>; }
  bool rows_may_move() const override { return false; }
  bool by_index() const override { return true; }
  // Its states advance as they are read: a pass before the step would advance them twice.
  bool takes_modifiers() const override { return false; }
  std::vector<BufferSpec> state(const MethodOptions&, c10::IntArrayRef sizes) const override {
    std::vector<BufferSpec> out;
    const std::int64_t size = c10::multiply_integers(sizes);
    for (std::size_t k = 0; k < kCoded; ++k) out.push_back({Rule::kState[k], {size}, true, BufferSpec::Kind::codes});
    for (std::size_t k = 0; k < kCoded; ++k)
      out.push_back({std::string(Rule::kState[k]) + "_scale", {(size + kStateBlock - 1) / kStateBlock}});
    return out;
  }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step, bool,
                     const double* = nullptr) const override {
    const auto& own = static_cast<const OptionsOf<M>&>(options).values();
    const auto at = step_at<Rule>(own, options.lr(), static_cast<double>(step), step == 1);
    kernels::Rule rule = kernels::make_rule<Rule>(loops_(), decay, Rule::constants(own, at));
    rule.step = static_cast<std::uint32_t>(step);
    return rule;
  }
  bool set_device_values(const MethodOptions& options, cuda::GroupOptions& group) const override {
    if (!set_device_values_) return false;
    set_device_values_(group, static_cast<const OptionsOf<M>&>(options).values());
    return true;
  }

 private:
  const kernels::RuleLoops& (*loops_)();
  void (*set_device_values_)(cuda::GroupOptions&, const Values&);
};

// Which of the options that modify a step sets its size.
inline kernels::StepSize step_size(const MethodOptions& options) {
  return options.hold_norm()          ? kernels::StepSize::hold_norm
         : options.trust_ratio()      ? kernels::StepSize::trust_ratio
         : options.update_rms() > 0.0 ? kernels::StepSize::update_rms
                                      : kernels::StepSize::own;
}

// One matrix's step. `param`, `grad` and every buffer, the method's own, are contiguous, on the CPU and not empty.
struct MatrixJob {
  const MethodOptions* options = nullptr;
  std::int64_t step = 0;        // ≥ 1
  std::int64_t row_blocks = 1;  // divides the rows
  const ParamRole* role = nullptr;
  kernels::Dtype dtype = kernels::Dtype::float32;
  torch::Tensor param, grad;
  std::vector<std::string> names;  // of the buffers
  std::vector<torch::Tensor> buffers;
  rules::Decay<double> decay;  // clip factor and l2 enter the update's forming, shrink the last pass
  torch::Tensor update;        // out: what the last pass subtracts `scale` times; in the state's type, like `param`
  double scale = 0.0;
  kernels::Store store{};

  torch::Tensor buffer(std::string_view name) const;  // undefined if the options do not ask for it
};

// Matrices, or tensors of a method of any shape, of one shape under the same options on a device, of which nothing may
// ask for a value.
struct DeviceMatrices {
  const MethodOptions* options = nullptr;
  std::int64_t row_blocks = 1;  // divides the rows
  const ParamRole* role = nullptr;
  torch::Tensor update;                             // [n, rows, cols] in the state's type
  std::vector<std::vector<torch::Tensor>> buffers;  // the method's own, of each matrix
  std::vector<torch::Tensor> params;
  std::vector<torch::Tensor> steps;  // int64 scalars: the number of this step, unless it is refused
  torch::Tensor lr;                  // float64, a scalar: η_t
  torch::Tensor refused;             // bool, a scalar or [n, 1, 1]: the step is not made, and buffers must stay
  // The number of this step as the host counts, which does not know of refused ones.
  std::int64_t number = 0;

  std::vector<torch::Tensor> buffer(std::size_t index) const;  // of all matrices
  torch::Tensor stacked(std::size_t index) const;              // the same behind each other
  // Gives buffer `index` of each matrix its part of `value` [n, …], unless the step is refused.
  void keep(std::size_t index, const torch::Tensor& value);
  torch::Tensor step() const;  // [n] float64
  // Numbers of a standard normal distribution, functions of `number`, stream and index, in the state's type.
  torch::Tensor normals(c10::IntArrayRef sizes, std::uint64_t stream) const;
};

// What the first and the last pass of a matrix method on a device do.
struct DevicePasses {
  bool has_momentum = true;
  kernels::MomentumPass::Constants<double> momentum{};
  double lr_factor = 1.0, constant = 0.0;  // lr times the first and the second are what update is multiplied by
};

// A method whose update is formed from the matrix as a whole and then subtracted by kernels::ApplyPass.
class MatrixMethod : public Method {
 public:
  // The same on a device, where the update comes as the first pass leaves it and goes as what the last one subtracts
  // times its factor. Passes are of tensors of these sizes and so many row blocks.
  virtual bool forms_on_device() const { return false; }
  virtual DevicePasses device_passes(const MethodOptions&, c10::IntArrayRef, std::int64_t, const ParamRole&) const {
    return {};
  }
  virtual void form_on_device(DeviceMatrices&) const { throw std::logic_error("a method without a form on a device"); }
  // Whether this step enqueues there what other steps do, so that a recorded one can stand for it; and whether the
  // first step of a parameter leaves it as it is.
  virtual bool ordinary_on_device(const MethodOptions&, std::int64_t) const { return true; }
  virtual bool first_step_stays() const { return false; }

  // Fills update and scale and advances the buffers. A pure function of the job: the number of threads and what other
  // jobs there are do not change a bit.
  virtual void form_update(MatrixJob& job) const = 0;

  // True if form_update calls LAPACK, which MKL runs differently inside a parallel region: never called there.
  virtual bool factorises() const { return false; }

  // True if the method trains tensors of any shape, whose state may depend on the shape.
  virtual bool any_shape() const { return false; }
};

// The rule of kernels::MomentumPass, and the pass: advances the job's first buffer and fills `update` with the mean.
kernels::Rule momentum_rule(const rules::Decay<double>& decay,
                            const kernels::MomentumPass::Constants<double>& constants);
void momentum_pass(MatrixJob& job, const kernels::Rule& rule);

// The rule of kernels::ReadPass that gives the gradient, with clip factor and l2 decay, and the pass that fills
// `update` with it; and the parameter's values in the state's type, with the low part of compensated rounding.
kernels::Rule gradient_rule(const rules::Decay<double>& decay);
void gradient_pass(MatrixJob& job, const kernels::Rule& rule);
torch::Tensor param_values(const MatrixJob& job);

// A matrix method: a struct M, all of whose members are static, with
//  - kName, kSource, kDefaults, SCALEVEC_OPTIONS(…) as an elementwise method has them (core/method_traits.hpp);
//  - state(values, rows, cols), its BufferSpecs; the first is a momentum of the matrix's shape;
//  - momentum(values, step), the constants of the pass kernels::MomentumPass that advances it; without it there is no
//    such buffer, and job.update comes as the gradient;
//  - form_update(values, job): job.update comes as the mean that this pass gives, in the state's type, and goes as what
//    job.scale times is subtracted; job.row_blocks are matrices of their own where that means anything;
//  - form_on_device(values, matrices), MatrixMethod's, if momentum() does not depend on the step, and lr_scale(values,
//    sizes, row_blocks, role), where the last pass multiplies by lr times that; without it form_on_device()
//    puts the lr into the update; ordinary(values, step), if it does not enqueue the same at every step; and
//    kFirstStepStays, if a parameter's first step does not move it;
// and where it applies kFactorises, kRowsStay (state is not by row), flops(values, rows, cols) of one row block, and
// kAnyShape, whose state(values, sizes) is of a tensor of any shape.
template <class M>
concept kAnyShape = requires {
  requires M::kAnyShape;
};
template <class M>
concept kRowsStay = requires {
  requires M::kRowsStay;
};
template <class M>
concept kFactorises = requires {
  requires M::kFactorises;
};
template <class M>
concept kHasMomentum = requires(typename M::Values v) {
  M::momentum(v, std::int64_t{1});
};
template <class M>
concept kFormsOnDevice = requires(typename M::Values v, DeviceMatrices& matrices) {
  M::form_on_device(v, matrices);
};
template <class M>
class MatrixMethodOf final : public MatrixMethod {
 public:
  std::vector<BufferSpec> state(const MethodOptions& options, c10::IntArrayRef sizes) const override {
    if constexpr (kAnyShape<M>)
      return M::state(values(options), sizes);
    else
      return M::state(values(options), sizes[0], sizes[1]);
  }
  bool same_buffers(const MethodOptions& a, const MethodOptions& b) const override { return values(a) == values(b); }
  bool rows_may_move() const override { return !kRowsStay<M>; }
  bool factorises() const override { return kFactorises<M>; }
  bool any_shape() const override { return kAnyShape<M>; }
  double flops(const MethodOptions& options, c10::IntArrayRef sizes, std::int64_t row_blocks) const override {
    if (sizes.size() < 2) return 0.0;
    const double blocks = static_cast<double>(row_blocks);
    if constexpr (requires(typename M::Values v) { M::flops(v, 1.0, 1.0); })
      return blocks * M::flops(values(options), static_cast<double>(sizes[0]) / blocks, static_cast<double>(sizes[1]));
    else
      return 0.0;
  }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step, bool,
                     const double*) const override {
    if constexpr (kHasMomentum<M>)
      return momentum_rule(decay, M::momentum(values(options), step));
    else
      return gradient_rule(decay);
  }
  void form_update(MatrixJob& job) const override {
    if constexpr (kHasMomentum<M>)
      momentum_pass(job, rule(*job.options, job.decay, job.step, false, nullptr));
    else
      gradient_pass(job, rule(*job.options, job.decay, job.step, false, nullptr));
    M::form_update(values(*job.options), job);
  }

  bool forms_on_device() const override { return kFormsOnDevice<M>; }
  DevicePasses device_passes(const MethodOptions& options, c10::IntArrayRef sizes, std::int64_t row_blocks,
                             const ParamRole& role) const override {
    DevicePasses out;
    if constexpr (kFormsOnDevice<M>) {
      out.has_momentum = kHasMomentum<M>;
      if constexpr (kHasMomentum<M>) out.momentum = M::momentum(values(options), std::int64_t{2});
      if constexpr (requires(typename M::Values v, ParamRole r) { M::lr_scale(v, sizes, row_blocks, r); })
        out.lr_factor = M::lr_scale(values(options), sizes, row_blocks, role);
      else
        out.lr_factor = 0.0, out.constant = 1.0;
    }
    return out;
  }
  bool ordinary_on_device(const MethodOptions& options, std::int64_t step) const override {
    if constexpr (requires(typename M::Values v) { M::ordinary(v, step); })
      return M::ordinary(values(options), step);
    else
      return true;
  }
  bool first_step_stays() const override {
    if constexpr (requires { M::kFirstStepStays; })
      return M::kFirstStepStays;
    else
      return false;
  }
  void form_on_device(DeviceMatrices& matrices) const override {
    if constexpr (kFormsOnDevice<M>)
      M::form_on_device(values(*matrices.options), matrices);
    else
      MatrixMethod::form_on_device(matrices);
  }

 private:
  static const typename M::Values& values(const MethodOptions& options) {
    return static_cast<const OptionsOf<M>&>(options).values();
  }
};

}  // namespace scalevec
