#pragma once

#include <torch/types.h>

#include <cstdint>
#include <memory>
#include <vector>

namespace scalevec {

namespace cuda {
class DeviceStep;
}

// Of every element of some tensors, the mean of the gradients that were added and Σ (g − mean)², by Welford's update:
// no difference of large sums. In one pass of the optimizers' kernels over all tensors, on the CPU or the device. Ours.
class GradientMoments {
 public:
  // Those of one tensor: zero at first, contiguous with its shape, float64 for float64 and float32 otherwise.
  struct Entry {
    torch::Tensor mean, squares;
  };

  explicit GradientMoments(const std::vector<torch::Tensor>& params);

  // Adds the gradients that the parameters have now; one that is not defined counts as 0. `device`: who steps the
  // parameters on their device, if anyone does; it is used for the passes too.
  void add(cuda::DeviceStep* device);

  // For each parameter the sum over the elements whose gradients vary of mean²/variance (with divisor n − 1), and the
  // number of these elements: [params, 2] float64 on the parameters' device. Waits for nothing. For n ≥ 2.
  torch::Tensor signal(cuda::DeviceStep* device) const;

  void reset();

  std::int64_t count() const { return n_; }   // n, gradients added since the beginning or reset()
  void set_count(std::int64_t n) { n_ = n; }  // of entries that were loaded
  const std::vector<Entry>& entries() const { return entries_; }

 private:
  // Who makes the passes; null for the CPU's kernels.
  cuda::DeviceStep* who(cuda::DeviceStep* device) const;

  mutable std::shared_ptr<cuda::DeviceStep> own_;  // of parameters on a device that no one else steps
  std::vector<torch::Tensor> params_;
  std::vector<Entry> entries_;
  std::int64_t n_ = 0;
};

}  // namespace scalevec
