#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <stdexcept>
#include <utility>

#include "models/decoder.hpp"
#include "models/decoder_sites.hpp"
#include "models/initial_value.hpp"

namespace scalevec::models {
namespace {

using torch::Tensor;

DecoderOptions checked(const DecoderOptions& options) {
  if (const std::string error = options.error(); !error.empty()) throw std::invalid_argument(error);
  return options.resolved();
}

ParamRole role_at(ParamKind kind, std::string site, int layer) {
  ParamRole role;
  role.kind = kind;
  role.site = std::move(site);
  role.layer = layer;
  return role;
}

ParamRole scale_at(ScaleSide side, std::string site, int layer) {
  ParamRole role = role_at(ParamKind::scale, std::move(site), layer);
  role.side = side;
  return role;
}

ScaleLink columns_of(std::vector<std::string> maps, std::string via = {}) {
  ScaleLink link;
  link.maps = std::move(maps);
  link.via = std::move(via);
  return link;
}

ScaleLink rows_of(std::string map) {
  ScaleLink link;
  link.rows = {std::move(map)};
  return link;
}

constexpr const char* kIntoResidual = "it is added to the residual stream, which every later norm reads";

}  // namespace

Decoder::Decoder(const DecoderOptions& options, std::uint64_t seed)
    : options_(checked(options)),
      seed_(seed),
      norm_{options_.norm, options_.norm_eps},
      rope_(options_.head_dim, options_.rope_theta, options_.rope_scaling),
      local_rope_(options_.head_dim, options_.local_rope_theta > 0.0 ? options_.local_rope_theta : options_.rope_theta,
                  options_.local_rope_theta > 0.0 ? RopeScaling{} : options_.rope_scaling) {
  embed_ = add_matrix("embed.weight", options_.vocab_size, options_.width, role_at(ParamKind::embedding, "embed", -1),
                      options_.init_std);
  for (int layer = 0; layer < options_.layers; ++layer) {
    attention_.push_back(make_attention(layer));
    feed_forward_.push_back(make_feed_forward(layer));
  }
  const std::string reader = options_.tie_embeddings ? "embed.weight" : "unembed.weight";
  final_gamma_ = add_scale_vector("final_norm", options_.scales.final, options_.width,
                                  scale_at(ScaleSide::before, "final", -1), columns_of({reader}));
  unembed_ = options_.tie_embeddings ? embed_
                                     : add_matrix("unembed.weight", options_.vocab_size, options_.width,
                                                  role_at(ParamKind::unembedding, "unembed", -1), options_.init_std);
  check_roles();
}

Tensor Decoder::add_matrix(const std::string& name, std::int64_t rows, std::int64_t columns, const ParamRole& role,
                           double std) {
  return add_parameter(name, normal_values({rows, columns}, std, seed_, name), role);
}

// `kind` is the site that the options know the map by: "ffn.gate" for an expert's, whose own site names the expert.
ScaledMap Decoder::add_map(const std::string& name, const std::string& site, const std::string& kind, int layer,
                           std::int64_t rows, std::int64_t columns, bool into_residual) {
  const DecoderOptions& o = options_;
  const double std =
      into_residual && o.init_depth_scaling ? o.init_std / std::sqrt(2.0 * static_cast<double>(o.layers)) : o.init_std;
  ScaledMap map;
  const std::string weight = name + ".weight";
  ParamRole role = role_at(ParamKind::matrix, site, layer);
  if (kind == "attn.q" || kind == "attn.k") role.head_dim = o.head_dim;
  map.weight = add_matrix(weight, rows, columns, std::move(role), std);
  const bool qkv = kind == "attn.q" || kind == "attn.k" || kind == "attn.v";
  if ((qkv && o.qkv_bias) || (kind == "attn.o" && o.o_bias))
    map.bias = add_parameter(name + ".bias", torch::zeros({rows}), role_at(ParamKind::bias, site, layer));

  const MultiplierOptions& m = o.scales.multipliers;
  if (m.any() && std::find(m.maps.begin(), m.maps.end(), kind) != m.maps.end()) {
    const std::string path = name + ".multiplier.", at = site + ".multiplier";
    const auto add = [&](const char* last, std::int64_t size, ScaleSide side, ScalePart part, ScaleLink link) {
      ParamRole role = scale_at(side, at, layer);
      role.norm_class = NormClass::input;
      role.part = part;
      const Tensor value = add_parameter(path + last, torch::ones({size}), role);
      link.scale = path + last;
      link.gamma = ScaleVector(ScaleForm::plain, value);
      add_scale_link(std::move(link));
      return value;
    };
    if (m.scalar) map.scalar = add("scalar", 1, ScaleSide::after, ScalePart::magnitude, rows_of(weight));
    if (m.rows) map.rows = add("rows", rows, ScaleSide::after, ScalePart::value, rows_of(weight));
    if (m.columns) map.columns = add("columns", columns, ScaleSide::before, ScalePart::value, columns_of({weight}));
  }
  map.norm = has_output_norm(o, kind);
  // A bias before the norm keeps the matrix from being scale-invariant.
  const bool qk_normed = o.qk_norm && (kind == "attn.q" || kind == "attn.k");
  const bool post_normed = o.norm_placement == NormPlacement::post || o.norm_placement == NormPlacement::sandwich;
  const bool sublayer_end = post_normed && (site == "attn.o" || site == "ffn.down");
  if (!map.bias.defined() && (map.norm || qk_normed || sublayer_end)) add_matrix_before_norm(weight);
  return map;
}

void Decoder::add_output_scale(ScaledMap& map, const std::string& name, const std::string& site,
                               const std::string& kind, int layer, const std::string& reader) {
  if (!has_output_scale(options_, kind)) return;
  ScaleLink link;
  if (!map.norm) {
    link = rows_of(name + ".weight");
  } else if (kind == "attn.v") {
    link = columns_of({reader}, "through the attention average");
    link.block = options_.head_dim;
    map.out_folds_into_reader = true;
  } else if (kind == "ffn.up") {
    link = columns_of({reader}, "through the gate's product");
    map.out_folds_into_reader = true;
  } else if (kind == "ffn.gate") {
    link.via = "the activation follows, and not a linear map";
  } else if (kind == "attn.q" || kind == "attn.k") {
    link.via = "RoPE and the softmax follow, and not a linear map";
  } else {
    link.via = kIntoResidual;
  }
  map.out = add_scale_vector(name + ".out", gamma_at(options_.scales, kind + ".out"), map.weight.size(0),
                             scale_at(ScaleSide::after, site, layer), link);
}

ScaleVector Decoder::add_input_scale(const std::string& path, const std::string& site, const std::string& kind,
                                     int layer, std::vector<std::string> maps) {
  return add_scale_vector(path, gamma_at(options_.scales, kind), options_.width,
                          scale_at(ScaleSide::before, site, layer), columns_of(std::move(maps)));
}

ScaleVector Decoder::add_output_class_scale(const std::string& path, std::int64_t size, const std::string& site,
                                            int layer, const std::string& why) {
  ScaleLink link;
  link.via = why;
  return add_scale_vector(path, gamma_at(options_.scales, site), size, scale_at(ScaleSide::after, site, layer), link);
}

Decoder::Attention Decoder::make_attention(int layer) {
  const DecoderOptions& o = options_;
  const std::string path = "layers." + std::to_string(layer) + ".", attn = path + "attn.";
  const std::int64_t q_width = o.heads * o.head_dim, kv_width = o.kv_heads * o.head_dim;
  Attention a;
  a.layer = static_cast<size_t>(layer);
  a.window = o.windows[static_cast<size_t>(layer)];
  a.rotates = !std::binary_search(o.no_rope.begin(), o.no_rope.end(), layer);
  const bool scaled = a.rotates && (a.window == 0 || o.local_rope_theta == 0.0);
  a.score_scale = o.query_scale * (scaled ? o.rope_scaling.score_factor() : 1.0);
  if (!o.scales.branch_attn)
    a.gamma = add_input_scale(path + "attn_norm", "attn", "attn", layer,
                              {attn + "q.weight", attn + "k.weight", attn + "v.weight"});
  a.q = add_map(attn + "q", "attn.q", "attn.q", layer, q_width, o.width, false);
  a.k = add_map(attn + "k", "attn.k", "attn.k", layer, kv_width, o.width, false);
  a.v = add_map(attn + "v", "attn.v", "attn.v", layer, kv_width, o.width, false);
  a.o = add_map(attn + "o", "attn.o", "attn.o", layer, o.width, q_width, true);
  for (const auto& [map, letter] : {std::pair{&a.q, "q"}, {&a.k, "k"}, {&a.v, "v"}, {&a.o, "o"}}) {
    const std::string site = std::string("attn.") + letter;
    if (o.scales.branch_attn && map != &a.o)
      map->in = add_input_scale(path + "attn_norm." + letter, site, site, layer, {attn + letter + ".weight"});
    add_output_scale(*map, attn + letter, site, site, layer, attn + "o.weight");
  }
  const bool full = o.qk_norm_width == QkNormWidth::full;
  const std::string why = "RoPE and the softmax follow, and not a linear map";
  a.q_gamma = add_output_class_scale(attn + "q_norm", full ? q_width : o.head_dim, "attn.q_norm", layer, why);
  a.k_gamma = add_output_class_scale(attn + "k_norm", full ? kv_width : o.head_dim, "attn.k_norm", layer, why);
  a.post = add_output_class_scale(path + "attn_post_norm", o.width, "attn_post", layer, kIntoResidual);
  return a;
}

Decoder::Mlp Decoder::make_mlp(const std::string& path, const std::string& site, int layer, std::int64_t hidden) {
  Mlp m;
  m.gate = add_map(path + "gate", site + "gate", "ffn.gate", layer, hidden, options_.width, false);
  m.up = add_map(path + "up", site + "up", "ffn.up", layer, hidden, options_.width, false);
  m.down = add_map(path + "down", site + "down", "ffn.down", layer, options_.width, hidden, true);
  return m;
}

// `norm` is the path of the γ_b of these maps alone; empty: they have none of their own.
void Decoder::add_mlp_scales(Mlp& m, const std::string& norm, const std::string& path, const std::string& site,
                             int layer) {
  for (const auto& [map, last] : {std::pair{&m.gate, "gate"}, {&m.up, "up"}, {&m.down, "down"}}) {
    if (!norm.empty() && map != &m.down)
      map->in = add_input_scale(norm + last, site + last, std::string("ffn.") + last, layer, {path + last + ".weight"});
    add_output_scale(*map, path + last, site + last, std::string("ffn.") + last, layer, path + "down.weight");
  }
}

Decoder::FeedForward Decoder::make_feed_forward(int layer) {
  const DecoderOptions& o = options_;
  const std::string path = "layers." + std::to_string(layer) + ".", ffn = path + "ffn.", norm = path + "ffn_norm.";
  const bool own = o.scales.branch_ffn;
  FeedForward f;
  std::vector<std::string> gates, ups, readers;
  for (std::int64_t e = 0; e < o.moe.experts; ++e) {
    gates.push_back(ffn + "experts." + std::to_string(e) + ".gate.weight");
    ups.push_back(ffn + "experts." + std::to_string(e) + ".up.weight");
  }
  if (o.moe.experts == 0) {
    readers = {ffn + "gate.weight", ffn + "up.weight"};
  } else {
    readers = {ffn + "router.weight"};
    readers.insert(readers.end(), gates.begin(), gates.end());
    readers.insert(readers.end(), ups.begin(), ups.end());
    if (o.moe.shared_width > 0) readers.insert(readers.end(), {ffn + "shared.gate.weight", ffn + "shared.up.weight"});
  }
  if (!own) f.gamma = add_input_scale(path + "ffn_norm", "ffn", "ffn", layer, readers);

  if (o.moe.experts == 0) {
    f.dense = make_mlp(ffn, "ffn.", layer, o.mlp_width);
    add_mlp_scales(f.dense, own ? norm : "", ffn, "ffn.", layer);
  } else {
    f.router.weight = add_matrix(ffn + "router.weight", o.moe.experts, o.width,
                                 role_at(ParamKind::router, "ffn.router", layer), o.init_std);
    if (o.moe.balance_bias_rate > 0.0) f.balance = add_buffer(ffn + "router.balance", torch::zeros({o.moe.experts}));
    const bool each = own && o.scales.experts == ExpertScales::each;
    ScaleVector gate, up;
    if (own) f.router.in = add_input_scale(norm + "router", "ffn.router", "ffn.router", layer, {ffn + "router.weight"});
    if (own && !each) {
      gate = add_input_scale(norm + "gate", "ffn.gate", "ffn.gate", layer, gates);
      up = add_input_scale(norm + "up", "ffn.up", "ffn.up", layer, ups);
    }
    for (std::int64_t e = 0; e < o.moe.experts; ++e) {
      const std::string expert = "experts." + std::to_string(e) + ".";
      Mlp m = make_mlp(ffn + expert, "ffn." + expert, layer, o.moe.expert_width);
      add_mlp_scales(m, each ? norm + expert : "", ffn + expert, "ffn." + expert, layer);
      if (gate.defined()) m.gate.in = gate;
      if (up.defined()) m.up.in = up;
      f.experts.push_back(m);
    }
    if (o.moe.shared_width > 0) {
      f.shared = make_mlp(ffn + "shared.", "ffn.shared.", layer, o.moe.shared_width);
      add_mlp_scales(f.shared, own ? norm + "shared." : "", ffn + "shared.", "ffn.shared.", layer);
    }
  }
  f.post = add_output_class_scale(path + "ffn_post_norm", o.width, "ffn_post", layer, kIntoResidual);
  return f;
}

}  // namespace scalevec::models
