#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "models/scale_options.hpp"

namespace scalevec::models {

// rms: x/√(mean x² + eps), arXiv 1910.07467. layer: the same of x − mean x (LayerNorm, arXiv 1607.06450). Neither has a
// bias.
enum class NormKind { rms, layer };  // LayerNorm subtracts the mean; neither has a bias

// Where a block's norms stand around a sublayer f:
//   pre            x + f(Norm(x))            Llama
//   post           x + Norm(f(x))            OLMo 2
//   sandwich       x + Norm(f(Norm(x)))      Gemma 2
//   post_residual  Norm(x + f(x))            Vaswani et al., arXiv 1706.03762
//   none           x + f(x)
enum class NormPlacement { pre, post, sandwich, post_residual, none };

// What QK-norm normalises: the head_dim elements of each head (Qwen3, Gemma 3), or all queries (or keys) of a token
// (OLMo 2).
enum class QkNormWidth { head, full };

enum class Activation { silu, gelu_tanh, gelu };

// How scale vectors are applied; the function is the same. naive: activations are multiplied. folded: matrices are, W'
// = diag(u) W diag(v), and a γ_a behind a norm is applied by the operator that reads it. automatic: folded for `width`
// tokens or more, if the model has a scale vector that a plain norm does not already apply at no cost.
enum class Execution { naive, folded, automatic };

// Largest number of layers. Options hold values per layer, so without a limit a wrong number would use much memory
// before anything else detects it.
constexpr std::int64_t kMaxLayers = 10'000;

// Changes the frequencies f_i = theta^(−2i/head_dim) of the rotation angles position·f_i, for contexts longer than
// those of the training. linear: f_i/factor (arXiv 2306.15595). llama3: the same for long wavelengths, unchanged for
// short ones, interpolated in between (Llama 3.1).
struct RopeScaling {
  enum class Kind { none, linear, llama3, yarn };
  Kind kind = Kind::none;
  double factor = 1.0;                  // more than 0
  double low_freq_factor = 1.0;         // llama3: wavelengths above original_length/low_freq_factor are divided …
  double high_freq_factor = 4.0;        // … and those below original_length/high_freq_factor unchanged
  std::int64_t original_length = 8192;  // context of the training, in tokens
  // yarn (Peng et al., arXiv 2309.00071): frequencies with more than beta_fast turns over original_length are
  // unchanged, those with less than beta_slow are divided by factor, with a linear ramp in i in between (its ends are
  // rounded outwards if `truncate`). Queries and keys are multiplied by attention_factor.
  double beta_fast = 32.0, beta_slow = 1.0;
  double attention_factor = 0.0;  // 0: 0.1 ln(factor) + 1
  bool truncate = true;

  // What scores are multiplied by in addition: attention_factor² under yarn, else 1.
  double score_factor() const;

  bool operator==(const RopeScaling&) const = default;
};

// A mixture of experts in place of each block's MLP: y = Σ_e p_e·expert_e(x), where e runs over the top_k experts of
// each token and p = softmax(router(x)). No token is dropped.
struct MoeOptions {
  std::int64_t experts = 0;       // 0: a dense MLP
  std::int64_t top_k = 2;         // at most experts
  bool normalise_top_k = true;    // the chosen p_e are divided by their sum (Mixtral)
  std::int64_t expert_width = 0;  // hidden width of an expert; 0: mlp_width
  std::int64_t shared_width = 0;  // of an expert that every token passes, added to y; 0: none
  // Coefficient of the balance loss experts·Σ_e f_e·P_e (Switch, arXiv 2101.03961), mean over the layers. f_e is the
  // share of assignments to expert e and P_e its mean probability. The balance loss is 1 when all experts have equal
  // load. It is added to the training loss only.
  double balance_loss = 0.0;
  // Bias-based balancing (arXiv 2408.15664): after each forward pass in training, the bias of each expert moves by this
  // amount in the direction of the mean load. The bias changes which experts are chosen, but not p_e.
  double balance_bias_rate = 0.0;

  bool operator==(const MoeOptions&) const = default;
};

// Options of a decoder language model (docs/configuration.md, docs/scale-designs.md). The defaults are Llama's.
struct DecoderOptions {
  std::int64_t vocab_size = 256;  // token ids are in [0, vocab_size)
  std::int64_t width = 128;       // of the residual stream
  std::int64_t layers = 4;
  std::int64_t heads = 4;      // query heads
  std::int64_t kv_heads = 0;   // key and value heads, a divisor of heads; 0: heads
  std::int64_t head_dim = 0;   // even, since RoPE rotates pairs; 0: width/heads
  std::int64_t mlp_width = 0;  // 0: the first multiple of 32 that is at least 8/3·width
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;          // added to the mean square
  bool tie_embeddings = true;      // the unembedding is the embedding matrix
  bool scale_vectors = true;       // false: no γ except on QK-norm, whatever `scales` says
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
  double local_rope_theta = 0.0;  // of layers with a window, without scaling (Gemma 3); 0: rope_theta
  // One number per layer: how many tokens a position attends to, including itself; 0: itself and all before it.
  // Empty: 0 for every layer.
  std::vector<std::int64_t> windows;
  std::vector<std::int64_t> no_rope;    // layers without rotation (SmolLM3), ascending
  double attn_softcap = 0.0;            // c: scores are c·tanh(score/c) (Gemma 2); 0: none
  double logit_softcap = 0.0;           // the same on the logits
  double query_scale = 0.0;             // scores are query_scale·q·k; 0: 1/√head_dim
  double embed_scale = 1.0;             // multiplies the embeddings (Gemma: √width)
  double logit_scale = 1.0;             // multiplies the logits (Granite: 1/logits_scaling)
  double residual_scale = 1.0;          // multiplies the outputs of sublayers (Granite)
  bool residual_depth_scaling = false;  // outputs of sublayers are multiplied by 1/√(2·layers)
  MoeOptions moe;
  Execution execution = Execution::automatic;

  // Returns the same options with every 0 above replaced by the value that it stands for, `scales` without the parts
  // that other options turn off, and maps and windows written out.
  DecoderOptions resolved() const;

  // The first error, as "field: got VALUE; allowed: …"; empty if there is none.
  std::string error() const;

  // Options that are allowed but have no effect: one line each, with place and reason.
  std::vector<std::string> warnings() const;

  bool operator==(const DecoderOptions&) const = default;

  bool pre_norms() const { return norm_placement == NormPlacement::pre || norm_placement == NormPlacement::sandwich; }
  bool post_norms() const { return norm_placement != NormPlacement::pre && norm_placement != NormPlacement::none; }
};

// Reads options from a JSON object whose keys are the names of the fields; comments are allowed. Throws
// std::invalid_argument with one line (path, value, what is allowed) for an unknown key, a wrong type, a value out of
// range, or a combination that has no meaning.
DecoderOptions decoder_options_from_json(const std::string& text);

}  // namespace scalevec::models
