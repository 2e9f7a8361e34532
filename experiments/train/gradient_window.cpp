#include "experiments/train/gradient_window.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <stdexcept>

#include "optim/core/param_role.hpp"

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

namespace {

// Both sums, [2] float64 on the device.
torch::Tensor sums_of(const torch::Tensor& mean, const torch::Tensor& variance) {
  const torch::Tensor varies = variance > 0;
  const torch::Tensor ratios = torch::where(varies, mean * mean / variance, torch::zeros_like(mean));
  return at::stack({ratios.sum(torch::kFloat64), varies.sum().to(torch::kFloat64)});
}

}  // namespace

SignalSums signal_sums(const torch::Tensor& mean, const torch::Tensor& variance) {
  const torch::Tensor sums = sums_of(mean, variance).cpu();
  return {sums.const_data_ptr<double>()[0], sums.const_data_ptr<double>()[1]};
}

double debiased_snr(const SignalSums& sums, std::int64_t n) {
  if (n < 4 || sums.elements == 0.0) return kNoTrace;
  const double count = static_cast<double>(n);
  return std::sqrt(std::max(0.0, (count - 3.0) / (count - 1.0) * sums.ratios / sums.elements - 1.0 / count));
}

GradientWindow::GradientWindow(const std::vector<NamedParam>& params) {
  for (const NamedParam& p : params) {
    const torch::Tensor value = p.tensor.detach();
    entries_.push_back({p, torch::zeros_like(value), torch::zeros_like(value)});
  }
}

// Welford's update: no difference of large sums.
void GradientWindow::add() {
  const torch::NoGradGuard no_grad;
  ++n_;
  for (Entry& e : entries_) {
    const torch::Tensor& g = e.param.tensor.grad();
    const torch::Tensor off = g.defined() ? g - e.mean : -e.mean;
    e.mean.add_(off, 1.0 / static_cast<double>(n_));
    e.squares.addcmul_(off, off, 1.0 - 1.0 / static_cast<double>(n_));
  }
}

GradientWindow::Taken GradientWindow::take() {
  const torch::NoGradGuard no_grad;
  Taken out{{}, n_};
  if (n_ >= 4) {
    std::vector<torch::Tensor> rows;
    for (const Entry& e : entries_) rows.push_back(sums_of(e.mean, e.squares / static_cast<double>(n_ - 1)));
    out.sums = at::stack(rows);
  }
  for (Entry& e : entries_) {
    e.mean.zero_();
    e.squares.zero_();
  }
  n_ = 0;
  return out;
}

void GradientWindow::report(const Taken& taken, std::vector<RunTraceRow>& params,
                            std::vector<RunTraceRow>& groups) const {
  std::map<std::string, double> of_param;
  std::map<std::string, SignalSums> of_group;
  if (taken.sums.defined()) {
    const torch::Tensor all = taken.sums.cpu();
    const double* next = all.const_data_ptr<double>();
    for (const Entry& e : entries_) {
      const SignalSums sums{next[0], next[1]};
      next += 2;
      of_param[e.param.name] = debiased_snr(sums, taken.steps);
      of_group[trace_group(e.param.role)] += sums;
    }
  }
  for (RunTraceRow& row : params)
    if (const auto it = of_param.find(row.name); it != of_param.end()) row.snr = it->second;
  for (RunTraceRow& row : groups)
    if (const auto it = of_group.find(row.name); it != of_group.end()) row.snr = debiased_snr(it->second, taken.steps);
}

models::NamedTensors GradientWindow::state() const {
  models::NamedTensors out{{window_name("steps"), torch::full({1}, n_, torch::kInt64)}};
  for (const Entry& e : entries_) {
    out.emplace_back(window_name("mean.", e.param.name), e.mean);
    out.emplace_back(window_name("squares.", e.param.name), e.squares);
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
  for (Entry& e : entries_) {
    e.mean.copy_(saved.at(window_name("mean.", e.param.name)));
    e.squares.copy_(saved.at(window_name("squares.", e.param.name)));
  }
  n_ = saved.at(window_name("steps")).item<std::int64_t>();
}

}  // namespace scalevec::experiments
