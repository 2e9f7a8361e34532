#include "models/retrofit.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <stdexcept>

#include "models/decoder_sites.hpp"
#include "optim/core/random.hpp"

namespace scalevec::models {
namespace {

using torch::Tensor;

// γ is an exponential of each element, not of a magnitude alone.
bool elementwise_positive(ScaleForm form) { return ScaleVector::vector_name(form).starts_with("log_"); }

std::string path_of(const std::string& name) { return name.substr(0, name.rfind('.')); }

bool is_multiplier(const Decoder& model, const ScaleLink& link) {
  return model.role(link.scale).site.ends_with(".multiplier");
}

// Parameters of γ in a form, in float64. `gamma` is positive where the form is.
struct Parts {
  Tensor vector, magnitude;
};
Parts parts_of(ScaleForm form, const Tensor& gamma, const std::string& name) {
  if (has_magnitude(form) && !elementwise_positive(form) && gamma.count_nonzero().item<std::int64_t>() == 0)
    throw std::invalid_argument(name + ": is 0 throughout, which has no direction; allowed: a form without magnitude");
  struct {
    Tensor rms(const Tensor& g) const { return g.square().mean().sqrt().view({1}); }
    Tensor mean(const Tensor& a) const { return a.mean().view({1}); }
    Tensor one() const { return torch::ones({1}, torch::kFloat64); }
    Parts parts(const Tensor& a, const Tensor& m = {}) const { return {a, m}; }
  } of_tensors;
  return with_form(form, [&](auto f) { return f.inverse(gamma, of_tensors); });
}

class Retrofit {
 public:
  Retrofit(const Decoder& from, const DecoderOptions& options) : from_(from) {
    result_.model = std::make_shared<Decoder>(options, 0);
    const auto theirs = from_.named_parameters();
    result_.model->to(theirs["embed.weight"].scalar_type());
    for (const auto& p : result_.model->named_parameters())
      if (result_.model->role(p.key()).kind != ParamKind::scale)
        matrices_[p.key()] = theirs[p.key()].to(torch::kFloat64);
    for (const auto& b : result_.model->named_buffers()) b.value().copy_(from_.named_buffers()[b.key()]);
    for (const ScaleLink& link : from_.scale_links()) {
      sources_[path_of(link.scale)] = &link;
      if (is_multiplier(from_, link) || from_.role(link.scale).side != ScaleSide::before) continue;
      for (const std::string& map : link.maps) before_[map] = &link;
    }
  }

  RetrofitResult run() {
    for (const ScaleLink& link : result_.model->scale_links()) {
      if (is_multiplier(*result_.model, link)) continue;  // starts from 1
      if (result_.model->role(link.scale).side == ScaleSide::before)
        place_before(link);
      else
        place_behind(link);
    }
    for (const ScaleLink& link : from_.scale_links()) move_rest(link);
    const auto to = result_.model->named_parameters();
    for (const auto& [name, value] : matrices_) to[name].copy_(value);
    return std::move(result_);
  }

 private:
  static Tensor value_of(const ScaleLink& link) { return link.gamma.value().detach().to(torch::kFloat64); }

  void set(const ScaleLink& link, const Tensor& gamma) {
    const auto to = result_.model->named_parameters();
    const std::string path = path_of(link.scale);
    const Parts parts = parts_of(link.gamma.form(), gamma, path);
    to[link.scale].copy_(parts.vector);
    if (parts.magnitude.defined())
      to[path + "." + ScaleVector::magnitude_name(link.gamma.form())].copy_(parts.magnitude);
  }

  // What of γ the form holds; the rest, γ over it, is for the matrices.
  Tensor held(const ScaleLink& link, const Tensor& gamma) const {
    if (!elementwise_positive(link.gamma.form())) return gamma;
    const Tensor size = gamma.abs();
    const Tensor nonzero = size.masked_select(size > 0);
    if (nonzero.numel() == 0)
      throw std::invalid_argument(path_of(link.scale) + ": is 0 throughout, which no exponential is");
    return size.where(size > 0, nonzero.min());
  }

  bool tied(const std::string& map) const { return map == "embed.weight"; }

  void scale_columns(const ScaleLink& link, const std::string& map, const Tensor& factor, const std::string& what) {
    if (factor.eq(1.0).all().item<bool>()) return;
    if (tied(map))
      throw std::invalid_argument(path_of(link.scale) + ": " + what +
                                  " cannot go into the unembedding, which is tied to the embedding");
    Tensor& matrix = matrices_.at(map);
    matrix = matrix * link.spread(factor, matrix.size(1));
  }

  void place_before(const ScaleLink& link) {
    const ScaleLink* source = nullptr;
    bool first = true;
    for (const std::string& map : link.maps) {
      const auto it = before_.find(map);
      const ScaleLink* here = it == before_.end() ? nullptr : it->second;
      if (!first && here != source &&
          !(here != nullptr && source != nullptr && value_of(*here).equal(value_of(*source))))
        throw std::invalid_argument(path_of(link.scale) +
                                    ": is shared by maps that have scale vectors of their own in the model; fold it "
                                    "first, or keep the branches");
      source = here;
      first = false;
    }
    const Tensor gamma =
        source != nullptr ? value_of(*source) : torch::ones({link.gamma.value().size(0)}, torch::kFloat64);
    const Tensor kept = held(link, gamma);
    set(link, kept);
    const Tensor rest = gamma / kept;
    const std::int64_t changed = rest.ne(1.0).sum().item<std::int64_t>();
    for (const std::string& map : link.maps) {
      scale_columns(link, map, rest, "the signs and zeros of γ");
      covered_.insert(map);
    }
    if (changed > 0)
      result_.moved.push_back(path_of(link.scale) + ": " + std::to_string(changed) + " of " +
                              std::to_string(gamma.size(0)) +
                              " entries are not positive; their signs and zeros went into the maps that read them");
  }

  void place_behind(const ScaleLink& link) {
    const std::string path = path_of(link.scale);
    const auto it = sources_.find(path);
    Tensor gamma = torch::ones({link.gamma.value().size(0)}, torch::kFloat64);
    if (it != sources_.end()) {
      gamma = value_of(*it->second);
      placed_.insert(path);
    } else if (path.ends_with(".out")) {
      const std::string map = path.substr(0, path.size() - 4);
      const bool normed =
          has_output_norm(result_.model->options(), site_of(map)) && !has_output_norm(from_.options(), site_of(map));
      if (normed) gamma = gamma * row_size(map + ".weight");
    }
    const Tensor kept = held(link, gamma);
    if (!kept.equal(gamma)) {
      if (link.rows.empty())
        throw std::invalid_argument(path +
                                    ": has entries that are not positive, which the form cannot hold and no map "
                                    "can take over");
      for (const std::string& map : link.rows) matrices_.at(map) = matrices_.at(map) * (gamma / kept).unsqueeze(-1);
      result_.moved.push_back(path + ": entries that are not positive; their signs and zeros went into the map's rows");
    }
    set(link, kept);
  }

  // "layers.0.ffn.experts.3.gate" → "ffn.gate".
  static std::string site_of(const std::string& map) {
    const std::size_t layer = map.find('.', 7);
    const std::string inside = map.substr(layer + 1);
    return inside.substr(0, inside.find('.')) + inside.substr(inside.rfind('.'));
  }

  // Of the map's output for an input of independent elements of size 1, behind what stands before the map.
  double row_size(const std::string& weight) const {
    const Tensor w = from_.named_parameters()[weight].detach().to(torch::kFloat64);
    const auto it = before_.find(weight);
    const Tensor scaled = it == before_.end() ? w : w * value_of(*it->second);
    return scaled.square().sum(1).mean().sqrt().item<double>();
  }

  // A scale of `from` that has no place: into the matrices, or it is missed.
  void move_rest(const ScaleLink& link) {
    const std::string path = path_of(link.scale);
    const bool before = from_.role(link.scale).side == ScaleSide::before && !is_multiplier(from_, link);
    if (!before && placed_.contains(path)) return;
    const Tensor gamma = value_of(link);
    if (!link.folds()) {
      if (gamma.ne(1.0).any().item<bool>())
        result_.inexact.push_back(path + ": has no place in the design, and no map takes it");
      return;
    }
    bool moved = false;
    for (const std::string& map : link.maps) {
      if (before && covered_.contains(map)) continue;
      scale_columns(link, map, gamma, "γ");
      moved = true;
    }
    for (const std::string& map : link.rows) {
      matrices_.at(map) = matrices_.at(map) * gamma.unsqueeze(-1);
      moved = true;
    }
    if (moved) result_.moved.push_back(path + ": has no place in the design; it went into the maps beside it");
  }

  const Decoder& from_;
  RetrofitResult result_;
  std::map<std::string, Tensor> matrices_;  // in float64
  std::map<std::string, const ScaleLink*> sources_, before_;
  std::set<std::string> covered_, placed_;
};

}  // namespace

RetrofitResult retrofit(const Decoder& from, const DecoderOptions& options, std::uint64_t seed) {
  const torch::NoGradGuard no_grad;
  const DecoderOptions target = options.resolved();
  {
    DecoderOptions same = target;
    same.scales = from.options().scales;
    same.scale_vectors = from.options().scale_vectors;
    same.qk_norm_scale = from.options().qk_norm_scale;
    same.execution = from.options().execution;
    same.init_std = from.options().init_std;
    same.init_depth_scaling = from.options().init_depth_scaling;
    same.moe.balance_loss = from.options().moe.balance_loss;
    if (!(same == from.options()))
      throw std::invalid_argument("retrofit: the architecture differs; allowed: other scale vectors");
  }
  RetrofitResult result = Retrofit(from, target).run();
  std::string normed;
  for (const std::string& map : map_sites())
    if (has_output_norm(target, map) != has_output_norm(from.options(), map))
      normed += (normed.empty() ? "" : ", ") + map;
  if (!normed.empty())
    result.inexact.push_back("the design has a norm behind " + normed + ", which the model does not");

  const std::int64_t length = 32;
  Tensor tokens = torch::empty({2, length}, torch::kInt64);
  for (std::int64_t i = 0; i < tokens.numel(); ++i)
    tokens.view({-1})[i] = static_cast<std::int64_t>(static_cast<double>(target.vocab_size) *
                                                     random_uniform(seed, 0x7e7f, static_cast<std::uint64_t>(i)));
  // A forward pass keeps tables; the parameters stay as they are.
  const Tensor before = const_cast<Decoder&>(from).forward(tokens), after = result.model->forward(tokens);
  result.logit_gap = ((after - before).abs().max() / before.abs().max()).item<double>();
  return result;
}

}  // namespace scalevec::models
