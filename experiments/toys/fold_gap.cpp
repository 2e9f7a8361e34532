#include "experiments/toys/toys.hpp"

#include <torch/types.h>
#include <torch/utils.h>

#include "models/fold.hpp"
#include "models/initial_value.hpp"

namespace scalevec::experiments {

double fold_gap(std::int64_t layers, std::int64_t width, double least, double largest, bool float64,
                std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  models::DecoderOptions o;
  o.vocab_size = 64;
  o.width = width;
  o.layers = layers;
  o.heads = o.width / 32;
  o.tie_embeddings = false;
  o.init_std = 0.1;
  models::Decoder model(o, seed);
  model.to(float64 ? torch::kFloat64 : torch::kFloat32);
  for (const models::ScaleLink& link : model.scale_links()) {
    const torch::Tensor normal = models::normal_values({o.width}, 1.0, seed, link.scale, torch::kFloat64);
    const torch::Tensor uniform = 0.5 * (1.0 + torch::erf(normal / std::sqrt(2.0)));
    link.gamma.value().copy_(least + (largest - least) * uniform);
  }
  const torch::Tensor tokens =
      torch::arange(2 * 32).view({2, 32}).mul(7).add(static_cast<std::int64_t>(seed)).remainder(64);
  const torch::Tensor before = model.forward(tokens), after = models::fold(model).model->forward(tokens);
  return ((after - before).abs().max() / before.abs().max()).item<double>();
}

}  // namespace scalevec::experiments
