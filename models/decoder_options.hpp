#pragma once

#include <cstdint>
#include <string>

namespace scalevec {

// A Llama-style decoder: pre-norm RMSNorm, RoPE, grouped-query attention, SwiGLU, no biases.
struct DecoderOptions {
  std::int64_t vocab_size = 256;  // token ids are in [0, vocab_size)
  std::int64_t width = 128;       // of the residual stream
  std::int64_t layers = 4;
  std::int64_t heads = 4;         // query heads
  std::int64_t kv_heads = 0;      // key and value heads, a divisor of heads; 0: heads
  std::int64_t head_dim = 0;      // even, since RoPE rotates pairs; 0: width/heads
  std::int64_t mlp_width = 0;     // 0: the first multiple of 32 from 8/3·width on
  double rope_theta = 10000.0;
  double norm_eps = 1e-5;         // added to the mean square
  bool tie_embeddings = true;     // the unembedding is the embedding matrix
  bool scale_vectors = true;      // attention, MLP and final norm have a γ (input-class), initially 1
  bool qk_norm = false;           // RMSNorm per head on queries and keys, before RoPE
  bool qk_norm_scale = true;      // those norms have a γ (output-class), shared by the heads; nothing without qk_norm
  double init_std = 0.02;         // of every matrix's initial N(0, std²)
  bool init_depth_scaling = true;  // std/√(2·layers) for the maps into the residual stream (GPT-2): attn.o, ffn.down

  // The same with every 0 above replaced by what it stands for.
  DecoderOptions resolved() const;

  // The first thing wrong, as "field: got VALUE; allowed: …"; empty if nothing is.
  std::string error() const;

  bool operator==(const DecoderOptions&) const = default;
};

// Keys are the fields' names; text may hold comments. Throws an std::invalid_argument with one line that names path,
// value and what is allowed: unknown key, wrong type, out of range, a combination that means nothing.
DecoderOptions decoder_options_from_json(const std::string& text);

}  // namespace scalevec
