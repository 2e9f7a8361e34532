#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "scalevec/models/hugging_face.hpp"
#include "scalevec/optim/config/json_reader.hpp"

namespace scalevec {
namespace {

using nlohmann::json;

const Range kSize = Range::between(1, 1 << 30);

// What transformers takes for keys that a config.json leaves out.
struct Defaults {
  const char* type;
  double norm_eps, rope_theta;
  std::int64_t kv_heads, head_dim;  // 0: heads; width/heads
};
constexpr Defaults kDefaults[] = {{"llama", 1e-6, 1e4, 0, 0},     {"qwen3", 1e-6, 1e4, 32, 128},
                                  {"qwen3_moe", 1e-6, 1e4, 4, 0}, {"olmo2", 1e-5, 1e4, 0, 0},
                                  {"gemma2", 1e-6, 1e4, 4, 256},  {"gemma3_text", 1e-6, 1e6, 4, 256},
                                  {"mixtral", 1e-5, 1e6, 8, 0}};

// They say how a model was made, stored, trained or sampled from, and leave the logits of given tokens alone.
constexpr const char* kWithoutEffect[] = {"_name_or_path",
                                          "_attn_implementation_autoset",
                                          "architectures",
                                          "attention_dropout",
                                          "bos_token_id",
                                          "cache_implementation",
                                          "dtype",
                                          "eos_token_id",
                                          "initializer_range",
                                          "max_position_embeddings",
                                          "output_router_logits",
                                          "pad_token_id",
                                          "pretraining_tp",
                                          "router_aux_loss_coef",
                                          "router_jitter_noise",
                                          "torch_dtype",
                                          "transformers_version",
                                          "use_cache"};

void require_false(JsonReader& config, const char* key) {
  if (config.boolean(key, false)) config.fail(key, "false");
}

// One rope_scaling or rope_parameters object. transformers 4 has rope_theta beside the former, 5 has it inside the
// latter.
void read_rope_object(JsonReader rope, bool theta_beside, double& theta, RopeScaling& scaling) {
  const std::vector<std::string> kinds{"default", "linear", "llama3"};
  const std::string old = rope.choice("type", "default", kinds);
  const std::string kind = rope.choice("rope_type", old, kinds);
  const double own = rope.number("rope_theta", theta, Range::above(0));
  if (theta_beside && own != theta) rope.fail("rope_theta", "the value of rope_theta beside it");
  theta = own;
  if (kind != "default") {
    scaling.kind = kind == "linear" ? RopeScaling::Kind::linear : RopeScaling::Kind::llama3;
    scaling.factor = rope.number("factor", Range::at_least(1));
  }
  if (kind == "llama3") {
    scaling.low_freq_factor = rope.number("low_freq_factor", Range::above(0));
    scaling.high_freq_factor = rope.number("high_freq_factor", Range::above(0));
    scaling.original_length = rope.integer("original_max_position_embeddings", kSize);
  }
  rope.finish();
}

void read_rope(JsonReader& config, const Defaults& defaults, DecoderOptions& o) {
  const bool gemma3 = std::string(defaults.type) == "gemma3_text";
  o.rope_theta = config.number("rope_theta", defaults.rope_theta, Range::above(0));
  if (gemma3) o.local_rope_theta = config.number("rope_local_base_freq", 1e4, Range::above(0));
  if (config.has("rope_scaling"))
    read_rope_object(config.object("rope_scaling"), config.has("rope_theta"), o.rope_theta, o.rope_scaling);
  if (!config.has("rope_parameters")) return;
  JsonReader both = config.object("rope_parameters");
  if (gemma3 && both.has("full_attention")) {
    RopeScaling local;
    read_rope_object(both.object("full_attention"), config.has("rope_theta"), o.rope_theta, o.rope_scaling);
    read_rope_object(both.object("sliding_attention"), config.has("rope_local_base_freq"), o.local_rope_theta, local);
    if (local.kind != RopeScaling::Kind::none) both.fail("sliding_attention", "a rope_type of \"default\"");
    both.finish();
  } else {
    read_rope_object(config.object("rope_parameters"), config.has("rope_theta"), o.rope_theta, o.rope_scaling);
  }
}

// "sliding_attention" or "full_attention" per layer; `fallback` is transformers' choice.
template <class Sliding>
void read_layer_types(JsonReader& config, std::int64_t window, Sliding fallback, DecoderOptions& o) {
  std::vector<std::string> types = config.strings("layer_types", {});
  const auto layers = static_cast<std::size_t>(o.layers);
  if (!config.has("layer_types"))
    for (std::size_t i = 0; i < layers; ++i)
      types.push_back(fallback(static_cast<std::int64_t>(i)) ? "sliding_attention" : "full_attention");
  if (types.size() != layers) config.fail("layer_types", "one per layer (" + std::to_string(layers) + ")");
  o.windows.assign(layers, 0);
  for (std::size_t i = 0; i < layers; ++i) {
    if (types[i] != "full_attention" && types[i] != "sliding_attention")
      config.fail("layer_types", "full_attention, sliding_attention");
    if (types[i] == "full_attention") continue;
    if (window == 0) config.fail("layer_types", "\"full_attention\" in every layer where no sliding window is in use");
    o.windows[i] = window;
  }
}

void read_windows(JsonReader& config, const std::string& type, DecoderOptions& o) {
  if (type == "llama" || type == "olmo2") return;
  const bool gemma = type.starts_with("gemma"), qwen = type.starts_with("qwen");
  const bool in_use = !qwen || config.boolean("use_sliding_window", false);
  const std::int64_t given = config.integer("sliding_window", type == "mixtral" ? 0 : 4096, Range::between(0, 1 << 30));
  const std::int64_t window = in_use ? given : 0;
  if (gemma) {
    if (window == 0) config.fail("sliding_window", "at least 1");
    std::int64_t pattern = type == "gemma2" ? 2 : 6;
    if (type == "gemma3_text")
      for (const char* key : {"sliding_window_pattern", "_sliding_window_pattern"})
        pattern = config.integer(key, pattern, kSize);
    read_layer_types(
        config, window, [&](std::int64_t i) { return (i + 1) % pattern != 0; }, o);
  } else if (type == "qwen3") {
    const std::int64_t from = config.integer("max_window_layers", 28, Range::at_least(0));
    read_layer_types(
        config, window, [&](std::int64_t i) { return window > 0 && i >= from; }, o);
  } else {
    if (qwen) config.has("max_window_layers");  // read by the dense models only
    o.windows.assign(static_cast<std::size_t>(o.layers), window);
  }
}

void read_experts(JsonReader& config, const std::string& type, DecoderOptions& o) {
  const bool mixtral = type == "mixtral";
  o.moe.experts = config.integer(mixtral ? "num_local_experts" : "num_experts", mixtral ? 8 : 128, kSize);
  o.moe.top_k = config.integer("num_experts_per_tok", mixtral ? 2 : 8, kSize);
  o.moe.expert_width = mixtral ? o.mlp_width : config.integer("moe_intermediate_size", 768, kSize);
  o.moe.normalise_top_k = mixtral || config.boolean("norm_topk_prob", false);
  if (mixtral) return;
  config.integer("decoder_sparse_step", 1, Range::between(1, 1));
  if (!config.integers("mlp_only_layers", {}).empty()) config.fail("mlp_only_layers", "none: experts in every layer");
}

void read_gemma(JsonReader& config, const std::string& type, const json& raw, DecoderOptions& o) {
  const bool gemma2 = type == "gemma2";
  // An explicit null means none, a key left out the default.
  const auto softcap = [&](const char* key, double fallback) {
    return raw.contains(key) && raw[key].is_null() ? 0.0 : config.number(key, fallback, Range::above(0));
  };
  o.logit_softcap = softcap("final_logit_softcapping", gemma2 ? 30.0 : 0.0);
  if (gemma2)
    o.attn_softcap = softcap("attn_logit_softcapping", 50.0);
  else if (config.has("attn_logit_softcapping"))
    config.fail("attn_logit_softcapping", "null");
  o.query_scale = 1.0 / std::sqrt(config.number("query_pre_attn_scalar", 256.0, Range::above(0)));
  o.embed_scale = std::sqrt(static_cast<double>(o.width));
  o.activation = Activation::gelu_tanh;
  config.choice("hidden_activation", "gelu_pytorch_tanh", {"gelu_pytorch_tanh"});
  config.choice("hidden_act", "gelu_pytorch_tanh", {"gelu_pytorch_tanh"});
  require_false(config, "use_bidirectional_attention");
  o.norm_placement = NormPlacement::sandwich;
  ScaleOptions& s = o.scales;
  for (GammaOptions* gamma : {&s.input, &s.output, &s.post, &s.qk_norm, &s.final})
    gamma->form = ScaleForm::zero_centred;
}

}  // namespace

DecoderOptions decoder_options_from_hugging_face(const std::string& text, const std::string& file) {
  const json raw = parse_json(text, file);
  if (!raw.is_object()) throw ConfigError(file + ": is no JSON object");
  json parsed = raw;
  for (auto it = parsed.begin(); it != parsed.end();) it = it->is_null() ? parsed.erase(it) : std::next(it);
  JsonReader config(parsed, file);
  std::vector<std::string> types;
  for (const Defaults& d : kDefaults) types.push_back(d.type);
  const std::string type = config.choice("model_type", types);
  const Defaults& defaults =
      *std::find_if(std::begin(kDefaults), std::end(kDefaults), [&](const Defaults& d) { return type == d.type; });
  for (const char* key : kWithoutEffect) config.has(key);
  const bool gemma = type.starts_with("gemma"), moe = type == "mixtral" || type == "qwen3_moe";

  DecoderOptions o;
  o.vocab_size = config.integer("vocab_size", kSize);
  o.width = config.integer("hidden_size", kSize);
  o.layers = config.integer("num_hidden_layers", Range::between(1, kMaxLayers));
  o.heads = config.integer("num_attention_heads", kSize);
  const bool null_kv = raw.contains("num_key_value_heads") && raw["num_key_value_heads"].is_null();
  o.kv_heads =
      config.integer("num_key_value_heads", defaults.kv_heads == 0 || null_kv ? o.heads : defaults.kv_heads, kSize);
  o.head_dim = config.integer("head_dim", defaults.head_dim == 0 ? o.width / o.heads : defaults.head_dim, kSize);
  o.mlp_width = config.integer("intermediate_size", kSize);
  o.norm_eps = config.number("rms_norm_eps", defaults.norm_eps, Range::at_least(0));
  o.tie_embeddings = config.boolean("tie_word_embeddings", gemma);
  o.qk_norm = type == "olmo2" || type == "gemma3_text" || type.starts_with("qwen3");
  if (type == "olmo2") {
    o.norm_placement = NormPlacement::post;
    o.qk_norm_width = QkNormWidth::full;
  }
  read_rope(config, defaults, o);
  read_windows(config, type, o);
  if (moe) read_experts(config, type, o);
  if (type != "mixtral") o.qkv_bias = o.o_bias = config.boolean("attention_bias", false);
  if (type == "llama") require_false(config, "mlp_bias");
  if (gemma)
    read_gemma(config, type, raw, o);
  else
    config.choice("hidden_act", "silu", {"silu"});
  config.finish();
  if (const std::string error = o.error(); !error.empty()) throw ConfigError(file + ": " + error);
  return o;
}

}  // namespace scalevec
