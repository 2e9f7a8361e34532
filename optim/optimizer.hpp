#pragma once

#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "scalevec/optim/core/traces.hpp"
#include "scalevec/optim/core/update_rules.hpp"
#include "scalevec/optim/method_options.hpp"
#include "scalevec/optim/named_param.hpp"
#include "scalevec/optim/state_memory.hpp"
#include "scalevec/optim/step_shard.hpp"

namespace scalevec {

struct ParamState;

namespace cuda {
struct CudaEntry;
class DeviceStep;
}  // namespace cuda

// Thrown by step() before any parameter or state has changed.
struct NonFiniteGradient : std::runtime_error {
  explicit NonFiniteGradient(std::string name)
      : std::runtime_error("the gradient of " + name + " is not finite"), parameter(std::move(name)) {}
  std::string parameter;
};

// An optimizer whose every group's options name the method that trains it. It is a torch::optim::Optimizer: zero_grad,
// add_param_group, torch::optim schedulers, torch::save and torch::load work on it. Parameters must be distinct, dense
// and real; a parameter without a gradient is left alone and keeps its step count. The elementwise methods step CUDA
// parameters on their device, where nothing waits for it unless the step is traced; see set_check_finite().
class Optimizer : public torch::optim::Optimizer {
 public:
  // Groups without options take `defaults`. Throws std::invalid_argument for a duplicate parameter, options of a
  // foreign type or out of range, a tensor that its method cannot train. `names` as in set_names().
  Optimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups, std::unique_ptr<MethodOptions> defaults,
            const std::vector<NamedParam>& names = {});

  // Names and roles for traces, messages and row blocks; a parameter not named here is "param.G.I" (group, index).
  void set_names(const std::vector<NamedParam>& params);

  // Runs the closure, if any, once with gradients enabled and returns its loss; then updates every parameter. Gradients
  // in memory are not modified: the clip factor enters the update.
  torch::Tensor step(LossClosure closure = nullptr) override;

  // The global norm over members that gradients are clipped to: factor min(1, max_norm/(‖g‖ + 1e-6)). 0: no clipping.
  void set_max_norm(double max_norm) { max_norm_ = max_norm; }
  double max_norm() const { return max_norm_; }

  // Whether step() refuses gradients that are not finite; on by default. With both this and clipping off, the step
  // reads each gradient once only. Where all parameters step on a CUDA device, step() does not wait for the answer: it
  // throws nothing, the device leaves everything as it is, and refused_steps() counts it.
  void set_check_finite(bool on) { check_finite_ = on; }
  std::int64_t refused_steps() const;

  // Whether the last step was made on a CUDA device alone, so that it can be captured in a CUDA graph.
  bool steps_on_device() const { return norm_on_device_; }
  // For a captured step: brings the options and the clip norm of the moment to the device, whose next replay then takes
  // them. Gradients must be where they were. std::logic_error unless steps_on_device().
  void update_device();

  // Every group's lr becomes initial_lr · factor: how a Schedule is applied.
  void set_lr_factor(double factor);

  // The next step accumulates the sums of its traces; only that one.
  void trace_next_step() { trace_ = true; }

  // One row per parameter that the last traced step updated, in the order of the groups; and one per trace_group().
  const std::vector<TraceRow>& traces() const { return traces_; }
  const std::vector<TraceRow>& group_traces() const { return group_traces_; }

  // Of the last step, over the members of the clip norm and before clipping; NaN if the step did not need it.
  // Both wait for a device that made the step.
  double grad_norm() const;
  double clip_factor() const;

  // From now on this process updates the parameters that it owns and keeps their state only; norm, clip factor, the
  // check of gradients and traces are of all parameters, as one process has them. A parameter must have a gradient on
  // every process or on none. Set it before the first step. named_state() then is this process's part, and
  // load_named_state() takes the whole and keeps that part.
  void set_shard(std::shared_ptr<StepShard> shard) { shard_ = std::move(shard); }

  // The names in the order of named_state().
  std::vector<std::string> names() const;

  // Who steps the parameters that it handles, in place of the CUDA kernels: how a test emulates a device.
  void set_device_step(std::shared_ptr<cuda::DeviceStep> device) { device_ = std::move(device); }

  // The whole state by name: "NAME/step" (int64 scalar) and "NAME/BUFFER", in the order of the groups. Tensors are the
  // live ones. Parameters never stepped have none.
  std::vector<std::pair<std::string, torch::Tensor>> named_state() const;

  // Copies a state written by named_state() of an optimizer with the same layout. Throws std::invalid_argument naming
  // what is missing, left over or of another shape, with nothing changed.
  void load_named_state(const std::vector<std::pair<std::string, torch::Tensor>>& state);

  // Options and state of every group, each tagged with its method, so that mixtures are restored.
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

 private:
  struct Identity {
    std::string name;
    std::string group = "params";
    std::int64_t row_blocks = 1;
  };
  // One parameter as the last layout check found it, so that a step makes no names and looks nothing up that stays.
  struct Entry {
    torch::Tensor param;
    MethodOptions* options;
    bool matrix;
    std::string name, group;
    std::int64_t row_blocks;
  };
  struct Slot;

  void check_layout();
  std::vector<Slot> slots_with_gradients();
  bool on_device(const torch::Tensor& param, const MethodOptions& options);
  void clip_and_check(const std::vector<Slot>& slots);
  std::vector<cuda::CudaEntry> device_entries(const std::vector<Slot>& slots,
                                              const std::vector<ParamState*>& states) const;
  void step_on_device(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                      std::vector<StepSums>& sums);
  rules::Decay<double> decay_of(const MethodOptions& options) const;
  void step_elementwise(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                        std::vector<StepSums>& sums);
  void step_matrices(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                     std::vector<StepSums>& sums);
  void step_matrix_batch(const std::vector<Slot>& slots, const std::vector<ParamState*>& states,
                         const std::vector<size_t>& members, std::vector<StepSums>& sums);
  bool owned(const std::string& name) const { return !shard_ || shard_->owns(name); }
  void share_step(const std::vector<Slot>& slots, std::vector<StepSums>& sums);
  void record_traces(const std::vector<Slot>& slots, const std::vector<StepSums>& sums);
  Identity identity(const torch::Tensor& param) const;
  std::string name_of(const torch::Tensor& param, size_t group, size_t index) const;

  std::unordered_map<const void*, Identity> identities_;
  std::vector<const void*> checked_layout_;  // options and parameters of the groups at the last check
  std::vector<Entry> entries_;               // of that layout, in the order of the groups
  StateMemory memory_;
  double max_norm_ = 0.0;
  bool check_finite_ = true;
  bool trace_ = false;
  double grad_norm_ = kNoTrace;
  double clip_factor_ = 1.0;
  std::shared_ptr<StepShard> shard_;          // none: all parameters are ours
  std::shared_ptr<cuda::DeviceStep> device_;  // made when a parameter is on CUDA
  bool norm_on_device_ = false;               // the last step's norm and factor are the device's
  std::vector<TraceRow> traces_;
  std::vector<TraceRow> group_traces_;
};

}  // namespace scalevec
