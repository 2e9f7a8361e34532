#include "optim/gradient_moments.hpp"

#include <ATen/ops/_foreach_zero.h>
#include <c10/core/DeviceGuard.h>
#include <torch/utils.h>

#include "optim/cuda/cuda_step.hpp"
#include "optim/kernels/library_rules.hpp"
#include "optim/matrix/squares.hpp"
#include "optim/parallel/parallel.hpp"

namespace scalevec {

using torch::Tensor;

namespace {

torch::ScalarType state_type(const Tensor& param) {
  return param.scalar_type() == torch::kFloat64 ? torch::kFloat64 : torch::kFloat32;
}

// The gradient in the order of the buffers' elements.
Tensor ordered(const Tensor& param) {
  const Tensor& grad = param.grad();
  return grad.defined() ? grad.contiguous() : torch::zeros(param.sizes(), param.options().requires_grad(false));
}

// A pass over the CPU's tensors. It reads `values`, of each parameter's type, and does not look at the parameter, for
// which those stand in.
std::vector<kernels::Job> jobs_of(const kernels::Rule& rule, const std::vector<Tensor>& values,
                                  const std::vector<GradientMoments::Entry>& entries) {
  std::vector<kernels::Job> jobs;
  for (std::size_t i = 0; i < values.size(); ++i)
    jobs.push_back({rule,
                    kernels::kernel_dtype(values[i], "gradient"),
                    values[i].data_ptr(),
                    values[i].data_ptr(),
                    {entries[i].mean.data_ptr(), entries[i].squares.data_ptr()},
                    values[i].numel()});
  return jobs;
}

std::vector<cuda::MomentsEntry> device_entries(const std::vector<Tensor>& values,
                                               const std::vector<GradientMoments::Entry>& entries) {
  std::vector<cuda::MomentsEntry> out;
  for (std::size_t i = 0; i < values.size(); ++i) out.push_back({values[i], entries[i].mean, entries[i].squares});
  return out;
}

}  // namespace

GradientMoments::GradientMoments(const std::vector<Tensor>& params) : params_(params) {
  for (const Tensor& p : params) {
    const Tensor zeros = torch::zeros(p.sizes(), p.options().dtype(state_type(p)).requires_grad(false));
    entries_.push_back({zeros, zeros.clone()});
  }
}

cuda::DeviceStep* GradientMoments::who(cuda::DeviceStep* device) const {
  if (device || params_.empty() || params_.front().is_cpu()) return device;
  if (!own_) {
    const c10::DeviceGuard guard(params_.front().device());
    own_ = std::make_shared<cuda::CudaStep>();
  }
  return own_.get();
}

void GradientMoments::add(cuda::DeviceStep* device) {
  const torch::NoGradGuard no_grad;
  ++n_;
  std::vector<Tensor> grads;
  for (const Tensor& p : params_) grads.push_back(ordered(p));
  if (device = who(device); device) {
    device->add_moments(device_entries(grads, entries_), n_);
    return;
  }
  const auto jobs =
      jobs_of(kernels::pass_rule<kernels::MomentsPass>({}, {1.0 / static_cast<double>(n_)}), grads, entries_);
  kernels::step(jobs, {}, parallel_for);
}

Tensor GradientMoments::signal(cuda::DeviceStep* device) const {
  const torch::NoGradGuard no_grad;
  // What the pass reads in place of gradients, which do not matter to it.
  std::vector<Tensor> values;
  for (const Entry& e : entries_) values.push_back(e.mean);
  if (device = who(device); device) return device->signal(device_entries(values, entries_), n_);
  const auto jobs =
      jobs_of(kernels::pass_rule<kernels::SignalPass>({}, {1.0 / static_cast<double>(n_ - 1)}), values, entries_);
  std::vector<StepSums> sums(jobs.size());
  kernels::step(jobs, sums, parallel_for);
  Tensor out = torch::empty({static_cast<std::int64_t>(sums.size()), 2}, torch::kFloat64);
  double* to = out.data_ptr<double>();
  for (const StepSums& of : sums) *to++ = of.grad_update, *to++ = of.inv_denom;
  return out;
}

void GradientMoments::reset() {
  std::vector<Tensor> all;
  for (const Entry& e : entries_) all.insert(all.end(), {e.mean, e.squares});
  if (!all.empty()) at::_foreach_zero_(all);
  n_ = 0;
}

}  // namespace scalevec
