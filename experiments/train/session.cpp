#include "experiments/train/session.hpp"

#include <ATen/Context.h>
#include <torch/cuda.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>
#include <map>
#include <utility>

#include "experiments/distributed/child_process.hpp"
#include "experiments/distributed/data_parallel.hpp"
#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/stored/stored_model.hpp"
#include "experiments/system/text.hpp"
#include "models/decoder.hpp"
#include "models/decoder_sites.hpp"
#include "models/retrofit.hpp"
#include "models/toy/toy.hpp"
#include "optim/core/random.hpp"
#include "optim/cuda/multi_tensor.hpp"
#include "optim/role_policy_json.hpp"
#include "optim/step_hooks.hpp"

namespace scalevec::experiments {

namespace {

std::unique_ptr<models::Decoder> started_model(const RunConfig& config, StartReport* report) {
  const StartFrom& from = *config.from;
  // A state goes on from the weights that it trained.
  const StoredModel stored = open_stored(from.path, from.ignore, /*as_trained=*/from.optimizer_state);
  models::RetrofitResult fitted;
  try {
    fitted = models::retrofit(*stored.decoder, *config.decoder);
  } catch (const std::invalid_argument& e) {
    throw UsageError("model.scales: " + std::string(e.what()));
  }
  if (!fitted.inexact.empty() && from.exact)
    throw UsageError("model.scales: not the function of " + from.path + ": " + fitted.inexact.front() +
                     printed("; its logits differ by %.3g of the largest before step 0; allowed: \"exact\": false",
                             fitted.logit_gap));
  if (report != nullptr) *report = {fitted.moved, fitted.inexact, fitted.logit_gap, stored.hugging_face.string()};
  auto model = std::make_unique<models::Decoder>(*config.decoder, config.seed);
  const torch::NoGradGuard no_grad;
  model->to(fitted.model->named_parameters()["embed.weight"].scalar_type());
  const auto values = fitted.model->named_parameters();
  for (auto& p : model->named_parameters()) p.value().copy_(values[p.key()]);
  const auto buffers = fitted.model->named_buffers();
  for (auto& b : model->named_buffers()) b.value().copy_(buffers[b.key()]);
  return model;
}

}  // namespace

std::unique_ptr<models::Model> make_model(const RunConfig& config, torch::Device device, StartReport* report) {
  std::unique_ptr<models::Model> model;
  if (config.from)
    model = started_model(config, report);
  else if (config.decoder)
    model = std::make_unique<models::Decoder>(*config.decoder, config.seed);
  else
    model = models::make_toy(*config.toy, config.seed);
  model->to(device, config.dtype == "float64" ? torch::kFloat64 : torch::kFloat32);
  model->check_roles();
  return model;
}

std::vector<NamedParam> model_params(const models::Model& model) {
  return named_params(model, [&](const std::string& name, const torch::Tensor&) { return model.role(name); });
}

void check_qk_clip(const models::Model& model, const RolePolicy& policy) {
  const auto has = [](const PolicyRule& rule) { return rule.options->qk_clip() != 0.0; };
  if (std::none_of(policy.rules.begin(), policy.rules.end(), has)) return;
  const auto* decoder = dynamic_cast<const models::Decoder*>(&model);
  if (!decoder) throw UsageError("optimizer: qk_clip is for attention logits, which a toy has not; allowed: 0");
  if (const std::string error = models::qk_clip_error(decoder->options()); !error.empty())
    throw UsageError("model." + error);
}

RolePolicy read_policy(const RunConfig& config) { return read_role_policy(JsonReader(config.optimizer, "optimizer")); }

std::unique_ptr<BatchSource> open_source(const RunConfig& config) {
  if (!config.decoder) return nullptr;
  std::unique_ptr<BatchSource> source;
  if (config.synthetic)
    source = std::make_unique<SyntheticSource>(*config.synthetic, config.data_seed);
  else
    source = std::make_unique<TokenFolderSource>(config.data_dir, config.data_seed);
  source->check_vocabulary(config.decoder->vocab_size);
  const std::int64_t windows = source->epoch_windows(config.sequence_length);
  if (windows < config.batch_size)
    throw UsageError("batch_size: got " + std::to_string(config.batch_size) + "; allowed: at most " +
                     std::to_string(windows) + ", the sequences of " + std::to_string(config.sequence_length) +
                     " tokens that the training data has");
  source->validation_windows(config.validation_length);
  return source;
}

torch::Device choose_device(const RunConfig& config) {
  if (config.device == "cpu") return torch::kCPU;
  if (torch::cuda::is_available()) return torch::kCUDA;
  if (config.device == "cuda")
    throw UsageError("device: got \"cuda\", but there is none (" + cuda::why_unavailable() +
                     "); allowed here: auto, cpu");
  return torch::kCPU;
}

namespace {

// The same bits twice on a GPU, for which products need this of cuBLAS, which reads it when it is first used; and how
// products of float32 are made there.
void choose_arithmetic(bool deterministic, bool tf32, torch::Device device) {
  if (!device.is_cuda()) return;
  at::globalContext().setFloat32MatmulPrecision(tf32 ? "high" : "highest");
  if (deterministic) setenv("CUBLAS_WORKSPACE_CONFIG", ":4096:8", /*overwrite=*/0);
  at::globalContext().setDeterministicAlgorithms(deterministic, /*warn_only=*/false);
  at::globalContext().setDeterministicFillUninitializedMemory(false);
}

// Rows `first` to first + count of the batch of a step, on the host.
// Pinned memory comes back from its allocator only when the copy to the device has been made.
torch::Tensor host_rows(const BatchSource& source, const RunConfig& c, std::int64_t step, std::int64_t first,
                        std::int64_t count, bool pinned = false) {
  torch::Tensor tokens =
      torch::empty({count, c.sequence_length + 1}, torch::dtype(torch::kInt64).pinned_memory(pinned));
  source.train_batch(step, c.batch_size, first, count, c.sequence_length, tokens.data_ptr<std::int64_t>());
  return tokens;
}

// Of each micro-batch.
DataParallel::Rows own_rows(const RunConfig& config, const DataParallel* parallel) {
  const std::int64_t rows = config.batch_size / config.accumulation;
  return parallel ? parallel->rows(rows) : DataParallel::Rows{0, rows};
}

}  // namespace

Session::Session(const RunConfig& config, std::shared_ptr<ProcessGroup> group)
    : config_(config),
      device_(choose_device(config)),
      model_(make_model(config, device_, &start_)),
      params_(model_params(*model_)),
      policy_(read_policy(config)),
      policy_rows_(policy_.resolve(params_)),
      optimizer_(make_optimizer(params_, policy_, policy_rows_)),
      source_(open_source(config)) {
  choose_arithmetic(config.deterministic, config.tf32, device_);
  check_qk_clip(*model_, policy_);
  if (config.from && !config.data_dir.empty()) check_tokenizer(start_.hugging_face, config.data_dir);
  if (group) {
    parallel_ = std::make_shared<DataParallel>(group, params_, policy_rows_, *optimizer_);
    // What each machine's folder holds, which no configuration says.
    if (!config.data_dir.empty()) parallel_->check_same_data(source_->data_hash());
    model_->set_batch_sum([group](torch::Tensor& counts) {
      const torch::NoGradGuard no_grad;
      group->start_sum(counts)();
    });
  }
  const auto own = own_rows(config_, parallel_.get());
  train_step_ = std::make_unique<TrainStep>(
      *model_, *optimizer_,
      StepShape{source_ ? config_.accumulation : 1, own.count, config_.sequence_length + 1,
                source_ ? static_cast<double>(config_.batch_size) / static_cast<double>(own.count) : 1.0,
                config_.autocast == "bfloat16"},
      device_, phases_);
  if (device_.is_cuda() && source_ && !parallel_) use_device(make_step_graph(device_));
  if (config.snr) window_ = std::make_unique<GradientWindow>(params_, *optimizer_);
  if (optimizer_->hessian_every() > 0 && !source_)
    throw UsageError(
        "optimizer: a method that estimates curvature samples labels, which a toy has not; allowed: others");
  if (config.from) start_from(*config.from);
}

void Session::start_from(const StartFrom& from) {
  if (from.go_on) steps_done_ = from.step;
  if (!from.optimizer_state) return;
  if (parallel_) throw UsageError("model.optimizer_state: got true; allowed: false with several processes");
  const std::string name = "optimizer.safetensors", file = from.checkpoint + "/" + name;
  models::NamedTensors state;
  try {
    for (auto& entry : models::read_safetensors(file, checksum_in(checkpoint_state(from.checkpoint), name)))
      if (!GradientWindow::owns(entry.first)) state.push_back(std::move(entry));
    optimizer_->load_named_state(state);
  } catch (const std::invalid_argument& e) {
    throw UsageError("model.optimizer_state: " + file + " does not fit: " + e.what());
  } catch (const std::runtime_error& e) {
    throw UsageError("model.optimizer_state: " + std::string(e.what()));
  }
}

void Session::use_device(std::unique_ptr<StepGraph> graph, std::shared_ptr<cuda::DeviceStep> device) {
  on_device_ = true;
  if (model_->work_is_fixed()) graph_ = std::move(graph);
  if (device) StepHooks(*optimizer_).set_device_step(std::move(device));
  StepHooks(*optimizer_).defer_traces(true);
}

std::int64_t Session::tokens_per_step() const { return source_ ? config_.batch_size * config_.sequence_length : 0; }

torch::Tensor Session::batch(std::int64_t first, std::int64_t count) {
  const auto timed = phases_.scope(Phase::batch);
  return host_rows(*source_, config_, steps_done_, first, count, device_.is_cuda()).to(device_, /*non_blocking=*/true);
}

torch::Tensor Session::host_batch() {
  const auto timed = phases_.scope(Phase::batch);
  return host_rows(*source_, config_, steps_done_, 0, config_.batch_size, device_.is_cuda())
      .view({config_.accumulation, -1, config_.sequence_length + 1});
}

torch::Tensor Session::train_tokens(std::int64_t step) const {
  return host_rows(*source_, config_, step, 0, config_.batch_size).to(device_);
}

torch::Tensor Session::validation_tokens(std::int64_t rows) const {
  torch::Tensor tokens = torch::empty({rows, config_.sequence_length + 1}, torch::kInt64);
  source_->validation_rows(0, rows, config_.sequence_length, tokens.data_ptr<std::int64_t>());
  return tokens.to(device_);
}

torch::Tensor Session::backward() {
  if (!source_) return train_step_->backward(steps_done_, [](std::int64_t) { return torch::Tensor(); });
  // Of each micro-batch this rank has a part, so that what is counted over one is that of one process.
  const auto own = own_rows(config_, parallel_.get());
  return train_step_->backward(
      steps_done_,
      [&](std::int64_t part) {
        return batch(part * (config_.batch_size / config_.accumulation) + own.first, own.count);
      },
      [&] {
        if (parallel_) parallel_->gradients().expect_last_backward();
      });
}

double Session::backward_on_every_rank(StepResult& result) {
  const double loss = backward().item<double>(), balance = train_step_->balance();
  if (!parallel_) {
    result.balance_loss = balance;
    return loss;
  }
  std::vector<double> values{loss, balance};
  for (const int signal : kStopSignals) values.push_back(result.stop_signal == signal ? 1.0 : 0.0);
  parallel_->gradients().finish(values);
  result.balance_loss = values[1];
  result.stop_signal = 0;
  for (std::size_t i = 0; i < std::size(kStopSignals); ++i)
    if (values[2 + i] > 0) result.stop_signal = kStopSignals[i];
  return values[0];
}

// Of the whole batch: a sum of zeros and one number is that number to the bit.
void Session::pass_max_logits() {
  if (!parallel_) return train_step_->pass_max_logits();
  train_step_->pass_max_logits([&](std::vector<double>& own) {
    const auto ranks = static_cast<std::size_t>(parallel_->group().size());
    std::vector<double> all(ranks * own.size());
    std::copy(own.begin(), own.end(),
              all.begin() + parallel_->group().rank() * static_cast<std::ptrdiff_t>(own.size()));
    parallel_->group().sum(all);
    for (std::size_t i = 0; i < own.size(); ++i) {
      own[i] = all[i];
      for (std::size_t rank = 1; rank < ranks; ++rank) own[i] = std::max(own[i], all[rank * own.size() + i]);
    }
  });
}

void Session::refuse_if_not_finite(double loss) const {
  if (std::isfinite(loss)) return;
  const std::string where = "step " + std::to_string(steps_done_ + 1) + ": the loss is not finite";
  for (const NamedParam& p : params_)
    if (p.tensor.grad().defined() && !torch::isfinite(p.tensor.grad()).all().item<bool>())
      throw Divergence{steps_done_ + 1, p.name, where + "; the first parameter concerned is " + p.name};
  throw Divergence{steps_done_ + 1, "", where};
}

void Session::step_on_host(StepResult& result, bool trace, bool reports) {
  optimizer_->zero_grad();
  result.loss = backward_on_every_rank(result);
  refuse_if_not_finite(result.loss);
  if (trace) optimizer_->trace_next_step();
  if (reports) {
    const auto timed = phases_.scope(Phase::traces);
    model_traces().measure();
  }
  pass_max_logits();
  if (before_update_) before_update_();
  update_hessian();
  try {
    const auto timed = phases_.scope(Phase::optimizer);
    optimizer_->step();
  } catch (const NonFiniteGradient& e) {
    throw Divergence{steps_done_ + 1, e.parameter, "step " + std::to_string(steps_done_ + 1) + ": " + e.what()};
  }
}

void Session::step_on_device(StepResult& result, bool trace, bool reports, bool wait) {
  if (reports) {
    const auto timed = phases_.scope(Phase::traces);
    snapshot_ = model_traces().snapshot();
  }
  update_hessian();
  train_step_->run(host_batch(), trace, graph_.get());
  if (reports) {
    const auto timed = phases_.scope(Phase::traces);
    model_traces().add_after(snapshot_);
  }
  result.known = wait || !StepHooks(*optimizer_).steps_on_device();
  if (!result.known) return;
  result.loss = train_step_->loss();
  result.balance_loss = train_step_->balance();
  refuse_if_not_finite(result.loss);
  const std::int64_t refused = optimizer_->refused_steps() - std::exchange(refused_, optimizer_->refused_steps());
  if (refused > 0)
    throw Divergence{steps_done_ + 1, "",
                     "step " + std::to_string(steps_done_ + 1) + ": gradients were not finite in " +
                         std::to_string(refused) +
                         " of the steps since the last that was logged, which changed nothing"};
}

// Where a method asks for it: the gradients of a loss on labels drawn from the model's predictions on the batch of the
// step, for update_hessian().
void Session::sample_gradients() {
  const std::int64_t every = optimizer_->hessian_every();
  if (every == 0 || steps_done_ % every != 0) return;
  const auto own = own_rows(config_, parallel_.get());
  const std::int64_t length = config_.sequence_length, rows = config_.batch_size / config_.accumulation;
  const std::uint64_t stream = stream_of("labels drawn for an estimate of curvature");
  // What a forward pass with gradients keeps of a mixture's load counts once in a step.
  std::vector<std::pair<torch::Tensor, torch::Tensor>> buffers;
  for (const auto& b : model_->named_buffers()) buffers.emplace_back(b.value(), b.value().clone());
  sampled_.clear();
  optimizer_->zero_grad(/*set_to_none=*/!on_device_);
  for (std::int64_t part = 0; part < config_.accumulation; ++part) {
    const std::int64_t first = part * rows + own.first;
    const torch::Tensor uniform =
        torch::empty({own.count, length}, torch::dtype(torch::kFloat64).pinned_memory(device_.is_cuda()));
    const auto begin = static_cast<std::uint64_t>((steps_done_ * config_.batch_size + first) * length);
    for (std::int64_t i = 0; i < uniform.numel(); ++i)
      uniform.data_ptr<double>()[i] = random_uniform(config_.data_seed, stream, begin + static_cast<std::uint64_t>(i));
    const torch::Tensor loss =
        train_step_->sampled_loss(batch(first, own.count), uniform.to(device_, /*non_blocking=*/true));
    if (parallel_ && part + 1 == config_.accumulation) parallel_->gradients().expect_last_backward();
    loss.backward();
  }
  std::vector<double> with_them{0.0};
  if (parallel_) parallel_->gradients().finish(with_them);
  {
    const torch::NoGradGuard no_grad;
    for (auto& [buffer, before] : buffers) buffer.copy_(before);
  }
  for (const NamedParam& p : params_)
    if (p.tensor.grad().defined()) sampled_.emplace_back(p.tensor, p.tensor.grad().clone());
}

// Apart from it, because the state is to stay that of steps_done() until every rank has its gradients.
void Session::update_hessian() {
  if (sampled_.empty()) return;
  std::vector<torch::Tensor> grads;
  for (auto& [param, sampled] : sampled_) {
    grads.push_back(param.grad());
    param.mutable_grad() = sampled;
  }
  std::string refused;
  try {
    optimizer_->update_hessian(static_cast<double>(config_.batch_size * config_.sequence_length));
  } catch (const NonFiniteGradient& e) {
    refused = e.parameter;
  }
  for (std::size_t i = 0; i < grads.size(); ++i) sampled_[i].first.mutable_grad() = grads[i];
  sampled_.clear();
  if (!refused.empty())
    throw Divergence{
        steps_done_ + 1, refused,
        "step " + std::to_string(steps_done_ + 1) + ": the gradient of " + refused + " on drawn labels is not finite"};
}

StepResult Session::step(bool trace, int stop_signal, bool wait) {
  StepResult result;
  const double factor = config_.schedule.factor(steps_done_);
  result.lr = policy_.lr * factor;
  result.stop_signal = stop_signal;
  optimizer_->set_lr_factor(factor);
  const bool reports = trace && (!parallel_ || parallel_->group().rank() == 0);
  sample_gradients();
  if (on_device_)
    step_on_device(result, trace, reports, wait);
  else
    step_on_host(result, trace, reports);
  if (result.known) {
    result.grad_norm = optimizer_->grad_norm();
    result.clip_factor = optimizer_->clip_factor();
  }
  if (window_ || trace) add_traces(result, trace, reports);
  ++steps_done_;
  if (result.known && !pending_.empty()) add_pending_traces(result);
  if (parallel_) parallel_->group().watch().set_step(steps_done_);
  return result;
}

double Session::validate() {
  const torch::NoGradGuard no_grad;
  const AverageWeights average(*optimizer_);
  if (!source_) return static_cast<const models::Toy&>(*model_).excess();
  const std::int64_t length = config_.validation_length;
  const std::int64_t windows = std::min(source_->validation_windows(length), config_.validation_sequences);
  double total = 0.0;
  for (std::int64_t first = 0; first < windows; first += config_.batch_size) {
    const std::int64_t all = std::min(config_.batch_size, windows - first);
    const auto [skipped, count] = parallel_ ? parallel_->rows(all) : DataParallel::Rows{0, all};
    if (count == 0) continue;
    torch::Tensor tokens = torch::empty({count, length + 1}, torch::kInt64);
    source_->validation_rows(first + skipped, count, length, tokens.data_ptr<std::int64_t>());
    total += train_step_->loss_of(tokens.to(device_), 0).item<double>() * static_cast<double>(count);
  }
  if (parallel_) parallel_->group().sum({&total, 1});
  return total / static_cast<double>(windows);
}

models::NamedTensors Session::weights() const {
  models::NamedTensors out;
  for (const NamedParam& p : params_) out.emplace_back(p.name, p.tensor.detach());
  for (const auto& b : model_->named_buffers()) out.emplace_back(b.key(), b.value());
  return out;
}

models::NamedTensors Session::average_weights() {
  if (!optimizer_->has_average_weights()) return {};
  const AverageWeights average(*optimizer_);
  models::NamedTensors out;
  for (const auto& [name, tensor] : weights()) out.emplace_back(name, tensor.clone());
  return out;
}

models::NamedTensors Session::optimizer_state() const {
  if (parallel_) return parallel_->gather_state(*optimizer_);
  models::NamedTensors state = optimizer_->named_state();
  if (window_)
    for (auto& entry : window_->state()) state.push_back(std::move(entry));
  return state;
}

void Session::share_restored() {
  if (!parallel_) return;
  parallel_->share_start(steps_done_, weights(), restored_state_, *optimizer_);
  restored_state_.clear();
  parallel_->group().watch().set_step(steps_done_);
}

void Session::restore(std::int64_t steps_done, const models::NamedTensors& weights,
                      const models::NamedTensors& optimizer_state) {
  const std::map<std::string, torch::Tensor> saved(weights.begin(), weights.end());
  const models::NamedTensors own = this->weights();
  for (const auto& [name, tensor] : own) {
    const auto it = saved.find(name);
    if (it == saved.end() || it->second.sizes() != tensor.sizes() || it->second.scalar_type() != tensor.scalar_type())
      throw std::invalid_argument("checkpoint: " + name + " is missing or of another shape or dtype");
  }
  if (saved.size() != own.size()) throw std::invalid_argument("checkpoint: holds tensors that the model has not");
  models::NamedTensors of_optimizer;
  for (const auto& entry : optimizer_state)
    if (!GradientWindow::owns(entry.first)) of_optimizer.push_back(entry);
  optimizer_->load_named_state(of_optimizer);
  if (window_) window_->restore(optimizer_state);
  const torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : own) tensor.detach().copy_(saved.at(name));
  steps_done_ = steps_done;
  if (parallel_) restored_state_ = optimizer_state;
}

}  // namespace scalevec::experiments
