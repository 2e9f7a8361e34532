#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "scalevec/optim/kernels/elementwise.hpp"
#include "scalevec/optim/kernels/matrix_passes.hpp"
#include "scalevec/optim/method_options.hpp"

// What the optimizer asks of a method.
namespace scalevec {

namespace cuda {
struct GroupOptions;
}

// One state tensor that a method may hold, float64 for a float64 parameter and float32 otherwise, starting at zero.
struct BufferSpec {
  std::string name;
  std::vector<std::int64_t> shape;
  bool needed = true;  // under the options of the moment
  // What else than a method's it may be, the optimizer's own: int16 parts, see kernels::split(), or a norm for each row
  // block, see kernels::Modifier.
  enum class Kind : std::uint8_t { of_method, low_part, held_norm } kind = Kind::of_method;
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

  // What torch_method() in optimizer_archive.cpp calls the optimizer of torch::optim whose archives have the same
  // options and buffers; null: none.
  virtual const char* torch_name() const { return nullptr; }

  // Products that the update of a tensor of these sizes and so many row blocks takes beside its passes over memory.
  virtual double flops(const MethodOptions&, c10::IntArrayRef, std::int64_t) const { return 0.0; }

  // Whether a buffer as long as the parameter has a row for each of its rows, so that rows may be moved and dropped.
  virtual bool rows_may_move() const { return true; }

  // The constants of the pass over the elements in the parameter's step number `step` ≥ 1: all of an elementwise
  // method's step, and of a matrix method's the first pass, kernels::MomentumPass. `fresh`: buffers that may change
  // begin at this step.
  virtual kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                             bool fresh) const = 0;
};

// A method whose whole step is one rule on each element. Its buffers are laid out like the parameter.
class ElementwiseMethod : public Method {
 public:
  // Gives the CUDA kernels the rule and the method's own options; false if they do not have the rule.
  virtual bool set_device_values(const MethodOptions&, cuda::GroupOptions&) const { return false; }

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

// Of a method's rule: its loops with the buffers of those bits, and its values for the CUDA kernels, if they have it.
template <class M>
struct Compiled {
  const kernels::RuleLoops& (*loops)(unsigned held);
  void (*set_device_values)(cuda::GroupOptions& group, const typename M::Values& values) = nullptr;
};

// A method as core/method_traits.hpp describes it.
template <class M>
class ElementwiseMethodOf final : public ElementwiseMethod {
 public:
  explicit ElementwiseMethodOf(const Compiled<M>& compiled) : compiled_(compiled) {}

  bool adaptive() const override { return kAdaptive<M>; }
  bool takes_modifiers() const override {
    return !requires { requires M::kUnmodified; };
  }
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
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                     bool fresh) const override {
    const typename M::Values& own = values(options);
    const auto at = step_at<M>(own, options.lr(), static_cast<double>(step), step == 1 || fresh);
    return kernels::make_rule<M>(compiled_.loops(held_buffers<M>(own)), decay, M::constants(own, at));
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

  Compiled<M> compiled_;
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

  torch::Tensor buffer(std::string_view name) const;  // undefined if the options do not ask for it
};

// A method whose update is formed from the matrix as a whole and then subtracted by kernels::ApplyPass.
class MatrixMethod : public Method {
 public:
  // Fills update and scale and advances the buffers. A pure function of the job: the number of threads and what other
  // jobs there are do not change a bit.
  virtual void form_update(MatrixJob& job) const = 0;

  // True if form_update calls LAPACK, which MKL runs differently inside a parallel region: never called there.
  virtual bool factorises() const { return false; }
};

// The rule of kernels::MomentumPass, and the pass: advances the job's first buffer and fills `update` with the mean.
kernels::Rule momentum_rule(const rules::Decay<double>& decay,
                            const kernels::MomentumPass::Constants<double>& constants);
void momentum_pass(MatrixJob& job, const kernels::Rule& rule);

// A matrix method: a struct M, all of whose members are static, with
//  - kName, kSource, kDefaults, SCALEVEC_OPTIONS(…) as an elementwise method has them (core/method_traits.hpp);
//  - state(values, rows, cols), its BufferSpecs; the first is a momentum of the matrix's shape;
//  - momentum(values, step), the constants of the pass kernels::MomentumPass that advances it;
//  - form_update(values, job): job.update comes as the mean that this pass gives, in the state's type, and goes as what
//    job.scale times is subtracted; job.row_blocks are matrices of their own where that means anything;
// and where it applies kFactorises, kRowsStay (state is not by row) and flops(values, rows, cols) of one row block.
template <class M>
class MatrixMethodOf final : public MatrixMethod {
 public:
  std::vector<BufferSpec> state(const MethodOptions& options, c10::IntArrayRef sizes) const override {
    return M::state(values(options), sizes[0], sizes[1]);
  }
  bool same_buffers(const MethodOptions& a, const MethodOptions& b) const override { return values(a) == values(b); }
  bool rows_may_move() const override {
    return !requires { requires M::kRowsStay; };
  }
  bool factorises() const override {
    return requires { requires M::kFactorises; };
  }
  double flops(const MethodOptions& options, c10::IntArrayRef sizes, std::int64_t row_blocks) const override {
    const double blocks = static_cast<double>(row_blocks);
    if constexpr (requires(typename M::Values v) { M::flops(v, 1.0, 1.0); })
      return blocks * M::flops(values(options), static_cast<double>(sizes[0]) / blocks, static_cast<double>(sizes[1]));
    else
      return 0.0;
  }
  kernels::Rule rule(const MethodOptions& options, const rules::Decay<double>& decay, std::int64_t step,
                     bool) const override {
    return momentum_rule(decay, M::momentum(values(options), step));
  }
  void form_update(MatrixJob& job) const override {
    momentum_pass(job, rule(*job.options, job.decay, job.step, false));
    M::form_update(values(*job.options), job);
  }

 private:
  static const typename M::Values& values(const MethodOptions& options) {
    return static_cast<const OptionsOf<M>&>(options).values();
  }
};

}  // namespace scalevec
