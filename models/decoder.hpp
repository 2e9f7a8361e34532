#pragma once

#include <torch/types.h>

#include <cstdint>
#include <string>
#include <vector>

#include "models/decoder_options.hpp"
#include "models/model.hpp"
#include "models/moe.hpp"
#include "models/norm.hpp"
#include "models/rope.hpp"
#include "models/scaled_map.hpp"

namespace scalevec::models {

// Decoder language model. Parameters (matrices are [out, in]; L a layer; γ is "gamma", or what its form has instead):
//   embed.weight [vocab_size, width]                     embedding
//   layers.L.{attn,ffn}_norm.gamma [width]               scale before the sublayer, sites "attn" and "ffn"
//   layers.L.attn_norm.{q,k,v}.gamma, .ffn_norm.{gate,up,router}.gamma   under branch scales in place of these, sites
//                                                        "attn.q" …; of a mixture's experts .ffn_norm.experts.E.gate …
//   layers.L.attn.{q,k,v,o}.weight, .bias                matrix, bias, sites "attn.q" …
//   layers.L.attn.{q,k}_norm.gamma [head_dim]            scale, output, sites "attn.q_norm", "attn.k_norm"; over the
//                                                        full width [heads·head_dim], [kv_heads·head_dim]
//   layers.L.attn.q.out.gamma …                          scale behind a map (DP, DNP, SimpleNorm), the map's site
//   layers.L.{attn,ffn}_post_norm.gamma [width]          scale, output, sites "attn_post", "ffn_post"
//   layers.L.ffn.{gate,up,down}.weight                   matrix, sites "ffn.gate" …
//   layers.L.ffn.router.weight [experts, width]          router
//   layers.L.ffn.experts.E.gate.weight … and layers.L.ffn.shared.gate.weight …, as ffn.gate.weight
//   MAP.multiplier.{scalar,rows,columns}                 scale, input, site "MAP.multiplier"
//   final_norm.gamma [width]                             scale, input, site "final"
//   unembed.weight [vocab_size, width]                   unembedding, absent when tied
// With bias-based balancing a buffer layers.L.ffn.router.balance [experts].
// A scale vector is input-class if it can be multiplied into a matrix. A γ behind a map can be multiplied into the rows
// of this map if there is no norm between; behind a norm, that of V can be multiplied into the output projection and
// that of up into down. The γ of the final norm is input-class, since the unembedding (embed.weight if embeddings are
// tied) reads it. The initial values of matrices are N(0, std²) as a function of (seed, parameter name), so they do not
// depend on which scale vectors exist.
class Decoder : public Model {
 public:
  // A decoder in float32 on the CPU; move it with to(). Throws std::invalid_argument with options.error() if the
  // options are wrong.
  Decoder(const DecoderOptions& options, std::uint64_t seed);

  // Logits [B, T, vocab_size] for tokens [B, T], int64 in [0, vocab_size). The logits at position t depend on tokens 0
  // … t.
  torch::Tensor forward(const torch::Tensor& tokens);

  // The mean cross-entropy, in nats per token, of predicting tokens[:, 1:] of tokens [B, T+1] over B·T positions.
  // `step` has no effect. While gradients are recorded, the loss includes the balance loss of a mixture, and the
  // balancing biases are updated. Throws std::invalid_argument for T < 1.
  torch::Tensor loss(const torch::Tensor& tokens, std::int64_t step) override;

  // Without the balance loss of a mixture.
  torch::Tensor sampled_loss(const torch::Tensor& tokens, const torch::Tensor& uniform) override;

  // The balance loss of a mixture, multiplied by its coefficient.
  torch::Tensor balance_part() const override { return balance_part_; }

  bool needs_tokens() const override { return true; }
  // For a mixture, whether its experts take their tokens without the host knowing how many (grouped_map.hpp).
  bool work_is_fixed() const override;
  std::int64_t vocab_size() const override { return options_.vocab_size; }
  // The options after resolved().
  const DecoderOptions& options() const { return options_; }
  // Whether a forward pass over this number of tokens scales matrices (true) or activations (false).
  bool folds(std::int64_t tokens) const;

  // While on, forward passes that record gradients note the largest attention logit, scale·q·k, of each query head,
  // over their batch and all pairs of positions that attend. Throws std::invalid_argument under attn_softcap.
  void note_max_logits(bool on);
  // By layer, what was noted since the last call [heads], without gradient; undefined: nothing.
  std::vector<torch::Tensor> take_max_logits();

 private:
  struct Attention {
    ScaleVector gamma, q_gamma, k_gamma, post;
    ScaledMap q, k, v, o;
    std::int64_t window;
    bool rotates;
    double score_scale;  // of q·k
    size_t layer;
  };
  struct Mlp {
    ScaledMap gate, up, down;
  };
  struct FeedForward {
    ScaleVector gamma, post;
    Mlp dense, shared;  // undefined weights: none
    ScaledMap router;
    std::vector<Mlp> experts;
    torch::Tensor balance;
  };

  // Building, in decoder_build.cpp.
  torch::Tensor add_matrix(const std::string& name, std::int64_t rows, std::int64_t columns, const ParamRole& role,
                           double std);
  ScaledMap add_map(const std::string& name, const std::string& site, const std::string& kind, int layer,
                    std::int64_t rows, std::int64_t columns, bool into_residual);
  void add_output_scale(ScaledMap& map, const std::string& name, const std::string& site, const std::string& kind,
                        int layer, const std::string& reader);
  ScaleVector add_input_scale(const std::string& path, const std::string& site, const std::string& kind, int layer,
                              std::vector<std::string> maps);
  ScaleVector add_output_class_scale(const std::string& path, std::int64_t size, const std::string& site, int layer,
                                     const std::string& why);
  Attention make_attention(int layer);
  FeedForward make_feed_forward(int layer);
  Mlp make_mlp(const std::string& path, const std::string& site, int layer, std::int64_t hidden);
  void add_mlp_scales(Mlp& mlp, const std::string& norm, const std::string& path, const std::string& site, int layer);

  // One forward pass.
  torch::Tensor attention(const Attention& a, const torch::Tensor& x, const torch::Tensor& columns);
  // q, k, v and the result: [B, T, heads, head_dim].
  torch::Tensor attend(const Attention& a, const torch::Tensor& q, const torch::Tensor& k, const torch::Tensor& v);
  torch::Tensor mlp(const Mlp& m, const torch::Tensor& x, const torch::Tensor& columns) const;
  // out [N, width] plus, for each of rows [N, width], what its experts give.
  torch::Tensor add_experts(torch::Tensor out, const FeedForward& f, const Routing& routing, const torch::Tensor& rows,
                            const torch::Tensor& columns) const;
  torch::Tensor feed_forward(FeedForward& f, const torch::Tensor& x, const torch::Tensor& columns);
  // The residual stream as a sum that is taken together with the norm that reads it: x + added, or x.
  struct Stream {
    torch::Tensor x, added;
    void settle();
  };
  torch::Tensor normed(Stream& stream, const torch::Tensor& gamma, ops::Reader reader = ops::Reader::any) const;
  template <class Sublayer>
  void residual(Stream& stream, const ScaleVector& gamma, const ScaleVector& post, Sublayer sublayer) const;
  // A norm of queries or keys before their rotation.
  struct HeadNorm {
    enum class Kind { none, head, full } kind = Kind::none;
    torch::Tensor gamma;
  };
  // x [B, T, heads·head_dim] as [B, T, heads, head_dim]; `rope` null: not rotated.
  torch::Tensor rotated(Rope* rope, const torch::Tensor& x, std::int64_t heads, const HeadNorm& norm) const;

  DecoderOptions options_;
  std::uint64_t seed_;
  Norm norm_;
  Rope rope_, local_rope_;
  torch::Tensor embed_, unembed_;
  ScaleVector final_gamma_;
  std::vector<Attention> attention_;
  std::vector<FeedForward> feed_forward_;
  bool folded_ = false;    // the pass that runs
  torch::Tensor balance_;  // sum over its layers
  torch::Tensor balance_part_;
  bool notes_logits_ = false;
  std::vector<torch::Tensor> max_logits_;  // by layer
};

}  // namespace scalevec::models
