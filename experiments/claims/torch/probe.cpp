#include "scalevec/experiments/claims/torch/probe.hpp"

#include "scalevec/experiments/claims/torch/probe_command.hpp"

#include <torch/autograd.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <memory>

#include "scalevec/experiments/compare/overrides.hpp"
#include "scalevec/experiments/data/file_io.hpp"
#include "scalevec/experiments/errors.hpp"
#include "scalevec/experiments/train/gradient_window.hpp"
#include "scalevec/experiments/train/session.hpp"
#include "scalevec/theory/lanczos.hpp"

namespace scalevec {

using nlohmann::json;

LossSurface::LossSurface(Model& model, torch::Tensor tokens, const std::vector<std::string>& names)
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
std::unique_ptr<Model> double_model(const RunConfig& config, const Session& session) {
  RunConfig copy = config;
  copy.dtype = "float64";
  std::unique_ptr<Model> model = make_model(copy, torch::kCPU);
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

json sharpness(Model& model, const torch::Tensor& tokens, const ProbeOptions& options) {
  json out = json::object();
  const auto top = [&](const std::string& name, const std::vector<std::string>& params) {
    LossSurface surface(model, tokens, params);
    const LanczosResult r = lanczos(
        surface.size(), [&](auto v, auto hv) { surface.hessian_product(v, hv); }, options.most_products, 0.02);
    out[name] = {{"largest", r.largest}, {"smallest", r.smallest}, {"residual", r.residual}, {"products", r.products}};
  };
  top("whole", {});
  // Of the first block's scales, each with the maps it is multiplied into; the model has them in the order of the
  // forward.
  int taken = 0;
  for (const ScaleLink& link : model.scale_links()) {
    if (link.maps.empty() || taken == 2) continue;
    std::vector<std::string> params = link.maps;
    params.push_back(link.scale);
    top(link.scale, params);
    ++taken;
  }
  return out;
}

json signal_to_noise(Model& model, const Session& session, const ProbeOptions& options) {
  std::vector<double> first(LossSurface(model, {}, {}).size(), 0.0), second(first.size(), 0.0);
  for (std::int64_t i = 0; i < options.gradients; ++i) {
    const std::vector<double> g = LossSurface(model, session.train_tokens(session.steps_done() + i).cpu()).gradient();
    for (std::size_t k = 0; k < g.size(); ++k) {
      first[k] += g[k];
      second[k] += g[k] * g[k];
    }
  }
  const double n = static_cast<double>(options.gradients);
  const auto size = static_cast<std::int64_t>(first.size());
  const torch::Tensor mean = torch::from_blob(first.data(), {size}, torch::kFloat64) / n;
  const torch::Tensor variance =
      (torch::from_blob(second.data(), {size}, torch::kFloat64) - n * mean * mean) / (n - 1.0);
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
  json out{{"points", json::array()}};
  for (const std::int64_t step : options.steps) {
    while (session.steps_done() < step) session.step(false);
    const std::unique_ptr<Model> model = double_model(config, session);
    const torch::Tensor tokens =
        session.validation_tokens(std::min(options.rows, session.source()->validation_windows(config.sequence_length)))
            .cpu();
    out["points"].push_back({{"step", step},
                             {"val_loss", LossSurface(*model, tokens).loss()},
                             {"sharpness", sharpness(*model, tokens, options)},
                             {"snr", signal_to_noise(*model, session, options)}});
  }
  return out;
}

void add_probe_command(CLI::App& app) {
  struct Arguments {
    std::string config, out;
    std::vector<std::string> sets;
    ProbeOptions options;
  };
  CLI::App* command =
      app.add_subcommand("probe", "Make a run again and measure its curvature and its gradients' noise");
  const auto a = std::make_shared<Arguments>();
  command->add_option("CONFIG", a->config, "Run configuration; of a finished run, its config.json")->required();
  command->add_option("--at", a->options.steps, "Steps after which to measure, rising")->required()->delimiter(',');
  command->add_option("--set", a->sets, "override: key.path=value")->allow_extra_args(false);
  command->add_option("--gradients", a->options.gradients, "Batches for the signal-to-noise ratio")
      ->capture_default_str()
      ->check(CLI::Range(4, 100000));
  command->add_option("--out", a->out, "JSON file; else standard output");
  command->footer("Example: scalevec probe runs/one/config.json --at 0,250,500 --out probe.json");
  command->callback([a] {
    json root = read_json_file(a->config);
    for (const std::string& set : a->sets) apply_set(root, set);
    const RunConfig config = read_run_config(root);
    for (std::size_t i = 0; i < a->options.steps.size(); ++i)
      if (a->options.steps[i] < (i ? a->options.steps[i - 1] + 1 : 0) || a->options.steps[i] > config.steps)
        throw UsageError("--at: got " + std::to_string(a->options.steps[i]) + "; allowed: rising steps from 0 to " +
                         std::to_string(config.steps));
    const std::string text = probe(config, a->options).dump(2) + "\n";
    if (a->out.empty())
      std::cout << text;
    else
      write_record(a->out, text);
  });
}

}  // namespace scalevec
