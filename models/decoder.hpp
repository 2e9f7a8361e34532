#pragma once

#include <torch/torch.h>

#include <cstdint>
#include <string>
#include <vector>

#include "scalevec/models/decoder_options.hpp"
#include "scalevec/models/model.hpp"
#include "scalevec/models/rope.hpp"

namespace scalevec {

// Llama-style decoder language model. Parameters (matrices are [out, in]):
//   embed.weight [vocab_size, width]                     embedding
//   layers.L.attn_norm.gamma, .ffn_norm.gamma [width]    scale, input, sites "attn" and "ffn"
//   layers.L.attn.{q,k,v,o}.weight                       matrix, sites "attn.q" …
//   layers.L.attn.{q,k}_norm.gamma [head_dim]            scale, output, sites "attn.q_norm", "attn.k_norm"
//   layers.L.ffn.{gate,up,down}.weight                   matrix, sites "ffn.gate" …
//   final_norm.gamma [width]                             scale, input, site "final"
//   unembed.weight [vocab_size, width]                   unembedding, absent when tied
// The final norm's scale is input-class: the unembedding reads it, which with tied embeddings is embed.weight.
// Matrices start from N(0, std²) as a function of (seed, parameter name): the same whatever scale vectors exist.
class Decoder : public Model {
 public:
  // float32 on the CPU; move it with to(). Throws std::invalid_argument for options that are not sound.
  Decoder(const DecoderOptions& options, std::uint64_t seed);

  // tokens: [B, T] int64 in [0, vocab_size). Returns logits [B, T, vocab_size]; position t sees tokens 0 … t.
  torch::Tensor forward(const torch::Tensor& tokens);

  // Mean cross-entropy in nats of predicting tokens[:, 1:], over B·T positions; `step` plays no part.
  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;

  bool needs_tokens() const override { return true; }
  std::int64_t vocab_size() const override { return options_.vocab_size; }
  // With no default left open.
  const DecoderOptions& options() const { return options_; }

 private:
  // Undefined where a norm has no scale vector.
  struct Block {
    torch::Tensor attn_gamma, q, k, v, o, q_gamma, k_gamma;
    torch::Tensor ffn_gamma, gate, up, down;
  };

  torch::Tensor add_matrix(const std::string& name, std::int64_t rows, std::int64_t columns, const ParamRole& role,
                           double std);
  torch::Tensor add_input_scale(const std::string& name, const std::string& site, int layer,
                                std::vector<std::string> maps);
  torch::Tensor add_head_scale(const std::string& name, const std::string& site, int layer);
  Block make_block(int layer);

  torch::Tensor norm(const torch::Tensor& x, const torch::Tensor& gamma) const;
  torch::Tensor attention(const Block& block, const torch::Tensor& x);
  torch::Tensor mlp(const Block& block, const torch::Tensor& x) const;

  DecoderOptions options_;
  std::uint64_t seed_;
  Rope rope_;
  torch::Tensor embed_, unembed_, final_gamma_;
  std::vector<Block> blocks_;
};

}  // namespace scalevec
