#include "models/fold.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <map>

#include "models/decoder_sites.hpp"

namespace scalevec::models {
namespace {

DecoderOptions folded_options(DecoderOptions options, bool untie) {
  if (untie) options.tie_embeddings = false;
  ScaleOptions& s = options.scales;
  s.branch_attn = s.branch_ffn = false;
  s.experts = ExpertScales::together;
  s.multipliers = {};
  s.allow_inert = false;
  for (const std::string& map : map_sites())
    if (s.placements.contains(map) && placement_of(s, map) == ScalePlacement::both)
      s.placements[map] = ScalePlacement::input;
  if (s.placement == ScalePlacement::both) {
    s.placement = ScalePlacement::input;
    s.maps.clear();
  }
  std::map<std::string, GammaOptions> kept;
  for (const auto& [site, gamma] : s.at) {
    const bool behind = site.ends_with(".out");
    const bool branch = !behind && site.find('.') != std::string::npos && &kind_of(s, site) == &s.input;
    if (!branch && !(behind && placement_of(s, site.substr(0, site.size() - 4)) == ScalePlacement::input))
      kept[site] = {gamma.present};
  }
  s.at = kept;
  for (GammaOptions* gamma : {&s.input, &s.output, &s.post, &s.qk_norm, &s.final}) {
    gamma->form = ScaleForm::plain;
    gamma->initial = 1.0;
  }
  return options.resolved();
}

}  // namespace

FoldResult fold(const Decoder& model, bool untie) {
  const torch::NoGradGuard no_grad;
  const bool untied_now = untie && model.options().tie_embeddings;
  FoldResult result;
  result.model = std::make_shared<Decoder>(folded_options(model.options(), untied_now), 0);
  const auto from = model.named_parameters();
  result.model->to(from["embed.weight"].scalar_type());
  const auto to = result.model->named_parameters();

  std::map<std::string, torch::Tensor> matrices;  // in float64
  for (const auto& p : to)
    if (result.model->role(p.key()).kind != ParamKind::scale)
      matrices[p.key()] =
          from[untied_now && p.key() == "unembed.weight" ? "embed.weight" : p.key()].to(torch::kFloat64);
  const auto buffers = model.named_buffers();
  for (const auto& b : result.model->named_buffers()) b.value().copy_(buffers[b.key()]);

  for (const ScaleLink& link : model.scale_links()) {
    const torch::Tensor gamma = link.gamma.value().to(torch::kFloat64);
    const bool tied = !untied_now && std::find(link.maps.begin(), link.maps.end(), "embed.weight") != link.maps.end();
    if (!link.folds() || tied) {
      const std::string path = link.scale.substr(0, link.scale.rfind('.'));
      to[path + ".gamma"].copy_(gamma);
      result.kept.push_back(
          {link.scale, tied ? "the unembedding is tied to the embedding, which it would change; --untie"
                            : "output-class: no linear map follows that it could be moved into"});
      continue;
    }
    for (const std::string& map : link.maps) {
      torch::Tensor& matrix = matrices.at(untied_now && map == "embed.weight" ? "unembed.weight" : map);
      matrix = matrix * link.spread(gamma, matrix.size(1));
    }
    for (const std::string& map : link.rows) matrices.at(map) = matrices.at(map) * gamma.unsqueeze(-1);
    result.folded.push_back(link.scale);
  }
  for (const auto& [name, value] : matrices) to[name].copy_(value);
  return result;
}

}  // namespace scalevec::models
