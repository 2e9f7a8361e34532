#include "experiments/stored/model_info.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>

#include <algorithm>
#include <cstdint>
#include <map>
#include <utility>
#include <vector>

#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

struct Count {
  std::int64_t tensors = 0, values = 0;
};

std::string percent(std::int64_t part, std::int64_t whole) {
  return printed("%.2f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

const char* dtype_word(torch::ScalarType type) {
  switch (type) {
    case torch::kFloat32:
      return "float32";
    case torch::kFloat64:
      return "float64";
    case torch::kBFloat16:
      return "bfloat16";
    case torch::kFloat16:
      return "float16";
    default:
      return c10::toString(type);
  }
}

}  // namespace

std::string model_info(const models::Decoder& model) {
  const models::DecoderOptions& o = model.options();
  const auto parameters = model.named_parameters();
  std::map<std::string, Count> roles;
  std::int64_t total = 0;
  for (const auto& p : parameters) {
    ParamRole role = model.role(p.key());
    role.layer = -1;
    Count& count = roles[describe(role)];
    ++count.tensors;
    count.values += p.value().numel();
    total += p.value().numel();
  }
  std::string text =
      std::to_string(o.layers) + " layers, width " + std::to_string(o.width) + ", " + std::to_string(o.heads) +
      " heads, " + std::to_string(o.kv_heads) + " key-value heads of " + std::to_string(o.head_dim) + ", vocabulary " +
      std::to_string(o.vocab_size) + (o.tie_embeddings ? " (tied), " : " (untied), ") +
      dtype_word(parameters["embed.weight"].scalar_type()) + "\n" + std::to_string(total) + " parameters\n";
  for (const auto& [role, count] : roles)
    text += printed("  %-32s %6lld %-7s %14lld values %10s\n", role.c_str(), static_cast<long long>(count.tensors),
                    count.tensors == 1 ? "tensor" : "tensors", static_cast<long long>(count.values),
                    percent(count.values, total).c_str());
  if (model.scale_links().empty()) return text + "no scale vectors\n";
  text += printed("%-34s %10s %10s %10s %10s  %s\n", "scale vector", "least", "mean", "RMS", "greatest",
                  "class, and the matrices it can be multiplied into");
  for (const models::ScaleLink& link : model.scale_links()) {
    const torch::Tensor gamma = link.gamma.value().detach().to(torch::kFloat64);
    text +=
        printed("%-34s %10.4g %10.4g %10.4g %10.4g  ", link.scale.c_str(), gamma.min().item<double>(),
                gamma.mean().item<double>(), gamma.square().mean().sqrt().item<double>(), gamma.max().item<double>()) +
        models::class_reason(link) + "\n";
  }
  return text;
}

}  // namespace scalevec::experiments
