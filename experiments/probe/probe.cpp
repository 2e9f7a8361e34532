#include "experiments/probe/probe.hpp"

#include <torch/autograd.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <memory>
#include <utility>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/system/file_io.hpp"
#include "experiments/train/gradient_window.hpp"
#include "experiments/train/session.hpp"
#include "theory/lanczos.hpp"

namespace scalevec::experiments {

using nlohmann::json;

LossSurface::LossSurface(models::Model& model, torch::Tensor tokens, const std::vector<std::string>& names)
    : model_(model), tokens_(std::move(tokens)) {
  const auto all = model.named_parameters();
  for (const auto& p : all)
    if (names.empty() || std::find(names.begin(), names.end(), p.key()) != names.end()) params_.push_back(p.value());
  for (const torch::Tensor& p : params_) size_ += static_cast<std::size_t>(p.numel());
}

double LossSurface::loss() {
  const torch::NoGradGuard no_grad;
  return model_.loss(tokens_, 0).item<double>();
}

std::vector<double> LossSurface::gradient() {
  const std::vector<torch::Tensor> grads =
      torch::autograd::grad({model_.loss(tokens_, 0)}, params_, {}, std::nullopt, false, /*allow_unused=*/true);
  std::vector<double> out;
  out.reserve(size_);
  for (std::size_t i = 0; i < grads.size(); ++i) {
    const torch::Tensor g = grads[i].defined() ? grads[i].contiguous() : torch::zeros_like(params_[i]);
    out.insert(out.end(), g.const_data_ptr<double>(), g.const_data_ptr<double>() + g.numel());
  }
  return out;
}

void LossSurface::move(std::span<const double> v, double factor) {
  const torch::NoGradGuard no_grad;
  std::size_t at = 0;
  for (torch::Tensor& p : params_) {
    const torch::Tensor part = torch::from_blob(const_cast<double*>(v.data() + at), p.sizes(), torch::kFloat64);
    p.add_(part, factor);
    at += static_cast<std::size_t>(p.numel());
  }
}

void LossSurface::hessian_product(std::span<const double> v, std::span<double> out, double step) {
  double norm = 0.0;
  for (const double x : v) norm += x * x;
  norm = std::sqrt(norm);
  std::vector<torch::Tensor> before;
  for (const torch::Tensor& p : params_) before.push_back(p.detach().clone());
  const double h = step / norm;
  move(v, h);
  const std::vector<double> up = gradient();
  move(v, -2.0 * h);
  const std::vector<double> down = gradient();
  for (std::size_t i = 0; i < size_; ++i) out[i] = (up[i] - down[i]) / (2.0 * h);
  const torch::NoGradGuard no_grad;
  for (std::size_t i = 0; i < params_.size(); ++i) params_[i].copy_(before[i]);
}

namespace {

// A float64 model with the weights of a session.
std::unique_ptr<models::Model> double_model(const RunConfig& config, const Session& session) {
  RunConfig copy = config;
  copy.dtype = "float64";
  std::unique_ptr<models::Model> model = make_model(copy, torch::kCPU);
  const auto parameters = model->named_parameters();
  const auto buffers = model->named_buffers();
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : session.weights()) {
    const torch::Tensor* to = parameters.find(name);
    if (!to) to = buffers.find(name);
    to->copy_(tensor);
  }
  return model;
}

constexpr int kScales = 2;  // whose curvature is measured besides the whole model's

// Counts work in tokens that pass forward and backward, in float64 for two of float32.
class ProbeWork {
 public:
  ProbeWork(const RunConfig& config, const ProbeOptions& options, const models::Model& model, std::int64_t rows)
      : tell_(options.progress),
        step_(static_cast<double>(config.batch_size * config.sequence_length)),
        gradient_(2.0 * step_),
        product_(4.0 * static_cast<double>(rows * config.sequence_length)) {
    double scales = 0.0;
    for (const models::ScaleLink& link : model.scale_links()) scales += !link.maps.empty() && scales < kScales;
    surface_ = product_ * static_cast<double>(options.most_products);
    total_ = step_ * static_cast<double>(options.steps.empty() ? 0 : options.steps.back()) +
             static_cast<double>(options.steps.size()) *
                 ((1.0 + scales) * surface_ + gradient_ * static_cast<double>(options.gradients));
  }
  void step_done(std::int64_t step) { add(step_, "making the run again, step " + std::to_string(step)); }
  void gradient_done() { add(gradient_, "gradients for the signal-to-noise ratio"); }
  void product_done(const std::string& of) {
    of_surface_ += product_;
    add(product_, "curvature, " + of);
  }
  // A surface takes fewer products than it may.
  void surface_done() { done_ += surface_ - std::exchange(of_surface_, 0.0); }

 private:
  void add(double work, const std::string& what) {
    done_ += work;
    if (tell_) tell_(what, std::min(1.0, done_ / total_));
  }
  const std::function<void(const std::string&, double)>& tell_;
  double step_, gradient_, product_, surface_ = 0.0, total_ = 0.0, done_ = 0.0, of_surface_ = 0.0;
};

json sharpness(models::Model& model, const torch::Tensor& tokens, const ProbeOptions& options, ProbeWork& work) {
  json out = json::object();
  const auto top = [&](const std::string& name, const std::vector<std::string>& params) {
    LossSurface surface(model, tokens, params);
    const theory::LanczosResult r = theory::lanczos(
        surface.size(),
        [&](auto v, auto hv) {
          surface.hessian_product(v, hv);
          work.product_done(name);
        },
        options.most_products, 0.02);
    work.surface_done();
    out[name] = {{"largest", r.largest}, {"smallest", r.smallest}, {"residual", r.residual}, {"products", r.products}};
  };
  top("whole", {});
  // Of the first block's scales, each with the maps it is multiplied into; the model has them in the order of the
  // forward.
  int taken = 0;
  for (const models::ScaleLink& link : model.scale_links()) {
    if (link.maps.empty() || taken == kScales) continue;
    std::vector<std::string> params = link.maps;
    params.push_back(link.scale);
    top(link.scale, params);
    ++taken;
  }
  return out;
}

json signal_to_noise(models::Model& model, const Session& session, const ProbeOptions& options, ProbeWork& work) {
  // Welford's update: no difference of large sums.
  std::vector<double> means(LossSurface(model, {}, {}).size(), 0.0), squares(means.size(), 0.0);
  for (std::int64_t i = 0; i < options.gradients; ++i) {
    const std::vector<double> g = LossSurface(model, session.train_tokens(session.steps_done() + i).cpu()).gradient();
    for (std::size_t k = 0; k < g.size(); ++k) {
      const double off = g[k] - means[k];
      means[k] += off / static_cast<double>(i + 1);
      squares[k] += off * (g[k] - means[k]);
    }
    work.gradient_done();
  }
  const auto size = static_cast<std::int64_t>(means.size());
  const torch::Tensor mean = torch::from_blob(means.data(), {size}, torch::kFloat64);
  const torch::Tensor variance =
      torch::from_blob(squares.data(), {size}, torch::kFloat64) / (static_cast<double>(options.gradients) - 1.0);
  std::map<std::string, SignalSums> groups;
  std::int64_t at = 0;
  for (const auto& p : model.named_parameters()) {
    const std::int64_t count = p.value().numel();
    groups[trace_group(model.role(p.key()))] += signal_sums(mean.narrow(0, at, count), variance.narrow(0, at, count));
    at += count;
  }
  json out = json::object();
  for (const auto& [name, sums] : groups) out[name] = debiased_snr(sums, options.gradients);
  return out;
}

}  // namespace

json probe(const RunConfig& config, const ProbeOptions& options) {
  if (!config.decoder) throw UsageError("probe: a toy model has no tokens to measure on");
  if (config.threads > 0) torch::set_num_threads(config.threads);
  RunConfig replayed = config;
  replayed.snr = false;
  Session session(replayed);
  const std::string data = session.source()->data_hash();
  if (options.check_data) options.check_data(data);
  json out{{"config", config.resolved}, {"data_hash", data}, {"points", json::array()}};
  const std::int64_t rows = std::min(options.rows, session.source()->validation_windows(config.sequence_length));
  ProbeWork work(config, options, session.model(), rows);
  for (const std::int64_t step : options.steps) {
    while (session.steps_done() < step) {
      session.step(false);
      work.step_done(session.steps_done());
    }
    const std::unique_ptr<models::Model> model = double_model(config, session);
    const torch::Tensor tokens = session.validation_tokens(rows).cpu();
    out["points"].push_back({{"step", step},
                             {"val_loss", LossSurface(*model, tokens).loss()},
                             {"sharpness", sharpness(*model, tokens, options, work)},
                             {"snr", signal_to_noise(*model, session, options, work)}});
  }
  return out;
}

}  // namespace scalevec::experiments
