#pragma once

#include <torch/types.h>

#include <memory>
#include <vector>

#include "optim/cuda/matrix_batches.hpp"
#include "optim/cuda/multi_tensor.hpp"
#include "optim/method_options.hpp"

// Between the optimizers and the CUDA kernels. Not installed.
namespace scalevec::cuda {

// One parameter's step. `param` is dense on the device and `grad` is laid out like it, of its dtype; `buffers` are the
// method's state on the device; `step` is an int64 scalar on the device that counts the steps made. `options` outlives
// the call.
struct CudaEntry {
  torch::Tensor param;
  torch::Tensor grad;
  std::vector<torch::Tensor> buffers;
  torch::Tensor step;
  const MethodOptions* options;
  bool fresh = false;  // its buffers begin at this step, which is not the parameter's first
  kernels::Rounding rounding = kernels::Rounding::nearest;  // "compensated": the last buffer is the low part
  std::uint64_t stream = 0;                                 // of "stochastic", by the index of a contiguous `param`
  const MatrixMethod* matrix = nullptr;                     // its method, if it is one; `param` is then contiguous
  std::int64_t row_blocks = 1;
  std::int64_t modified_parts = 1;  // parts whose sums options that modify the step take
  const ParamRole* role = nullptr;
  std::int64_t number = 0;  // of this step, as the host counts
};

// One parameter's gradient, and what is kept of those before it: contiguous, with as many elements, in float64 for
// float64 and float32 otherwise.
struct MomentsEntry {
  torch::Tensor grad, mean, squares;
};

// A device's steps, as the optimizer sees them. All entries of a step are on one device.
class DeviceStep {
 public:
  virtual ~DeviceStep() = default;

  // Whether this can train the parameter.
  virtual bool handles(const torch::Tensor& param, const MethodOptions& options) const = 0;

  // Brings a changed lr or limit to the device without a step: for a step that was captured and is replayed. Returns
  // whether steps that were captured since the last false still do what a new one would.
  virtual bool update(const std::vector<CudaEntry>& entries, const StepLimits& limits) = 0;

  // Enqueues a step; waits for nothing.
  virtual void step(const std::vector<CudaEntry>& entries, const StepLimits& limits, bool sums) = 0;

  // Enqueues the pass by which the methods' buffers learn curvature from `grad`, those of a loss on `samples` sampled
  // labels; waits for nothing. With `check_finite` a gradient that is not finite makes it a no-op, which status()
  // counts as a refused step. All entries' methods have such a pass.
  void curvature(const std::vector<CudaEntry>& entries, double samples, bool check_finite);

  // Enqueue the passes of GradientMoments. The second returns its sums without waiting: [entries, 2] float64 on the
  // device.
  void add_moments(const std::vector<MomentsEntry>& entries, std::int64_t n);
  torch::Tensor signal(const std::vector<MomentsEntry>& entries, std::int64_t n);

  // Whether the last step was refused: a bool scalar on the device, for work enqueued before the next.
  virtual torch::Tensor refused() const = 0;

  // These wait for the last step, whichever stream is current.
  virtual Status status() const = 0;
  virtual std::vector<StepSums> step_sums(std::int64_t ago = 0) const = 0;  // see MultiTensorStep

 protected:
  // Enqueues a pass beside the steps, with tables of its own; waits for nothing. With `sums` it returns those of each
  // job that a pass has: grad_update and inv_denom, [jobs, 2] float64 on the device.
  virtual torch::Tensor pass(torch::Device device, const std::vector<GroupOptions>& groups,
                             const std::vector<TensorJob>& jobs, bool check_finite, bool sums) = 0;

 private:
  // An int64 of each of `size` tensors, which the kernels of a pass count in.
  std::int64_t* counts(torch::Device device, std::size_t size);
  torch::Tensor counts_;
};

// What the kernels know of a method. Throws std::invalid_argument for a method they do not have.
GroupOptions group_options(const MethodOptions& options);

// Whether the kernels have the options' method.
bool known_method(const MethodOptions& options);

// The same, or a matrix method that forms its updates on a device, of a tensor that it trains.
bool steps_on_device(const torch::Tensor& param, const MethodOptions& options);

// Whether CudaStep can train the parameter: on CUDA, of a dtype that the kernels have, and steps_on_device().
bool handles(const torch::Tensor& param, const MethodOptions& options);

// Fills a contiguous float32 or float64 tensor with random_normal(seed, stream, i), where it lies.
void fill_normals(torch::Tensor& out, std::uint64_t seed, std::uint64_t stream);

// The options of the entries' groups. `jobs` receives one for the first pass of each matrix, and then one for each
// entry.
std::vector<GroupOptions> groups_of(const std::vector<CudaEntry>& entries, MatrixBatches& matrices,
                                    std::vector<TensorJob>& jobs);

// The sums of the last launch that a pass has, [jobs, 2], out of those that the device keeps: `launches` int64 [1] is
// the status's, `kept` float64 [kSumsKept, jobs, numbers in StepSums].
torch::Tensor pass_sums(const torch::Tensor& launches, const torch::Tensor& kept);

// On the device that is current when it is made; tables are in memory of LibTorch's caching allocator. Throws
// std::runtime_error with why_unavailable().
class CudaStep : public DeviceStep {
 public:
  CudaStep();
  ~CudaStep() override;

  bool handles(const torch::Tensor& param, const MethodOptions& options) const override {
    return cuda::handles(param, options);
  }

  // All entries are on one device; the step is enqueued on its current stream. Nothing waits for the device, and when
  // the entries' addresses and options are those of the last call it can be captured in a CUDA graph.
  void step(const std::vector<CudaEntry>& entries, const StepLimits& limits, bool sums) override;

  bool update(const std::vector<CudaEntry>& entries, const StepLimits& limits) override;

  torch::Tensor refused() const override;

  // These wait for the last step; see MultiTensorStep.
  Status status() const override;
  std::vector<StepSums> step_sums(std::int64_t ago) const override;

 protected:
  torch::Tensor pass(torch::Device device, const std::vector<GroupOptions>& groups, const std::vector<TensorJob>& jobs,
                     bool check_finite, bool sums) override;

 private:
  // A value in the kernels' tables as a scalar tensor, or `sizes` of them.
  torch::Tensor value_at(const void* base, std::size_t offset, torch::Dtype type, torch::IntArrayRef sizes = {}) const;

  MultiTensorStep kernels_;
  std::unique_ptr<MultiTensorStep> passes_;  // null until it is asked for
  MatrixBatches matrices_;
  std::size_t entries_ = 0;  // of the last step
  torch::Device device_{torch::kCPU};
  Stream stream_ = nullptr;  // of the last step
};

}  // namespace scalevec::cuda
