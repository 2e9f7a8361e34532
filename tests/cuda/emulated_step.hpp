#pragma once

#include <torch/types.h>

#include <memory>
#include <string_view>

#include "tests/cuda/emulated_device.hpp"
// After the language it is written in.
#include "optim/cuda/cuda_step.hpp"
#include "optim/cuda/step_kernels.cuh"

namespace scalevec::cuda_test {

// CudaStep over the emulated device: the kernels' own source on tensors in the host's memory. Counts the calls that
// would wait for a device.
class EmulatedStep : public cuda::DeviceStep {
 public:
  int steps = 0;
  mutable int waits = 0;

  bool handles(const torch::Tensor& param, const MethodOptions& options) const override {
    return options.method() != unhandled && cuda::steps_on_device(param, options);
  }
  std::string_view unhandled;  // a method that is left to the host

  // While a graph is replayed, a step takes what the last update() brought: the host's part of it does not run then.
  bool replayed = false;

  bool update(const std::vector<cuda::CudaEntry>& entries, const cuda::StepLimits& limits) override {
    jobs_.clear();
    entries_ = entries.size();
    matrices_.fit(entries);
    groups_ = cuda::groups_of(entries, matrices_, jobs_);
    limits_ = limits;
    return std::exchange(captures_hold, true);
  }
  bool captures_hold = true;  // what the next update() says

  void step(const std::vector<cuda::CudaEntry>& entries, const cuda::StepLimits& limits, bool sums) override {
    ++steps;
    if (!replayed) update(entries, limits);
    // A replay leaves gradients where the recorded step did.
    for (std::size_t i = 0; replayed && i < entries.size(); ++i) {
      const cuda::TensorJob& job = jobs_[jobs_.size() - entries.size() + i];
      if (job.grad != entries[i].grad.const_data_ptr())
        std::memcpy(const_cast<void*>(job.grad), entries[i].grad.const_data_ptr(), entries[i].grad.nbytes());
    }
    launch(sums);
  }

  torch::Tensor refused() const override { return torch::tensor(status_.bad_tensor) >= 0; }

  cuda::Status status() const override {
    ++waits;
    cuda::Status status = status_;
    if (passes_) status.refused_steps += passes_->status_.refused_steps;
    return status;
  }
  std::vector<StepSums> step_sums(std::int64_t ago) const override {
    ++waits;
    const auto end =
        sums_.begin() + (cuda::sums_slot(status_.launches, ago) + 1) * static_cast<std::int64_t>(jobs_.size());
    return {end - static_cast<std::int64_t>(entries_), end};
  }

 protected:
  torch::Tensor pass(torch::Device, const std::vector<cuda::GroupOptions>& groups,
                     const std::vector<cuda::TensorJob>& jobs, bool check_finite, bool sums) override {
    if (!passes_) passes_ = std::make_unique<EmulatedStep>();
    passes_->jobs_ = jobs;
    passes_->groups_ = groups;
    passes_->entries_ = jobs.size();
    passes_->limits_ = {0.0, check_finite};
    passes_->launch(sums);
    if (!sums) return {};
    const torch::Tensor kept = torch::from_blob(
        passes_->sums_.data(), {cuda::kSumsKept, static_cast<std::int64_t>(jobs.size()), sizeof(StepSums) / 8},
        torch::kFloat64);
    return cuda::pass_sums(torch::full({1}, passes_->status_.launches, torch::kInt64), kept);
  }

 private:
  void launch(bool sums) {
    const std::vector<cuda::TensorJob>& jobs = jobs_;
    const std::vector<cuda::GroupOptions>& groups = groups_;
    const cuda::StepLimits& limits = limits_;
    std::vector<cuda::TensorRow> rows;
    std::vector<const void*> grads;
    std::vector<std::int64_t> sizes, parts;
    for (const cuda::TensorJob& job : jobs) {
      rows.push_back(cuda::row_of(job));
      grads.push_back(job.grad);
      sizes.push_back(job.size);
      parts.push_back(job.parts);
    }
    const auto first = cuda::first_units(sizes, parts);
    const auto units = static_cast<std::size_t>(first.back()), n = jobs.size();
    std::vector<double> unit_norms(units), tensor_norms(n), unit_sums(units * cuda::kSumCount);
    std::vector<int> unit_finite(units), tensor_finite(n);
    std::vector<cuda::Constants> constants(n);
    std::vector<kernels::StepScales> scales(units);
    sums_.resize(static_cast<std::size_t>(cuda::kSumsKept) * n);
    const cuda::View view{static_cast<std::int64_t>(n),
                          groups.data(),
                          rows.data(),
                          grads.data(),
                          first.data(),
                          &limits,
                          unit_norms.data(),
                          unit_finite.data(),
                          tensor_norms.data(),
                          tensor_finite.data(),
                          constants.data(),
                          unit_sums.data(),
                          scales.data(),
                          sums_.data(),
                          &status_};
    const bool norms = limits.check_finite || limits.max_norm > 0.0;
    const auto blocks = static_cast<unsigned>(units), tensors = static_cast<unsigned>(n);
    if (norms) emulated_launch(blocks, [&] { cuda::norm_kernel(view); });
    if (norms) emulated_launch(tensors, [&] { cuda::tensor_norm_kernel(view); });
    emulated_launch(1, [&] { cuda::setup_kernel(view, norms); });
    for (const cuda::StepKernel kernel : cuda::step_kernels(groups, cuda::Phase::first, false))
      emulated_launch(blocks, [&] { kernel(view); });
    matrices_.form(refused(), [&](std::int32_t group) {
      return torch::tensor(groups[static_cast<std::size_t>(group)].lr, torch::kFloat64);
    });
    for (const cuda::StepKernel kernel : cuda::step_kernels(groups, cuda::Phase::before, false))
      emulated_launch(blocks, [&] { kernel(view); });
    if (std::any_of(groups.begin(), groups.end(), [](const cuda::GroupOptions& g) { return cuda::measures(g.rule); })) {
      emulated_launch(tensors, [&] { cuda::pass_sums_kernel(view); });
      emulated_launch(static_cast<unsigned>(groups.size()), [&] { cuda::advance_kernel(view); });
    }
    for (const cuda::StepKernel kernel : cuda::step_kernels(groups, cuda::Phase::measure, false))
      emulated_launch(blocks, [&] { kernel(view); });
    if (std::any_of(groups.begin(), groups.end(), [](const cuda::GroupOptions& g) { return g.modified(); }))
      emulated_launch(tensors, [&] { cuda::scales_kernel(view); });
    for (const cuda::StepKernel kernel : cuda::step_kernels(groups, cuda::Phase::step, sums))
      emulated_launch(blocks, [&] { kernel(view); });
    if (sums) emulated_launch(tensors, [&] { cuda::tensor_sums_kernel(view); });
  }

  std::unique_ptr<EmulatedStep> passes_;  // null until it is asked for
  cuda::MatrixBatches matrices_;
  std::size_t entries_ = 0;
  std::vector<cuda::TensorJob> jobs_;
  std::vector<cuda::GroupOptions> groups_;
  cuda::StepLimits limits_;
  cuda::Status status_;
  std::vector<StepSums> sums_;
};

}  // namespace scalevec::cuda_test
