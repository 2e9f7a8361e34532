#include "experiments/train/train_step.hpp"

#include <algorithm>
#include <cstdio>
#include <string>
#include <utility>

#include "models/autocast.hpp"
#include "optim/step_hooks.hpp"

namespace scalevec::experiments {

TrainStep::TrainStep(models::Model& model, Optimizer& optimizer, const StepShape& shape, torch::Device device,
                     Phases& phases)
    : model_(model),
      optimizer_(optimizer),
      decoder_(optimizer.clips_logits() ? dynamic_cast<models::Decoder*>(&model) : nullptr),
      shape_(shape),
      device_(device),
      phases_(phases) {
  if (decoder_) decoder_->note_max_logits(true);
}

void TrainStep::pass_max_logits(const std::function<void(std::vector<double>&)>& of_all) {
  if (!decoder_) return;
  max_logits_ = decoder_->take_max_logits();
  if (of_all) {
    std::vector<double> flat;
    for (torch::Tensor& layer : max_logits_) {
      layer = layer.to(torch::kCPU, torch::kFloat64).contiguous();
      flat.insert(flat.end(), layer.const_data_ptr<double>(), layer.const_data_ptr<double>() + layer.numel());
    }
    of_all(flat);
    const double* next = flat.data();
    for (const torch::Tensor& layer : max_logits_) {
      std::copy_n(next, layer.numel(), layer.data_ptr<double>());
      next += layer.numel();
    }
  }
  optimizer_.set_max_logits(max_logits_);
}

torch::Tensor TrainStep::loss_of(const torch::Tensor& tokens, std::int64_t step) {
  const models::Autocast guard(device_.type(), torch::kBFloat16, shape_.autocast);
  return model_.loss(tokens, step);
}

torch::Tensor TrainStep::sampled_loss(const torch::Tensor& tokens, const torch::Tensor& uniform) {
  const models::Autocast guard(device_.type(), torch::kBFloat16, shape_.autocast);
  return model_.sampled_loss(tokens, uniform) / shape_.divisor;
}

torch::Tensor TrainStep::backward(std::int64_t step, const std::function<torch::Tensor(std::int64_t)>& tokens,
                                  const std::function<void()>& before_last) {
  torch::Tensor total = torch::zeros({}, torch::dtype(torch::kFloat64).device(device_));
  balance_ = torch::Tensor();
  if (decoder_) decoder_->take_max_logits();  // of sampled_loss()
  for (std::int64_t part = 0; part < shape_.parts; ++part) {
    const torch::Tensor batch = tokens(part);
    torch::Tensor loss;
    {
      const auto timed = phases_.scope(Phase::forward);
      loss = loss_of(batch, step);
    }
    const auto timed = phases_.scope(Phase::backward);
    if (torch::Tensor balance = model_.balance_part(); balance.defined()) {
      balance = balance.to(torch::kFloat64) / shape_.divisor;
      balance_ = balance_.defined() ? balance_ + balance : balance;
    }
    if (shape_.divisor != 1.0) loss = loss / shape_.divisor;
    if (before_last && part + 1 == shape_.parts) before_last();
    loss.backward();
    total += loss.detach();
  }
  return total;
}

void TrainStep::enqueue() {
  // The first micro-batch then writes the gradients, where zeros would be written, read and added to.
  optimizer_.zero_grad(/*set_to_none=*/true);
  loss_.copy_(backward(0, [&](std::int64_t part) { return tokens_[part]; }));
  const auto timed = phases_.scope(Phase::optimizer);
  pass_max_logits();
  optimizer_.step();
}

void TrainStep::record(bool trace, StepGraph& graph) {
  graph.record(trace, [this, trace] {
    StepHooks hooks(optimizer_);
    hooks.set_recording(true);
    if (trace) optimizer_.trace_next_step();
    enqueue();
    hooks.set_recording(false);
  });
  logits_[trace] = max_logits_;
  grads_[trace].clear();
  for (const torch::Tensor& p : model_.parameters()) grads_[trace].push_back(p.grad());
}

void TrainStep::run(const torch::Tensor& tokens, bool trace, StepGraph* graph) {
  if (!tokens_.defined()) {
    tokens_ = torch::empty({shape_.parts, shape_.rows, shape_.length}, torch::dtype(torch::kInt64).device(device_));
    loss_ = torch::empty({}, torch::dtype(torch::kFloat64).device(device_));
  }
  {
    const auto timed = phases_.scope(Phase::batch);
    tokens_.copy_(tokens, /*non_blocking=*/true);
  }
  StepHooks hooks(optimizer_);
  const auto make = [this, trace] {
    if (trace) optimizer_.trace_next_step();
    enqueue();
  };
  if (!graph || unrecordable_ || !hooks.next_is_ordinary() || !(warm_ == 0 || hooks.steps_on_device())) return make();
  if (!graph->recorded(trace) && warm_ < kWarmUp) {
    ++warm_;
    return make();
  }
  const auto set_grads = [&] {
    if (!graph->recorded(trace)) return;
    const std::vector<torch::Tensor> params = model_.parameters();
    for (std::size_t i = 0; i < params.size(); ++i) params[i].mutable_grad() = grads_[trace][i];
  };
  set_grads();
  if (!hooks.update_device(trace)) graph->forget();
  if (!graph->recorded(trace)) {
    try {
      record(trace, *graph);
    } catch (const std::exception& e) {
      hooks.set_recording(false);
      const std::string what = e.what();
      std::fprintf(stderr, "scalevec: steps are made without a CUDA graph, since one cannot be recorded: %s\n",
                   what.substr(0, what.find('\n')).c_str());
      unrecordable_ = true;
      return make();
    }
  }
  max_logits_ = logits_[trace];
  hooks.note_replay(trace);
  graph->replay(trace);
}

}  // namespace scalevec::experiments
