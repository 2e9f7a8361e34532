#include "scalevec/models/decoder.hpp"

#include <torch/torch.h>

#include <cmath>
#include <optional>
#include <stdexcept>
#include <utility>

#include "scalevec/models/initial_value.hpp"

namespace scalevec {
namespace {

using torch::Tensor;

DecoderOptions checked(const DecoderOptions& options) {
  if (const std::string error = options.error(); !error.empty()) throw std::invalid_argument(error);
  return options.resolved();
}

ParamRole matrix_role(std::string site, int layer) {
  return {.kind = ParamKind::matrix, .site = std::move(site), .layer = layer};
}

}  // namespace

Decoder::Decoder(const DecoderOptions& options, std::uint64_t seed)
    : options_(checked(options)), seed_(seed), rope_(options_.head_dim, options_.rope_theta) {
  embed_ = add_matrix("embed.weight", options_.vocab_size, options_.width,
                      {.kind = ParamKind::embedding, .site = "embed"}, options_.init_std);
  for (int layer = 0; layer < options_.layers; ++layer) blocks_.push_back(make_block(layer));
  const std::string reader = options_.tie_embeddings ? "embed.weight" : "unembed.weight";
  final_gamma_ = add_input_scale("final_norm.gamma", "final", -1, {reader});
  unembed_ = options_.tie_embeddings
                 ? embed_
                 : add_matrix("unembed.weight", options_.vocab_size, options_.width,
                              {.kind = ParamKind::unembedding, .site = "unembed"}, options_.init_std);
  check_roles();
}

Tensor Decoder::add_matrix(const std::string& name, std::int64_t rows, std::int64_t columns, const ParamRole& role,
                           double std) {
  return add_parameter(name, normal_values({rows, columns}, std, seed_, name), role);
}

Tensor Decoder::add_input_scale(const std::string& name, const std::string& site, int layer,
                                std::vector<std::string> maps) {
  if (!options_.scale_vectors) return {};
  const ParamRole role{.kind = ParamKind::scale, .norm_class = NormClass::input, .site = site, .layer = layer,
                       .side = ScaleSide::before, .part = ScalePart::value};
  return add_scale(name, torch::ones({options_.width}), role, std::move(maps));
}

Tensor Decoder::add_head_scale(const std::string& name, const std::string& site, int layer) {
  if (!options_.qk_norm || !options_.qk_norm_scale) return {};
  const ParamRole role{.kind = ParamKind::scale, .norm_class = NormClass::output, .site = site, .layer = layer,
                       .side = ScaleSide::after, .part = ScalePart::value};
  return add_scale(name, torch::ones({options_.head_dim}), role, {});
}

Decoder::Block Decoder::make_block(int layer) {
  const DecoderOptions& o = options_;
  const std::string path = "layers." + std::to_string(layer) + ".";
  const std::int64_t q_width = o.heads * o.head_dim, kv_width = o.kv_heads * o.head_dim;
  const double into_residual =
      o.init_depth_scaling ? o.init_std / std::sqrt(2.0 * static_cast<double>(o.layers)) : o.init_std;
  const auto matrix = [&](const std::string& site, std::int64_t rows, std::int64_t columns, double std) {
    return add_matrix(path + site + ".weight", rows, columns, matrix_role(site, layer), std);
  };

  Block b;
  b.attn_gamma = add_input_scale(path + "attn_norm.gamma", "attn", layer,
                                 {path + "attn.q.weight", path + "attn.k.weight", path + "attn.v.weight"});
  b.q = matrix("attn.q", q_width, o.width, o.init_std);
  b.k = matrix("attn.k", kv_width, o.width, o.init_std);
  b.v = matrix("attn.v", kv_width, o.width, o.init_std);
  b.o = matrix("attn.o", o.width, q_width, into_residual);
  b.q_gamma = add_head_scale(path + "attn.q_norm.gamma", "attn.q_norm", layer);
  b.k_gamma = add_head_scale(path + "attn.k_norm.gamma", "attn.k_norm", layer);
  if (o.qk_norm) {
    add_matrix_before_norm(path + "attn.q.weight");
    add_matrix_before_norm(path + "attn.k.weight");
  }
  b.ffn_gamma = add_input_scale(path + "ffn_norm.gamma", "ffn", layer,
                                {path + "ffn.gate.weight", path + "ffn.up.weight"});
  b.gate = matrix("ffn.gate", o.mlp_width, o.width, o.init_std);
  b.up = matrix("ffn.up", o.mlp_width, o.width, o.init_std);
  b.down = matrix("ffn.down", o.width, o.mlp_width, into_residual);
  return b;
}

Tensor Decoder::norm(const Tensor& x, const Tensor& gamma) const {
  return at::rms_norm(x, {x.size(-1)}, gamma.defined() ? std::optional<Tensor>(gamma) : std::nullopt,
                      options_.norm_eps);
}

Tensor Decoder::attention(const Block& block, const Tensor& x) {
  const std::int64_t batch = x.size(0), length = x.size(1);
  Tensor q = at::linear(x, block.q).view({batch, length, options_.heads, options_.head_dim});
  Tensor k = at::linear(x, block.k).view({batch, length, options_.kv_heads, options_.head_dim});
  const Tensor v = at::linear(x, block.v).view({batch, length, options_.kv_heads, options_.head_dim});
  if (options_.qk_norm) {
    q = norm(q, block.q_gamma);
    k = norm(k, block.k_gamma);
  }
  const Tensor mixed = at::scaled_dot_product_attention(
      rope_.rotate(q).transpose(1, 2), rope_.rotate(k).transpose(1, 2), v.transpose(1, 2), /*attn_mask=*/{},
      /*dropout_p=*/0.0, /*is_causal=*/true, /*scale=*/{}, /*enable_gqa=*/options_.kv_heads != options_.heads);
  return at::linear(mixed.transpose(1, 2).reshape({batch, length, options_.heads * options_.head_dim}), block.o);
}

Tensor Decoder::mlp(const Block& block, const Tensor& x) const {
  return at::linear(at::silu(at::linear(x, block.gate)) * at::linear(x, block.up), block.down);
}

Tensor Decoder::forward(const Tensor& tokens) {
  Tensor x = at::embedding(embed_, tokens);
  for (const Block& block : blocks_) {
    x = x + attention(block, norm(x, block.attn_gamma));
    x = x + mlp(block, norm(x, block.ffn_gamma));
  }
  return at::linear(norm(x, final_gamma_), unembed_);
}

Tensor Decoder::loss(const Tensor& tokens, std::int64_t) {
  if (!tokens.defined() || tokens.dim() != 2 || tokens.size(1) < 2)
    throw std::invalid_argument("a decoder's loss needs tokens [B, T+1] with T at least 1");
  const std::int64_t length = tokens.size(1) - 1;
  const Tensor logits = forward(tokens.narrow(1, 0, length));
  return at::cross_entropy_loss(logits.view({-1, options_.vocab_size}), tokens.narrow(1, 1, length).reshape({-1}));
}

}  // namespace scalevec
