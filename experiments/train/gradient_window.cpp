#include "experiments/train/gradient_window.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

#include "optim/core/param_role.hpp"
#include "optim/step_hooks.hpp"

namespace scalevec::experiments {
namespace {

constexpr const char* kWindowPrefix = "gradient_window.";

std::string window_name(const char* part, const std::string& of = {}) {
  std::string name = kWindowPrefix;
  return name.append(part).append(of);
}

}  // namespace

SignalSums& SignalSums::operator+=(const SignalSums& other) {
  ratios += other.ratios;
  elements += other.elements;
  return *this;
}

SignalSums signal_sums(const torch::Tensor& mean, const torch::Tensor& variance) {
  const torch::Tensor varies = variance > 0;
  const torch::Tensor ratios = torch::where(varies, mean * mean / variance, torch::zeros_like(mean));
  return {ratios.sum(torch::kFloat64).item<double>(), varies.sum().to(torch::kFloat64).item<double>()};
}

double debiased_snr(const SignalSums& sums, std::int64_t n) {
  if (n < 4 || sums.elements == 0.0) return kNoTrace;
  const double count = static_cast<double>(n);
  return std::sqrt(std::max(0.0, (count - 3.0) / (count - 1.0) * sums.ratios / sums.elements - 1.0 / count));
}

GradientWindow::GradientWindow(const std::vector<NamedParam>& params, Optimizer& optimizer)
    : params_(params), optimizer_(&optimizer), moments_([&] {
        std::vector<torch::Tensor> tensors;
        for (const NamedParam& p : params) tensors.push_back(p.tensor);
        return tensors;
      }()) {}

void GradientWindow::add() { moments_.add(StepHooks(*optimizer_).device_step().get()); }

GradientWindow::Taken GradientWindow::take() {
  Taken out{{}, moments_.count()};
  if (out.steps >= 4) out.sums = moments_.signal(StepHooks(*optimizer_).device_step().get());
  moments_.reset();
  return out;
}

void GradientWindow::report(const Taken& taken, std::vector<RunTraceRow>& params,
                            std::vector<RunTraceRow>& groups) const {
  std::map<std::string, double> of_param;
  std::map<std::string, SignalSums> of_group;
  if (taken.sums.defined()) {
    const torch::Tensor all = taken.sums.cpu();
    const double* next = all.const_data_ptr<double>();
    for (const NamedParam& p : params_) {
      const SignalSums sums{next[0], next[1]};
      next += 2;
      of_param[p.name] = debiased_snr(sums, taken.steps);
      of_group[trace_group(p.role)] += sums;
    }
  }
  for (RunTraceRow& row : params)
    if (const auto it = of_param.find(row.name); it != of_param.end()) row.snr = it->second;
  for (RunTraceRow& row : groups)
    if (const auto it = of_group.find(row.name); it != of_group.end()) row.snr = debiased_snr(it->second, taken.steps);
}

models::NamedTensors GradientWindow::state() const {
  models::NamedTensors out{{window_name("steps"), torch::full({1}, moments_.count(), torch::kInt64)}};
  for (std::size_t i = 0; i < params_.size(); ++i) {
    out.emplace_back(window_name("mean.", params_[i].name), moments_.entries()[i].mean);
    out.emplace_back(window_name("squares.", params_[i].name), moments_.entries()[i].squares);
  }
  return out;
}

bool GradientWindow::owns(const std::string& name) { return name.starts_with(kWindowPrefix); }

void GradientWindow::restore(const models::NamedTensors& state) {
  const std::map<std::string, torch::Tensor> saved(state.begin(), state.end());
  for (const auto& [name, tensor] : this->state())
    if (!saved.contains(name) || saved.at(name).sizes() != tensor.sizes())
      throw std::invalid_argument("checkpoint: " + name + " is missing or of another shape");
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < params_.size(); ++i) {
    torch::Tensor mean = moments_.entries()[i].mean, squares = moments_.entries()[i].squares;
    mean.copy_(saved.at(window_name("mean.", params_[i].name)));
    squares.copy_(saved.at(window_name("squares.", params_[i].name)));
  }
  moments_.set_count(saved.at(window_name("steps")).item<std::int64_t>());
}

}  // namespace scalevec::experiments
