#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "scalevec/models/scale_options.hpp"

namespace scalevec {

enum class NormKind { rms, layer };  // LayerNorm subtracts the mean; neither has a bias

// Of a block's norms around a sublayer f:
//   pre            x + f(Norm(x))            Llama
//   post           x + Norm(f(x))            OLMo 2
//   sandwich       x + Norm(f(Norm(x)))      Gemma 2
//   post_residual  Norm(x + f(x))            Vaswani et al., arXiv 1706.03762
//   none           x + f(x)
enum class NormPlacement { pre, post, sandwich, post_residual, none };

// QK-norm over each head's head_dim elements (Qwen3, Gemma 3) or over all of a token's queries or keys (OLMo 2).
enum class QkNormWidth { head, full };

enum class Activation { silu, gelu_tanh, gelu };

// naive: activations are scaled. folded: maps are, W' = diag(u) W diag(v), and γ_a behind a norm joins the operator
// that reads it; the same function. automatic: folded from `width` tokens on, if there is a scale that a plain norm
// does not apply for nothing.
enum class Execution { naive, folded, automatic };

// Options hold something per layer: beyond this a wrong number would cost memory before anything else notices it.
constexpr std::int64_t kMaxLayers = 10'000;

// Frequencies f_i = theta^(−2i/head_dim) of the rotation angles position·f_i, for contexts longer than trained on.
struct RopeScaling {
  enum class Kind { none, linear, llama3, yarn };
  Kind kind = Kind::none;
  double factor = 1.0;            // linear: f_i/factor; llama3: the same for long wavelengths, blended in between
  double low_freq_factor = 1.0;   // llama3: wavelengths above original_length/low_freq_factor are divided …
  double high_freq_factor = 4.0;  // … and those below original_length/high_freq_factor kept
  std::int64_t original_length = 8192;
  // yarn (Peng et al., arXiv 2309.00071): frequencies that turn more than beta_fast times over original_length are
  // kept, those under beta_slow divided by factor, with a linear ramp in i between (its ends rounded outwards if
  // `truncate`); queries and keys are multiplied by attention_factor.
  double beta_fast = 32.0, beta_slow = 1.0;
  double attention_factor = 0.0;  // 0: 0.1 ln(factor) + 1
  bool truncate = true;

  // What scores are multiplied by besides: attention_factor² under yarn, else 1.
  double score_factor() const;

  bool operator==(const RopeScaling&) const = default;
};

// A mixture of experts in place of each block's MLP: y = Σ_e p_e·expert_e(x) over the top_k experts of each token, by
// softmax(router(x)). No token is dropped.
struct MoeOptions {
  std::int64_t experts = 0;       // 0: a dense MLP
  std::int64_t top_k = 2;         // at most experts
  bool normalise_top_k = true;    // the chosen p_e are divided by their sum (Mixtral)
  std::int64_t expert_width = 0;  // hidden width of an expert; 0: mlp_width
  std::int64_t shared_width = 0;  // of an expert that every token passes, added to y; 0: none
  // Coefficient of experts·Σ_e f_e·P_e (Switch, arXiv 2101.03961), f_e the share of assignments, P_e the mean
  // probability, averaged over the layers: 1 at balance. In the training loss only.
  double balance_loss = 0.0;
  // Bias-based balancing (arXiv 2408.15664): after each training forward an expert's bias moves by this much towards
  // the mean load; the bias enters the choice of experts, not p_e.
  double balance_bias_rate = 0.0;

  bool operator==(const MoeOptions&) const = default;
};

// A decoder language model. The defaults are Llama's.
struct DecoderOptions {
  std::int64_t vocab_size = 256;  // token ids are in [0, vocab_size)
  std::int64_t width = 128;       // of the residual stream
  std::int64_t layers = 4;
  std::int64_t heads = 4;      // query heads
  std::int64_t kv_heads = 0;   // key and value heads, a divisor of heads; 0: heads
  std::int64_t head_dim = 0;   // even, since RoPE rotates pairs; 0: width/heads
  std::int64_t mlp_width = 0;  // 0: the first multiple of 32 from 8/3·width on
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;          // added to the mean square
  bool tie_embeddings = true;      // the unembedding is the embedding matrix
  bool scale_vectors = true;       // false: no γ but on QK-norm, whatever `scales` says
  bool qk_norm = false;            // RMSNorm (or `norm`) on queries and keys, before RoPE
  bool qk_norm_scale = true;       // false: those norms have no γ
  double init_std = 0.02;          // of every matrix's initial N(0, std²)
  bool init_depth_scaling = true;  // std/√(2·layers) for the maps into the residual stream (GPT-2): attn.o, ffn.down

  ScaleOptions scales;
  NormKind norm = NormKind::rms;
  NormPlacement norm_placement = NormPlacement::pre;
  bool final_norm = true;
  QkNormWidth qk_norm_width = QkNormWidth::head;
  Activation activation = Activation::silu;
  bool qkv_bias = false;  // biases of Q, K, V (Qwen2), initially 0
  bool o_bias = false;    // of the output projection

  RopeScaling rope_scaling;
  double local_rope_theta = 0.0;  // of layers with a window, unscaled (Gemma 3); 0: as everywhere
  // Per layer, tokens a position sees, itself among them; 0: all before it. Empty: 0 everywhere.
  std::vector<std::int64_t> windows;
  std::vector<std::int64_t> no_rope;    // layers without rotation (SmolLM3), ascending
  double attn_softcap = 0.0;            // c: scores are c·tanh(score/c) (Gemma 2); 0: none
  double logit_softcap = 0.0;           // the same on the logits
  double query_scale = 0.0;             // scores are query_scale·q·k; 0: 1/√head_dim
  double embed_scale = 1.0;             // the embeddings' factor (Gemma: √width)
  double logit_scale = 1.0;             // the logits' factor (Granite: 1/logits_scaling)
  double residual_scale = 1.0;          // the sublayers' outputs' factor (Granite)
  bool residual_depth_scaling = false;  // sublayers' outputs times 1/√(2·layers)
  MoeOptions moe;
  Execution execution = Execution::automatic;

  // The same with every 0 above replaced by what it stands for, `scales` without what the switches turn off, maps and
  // windows written out.
  DecoderOptions resolved() const;

  // The first thing wrong, as "field: got VALUE; allowed: …"; empty if nothing is.
  std::string error() const;

  // What is allowed but inert: a line each, naming place and reason.
  std::vector<std::string> warnings() const;

  bool operator==(const DecoderOptions&) const = default;

  bool pre_norms() const { return norm_placement == NormPlacement::pre || norm_placement == NormPlacement::sandwich; }
  bool post_norms() const { return norm_placement != NormPlacement::pre && norm_placement != NormPlacement::none; }
};

// Keys are the fields' names; text may hold comments. Throws an std::invalid_argument with one line that names path,
// value and what is allowed: unknown key, wrong type, out of range, a combination that means nothing.
DecoderOptions decoder_options_from_json(const std::string& text);

}  // namespace scalevec
