#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "scalevec/experiments/data/batch_source.hpp"
#include "scalevec/experiments/train/gradient_window.hpp"
#include "scalevec/experiments/train/phases.hpp"
#include "scalevec/experiments/train/run_config.hpp"
#include "scalevec/experiments/train/train_step.hpp"
#include "scalevec/models/model.hpp"
#include "scalevec/models/model_traces.hpp"
#include "scalevec/models/safetensors.hpp"
#include "scalevec/optim/role_policy.hpp"

namespace scalevec {

class DataParallel;
class ProcessGroup;

// The loss or a gradient was not finite; nothing was changed in that step.
struct Divergence {
  std::int64_t step;      // the step (from 1) that was not made
  std::string parameter;  // the first one concerned; empty if every gradient is finite
  std::string reason;     // one line with both
};

struct StepResult {
  bool known = true;  // false: the device was not waited for, and loss, norm and factor are not known
  double loss = 0.0;
  double balance_loss = kNoTrace;  // what a mixture's balance adds to the loss; NaN: the model has none
  double lr = 0.0;                 // the base lr of the step: policy lr × schedule factor
  double grad_norm = 0.0;
  double clip_factor = 1.0;
  int stop_signal = 0;                   // of any rank; 0: none
  std::vector<TraceRow> params, groups;  // empty unless traced
};

// What became of a model that a run starts from.
struct StartReport {
  std::vector<std::string> moved, inexact;  // a line each
  double logit_gap = 0.0;                   // of the largest logit
  std::string hugging_face;                 // folder of config.json, tokenizer … that it came with; empty: none
};

// The model a configuration names, on its device with its dtype, every parameter with a role. UsageError where it is to
// start from a stored one and would be another function, unless the configuration allows that.
std::unique_ptr<Model> make_model(const RunConfig& config, torch::Device device, StartReport* report = nullptr);
std::vector<NamedParam> model_params(const Model& model);

// The policy of the configuration; ConfigError messages start with "optimizer".
RolePolicy read_policy(const RunConfig& config);

// Null for a toy. Checks the tokens against the model's vocabulary and that both splits hold a sequence.
std::unique_ptr<BatchSource> open_source(const RunConfig& config);

// cpu or cuda as the configuration says. UsageError where cuda is asked for and not there.
torch::Device choose_device(const RunConfig& config);

// Model, optimizer and data of one run in memory, a step at a time; knows nothing of files.
class Session {
 public:
  // With a group, every rank has a session of its own and makes the same calls; the results are those of one process.
  explicit Session(const RunConfig& config, std::shared_ptr<ProcessGroup> group = nullptr);

  // Makes steps as on a CUDA device from now on: by a single process from token data. `device`: what steps the
  // parameters in place of the CUDA kernels, for a test without one. Called by the constructor where the device is
  // CUDA.
  void use_device(std::unique_ptr<StepGraph> graph, std::shared_ptr<cuda::DeviceStep> device = nullptr);

  // Called in every step on the host between the backward pass and the first change of the state. Until then, from the
  // step's beginning on, weights() and optimizer_state() are those of steps_done(), unless the model has buffers.
  void set_before_update(std::function<void()> call) { before_update_ = std::move(call); }

  // Makes step number steps_done() + 1. `stop_signal`: what this rank was asked to stop by, for all to know. Throws
  // Divergence, on every rank alike. Without `wait` and traces, a step on a CUDA device by methods that the device has
  // is enqueued only, and a divergence shows in the next step that waits: until then the device has refused what was
  // not finite.
  StepResult step(bool trace, int stop_signal = 0, bool wait = true);

  // Mean loss over the fixed validation sequences; a toy's noise-free excess loss.
  double validate();

  // The training batch of a step, from 0 on: [batch_size, sequence_length + 1]. Not of a toy.
  torch::Tensor train_tokens(std::int64_t step) const;
  // The first `rows` validation sequences, alike.
  torch::Tensor validation_tokens(std::int64_t rows) const;

  std::int64_t steps_done() const { return steps_done_; }
  std::int64_t tokens_per_step() const;
  const RunConfig& config() const { return config_; }
  const Model& model() const { return *model_; }
  const BatchSource* source() const { return source_.get(); }
  const RolePolicy& policy() const { return policy_; }
  const std::vector<NamedParam>& params() const { return params_; }
  torch::Device device() const { return device_; }
  // Empty unless the run starts from a stored model.
  const StartReport& start() const { return start_; }
  // What the steps spent their time on.
  Phases& phases() { return phases_; }

  // Parameters, and optimizer state, by name.
  NamedTensors weights() const;
  // With a group, the whole state in rank 0 and nothing elsewhere: every rank calls it.
  NamedTensors optimizer_state() const;
  // Throws std::invalid_argument naming what does not fit.
  void restore(std::int64_t steps_done, const NamedTensors& weights, const NamedTensors& optimizer_state);
  // What rank 0 has restored, or that it has nothing, comes to every rank: every rank calls it.
  void share_restored();

 private:
  void start_from(const StartFrom& from);
  torch::Tensor batch(std::int64_t first, std::int64_t count);
  torch::Tensor host_batch();
  void step_on_host(StepResult& result, bool trace, bool reports);
  void step_on_device(StepResult& result, bool trace, bool reports, bool wait);
  void refuse_if_not_finite(double loss) const;
  void measure_model();
  torch::Tensor backward();  // returns the step's loss; with a group, this rank's part of it
  double backward_on_every_rank(StepResult& result);

  const RunConfig config_;
  torch::Device device_;
  StartReport start_;
  std::unique_ptr<Model> model_;
  std::vector<NamedParam> params_;
  RolePolicy policy_;
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<BatchSource> source_;
  std::shared_ptr<DataParallel> parallel_;  // null for one process
  NamedTensors restored_state_;             // of rank 0, until it is shared
  std::int64_t steps_done_ = 0;
  std::unique_ptr<ModelTraces> model_traces_;  // null until a step is traced
  std::unique_ptr<GradientWindow> window_;     // null: signal-to-noise ratios are not asked for
  std::function<void()> before_update_;
  Phases phases_;
  std::unique_ptr<TrainStep> train_step_;
  std::unique_ptr<StepGraph> graph_;  // null: steps are not recorded
  bool on_device_ = false;
  std::int64_t refused_ = 0;  // steps that the device refused, as last read
};

}  // namespace scalevec
