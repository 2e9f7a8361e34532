#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "experiments/record/run_trace.hpp"
#include "models/safetensors.hpp"
#include "optim/gradient_moments.hpp"
#include "optim/named_param.hpp"
#include "optim/optimizer.hpp"

namespace scalevec::experiments {

// The sum over elements of mean²/variance of the gradient over n steps.
struct SignalSums {
  double ratios = 0.0;    // Σ mean²/variance over the elements that vary
  double elements = 0.0;  // number of those elements
  SignalSums& operator+=(const SignalSums& other);
};

// mean and variance (with divisor n − 1) have the same shape.
SignalSums signal_sums(const torch::Tensor& mean, const torch::Tensor& variance);

// The signal-to-noise ratio of an element: the root of the mean over elements of mean²/variance after subtracting the
// part that normal noise alone would give, √max(0, (n−3)/(n−1)·mean(m²/v) − 1/n) (ours; docs/traces.md). NaN for n < 4
// and if no element varies.
double debiased_snr(const SignalSums& sums, std::int64_t n);

// The running mean and variance of every gradient between two traced steps. Needs two tensors of the size of each
// parameter.
class GradientWindow {
 public:
  // `optimizer` steps the parameters and outlives this.
  GradientWindow(const std::vector<NamedParam>& params, Optimizer& optimizer);

  // Adds the current gradients of the parameters; one that is not defined counts as 0.
  void add();
  // What report() needs, without waiting for a device; the window starts again from zero.
  struct Taken {
    torch::Tensor sums;  // GradientMoments::signal(); undefined for less than 4 steps
    std::int64_t steps = 0;
  };
  Taken take();
  // Sets snr in the rows of parameters and groups.
  void report(const Taken& taken, std::vector<RunTraceRow>& params, std::vector<RunTraceRow>& groups) const;

  // State for a checkpoint, which may contain other tensors too; owns() tells which are ours. restore() throws
  // std::invalid_argument with the name of what is missing.
  models::NamedTensors state() const;
  void restore(const models::NamedTensors& state);
  static bool owns(const std::string& name);

 private:
  std::vector<NamedParam> params_;
  Optimizer* optimizer_;
  GradientMoments moments_;
};

}  // namespace scalevec::experiments
