#pragma once

#include <torch/types.h>

#include <cstdint>
#include <functional>
#include <memory>
#include <vector>

#include "scalevec/experiments/train/phases.hpp"
#include "scalevec/experiments/train/step_graph.hpp"
#include "scalevec/models/model.hpp"
#include "scalevec/optim/optimizer.hpp"

namespace scalevec {

struct StepShape {
  std::int64_t parts = 1;   // micro-batches
  std::int64_t rows = 1;    // sequences in each, of one process
  std::int64_t length = 1;  // tokens in each sequence, the last target included
  double divisor = 1.0;     // of a micro-batch's loss in the step's
  bool autocast = false;    // bfloat16
};

// The arithmetic of a training step: forward and backward of every micro-batch, then the optimizer. Knows nothing of
// data and waits for no device.
class TrainStep {
 public:
  TrainStep(Model& model, Optimizer& optimizer, const StepShape& shape, torch::Device device, Phases& phases);

  // The loss of tokens [rows, length] under the step's autocast.
  torch::Tensor loss_of(const torch::Tensor& tokens, std::int64_t step);

  // Adds the gradients of every micro-batch of step `step` and returns its loss, float64 on the device. `tokens` is
  // asked for each part in turn; `before_last`, if any, is called before the last backward.
  torch::Tensor backward(std::int64_t step, const std::function<torch::Tensor(std::int64_t part)>& tokens,
                         const std::function<void()>& before_last = nullptr);

  // The whole step, of a model whose loss does not depend on the step, from memory that stays: `tokens` [parts, rows,
  // length] on the host is copied to the device, and all further work is the same at the same addresses every time,
  // gradients included. With a graph the step is recorded when
  // it has been made kWarmUp times without traces and is replayed from then on, with the lr of the moment; a step with
  // traces is enqueued anew. Nothing waits for the device, unless the optimizer has parameters that it steps on the
  // host (then nothing is recorded) or the step is traced.
  void run(const torch::Tensor& tokens, bool trace, StepGraph* graph);
  // Of the last backward() or run(), what a mixture's balance added to the loss; NaN: nothing.
  double balance() const { return balance_.defined() ? balance_.item<double>() : kNoTrace; }
  // Of the last run().
  double loss() const { return loss_.item<double>(); }

  static constexpr int kWarmUp = 3;

 private:
  void enqueue();

  Model& model_;
  Optimizer& optimizer_;
  const StepShape shape_;
  const torch::Device device_;
  Phases& phases_;
  torch::Tensor tokens_, loss_;  // of run()
  torch::Tensor balance_;
  int warm_ = 0;
};

}  // namespace scalevec
