#pragma once

#include <torch/types.h>

#include <span>
#include <string>
#include <vector>

namespace scalevec {

// How an optimizer's step is divided over processes that hold the same parameters and gradients (ZeRO stage 1,
// Rajbhandari et al., arXiv 1910.02054): each updates the parameters that it owns and has their state alone. Every
// process makes the same calls in the same order; a parameter is owned by exactly one.
class StepShard {
 public:
  virtual ~StepShard() = default;

  virtual bool owns(const std::string& parameter) const = 0;

  // Each value becomes its sum over the processes, the same bits on each.
  virtual void sum(std::span<double> values) = 0;

  // The owners' values of all these parameters, updated or not, come to every process.
  virtual void share(const std::vector<std::string>& names, const std::vector<torch::Tensor>& parameters) = 0;
};

}  // namespace scalevec
