#include "scalevec/experiments/train/session.hpp"

#include <algorithm>
#include <cmath>
#include <csignal>
#include <map>

#include "scalevec/experiments/distributed/data_parallel.hpp"
#include "scalevec/experiments/errors.hpp"
#include "scalevec/models/autocast.hpp"
#include "scalevec/models/decoder.hpp"
#include "scalevec/models/toy/toy.hpp"

namespace scalevec {

std::unique_ptr<Model> make_model(const RunConfig& config, torch::Device device) {
  std::unique_ptr<Model> model;
  if (config.decoder)
    model = std::make_unique<Decoder>(*config.decoder, config.seed);
  else
    model = make_toy(*config.toy, config.seed);
  model->to(device, config.dtype == "float64" ? torch::kFloat64 : torch::kFloat32);
  model->check_roles();
  return model;
}

std::vector<NamedParam> model_params(const Model& model) {
  return named_params(model, [&](const std::string& name, const torch::Tensor&) { return model.role(name); });
}

RolePolicy read_policy(const RunConfig& config) { return RolePolicy::from_json(config.optimizer.dump(), "optimizer"); }

std::unique_ptr<BatchSource> open_source(const RunConfig& config) {
  if (!config.decoder) return nullptr;
  std::unique_ptr<BatchSource> source;
  if (config.synthetic)
    source = std::make_unique<SyntheticSource>(*config.synthetic, config.data_seed);
  else
    source = std::make_unique<TokenFolderSource>(config.data_dir, config.data_seed);
  source->check_vocabulary(config.decoder->vocab_size);
  source->epoch_windows(config.sequence_length);
  source->validation_windows(config.sequence_length);
  return source;
}

torch::Device choose_device(const RunConfig& config) {
  if (config.device == "cpu") return torch::kCPU;
  if (torch::cuda::is_available()) return torch::kCUDA;
  if (config.device == "cuda")
    throw UsageError("device: got \"cuda\", but this build or machine has no CUDA device; allowed here: auto, cpu");
  return torch::kCPU;
}

Session::Session(const RunConfig& config, std::shared_ptr<ProcessGroup> group)
    : config_(config),
      device_(choose_device(config)),
      model_(make_model(config, device_)),
      params_(model_params(*model_)),
      policy_(read_policy(config)),
      optimizer_(make_optimizer(params_, policy_)),
      source_(open_source(config)) {
  if (!group) return;
  parallel_ = std::make_shared<DataParallel>(group, params_, policy_, *optimizer_);
}

std::int64_t Session::tokens_per_step() const {
  return source_ ? config_.batch_size * config_.sequence_length : 0;
}

torch::Tensor Session::batch(std::int64_t first, std::int64_t count) {
  const auto timed = phases_.scope(Phase::batch);
  torch::Tensor tokens = torch::empty({count, config_.sequence_length + 1}, torch::kInt64);
  source_->train_batch(steps_done_, config_.batch_size, first, count, config_.sequence_length, tokens.data_ptr<std::int64_t>());
  return tokens.to(device_);
}

torch::Tensor Session::loss_of(const torch::Tensor& tokens, std::int64_t step) {
  const Autocast guard(device_.type(), torch::kBFloat16, config_.autocast == "bfloat16");
  return model_->loss(tokens, step);
}

torch::Tensor Session::forward(const torch::Tensor& tokens) {
  const auto timed = phases_.scope(Phase::forward);
  return loss_of(tokens, steps_done_);
}

torch::Tensor Session::train_tokens(std::int64_t step) const {
  torch::Tensor tokens = torch::empty({config_.batch_size, config_.sequence_length + 1}, torch::kInt64);
  source_->train_batch(step, config_.batch_size, 0, config_.batch_size, config_.sequence_length, tokens.data_ptr<std::int64_t>());
  return tokens.to(device_);
}

torch::Tensor Session::validation_tokens(std::int64_t rows) const {
  torch::Tensor tokens = torch::empty({rows, config_.sequence_length + 1}, torch::kInt64);
  source_->validation_rows(0, rows, config_.sequence_length, tokens.data_ptr<std::int64_t>());
  return tokens.to(device_);
}

torch::Tensor Session::backward() {
  if (!source_) {
    torch::Tensor loss = forward({});
    const auto timed = phases_.scope(Phase::backward);
    loss.backward();
    return loss.detach();
  }
  // Of each micro-batch this rank has a part, so that what is counted over one is that of one process.
  const std::int64_t rows = config_.batch_size / config_.accumulation;
  const auto own = parallel_ ? parallel_->rows(rows) : DataParallel::Rows{0, rows};
  torch::Tensor total = torch::zeros({}, torch::dtype(torch::kFloat64).device(device_));
  for (std::int64_t part = 0; part < config_.accumulation; ++part) {
    torch::Tensor loss = forward(batch(part * rows + own.first, own.count));
    const auto timed = phases_.scope(Phase::backward);
    if (own.count < config_.batch_size) loss = loss / (static_cast<double>(config_.batch_size) / static_cast<double>(own.count));
    if (parallel_ && part + 1 == config_.accumulation) parallel_->gradients().arm();
    loss.backward();
    total += loss.detach();
  }
  return total;
}

double Session::backward_on_every_rank(int& stop_signal) {
  if (!parallel_) return backward().item<double>();
  std::vector<double> values{backward().item<double>(), stop_signal == SIGINT ? 1.0 : 0.0, stop_signal == SIGTERM ? 1.0 : 0.0};
  parallel_->gradients().finish(values);
  stop_signal = values[2] > 0 ? SIGTERM : values[1] > 0 ? SIGINT : 0;
  return values[0];
}

StepResult Session::step(bool trace, int stop_signal) {
  StepResult result;
  const double factor = config_.schedule.factor(steps_done_);
  result.lr = policy_.lr * factor;
  optimizer_->set_lr_factor(factor);
  optimizer_->zero_grad();
  result.stop_signal = stop_signal;
  result.loss = backward_on_every_rank(result.stop_signal);
  const std::int64_t number = steps_done_ + 1;
  if (!std::isfinite(result.loss)) {
    for (const NamedParam& p : params_)
      if (p.tensor.grad().defined() && !torch::isfinite(p.tensor.grad()).all().item<bool>())
        throw Divergence{number, p.name,
                         "step " + std::to_string(number) + ": the loss is not finite; the first parameter concerned is " + p.name};
    throw Divergence{number, "", "step " + std::to_string(number) + ": the loss is not finite"};
  }
  if (trace) optimizer_->trace_next_step();
  const bool reports = trace && (!parallel_ || parallel_->group().rank() == 0);
  if (reports) {
    const auto timed = phases_.scope(Phase::traces);
    if (!model_traces_) model_traces_ = std::make_unique<ModelTraces>(*model_);
    model_traces_->measure();
  }
  try {
    const auto timed = phases_.scope(Phase::optimizer);
    optimizer_->step();
  } catch (const NonFiniteGradient& e) {
    throw Divergence{number, e.parameter, "step " + std::to_string(number) + ": " + e.what()};
  }
  result.grad_norm = optimizer_->grad_norm();
  result.clip_factor = optimizer_->clip_factor();
  if (trace) {
    const auto timed = phases_.scope(Phase::traces);
    result.params = optimizer_->traces();
    result.groups = optimizer_->group_traces();
    if (reports) model_traces_->merge_into(result.params);
  }
  ++steps_done_;
  if (parallel_) parallel_->group().watch().set_step(steps_done_);
  return result;
}

double Session::validate() {
  const torch::NoGradGuard no_grad;
  if (!source_) return static_cast<const Toy&>(*model_).excess();
  const std::int64_t windows = std::min(source_->validation_windows(config_.sequence_length),
                                        config_.validation_batches * config_.batch_size);
  double total = 0.0;
  for (std::int64_t first = 0; first < windows; first += config_.batch_size) {
    const std::int64_t all = std::min(config_.batch_size, windows - first);
    const auto [skipped, count] = parallel_ ? parallel_->rows(all) : DataParallel::Rows{0, all};
    if (count == 0) continue;
    torch::Tensor tokens = torch::empty({count, config_.sequence_length + 1}, torch::kInt64);
    source_->validation_rows(first + skipped, count, config_.sequence_length, tokens.data_ptr<std::int64_t>());
    total += loss_of(tokens.to(device_), 0).item<double>() * static_cast<double>(count);
  }
  if (parallel_) parallel_->group().sum({&total, 1});
  return total / static_cast<double>(windows);
}

NamedTensors Session::weights() const {
  NamedTensors out;
  for (const NamedParam& p : params_) out.emplace_back(p.name, p.tensor.detach());
  for (const auto& b : model_->named_buffers()) out.emplace_back(b.key(), b.value());
  return out;
}

NamedTensors Session::optimizer_state() const {
  return parallel_ ? parallel_->gather_state(*optimizer_) : optimizer_->named_state();
}

void Session::share_restored() {
  if (!parallel_) return;
  parallel_->share_start(steps_done_, weights(), restored_state_, *optimizer_);
  restored_state_.clear();
  parallel_->group().watch().set_step(steps_done_);
}

void Session::restore(std::int64_t steps_done, const NamedTensors& weights, const NamedTensors& optimizer_state) {
  const std::map<std::string, torch::Tensor> saved(weights.begin(), weights.end());
  const NamedTensors own = this->weights();
  for (const auto& [name, tensor] : own) {
    const auto it = saved.find(name);
    if (it == saved.end() || it->second.sizes() != tensor.sizes() || it->second.scalar_type() != tensor.scalar_type())
      throw std::invalid_argument("checkpoint: " + name + " is missing or of another shape or dtype");
  }
  if (saved.size() != own.size()) throw std::invalid_argument("checkpoint: holds tensors that the model has not");
  optimizer_->load_named_state(optimizer_state);
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) tensor.detach().copy_(saved.at(name));
  steps_done_ = steps_done;
  if (parallel_) restored_state_ = optimizer_state;
}

}  // namespace scalevec
