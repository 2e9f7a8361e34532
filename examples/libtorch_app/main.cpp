// A LibTorch model trained twice: by AdamW alone, then with a method for each role. Prints the traces of every role.
#include <torch/torch.h>

#include <cstdio>
#include <scalevec/optim.hpp>

constexpr int kModulus = 29;

// Predicts (a + b) mod 29 from a and b. The norm of the branch's output reaches the residual stream: no map can undo
// it.
struct NetImpl : torch::nn::Module {
  NetImpl() {
    namespace nn = torch::nn;
    embed = register_module("embed", nn::Embedding(kModulus, 64));
    norm = register_module("norm", nn::LayerNorm(nn::LayerNormOptions({128})));
    up = register_module("up", nn::Linear(128, 256));
    down = register_module("down", nn::Linear(256, 128));
    post_norm = register_module("post_norm", nn::LayerNorm(nn::LayerNormOptions({128})));
    head = register_module("head", nn::Linear(128, kModulus));
  }

  torch::Tensor forward(const torch::Tensor& pairs) {
    const torch::Tensor x = embed(pairs).flatten(1);
    return head(x + post_norm(down(torch::gelu(up(norm(x))))));
  }

  torch::nn::Embedding embed{nullptr};
  torch::nn::LayerNorm norm{nullptr}, post_norm{nullptr};
  torch::nn::Linear up{nullptr}, down{nullptr}, head{nullptr};
};
TORCH_MODULE(Net);

scalevec::ParamRole role_of(const std::string& name, const torch::Tensor&) {
  using scalevec::NormClass, scalevec::ParamKind;
  if (name.ends_with("bias")) return {ParamKind::bias};
  if (name == "embed.weight") return {ParamKind::embedding};
  if (name == "head.weight") return {ParamKind::unembedding};
  if (name == "norm.weight") return {ParamKind::scale, NormClass::input};
  if (name == "post_norm.weight") return {ParamKind::scale, NormClass::output};
  return {ParamKind::matrix};
}

double train(Net& model, scalevec::Optimizer& optimizer, bool print_traces) {
  const torch::Tensor pairs = torch::cartesian_prod({torch::arange(kModulus), torch::arange(kModulus)});
  const torch::Tensor sums = pairs.sum(1).remainder(kModulus);
  double loss_value = 0.0;
  for (int step = 1; step <= 150; ++step) {
    const bool traced = print_traces && step % 50 == 0;
    if (traced) optimizer.trace_next_step();
    optimizer.zero_grad();
    const torch::Tensor loss = torch::nn::functional::cross_entropy(model(pairs), sums);
    loss.backward();
    optimizer.step();
    loss_value = loss.item<double>();
    if (!traced) continue;
    std::printf("\nstep %d, loss %.4f\n%-18s %-8s %10s %10s %12s\n", step, loss_value, "", "method", "|g|", "|d|/|p|",
                "effective lr");
    for (const scalevec::TraceRow& row : optimizer.traces())
      std::printf("%-18s %-8s %10.2e %10.2e %12.2e\n", row.name.c_str(), row.method.c_str(), row.grad_norm,
                  row.update_ratio, row.effective_lr);
  }
  return loss_value;
}

int main() {
  torch::manual_seed(1);
  Net model;
  scalevec::AdamW plain(model->parameters(), scalevec::AdamWOptions(3e-3).weight_decay(0.1));
  const double plain_loss = train(model, plain, false);

  torch::manual_seed(1);
  model = Net();
  const std::vector<scalevec::NamedParam> params = scalevec::named_params(*model, role_of);
  const auto policy = scalevec::RolePolicy::from_json(R"({ "lr": 3e-3, "rules": [
      {"match": {"kind": "matrix"}, "method": "muon", "weight_decay": 0.1},
      {"match": {"kind": "scale", "norm_class": "input"}, "method": "adamw", "weight_decay": 0.1},
      {"match": {"kind": "scale", "norm_class": "output"}, "method": "adamw", "weight_decay": 0.0},
      {"match": {"kind": ["embedding", "unembedding", "bias"]}, "method": "adamw"} ] })");
  const auto optimizer = scalevec::make_optimizer(params, policy);
  const double policy_loss = train(model, *optimizer, true);
  std::printf("\nloss after 150 steps: AdamW alone %.4f, by role %.4f\n", plain_loss, policy_loss);
}
