#pragma once

#include <c10/core/TensorImpl.h>
#include <torch/optim/optimizer.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "optim/core/traces.hpp"
#include "optim/core/update_rules.hpp"
#include "optim/method_options.hpp"
#include "optim/named_param.hpp"
#include "optim/state_memory.hpp"

namespace scalevec {

class ElementwiseMethod;
class Method;
struct ParamState;
struct SavedOptimizer;
struct SavedParam;
class StepShard;

namespace kernels {
enum class Dtype : std::uint8_t;
enum class Rounding : std::uint8_t;
struct Job;
struct Modifier;
struct Store;
}  // namespace kernels

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

// The rows, along the first dimension, that replace_param() keeps: row i of the new parameter is row from[i] of the old
// one; -1 is a new row, whose state starts at zero. Empty: the rows that both have keep their places.
struct KeepRows {
  std::vector<std::int64_t> from;
};

// The traces of one step: a row per parameter, and one per trace_group().
struct TracedStep {
  std::vector<TraceRow> params, groups;
};

// An optimizer whose every group's options name the method that trains it. It is a torch::optim::Optimizer: zero_grad,
// add_param_group, torch::optim schedulers, torch::save and torch::load work on it. Parameters must be distinct, apart
// in memory, strided and real; a parameter without a gradient is left alone and keeps its step count. What a program
// may do between two steps, and what becomes of the state: docs/optimizers/in-your-program.md. CUDA
// parameters step on their device, where nothing waits for it unless the step is traced (docs/cuda.md says which do
// not); see set_check_finite().
class Optimizer : public torch::optim::Optimizer {
 public:
  // Groups without options take `defaults`. Throws std::invalid_argument for a duplicate parameter or name, parameters
  // that overlap in memory, options of a foreign type or out of range, a tensor that its method cannot train. `names`
  // as in set_names().
  Optimizer(const std::vector<torch::optim::OptimizerParamGroup>& groups, std::unique_ptr<MethodOptions> defaults,
            const std::vector<NamedParam>& names = {});

  // Names and roles for traces, messages, row blocks and saved state; a parameter not named here is "param.G.I" (group,
  // index). Throws std::invalid_argument for a name that two parameters would have, with nothing changed.
  void set_names(const std::vector<NamedParam>& params);

  // As the base class's, but a group that does not fit is refused here (std::invalid_argument), with nothing changed.
  // By a reference to the base class it is refused by the next step.
  void add_param_group(const torch::optim::OptimizerParamGroup& group);

  // The parameter `replacement` takes the place of `old`, with its name and those rows of its state that `rows` keeps.
  // `replacement` may be `old` itself, resized since the last step, and of another dtype or device. Values and
  // gradients are the caller's. Throws std::invalid_argument, with nothing changed, for an `old` that is not here, a
  // `replacement` that already is, a row that the old parameter has not, other dimensions after the first, or state
  // that is not by row (SOAP's; see reset_state()).
  void replace_param(const torch::Tensor& old, const torch::Tensor& replacement, const KeepRows& rows = {});

  // Drops the parameter's state: its next step is a first one.
  void reset_state(const torch::Tensor& param);

  // Runs the closure, if any, once with gradients enabled and returns its loss; then updates every parameter that has a
  // gradient and raises its version counter. Gradients in memory are not modified: the clip factor enters the update.
  // What throws before the update (parameters, options or gradients that do not fit, a decomposition that does not
  // converge, memory) leaves parameters, state, step counts and traces as they were; a device or a network that fails
  // in the update does not.
  torch::Tensor step(LossClosure closure = nullptr) override;

  // For methods that learn curvature from sampled labels (Sophia), every hessian_every() steps before step(): runs the
  // closure, if any, which leaves the gradients of the mean loss over `samples` labels drawn from the model's own
  // predictions; from them the estimates of all parameters of such methods that have a gradient go on. Parameters and
  // step counts stay, other methods' parameters are left alone, and there is no clipping. Throws as step() does, with
  // nothing changed; on a GPU that has all these parameters, gradients that are not finite make it a no-op in
  // refused_steps().
  void update_hessian(double samples, const LossClosure& closure = nullptr);
  // The least that a group's method asks for; 0: none does.
  std::int64_t hessian_every() const;

  // Where a method trains at other weights than those to validate, to keep and to export (schedule-free), puts the
  // latter in the parameters' place and, with `on` false, back what trains, to the bit. In between step() throws
  // std::logic_error. Costs a copy of these parameters while it is on.
  void use_average_weights(bool on);
  bool average_weights() const { return !averaged_.empty(); }
  // Whether a group's method has such weights.
  bool has_average_weights() const;

  // The global norm over members that gradients are clipped to: factor min(1, max_norm/(‖g‖ + 1e-6)). 0: no clipping.
  void set_max_norm(double max_norm);
  double max_norm() const { return max_norm_; }

  // Whether step() refuses gradients that are not finite; on by default. With both this and clipping off, the step
  // reads each gradient once only. Where all parameters step on a CUDA device, step() does not wait for the answer: it
  // throws nothing, the device leaves everything as it is, and refused_steps() counts it.
  void set_check_finite(bool on) { check_finite_ = on; }
  std::int64_t refused_steps() const;

  // Every group's lr becomes initial_lr · factor: how a Schedule is applied.
  void set_lr_factor(double factor);

  // For the option qk_clip: element l is the largest attention logit of each query head of layer l [heads], undefined
  // where it is not wanted, over the batch of the next step. That step multiplies the rows of the layer's maps to
  // queries and keys (roles with the sites attn.q and attn.k) after its update, and takes these numbers with it; traces
  // are of the update alone. Logits must be linear in the queries and in the keys: neither norm nor cap behind them. A
  // step with qk_clip without them throws std::logic_error; a layer of which either map has no gradient is left alone.
  void set_max_logits(std::vector<torch::Tensor> of_layers) { max_logits_ = std::move(of_layers); }
  // Whether a group has qk_clip.
  bool clips_logits() const;

  // The next step that is made accumulates the sums of its traces; only that one.
  void trace_next_step() { trace_ = true; }

  // One row per parameter that the last traced step updated, in the order of the groups; and one per trace_group().
  const std::vector<TraceRow>& traces() const { return traces_; }
  const std::vector<TraceRow>& group_traces() const { return group_traces_; }

  // Of the last step, over the members of the clip norm and before clipping; NaN if the step did not need it.
  // Both wait for a device that made the step.
  double grad_norm() const;
  double clip_factor() const;

  // The names in the order of named_state().
  std::vector<std::string> names() const;

  // The whole state by name: "NAME/step" (int64 scalar), "NAME/method" (its name's bytes, uint8) and "NAME/BUFFER" for
  // every buffer held, in the order of the groups. Buffers are the live ones. Parameters never stepped have none.
  std::vector<std::pair<std::string, torch::Tensor>> named_state() const;

  // Copies a state written by named_state() of an optimizer with the same parameters; "NAME/method" may be missing, as
  // in version 0.1. Throws std::invalid_argument naming what is missing, left over, of another method or shape, with
  // nothing changed.
  void load_named_state(const std::vector<std::pair<std::string, torch::Tensor>>& state);

  // Options and state of every group, each tagged with its method, max_norm and whether gradients are checked. load()
  // also reads archives of version 0.1 and those of torch::optim's Adam, AdamW, SGD, RMSprop and Adagrad into their
  // method. Where all parameters have names on both sides, state and options go by name, else by position and shape.
  // Options are assigned to the groups' own objects. Throws std::invalid_argument, one line with what was found and
  // expected, with nothing changed.
  void save(torch::serialize::OutputArchive& archive) const override;
  void load(torch::serialize::InputArchive& archive) override;

 private:
  friend class StepHooks;

  struct Identity {
    std::string name;
    std::string group;
    std::int64_t row_blocks;
    c10::weak_intrusive_ptr<c10::TensorImpl> tensor;  // watched, so that its address is no other tensor's
    ParamRole role;
  };
  // One parameter as the last check found it, so that a step makes no names, looks nothing up that stays, and sees what
  // has changed.
  struct Entry {
    torch::Tensor param;
    MethodOptions* options = nullptr;
    const Method* method = nullptr;
    const ElementwiseMethod* elementwise = nullptr;  // `method`, if it is one
    bool matrix = false;
    bool fitted = false;  // its state is known to be what the options ask for, laid out as a step needs it
    kernels::Dtype dtype{};
    kernels::Rounding rounding{};
    std::uint64_t stream = 0;  // of stochastic rounding: a function of the name
    std::string name, group = "params";
    std::int64_t row_blocks = 1;
    ParamRole role;
    c10::DimVector sizes, strides;
    torch::Dtype scalar_type{};
    torch::Device device{torch::kCPU};
    void* data = nullptr;           // of the first element
    const void* storage = nullptr;  // and where the storage begins that it lies in, so many elements before
    std::int64_t offset = 0;
    bool dense = false;       // its elements neither overlap nor have gaps
    bool modified = false;    // the options change the method's step
    bool as_it_lies = false;  // a step's elements are those in memory in their order
    bool on_host = false;     // on the CPU, and a kernel there can write it as it is
    bool has_version = true;  // not so for a tensor made in inference mode

    bool as_noted() const;
    void follow_options();  // sets what depends on the options' values
    kernels::Store store(const ParamState& state) const;
    kernels::Modifier modifier(const ParamState& state) const;
    std::int64_t modified_parts() const;  // the equal parts whose sums a modifier takes
  };
  struct CheckedGroup {
    const void* options;
    size_t size;
    std::unique_ptr<MethodOptions> checked;  // their values at the last check
  };
  struct Norm {
    bool on_device = false;  // norm and factor are the device's
    double grad_norm = kNoTrace;
    double factor = 1.0;
  };
  // A traced step whose sums a device has; `names` holds what `inputs` point to.
  struct DeferredTraces {
    std::vector<std::string> names;
    std::vector<TraceInput> inputs;
    std::int64_t ago = 0;        // launches since
    std::vector<StepSums> sums;  // empty until they are read
  };
  struct Slot;
  struct NewStates;
  struct Matrices;
  struct Measures;
  // Maps to queries and keys [heads·head_dim, ...] with what the rows of each head are multiplied by, float64 [heads].
  struct LogitClip {
    std::vector<std::pair<torch::Tensor, torch::Tensor>> rows;

    // `refused`: undefined, or a bool scalar on the device that says whether the step was refused.
    void run(const torch::Tensor& refused) const;
  };

  void check_layout(bool anew = false);
  void check_options();
  void check_parameters();
  static void check_overlap(const std::vector<Entry>& entries);
  std::vector<void*> left_states() const;
  std::vector<Slot> slots_with_gradients();
  bool on_device(const torch::Tensor& param, const MethodOptions& options);
  Norm clip_and_check(const std::vector<Slot>& slots) const;
  static rules::Decay<double> decay_of(const MethodOptions& options, double clip_factor);
  void find_states(std::vector<Slot>& slots, NewStates& made);
  std::unique_ptr<ParamState> fitted_state(const Entry& entry, const torch::Tensor& work, bool on_device,
                                           const ParamState* held, bool& fresh);
  void add_elementwise(std::vector<Slot>& slots, double clip_factor, std::vector<kernels::Job>& jobs,
                       std::vector<size_t>& members) const;
  void plan_measures(const std::vector<Slot>& slots, double clip_factor, const std::vector<kernels::Job>& jobs,
                     const std::vector<size_t>& members, Measures& measures) const;
  void run_measures(std::vector<Slot>& slots, double clip_factor, Measures& measures,
                    std::vector<kernels::Job>& jobs) const;
  void form_updates(const std::vector<Slot>& slots, double clip_factor, Matrices& matrices) const;
  std::vector<cuda::CudaEntry> device_entries(const std::vector<Slot>& slots) const;
  bool owned(const std::string& name) const;
  void refuse_averages(const char* what) const;
  // See StepHooks.
  bool update_device(bool traced);
  bool next_is_ordinary() const;
  void note_replay(bool traced);
  template <class Body>
  void for_device_states(const Body& body) const;
  void make_room(size_t entries);
  void note_launch(bool traced);
  void read_sums();
  std::vector<TracedStep> take_traces();
  LogitClip plan_logit_clip(bool on_device) const;
  void share_step(const std::vector<Slot>& slots, std::vector<StepSums>& sums);
  void prepare_traces(const std::vector<Slot>& slots);
  void record_traces(const std::vector<StepSums>& sums);
  std::unordered_map<const void*, Identity> with_names(const std::vector<NamedParam>& params) const;
  const Identity* identity(const torch::Tensor& param) const;
  std::string name_of(const torch::Tensor& param, size_t group, size_t index) const;
  std::unique_ptr<ParamState> read_state(const torch::Tensor& param, const MethodOptions& options,
                                         const SavedParam& saved, const std::string& where);
  static SavedOptimizer read_archive(torch::serialize::InputArchive& archive);
  SavedOptimizer read_torch_archive(torch::serialize::InputArchive& archive) const;
  void take(SavedOptimizer saved);

  std::unordered_map<const void*, Identity> identities_;
  std::vector<CheckedGroup> groups_;  // as of the last check
  std::vector<Entry> entries_;        // of those groups, in their order
  bool layout_is_new_ = false;        // since the last step
  StateMemory memory_;
  double max_norm_ = 0.0;
  bool check_finite_ = true;
  bool trace_ = false;
  std::vector<torch::Tensor> max_logits_;  // of the next step
  double grad_norm_ = kNoTrace;
  double clip_factor_ = 1.0;
  std::shared_ptr<StepShard> shard_;          // none: all parameters are ours
  std::shared_ptr<cuda::DeviceStep> device_;  // made when a parameter is on CUDA
  bool norm_on_device_ = false;               // the last step's norm and factor are the device's
  bool defers_traces_ = false;                // see StepHooks
  bool recording_ = false;
  std::vector<DeferredTraces> deferred_;
  std::vector<TraceRow> traces_;
  std::vector<TraceRow> group_traces_;
  // Of the step being made, and then the memory of the last but one.
  std::vector<TraceInput> trace_inputs_;
  std::vector<TraceRow> next_traces_;
  GroupTraces next_group_traces_;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> averaged_;  // parameters and what trains, while it is not there
};

// The average weights of an optimizer, while this lives.
class AverageWeights {
 public:
  explicit AverageWeights(Optimizer& optimizer) : optimizer_(optimizer), ours_(!optimizer.average_weights()) {
    optimizer_.use_average_weights(true);
  }
  AverageWeights(const AverageWeights&) = delete;
  AverageWeights& operator=(const AverageWeights&) = delete;
  ~AverageWeights() {
    if (ours_) optimizer_.use_average_weights(false);
  }

 private:
  Optimizer& optimizer_;
  bool ours_;
};

}  // namespace scalevec
