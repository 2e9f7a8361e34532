#include "optim/cuda/cuda_step.hpp"

#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <stdexcept>
#include <string>
#include <utility>

#if defined(SCALEVEC_CUDA)
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#endif

#include "optim/method.hpp"

namespace scalevec::cuda {
namespace {

Stream current_stream(torch::Device device) {
#if defined(SCALEVEC_CUDA)
  return c10::cuda::getCurrentCUDAStream(device.index()).stream();
#else
  throw std::runtime_error(why_unavailable());
#endif
}

// A nearly full card has memory left in blocks that the caching allocator holds, and cudaMalloc would not see it.
DeviceAllocator caching_allocator() {
#if defined(SCALEVEC_CUDA)
  return {[](std::size_t bytes) { return c10::cuda::CUDACachingAllocator::raw_alloc(bytes); },
          [](void* data) { c10::cuda::CUDACachingAllocator::raw_delete(data); }};
#else
  return {};
#endif
}

kernels::Dtype dtype_of(const torch::Tensor& tensor) {
  switch (tensor.scalar_type()) {
    case torch::kFloat64:
      return kernels::Dtype::float64;
    case torch::kBFloat16:
      return kernels::Dtype::bfloat16;
    case torch::kFloat16:
      return kernels::Dtype::float16;
    default:
      return kernels::Dtype::float32;
  }
}

// qk_clip comes after the step, and reads logits and gradients on the CPU.
bool is_modified(const MethodOptions& options) { return options.modified() || options.qk_clip() != 0.0; }

}  // namespace

GroupOptions group_options(const MethodOptions& options) {
  GroupOptions group;
  const auto* method = dynamic_cast<const ElementwiseMethod*>(&options.implementation());
  if (!method || is_modified(options) || !method->set_device_values(options, group))
    throw std::invalid_argument("method " + std::string(options.method()) +
                                (is_modified(options) ? " with options that modify its step" : "") +
                                " has no CUDA kernel");
  group.coupling = options.decay_coupling();
  group.clip = options.clip();
  group.lr = options.lr();
  group.initial_lr = options.initial_lr();
  group.weight_decay = options.weight_decay();
  group.decay_target = options.decay_target();
  return group;
}

bool known_method(const MethodOptions& options) {
  GroupOptions group;
  const auto* method = dynamic_cast<const ElementwiseMethod*>(&options.implementation());
  return method && !is_modified(options) && method->set_device_values(options, group);
}

std::vector<GroupOptions> groups_of(const std::vector<CudaEntry>& entries, std::vector<TensorJob>& jobs) {
  std::vector<std::pair<const MethodOptions*, bool>> seen;
  std::vector<GroupOptions> groups;
  for (const CudaEntry& e : entries) {
    const std::pair<const MethodOptions*, bool> key(e.options, e.fresh);
    const auto at = std::find(seen.begin(), seen.end(), key) - seen.begin();
    if (static_cast<std::size_t>(at) == seen.size()) {
      seen.push_back(key);
      groups.push_back(group_options(*e.options));
      groups.back().fresh = e.fresh;
    }
    TensorJob job{dtype_of(e.param),
                  static_cast<std::int32_t>(at),
                  e.param.data_ptr(),
                  e.grad.data_ptr(),
                  {},
                  e.step.data_ptr<std::int64_t>(),
                  e.param.numel()};
    job.rounding = e.rounding;
    job.stream = e.stream;
    const bool low = e.rounding == kernels::Rounding::compensated;
    if (low) job.low = static_cast<std::int16_t*>(e.buffers.back().data_ptr());
    std::size_t next = 0;
    for (std::size_t k = 0; k < kMaxBuffers; ++k)
      if (groups[static_cast<std::size_t>(at)].held >> k & 1) job.state[k] = e.buffers[next++].data_ptr();
    jobs.push_back(job);
  }
  return groups;
}

bool handles(const torch::Tensor& param, const MethodOptions& options) {
  const auto dtype = param.scalar_type();
  if (!param.is_cuda()) return false;
  static const bool usable = available();
  return usable && known_method(options) &&
         (dtype == torch::kFloat32 || dtype == torch::kFloat64 || dtype == torch::kBFloat16 ||
          dtype == torch::kFloat16);
}

CudaStep::CudaStep() : kernels_(caching_allocator()) {}

// The tables go back to the allocator, which may give them to another stream while a step still uses them.
CudaStep::~CudaStep() {
#if defined(SCALEVEC_CUDA)
  if (stream_) cudaStreamSynchronize(stream_);
#endif
}

bool CudaStep::update(const std::vector<CudaEntry>& entries, const StepLimits& limits) {
  if (entries.empty()) return true;
  device_ = entries.front().param.device();
  const c10::DeviceGuard guard(device_);
  stream_ = current_stream(device_);
  std::vector<TensorJob> jobs;
  const std::vector<GroupOptions> groups = groups_of(entries, jobs);
  return kernels_.prepare(groups, jobs, limits, stream_);
}

void CudaStep::step(const std::vector<CudaEntry>& entries, const StepLimits& limits, bool sums) {
  if (entries.empty()) return;
  update(entries, limits);
  const c10::DeviceGuard guard(device_);
  kernels_.launch(sums, stream_);
}

Status CudaStep::status() const { return kernels_.status(stream_); }

std::vector<StepSums> CudaStep::step_sums(std::int64_t ago) const { return kernels_.step_sums(stream_, ago); }

}  // namespace scalevec::cuda
