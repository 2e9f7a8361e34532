#include "optim/cuda/cuda_step.hpp"

#include <ATen/Dispatch.h>
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <c10/core/DeviceGuard.h>

#include <algorithm>
#include <cstddef>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>

#if defined(SCALEVEC_CUDA)
#include <c10/cuda/CUDACachingAllocator.h>
#include <c10/cuda/CUDAStream.h>
#endif

#include "optim/core/random.hpp"
#include "optim/method.hpp"

namespace scalevec::cuda {
namespace {

constexpr std::int64_t kGradUpdate = offsetof(StepSums, grad_update) / sizeof(double);
static_assert(offsetof(StepSums, inv_denom) == (kGradUpdate + 1) * sizeof(double));

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

void set_shared(GroupOptions& group, const MethodOptions& options) {
  group.coupling = options.decay_coupling();
  group.clip = options.clip();
  group.lr = options.lr();
  group.initial_lr = options.initial_lr();
  group.weight_decay = options.weight_decay();
  group.decay_target = options.decay_target();
}

void set_modifier(GroupOptions& group, const MethodOptions& options) {
  group.cautious = options.cautious();
  group.cautious_decay = options.cautious_decay();
  group.size = step_size(options);
  group.rms = options.update_rms();
}

}  // namespace

GroupOptions group_options(const MethodOptions& options) {
  GroupOptions group;
  if (!options.implementation().set_device_values(options, group))
    throw std::invalid_argument("method " + std::string(options.method()) + " has no CUDA kernel");
  set_shared(group, options);
  set_modifier(group, options);
  return group;
}

bool known_method(const MethodOptions& options) {
  GroupOptions group;
  return options.implementation().set_device_values(options, group);
}

bool steps_on_device(const torch::Tensor& param, const MethodOptions& options) {
  // Random numbers are of places in the whole tensor, and its parts may begin anywhere.
  if (options.modified() && options.rounding() == "stochastic" && param.element_size() == 2) return false;
  if (known_method(options)) return true;
  const auto* matrix = dynamic_cast<const MatrixMethod*>(&options.implementation());
  if (!matrix || !matrix->forms_on_device()) return false;
  // Without momentum it reads the parameter, of which the low part would be missing.
  const bool compensated = options.rounding() == "compensated" && param.element_size() == 2;
  const bool reads = !matrix->device_passes(options, param.sizes(), 1, {}).has_momentum;
  return (param.dim() == 2 || matrix->any_shape()) && !(compensated && reads);
}

namespace {

// Of the two passes of a matrix.
GroupOptions matrix_group(const CudaEntry& e, bool first) {
  GroupOptions group;
  const DevicePasses passes = e.matrix->device_passes(*e.options, e.param.sizes(), e.row_blocks, *e.role);
  if (!first)
    set_values<ApplyOnDevice>(group, {passes.lr_factor, passes.constant});
  else if (passes.has_momentum)
    set_values<MomentumOnDevice>(group, {passes.momentum.one_minus_momentum, passes.momentum.mix});
  else
    set_values<ReadOnDevice>(group, {1.0, 0.0});
  set_shared(group, *e.options);
  if (!first) set_modifier(group, *e.options);
  if (!first && e.number == 1 && e.matrix->first_step_stays()) group.weight_decay = 0.0;
  return group;
}

// Those that the group has, in their places; returns how many.
std::size_t set_states(TensorJob& job, const GroupOptions& group, const std::vector<torch::Tensor>& buffers) {
  std::size_t next = 0;
  for (std::size_t k = 0; k < kMaxBuffers; ++k)
    if (group.held >> k & 1) job.state[k] = buffers[next++].data_ptr();
  return next;
}

TensorJob job_of(const CudaEntry& e, std::size_t group) {
  TensorJob job{dtype_of(e.param),
                static_cast<std::int32_t>(group),
                e.param.data_ptr(),
                e.grad.data_ptr(),
                {},
                e.step.data_ptr<std::int64_t>(),
                e.param.numel()};
  job.rounding = e.rounding;
  job.stream = e.stream;
  if (e.rounding == kernels::Rounding::compensated) job.low = static_cast<std::int16_t*>(e.buffers.back().data_ptr());
  return job;
}

}  // namespace

std::vector<GroupOptions> groups_of(const std::vector<CudaEntry>& entries, MatrixBatches& matrices,
                                    std::vector<TensorJob>& jobs) {
  // Options, whether buffers begin, batch of matrices and pass.
  using Key = std::tuple<const MethodOptions*, bool, std::int64_t, bool>;
  std::vector<Key> seen;
  std::vector<GroupOptions> groups;
  const auto group_at = [&](const CudaEntry& e, std::int64_t batch, bool first) {
    const Key key(e.options, e.fresh, batch, first);
    const auto at = static_cast<std::size_t>(std::find(seen.begin(), seen.end(), key) - seen.begin());
    if (at == seen.size()) {
      seen.push_back(key);
      groups.push_back(e.matrix ? matrix_group(e, first) : group_options(*e.options));
      groups.back().fresh = e.fresh;
    }
    return at;
  };
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!entries[i].matrix) continue;
    const std::size_t group = group_at(entries[i], matrices.batch_of(i), true);
    TensorJob& job = jobs.emplace_back(job_of(entries[i], group));
    const bool momentum = groups[group].held == 3;
    if (momentum) job.state[0] = entries[i].buffers.front().data_ptr();
    job.state[momentum ? 1 : 0] = matrices.update_of(i).data_ptr();
  }
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const CudaEntry& e = entries[i];
    const std::size_t group = group_at(e, matrices.batch_of(i), false);
    TensorJob& job = jobs.emplace_back(job_of(e, group));
    if (groups[group].modified()) job.parts = e.modified_parts;
    if (e.options->hold_norm()) job.held_norm = e.buffers[e.buffers.size() - (job.low ? 2 : 1)].data_ptr();
    const std::size_t next = e.matrix ? 0 : set_states(job, groups[group], e.buffers);
    if (const auto* method = dynamic_cast<const ElementwiseMethod*>(&e.options->implementation());
        method && method->numbers() > 0)
      job.numbers = e.buffers[next].data_ptr<double>();
    if (!e.matrix) continue;
    job.state[0] = matrices.update_of(i).data_ptr();
    matrices.note_group(matrices.batch_of(i), static_cast<std::int32_t>(group));
  }
  return groups;
}

bool handles(const torch::Tensor& param, const MethodOptions& options) {
  const auto dtype = param.scalar_type();
  if (!param.is_cuda()) return false;
  static const bool usable = available();
  return usable && steps_on_device(param, options) &&
         (dtype == torch::kFloat32 || dtype == torch::kFloat64 || dtype == torch::kBFloat16 ||
          dtype == torch::kFloat16);
}

void fill_normals(torch::Tensor& out, std::uint64_t seed, std::uint64_t stream) {
  AT_DISPATCH_FLOATING_TYPES(out.scalar_type(), "fill_normals", [&] {
    if (out.is_meta()) return;
    auto* const data = out.data_ptr<scalar_t>();
    if (out.is_cuda()) {
      const c10::DeviceGuard guard(out.device());
      launch_normals(data, out.numel(), seed, stream, current_stream(out.device()));
      return;
    }
    for (std::int64_t i = 0; i < out.numel(); ++i)
      data[i] = static_cast<scalar_t>(random_normal(seed, stream, static_cast<std::uint64_t>(i)));
  });
}

std::int64_t* DeviceStep::counts(torch::Device device, std::size_t size) {
  const auto count = static_cast<std::int64_t>(size);
  if (!counts_.defined() || counts_.numel() < count || counts_.device() != device)
    counts_ = at::zeros({count}, torch::dtype(torch::kInt64).device(device));
  return counts_.data_ptr<std::int64_t>();
}

void DeviceStep::curvature(const std::vector<CudaEntry>& entries, double samples, bool check_finite) {
  if (entries.empty()) return;
  const torch::Device device = entries.front().param.device();
  std::int64_t* const count = counts(device, entries.size());
  std::vector<const MethodOptions*> seen;
  std::vector<GroupOptions> groups;
  std::vector<TensorJob> jobs;
  for (const CudaEntry& e : entries) {
    const auto group = static_cast<std::size_t>(std::find(seen.begin(), seen.end(), e.options) - seen.begin());
    if (group == seen.size()) {
      seen.push_back(e.options);
      dynamic_cast<const ElementwiseMethod&>(e.options->implementation())
          .set_curvature_values(*e.options, samples, groups.emplace_back());
    }
    TensorJob job{dtype_of(e.param),
                  static_cast<std::int32_t>(group),
                  e.param.data_ptr(),
                  e.grad.data_ptr(),
                  {},
                  count + jobs.size(),
                  e.param.numel()};
    set_states(job, groups[group], e.buffers);
    jobs.push_back(job);
  }
  pass(device, groups, jobs, check_finite, false);
}

namespace {

// A pass of one group over the buffers of every entry. The gradient stands in for the parameter, which the pass does
// not look at.
std::vector<TensorJob> moments_jobs(const std::vector<MomentsEntry>& entries, std::int64_t* counts) {
  std::vector<TensorJob> jobs;
  for (const MomentsEntry& e : entries)
    jobs.push_back({dtype_of(e.grad),
                    0,
                    e.grad.data_ptr(),
                    e.grad.data_ptr(),
                    {e.mean.data_ptr(), e.squares.data_ptr()},
                    counts + jobs.size(),
                    e.grad.numel()});
  return jobs;
}

template <class M>
GroupOptions moments_group(double number) {
  GroupOptions group;
  set_values<M>(group, {number});
  group.clip = false;
  return group;
}

}  // namespace

void DeviceStep::add_moments(const std::vector<MomentsEntry>& entries, std::int64_t n) {
  if (entries.empty()) return;
  const torch::Device device = entries.front().grad.device();
  pass(device, {moments_group<MomentsOnDevice>(1.0 / static_cast<double>(n))},
       moments_jobs(entries, counts(device, entries.size())), false, false);
}

torch::Tensor DeviceStep::signal(const std::vector<MomentsEntry>& entries, std::int64_t n) {
  if (entries.empty()) return torch::zeros({0, 2}, torch::kFloat64);
  const torch::Device device = entries.front().grad.device();
  return pass(device, {moments_group<SignalOnDevice>(1.0 / static_cast<double>(n - 1))},
              moments_jobs(entries, counts(device, entries.size())), false, true);
}

torch::Tensor pass_sums(const torch::Tensor& launches, const torch::Tensor& kept) {
  return kept.index_select(0, (launches - 1).remainder(kSumsKept))[0].narrow(1, kGradUpdate, 2).contiguous();
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
  entries_ = entries.size();
  matrices_.fit(entries);
  std::vector<TensorJob> jobs;
  const std::vector<GroupOptions> groups = groups_of(entries, matrices_, jobs);
  return kernels_.prepare(groups, jobs, limits, stream_);
}

void CudaStep::step(const std::vector<CudaEntry>& entries, const StepLimits& limits, bool sums) {
  if (entries.empty()) return;
  update(entries, limits);
  const c10::DeviceGuard guard(device_);
  kernels_.launch_first(stream_);
  if (!matrices_.empty())
    matrices_.form(refused(), [&](std::int32_t group) {
      const std::size_t offset = static_cast<std::size_t>(group) * sizeof(GroupOptions) + offsetof(GroupOptions, lr);
      return value_at(kernels_.device_groups(), offset, torch::kFloat64);
    });
  kernels_.launch_rest(sums, stream_);
}

torch::Tensor CudaStep::pass(torch::Device device, const std::vector<GroupOptions>& groups,
                             const std::vector<TensorJob>& jobs, bool check_finite, bool sums) {
  device_ = device;
  const c10::DeviceGuard guard(device_);
  stream_ = current_stream(device_);
  if (!passes_) passes_ = std::make_unique<MultiTensorStep>(caching_allocator());
  passes_->prepare(groups, jobs, {0.0, check_finite}, stream_);
  passes_->launch(sums, stream_);
  if (!sums) return {};
  constexpr std::int64_t kNumbers = sizeof(StepSums) / sizeof(double);
  const torch::Tensor launches = value_at(passes_->device_status(), offsetof(Status, launches), torch::kInt64, {1});
  const torch::Tensor kept = value_at(passes_->device_sums(), 0, torch::kFloat64,
                                      {kSumsKept, static_cast<std::int64_t>(jobs.size()), kNumbers});
  return pass_sums(launches, kept);
}

torch::Tensor CudaStep::value_at(const void* base, std::size_t offset, torch::Dtype type,
                                 torch::IntArrayRef sizes) const {
  void* place = const_cast<char*>(static_cast<const char*>(base)) + offset;
  // With its device said, since asking the driver for it might end a capture.
  return at::for_blob(place, sizes).options(torch::dtype(type).device(device_)).target_device(device_).make_tensor();
}

torch::Tensor CudaStep::refused() const {
  return value_at(kernels_.device_status(), offsetof(Status, bad_tensor), torch::kInt64) >= 0;
}

Status CudaStep::status() const {
  Status status = kernels_.status(stream_);
  if (passes_) status.refused_steps += passes_->status(stream_).refused_steps;
  return status;
}

std::vector<StepSums> CudaStep::step_sums(std::int64_t ago) const {
  std::vector<StepSums> sums = kernels_.step_sums(stream_, ago);
  sums.erase(sums.begin(), sums.end() - static_cast<std::ptrdiff_t>(entries_));  // of the first passes
  return sums;
}

}  // namespace scalevec::cuda
