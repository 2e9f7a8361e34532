#pragma once

#include <torch/types.h>

#include <cstdint>
#include <vector>

#include "scalevec/models/safetensors.hpp"
#include "scalevec/optim/core/traces.hpp"
#include "scalevec/optim/named_param.hpp"

namespace scalevec {

// mean²/variance of a gradient's elements over n steps, added up.
struct SignalSums {
  double ratios = 0.0;    // Σ mean²/variance, over the elements that vary
  double elements = 0.0;  // how many those are
  SignalSums& operator+=(const SignalSums& other);
};

// mean, variance (over n − 1): alike in shape.
SignalSums signal_sums(const torch::Tensor& mean, const torch::Tensor& variance);

// The signal-to-noise ratio of an element: the root of the mean of mean²/variance, less what noise alone gives,
// (n−3)/(n−1)·mean(m²/v) − 1/n, and at least 0 (normal noise; docs/traces.md; ours). NaN for n < 4 and where nothing
// varies.
double debiased_snr(const SignalSums& sums, std::int64_t n);

// The running mean and variance of every gradient between two traced steps: two tensors of each parameter's size.
class GradientWindow {
 public:
  explicit GradientWindow(const std::vector<NamedParam>& params);

  // Takes in the gradients that the parameters hold; one that is not defined counts as 0.
  void add();
  // Gives rows of parameters and of groups their snr, and begins anew.
  void report(std::vector<TraceRow>& params, std::vector<TraceRow>& groups);

  // For a checkpoint, beside other tensors. restore() throws std::invalid_argument naming what is missing.
  NamedTensors state() const;
  void restore(const NamedTensors& state);
  static bool owns(const std::string& name);

 private:
  struct Entry {
    NamedParam param;
    torch::Tensor mean, squares;  // squares: Σ (g − mean)²
  };
  std::vector<Entry> entries_;
  std::int64_t n_ = 0;
};

}  // namespace scalevec
