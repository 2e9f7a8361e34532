#include "scalevec/models/fold.hpp"

#include <torch/torch.h>

#include <algorithm>

namespace scalevec {

FoldResult fold(const Decoder& model, bool untie) {
  const torch::NoGradGuard no_grad;
  DecoderOptions options = model.options();
  const bool untied_now = untie && options.tie_embeddings;
  if (untied_now) options.tie_embeddings = false;

  FoldResult result;
  result.model = std::make_shared<Decoder>(options, 0);
  const auto from = model.named_parameters();
  result.model->to(from["embed.weight"].scalar_type());
  const auto to = result.model->named_parameters();
  for (const auto& p : to)
    p.value().copy_(untied_now && p.key() == "unembed.weight" ? from["embed.weight"] : from[p.key()]);

  for (const ScaleLink& link : result.model->scale_links()) {
    if (link.maps.empty()) {
      result.kept.push_back({link.scale, "output-class: no linear map follows that it could be moved into"});
      continue;
    }
    if (std::find(link.maps.begin(), link.maps.end(), "embed.weight") != link.maps.end()) {
      result.kept.push_back({link.scale, "the unembedding is tied to the embedding, which it would change; --untie"});
      continue;
    }
    torch::Tensor gamma = to[link.scale];
    for (const std::string& map : link.maps) {
      torch::Tensor matrix = to[map];
      matrix.copy_(matrix.to(torch::kFloat64) * gamma.to(torch::kFloat64));
    }
    gamma.fill_(1.0);
    result.folded.push_back(link.scale);
  }
  return result;
}

}  // namespace scalevec
