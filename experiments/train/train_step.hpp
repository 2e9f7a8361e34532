#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "experiments/train/phases.hpp"
#include "experiments/train/step_graph.hpp"
#include "models/decoder.hpp"
#include "models/model.hpp"
#include "optim/optimizer.hpp"

namespace scalevec::experiments {

struct StepShape {
  std::int64_t parts = 1;   // micro-batches
  std::int64_t rows = 1;    // sequences in each, of one process
  std::int64_t length = 1;  // tokens in each sequence, including the last target
  double divisor = 1.0;     // the loss of a micro-batch is divided by this before it is added to that of the step
  bool autocast = false;    // bfloat16
};

// The computation of a training step: forward and backward of every micro-batch, then the optimizer. It does not read
// data and does not wait for the device.
class TrainStep {
 public:
  TrainStep(models::Model& model, Optimizer& optimizer, const StepShape& shape, torch::Device device, Phases& phases);

  // The loss of tokens [rows, length], with the autocast of the step.
  torch::Tensor loss_of(const torch::Tensor& tokens, std::int64_t step);

  // The same on labels drawn from the model's predictions (Model::sampled_loss), divided as backward() divides it.
  torch::Tensor sampled_loss(const torch::Tensor& tokens, const torch::Tensor& uniform);

  // Adds the gradients of every micro-batch of step `step` and returns the loss of the step, a float64 scalar on the
  // device. `tokens(part)` returns the tokens of each micro-batch in turn. `before_last`, if given, is called before
  // the last backward.
  torch::Tensor backward(std::int64_t step, const std::function<torch::Tensor(std::int64_t part)>& tokens,
                         const std::function<void()>& before_last = nullptr);

  // The whole step for a model whose loss does not depend on the step. `tokens` [parts, rows, length] on the host is
  // copied to a fixed place on the device. All further work is the same at the same addresses every time, gradients
  // included. With a graph, the step is recorded after kWarmUp steps, without and with traces, and is replayed from
  // then on, with the current lr; if recording fails, which is said once on stderr, every step is enqueued in the
  // normal way. Nothing waits for the device, unless the optimizer has parameters that it updates on the host; then
  // nothing is recorded. Traces are the optimizer's to take: StepHooks::take_traces() if it defers them.
  void run(const torch::Tensor& tokens, bool trace, StepGraph* graph);
  // For the option qk_clip; nothing without it. Passes the largest attention logits of the last backward() to the
  // optimizer, after `of_all`, if given, has set each to the largest of all processes.
  void pass_max_logits(const std::function<void(std::vector<double>&)>& of_all = nullptr);
  // What was passed last, by layer [heads]; on a device until the next step.
  const std::vector<torch::Tensor>& max_logits() const { return max_logits_; }
  // The part of the loss of the last backward() or run() that comes from the balance of a mixture; NaN: none.
  double balance() const { return balance_.defined() ? balance_.item<double>() : kNoTrace; }
  // The loss of the last run(); waits for the device.
  double loss() const { return loss_.item<double>(); }

  static constexpr int kWarmUp = 3;

 private:
  void enqueue();
  void record(bool trace, StepGraph& graph);

  models::Model& model_;
  Optimizer& optimizer_;
  models::Decoder* const decoder_;  // whose attention logits qk_clip bounds; null: not asked for
  std::vector<torch::Tensor> max_logits_;
  const StepShape shape_;
  const torch::Device device_;
  Phases& phases_;
  torch::Tensor tokens_, loss_;  // of run()
  torch::Tensor balance_;
  // Of the recorded step without and with traces, which leave gradients and logits at their own places.
  std::vector<torch::Tensor> grads_[2], logits_[2];
  int warm_ = 0;
  bool unrecordable_ = false;
};

}  // namespace scalevec::experiments
