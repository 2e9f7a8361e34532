#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "experiments/data/batch_source.hpp"
#include "experiments/record/run_trace.hpp"
#include "experiments/train/gradient_window.hpp"
#include "experiments/train/phases.hpp"
#include "experiments/train/run_config.hpp"
#include "experiments/train/train_step.hpp"
#include "models/model.hpp"
#include "models/model_traces.hpp"
#include "models/safetensors.hpp"
#include "optim/role_policy.hpp"

namespace scalevec::experiments {

class DataParallel;
class ProcessGroup;

// Thrown when the loss or a gradient is not finite. The step has changed nothing.
struct Divergence {
  std::int64_t step;      // the step, counted from 1, that was not made
  std::string parameter;  // the first parameter whose gradient is not finite; empty if all are
  std::string reason;     // one line with both
};

// The traces of a step.
struct StepTraces {
  std::int64_t step = 0;  // counted from 1
  std::vector<RunTraceRow> params, groups;
};

struct StepResult {
  bool known = true;  // false: the step did not wait for the device; loss, norm and factor are not known
  double loss = 0.0;
  double balance_loss = kNoTrace;  // the part of the loss that comes from the balance of a mixture; NaN: none
  double lr = 0.0;                 // the base lr of the step: policy lr × schedule factor
  double grad_norm = 0.0;
  double clip_factor = 1.0;
  int stop_signal = 0;                      // that any rank was stopped by; 0: none
  std::vector<RunTraceRow> params, groups;  // empty unless traced and known
  std::vector<StepTraces> earlier;          // of traced steps before, that did not wait for the device
};

// How the model that a run starts from was changed.
struct StartReport {
  std::vector<std::string> moved, inexact;  // a line each
  double logit_gap = 0.0;                   // of the largest logit
  std::string hugging_face;                 // folder of config.json, tokenizer … that it came with; empty: none
};

// The model of a configuration, on `device` and with its dtype. Every parameter has a role. Throws UsageError if it
// starts from a stored model and would be another function, unless the configuration allows that.
std::unique_ptr<models::Model> make_model(const RunConfig& config, torch::Device device, StartReport* report = nullptr);
std::vector<NamedParam> model_params(const models::Model& model);

// Throws UsageError if a rule has qk_clip and it cannot bound the logits of this model.
void check_qk_clip(const models::Model& model, const RolePolicy& policy);

// The policy of the configuration. Throws ConfigError, whose message starts with "optimizer".
RolePolicy read_policy(const RunConfig& config);

// The data of a configuration; null for a toy. Throws UsageError if a token is not in the model's vocabulary, if the
// training data has less than one batch, or if the validation data has no sequence.
std::unique_ptr<BatchSource> open_source(const RunConfig& config);

// cpu or cuda, according to the configuration. Throws UsageError if cuda is required and not available.
torch::Device choose_device(const RunConfig& config);

// Model, optimizer and data of one run in memory, one step at a time. Does not read or write files of the run.
class Session {
 public:
  // With a group, every rank has its own session and makes the same calls; the results are those of one process.
  explicit Session(const RunConfig& config, std::shared_ptr<ProcessGroup> group = nullptr);

  // From now on, makes steps as on a CUDA device; requires one process and token data. `device`, if given, updates the
  // parameters in place of the CUDA kernels, for tests without a GPU. The constructor calls this if the device is CUDA.
  void use_device(std::unique_ptr<StepGraph> graph, std::shared_ptr<cuda::DeviceStep> device = nullptr);

  // `call` is called in every step on the host, between the backward pass and the first change of the state. From the
  // start of the step until then, weights() and optimizer_state() are those of steps_done(), unless the model has
  // buffers.
  void set_before_update(std::function<void()> call) { before_update_ = std::move(call); }

  // Makes step number steps_done() + 1. `stop_signal` is the signal that this rank received; the result contains that
  // of any rank. Throws Divergence, on every rank. Without `wait`, a step on a CUDA device is only enqueued if the
  // device has all its methods. A divergence is then reported by the next step that waits, as are traces; until then,
  // the device has refused every update that was not finite.
  StepResult step(bool trace, int stop_signal = 0, bool wait = true);

  // Waits for the device, and returns the traces that no step's result has had yet.
  std::vector<StepTraces> take_traces();

  // The mean loss over the fixed validation sequences, in nats per token; for a toy, the loss without noise minus its
  // minimum.
  double validate();

  // The training batch of a step, counted from 0: [batch_size, sequence_length + 1] int64. Not for a toy.
  torch::Tensor train_tokens(std::int64_t step) const;
  // The first `rows` validation sequences, in the same form.
  torch::Tensor validation_tokens(std::int64_t rows) const;

  std::int64_t steps_done() const { return steps_done_; }
  std::int64_t tokens_per_step() const;
  const RunConfig& config() const { return config_; }
  const models::Model& model() const { return *model_; }
  const BatchSource* source() const { return source_.get(); }
  void check_data_unchanged() {
    if (source_) source_->check_unchanged();
  }
  const RolePolicy& policy() const { return policy_; }
  const std::vector<PolicyRow>& policy_rows() const { return policy_rows_; }
  const std::vector<NamedParam>& params() const { return params_; }
  torch::Device device() const { return device_; }
  // Empty unless the run starts from a stored model.
  const StartReport& start() const { return start_; }
  // The time that the parts of the steps took.
  Phases& phases() { return phases_; }

  // Parameters, and optimizer state, by name.
  models::NamedTensors weights() const;
  // The weights that validate() is of, where the optimizer trains at others; else empty. Every rank must call it.
  models::NamedTensors average_weights();
  // With a group, rank 0 gets the whole state and the other ranks nothing; every rank must call it.
  models::NamedTensors optimizer_state() const;
  // Sets the state. Throws std::invalid_argument with the name of what does not fit.
  void restore(std::int64_t steps_done, const models::NamedTensors& weights,
               const models::NamedTensors& optimizer_state);
  // Sends what rank 0 has restored, or that it has restored nothing, to every rank; every rank must call it.
  void share_restored();

 private:
  void start_from(const StartFrom& from);
  torch::Tensor batch(std::int64_t first, std::int64_t count);
  torch::Tensor host_batch();
  void step_on_host(StepResult& result, bool trace, bool reports);
  void step_on_device(StepResult& result, bool trace, bool reports, bool wait);
  void refuse_if_not_finite(double loss) const;
  void sample_gradients();
  void update_hessian();
  models::ModelTraces& model_traces();
  void add_traces(StepResult& result, bool trace, bool reports);  // of the step just made
  void add_pending_traces(StepResult& result);
  torch::Tensor backward();  // returns the step's loss; with a group, this rank's part of it
  double backward_on_every_rank(StepResult& result);
  void pass_max_logits();
  void add_max_logits(std::vector<RunTraceRow>& rows, const std::vector<torch::Tensor>& logits) const;

  const RunConfig config_;
  torch::Device device_;
  StartReport start_;
  std::unique_ptr<models::Model> model_;
  std::vector<NamedParam> params_;
  RolePolicy policy_;
  std::vector<PolicyRow> policy_rows_;  // of params_
  std::unique_ptr<Optimizer> optimizer_;
  std::unique_ptr<BatchSource> source_;
  std::shared_ptr<DataParallel> parallel_;  // null for one process
  models::NamedTensors restored_state_;     // of rank 0, until it is shared
  std::int64_t steps_done_ = 0;
  // What is left to do for the traces of a step that did not wait.
  struct PendingTraces {
    std::int64_t step;
    models::ModelTraces::Snapshot model;
    GradientWindow::Taken window;
    std::vector<torch::Tensor> max_logits;  // by layer, on the device
  };
  std::vector<PendingTraces> pending_;
  models::ModelTraces::Snapshot snapshot_;             // of the traced step being made on a device
  std::unique_ptr<models::ModelTraces> model_traces_;  // null until a step is traced
  std::unique_ptr<GradientWindow> window_;             // null: signal-to-noise ratios are not asked for
  std::function<void()> before_update_;
  Phases phases_;
  std::unique_ptr<TrainStep> train_step_;
  std::unique_ptr<StepGraph> graph_;  // null: steps are not recorded
  bool on_device_ = false;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> sampled_;  // parameters and gradients on drawn labels
  std::int64_t refused_ = 0;                                      // steps that the device refused, as last read
};

}  // namespace scalevec::experiments
