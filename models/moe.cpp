#include "models/moe.hpp"

#include <torch/types.h>
#include <torch/utils.h>

namespace scalevec::models {

Routing route(const torch::Tensor& logits, const torch::Tensor& bias, const MoeOptions& options,
              const std::function<void(torch::Tensor&)>& sum) {
  Routing r;
  const bool rounded = logits.scalar_type() == torch::kBFloat16 || logits.scalar_type() == torch::kHalf;
  const torch::Tensor probability = at::softmax(rounded ? logits.to(torch::kFloat32) : logits, -1);
  const torch::Tensor score = bias.defined() ? probability.detach() + bias : probability.detach();
  r.experts = std::get<1>(score.topk(options.top_k, -1));
  r.weights = probability.gather(-1, r.experts);
  if (options.normalise_top_k) r.weights = r.weights / r.weights.sum(-1, true);
  // By comparisons: counting by bins asks the device for the largest one.
  const torch::Tensor each = at::arange(options.experts, r.experts.options()).unsqueeze(1);
  r.load = r.experts.reshape({1, -1}).eq(each).sum(1).to(probability.scalar_type());
  if (sum) sum(r.load);
  r.balance = static_cast<double>(options.experts) * ((r.load / r.load.sum()) * probability.mean(0)).sum();
  return r;
}

void balance_bias(torch::Tensor& bias, const torch::Tensor& load, double rate) {
  const torch::NoGradGuard no_grad;
  bias.add_((load.mean() - load).sign(), rate);
}

}  // namespace scalevec::models
