#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "models/hugging_face.hpp"
#include "optim/config/json_reader.hpp"

namespace scalevec::models {
namespace {

using nlohmann::json;

const Range kSize = Range::between(1, 1 << 30);

// What transformers takes for keys that a config.json leaves out.
struct Defaults {
  const char* type;
  double norm_eps, rope_theta;
  std::int64_t kv_heads, head_dim;  // 0: heads; width/heads
};
constexpr Defaults kDefaults[] = {
    {"llama", 1e-6, 1e4, 0, 0},        {"mistral", 1e-6, 1e4, 8, 0},   {"qwen2", 1e-6, 1e4, 32, 0},
    {"qwen3", 1e-6, 1e4, 32, 128},     {"qwen3_moe", 1e-6, 1e4, 4, 0}, {"mixtral", 1e-5, 1e6, 8, 0},
    {"smollm3", 1e-6, 2e6, 4, 0},      {"granite", 1e-6, 1e4, 0, 0},   {"phi3", 1e-5, 1e4, 0, 0},
    {"olmo2", 1e-5, 1e4, 0, 0},        {"olmo3", 1e-5, 5e5, 0, 0},     {"gemma2", 1e-6, 1e4, 4, 256},
    {"gemma3_text", 1e-6, 1e6, 4, 256}};

// They say how a model was made, stored, trained or sampled from, and leave the logits of given tokens alone.
constexpr const char* kWithoutEffect[] = {"_attn_implementation",
                                          "_attn_implementation_autoset",
                                          "_commit_hash",
                                          "_flash_attn_2_enabled",
                                          "_model_name_or_path",
                                          "_name_or_path",
                                          "architectures",
                                          "attention_dropout",
                                          "attn_implementation",
                                          "auto_map",
                                          "begin_suppress_tokens",
                                          "bos_token_id",
                                          "cache_implementation",
                                          "chunk_size_feed_forward",
                                          "classifier_dropout",
                                          "cls_token_id",
                                          "decoder_start_token_id",
                                          "diversity_penalty",
                                          "dtype",
                                          "early_stopping",
                                          "embd_pdrop",
                                          "eos_token_id",
                                          "finetuning_task",
                                          "forced_bos_token_id",
                                          "forced_eos_token_id",
                                          "generation_config",
                                          "hidden_dropout",
                                          "id2label",
                                          "initializer_range",
                                          "is_decoder",
                                          "is_llama_config",
                                          "label2id",
                                          "length_penalty",
                                          "mask_token_id",
                                          "max_length",
                                          "max_position_embeddings",
                                          "min_length",
                                          "model_max_length",
                                          "name",
                                          "no_repeat_ngram_size",
                                          "num_beam_groups",
                                          "num_beams",
                                          "num_return_sequences",
                                          "output_attentions",
                                          "output_hidden_states",
                                          "output_router_logits",
                                          "output_scores",
                                          "pad_token_id",
                                          "prefix",
                                          "pretraining_tp",
                                          "problem_type",
                                          "pruned_heads",
                                          "repetition_penalty",
                                          "resid_pdrop",
                                          "return_dict",
                                          "return_dict_in_generate",
                                          "router_aux_loss_coef",
                                          "router_jitter_noise",
                                          "sep_token_id",
                                          "suppress_tokens",
                                          "task_specific_params",
                                          "temperature",
                                          "tokenizer_class",
                                          "top_k",
                                          "top_p",
                                          "torch_dtype",
                                          "torchscript",
                                          "transformers.js_config",
                                          "transformers_version",
                                          "typical_p",
                                          "unk_token_id",
                                          "unsloth_fixed",
                                          "unsloth_version",
                                          "use_bfloat16",
                                          "use_cache"};

// A reader that remembers what it was asked for, so that the other keys can be judged by their values.
class Config : public JsonReader {
 public:
  Config(const json& object, const std::string& file, std::set<std::string> nulls)
      : JsonReader(object, file), object_(object), nulls_(std::move(nulls)) {}

  bool has(const char* key) { return note(key), JsonReader::has(key); }
  // Whether the key is there, with null.
  bool nulls(const char* key) const { return nulls_.contains(key); }
  bool boolean(const char* key, bool fallback) { return note(key), JsonReader::boolean(key, fallback); }
  JsonReader object(const char* key) { return note(key), JsonReader::object(key); }
  template <class... A>
  std::int64_t integer(const char* key, A... rest) {
    return note(key), JsonReader::integer(key, rest...);
  }
  template <class... A>
  double number(const char* key, A... rest) {
    return note(key), JsonReader::number(key, rest...);
  }
  std::string choice(const char* key, const std::string& fallback, const std::vector<std::string>& allowed) {
    return note(key), JsonReader::choice(key, fallback, allowed);
  }
  std::string choice(const char* key, const std::vector<std::string>& allowed) {
    return note(key), JsonReader::choice(key, allowed);
  }
  std::vector<std::string> strings(const char* key) { return note(key), JsonReader::strings(key, {}); }
  std::vector<std::int64_t> integers(const char* key) { return note(key), JsonReader::integers(key, {}); }
  std::vector<double> numbers(const char* key) { return note(key), JsonReader::numbers(key, {}); }

  // Refuses what was not asked for and may matter.
  void settle(const std::vector<std::string>& ignore, std::vector<std::string>* notes) const {
    for (const auto& [key, value] : object_.items()) {
      if (asked_.contains(key)) continue;
      const bool named = std::find(ignore.begin(), ignore.end(), key) != ignore.end();
      const bool off =
          value == false || value == 0 || value == 1 || value == "" || (value.is_structured() && value.empty());
      const std::string shown = value.dump(-1, ' ', false, json::error_handler_t::replace).substr(0, 60);
      if (!named && !off)
        throw ConfigError(path(key) + ": got " + shown +
                          "; allowed: nothing that import does not know, since it may change the function; --ignore " +
                          key + " if it does not");
      if (notes != nullptr && value != false) notes->push_back(path(key) + ": " + shown + " passed over");
    }
  }

 private:
  void note(const char* key) { asked_.insert(key); }

  const json& object_;
  std::set<std::string> nulls_, asked_;
};

void require_false(Config& config, const char* key) {
  if (config.boolean(key, false)) config.fail(key, "false");
}

// One rope_scaling or rope_parameters object. transformers 4 has rope_theta beside the former, 5 has it inside the
// latter. `length`: max_position_embeddings, or 0.
void read_rope_object(const json& raw, const std::string& path, bool theta_beside, std::int64_t length, double& theta,
                      RopeScaling& scaling) {
  json kept = raw;
  for (auto it = kept.begin(); it != kept.end();) it = it->is_null() ? kept.erase(it) : std::next(it);
  JsonReader rope(kept, path);
  const std::vector<std::string> kinds{"default", "linear", "llama3", "yarn"};
  const std::string old = rope.choice("type", "default", kinds);
  const std::string kind = rope.choice("rope_type", old, kinds);
  const double own = rope.number("rope_theta", theta, Range::above(0));
  if (theta_beside && own != theta) rope.fail("rope_theta", "the value of rope_theta beside it");
  theta = own;
  rope.number("partial_rotary_factor", 1.0, Range::between(1, 1));
  if (kind != "default") {
    scaling.kind = kind == "linear"   ? RopeScaling::Kind::linear
                   : kind == "llama3" ? RopeScaling::Kind::llama3
                                      : RopeScaling::Kind::yarn;
    scaling.factor = rope.number("factor", Range::at_least(1));
  }
  if (kind == "llama3") {
    scaling.low_freq_factor = rope.number("low_freq_factor", Range::above(0));
    scaling.high_freq_factor = rope.number("high_freq_factor", Range::above(0));
    scaling.original_length = rope.integer("original_max_position_embeddings", kSize);
  }
  if (kind == "yarn") {
    const auto positive = [&](const char* key, double fallback) {
      const double x = rope.number(key, 0.0, Range::at_least(0));
      return x > 0.0 ? x : fallback;  // 0 stands for the default, as in transformers
    };
    scaling.beta_fast = positive("beta_fast", 32.0);
    scaling.beta_slow = positive("beta_slow", 1.0);
    scaling.truncate = rope.boolean("truncate", true);
    scaling.original_length = length > 0 ? rope.integer("original_max_position_embeddings", length, kSize)
                                         : rope.integer("original_max_position_embeddings", kSize);
    // transformers computes it from these two where both are given.
    const double mscale = rope.number("mscale", 0.0), all = rope.number("mscale_all_dim", 0.0);
    const auto factor = [&](double m) {
      return scaling.factor <= 1.0 ? 1.0 : 0.1 * m * std::log(scaling.factor) + 1.0;
    };
    scaling.attention_factor = rope.number("attention_factor", 0.0, Range::at_least(0));
    if (scaling.attention_factor == 0.0)
      scaling.attention_factor = mscale != 0 && all != 0 ? factor(mscale) / factor(all) : factor(1.0);
  }
  rope.has("attn_factor");  // of DeepSeek's and older configurations; transformers does not read it
  if (kind == "default" || kind == "linear") rope.has("original_max_position_embeddings");
  rope.finish();
}

void read_rope(Config& config, const json& parsed, const Defaults& defaults, DecoderOptions& o) {
  const std::string type = defaults.type;
  const bool gemma3 = type == "gemma3_text", olmo3 = type == "olmo3";
  o.rope_theta = config.number("rope_theta", defaults.rope_theta, Range::above(0));
  if (gemma3) o.local_rope_theta = config.number("rope_local_base_freq", 1e4, Range::above(0));
  if (olmo3) o.local_rope_theta = o.rope_theta;
  const std::int64_t length = config.integer("max_position_embeddings", 0, Range::between(0, 1LL << 40));
  const auto read = [&](const json& object, const std::string& key, bool beside, double& theta, RopeScaling& scaling) {
    if (!object.is_object()) config.fail(key, "an object");
    read_rope_object(object, config.path(key), beside, length, theta, scaling);
  };
  if (config.has("rope_scaling"))
    read(parsed["rope_scaling"], "rope_scaling", config.has("rope_theta"), o.rope_theta, o.rope_scaling);
  if (config.has("rope_parameters")) {
    const json& both = parsed["rope_parameters"];
    if ((gemma3 || olmo3) && both.is_object() && both.contains("full_attention")) {
      RopeScaling local;
      for (const auto& [key, value] : both.items())
        if (key != "full_attention" && key != "sliding_attention")
          throw ConfigError(config.path("rope_parameters") + "." + key + ": unknown key");
      read(both["full_attention"], "rope_parameters.full_attention", config.has("rope_theta"), o.rope_theta,
           o.rope_scaling);
      if (both.contains("sliding_attention"))
        read(both["sliding_attention"], "rope_parameters.sliding_attention", config.has("rope_local_base_freq"),
             o.local_rope_theta, local);
      if (local.kind != RopeScaling::Kind::none)
        config.fail("rope_parameters", "a rope_type of \"default\" for sliding_attention");
    } else {
      read(both, "rope_parameters", config.has("rope_theta"), o.rope_theta, o.rope_scaling);
      if (olmo3) o.local_rope_theta = o.rope_theta;
    }
  }
  if (type == "phi3" && o.rope_scaling.kind != RopeScaling::Kind::none)
    config.fail(config.has("rope_scaling") ? "rope_scaling" : "rope_parameters", "a rope_type of \"default\" in Phi-3");
  if (type == "phi3") config.has("original_max_position_embeddings");  // of longrope
  if (config.has("partial_rotary_factor")) config.number("partial_rotary_factor", 1.0, Range::between(1, 1));
}

// "sliding_attention" or "full_attention" per layer; `fallback` is transformers' choice.
template <class Sliding>
void read_layer_types(Config& config, std::int64_t window, Sliding fallback, DecoderOptions& o) {
  std::vector<std::string> types = config.strings("layer_types");
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

void read_windows(Config& config, const std::string& type, DecoderOptions& o) {
  const bool gemma = type.starts_with("gemma"), qwen = type.starts_with("qwen"), smollm3 = type == "smollm3";
  if (type == "llama" || type == "olmo2" || type == "granite") {
    if (config.has("layer_types"))
      read_layer_types(
          config, 0, [](std::int64_t) { return false; }, o);
    return;
  }
  const bool in_use = !(qwen || smollm3) || config.boolean("use_sliding_window", false);
  const bool none = type == "mixtral" || type == "phi3" || smollm3;
  // Where transformers has a default, null says that there is none.
  const std::int64_t given = config.nulls("sliding_window")
                                 ? 0
                                 : config.integer("sliding_window", none ? 0 : 4096, Range::between(0, 1 << 30));
  const std::int64_t window = in_use ? given : 0;
  if (gemma || type == "olmo3") {
    if (window == 0) config.fail("sliding_window", "at least 1");
    std::int64_t pattern = type == "gemma2" ? 2 : type == "olmo3" ? 4 : 6;
    if (type == "gemma3_text")
      for (const char* key : {"sliding_window_pattern", "_sliding_window_pattern"})
        pattern = config.integer(key, pattern, kSize);
    read_layer_types(
        config, window, [&](std::int64_t i) { return (i + 1) % pattern != 0; }, o);
  } else if (type == "qwen3" || type == "qwen2") {
    const std::int64_t from = config.integer("max_window_layers", 28, Range::at_least(0));
    read_layer_types(
        config, window, [&](std::int64_t i) { return window > 0 && i >= from; }, o);
  } else if (smollm3) {
    read_layer_types(
        config, window,
        [&](std::int64_t i) { return window > 0 && std::binary_search(o.no_rope.begin(), o.no_rope.end(), i); }, o);
  } else {
    if (qwen) config.has("max_window_layers");  // read by the dense models only
    const bool listed = config.has("layer_types");
    read_layer_types(
        config, window, [&](std::int64_t) { return window > 0; }, o);
    // transformers applies the window everywhere, whatever the list says.
    if (listed && window > 0 && std::find(o.windows.begin(), o.windows.end(), 0) != o.windows.end())
      config.fail("layer_types", "\"sliding_attention\" in every layer");
  }
}

// Layers without rotation: a 0 in no_rope_layers.
void read_no_rope(Config& config, DecoderOptions& o) {
  const std::int64_t interval = config.integer("no_rope_layer_interval", 4, kSize);
  std::vector<std::int64_t> rotates = config.integers("no_rope_layers");
  if (!config.has("no_rope_layers"))
    for (std::int64_t i = 0; i < o.layers; ++i) rotates.push_back((i + 1) % interval != 0);
  if (static_cast<std::int64_t>(rotates.size()) < o.layers)
    config.fail("no_rope_layers", "a number for each of " + std::to_string(o.layers) + " layers");
  for (std::int64_t i = 0; i < o.layers; ++i)
    if (rotates[static_cast<std::size_t>(i)] == 0) o.no_rope.push_back(i);
}

void read_granite(Config& config, DecoderOptions& o) {
  o.embed_scale = config.number("embedding_multiplier", 1.0, Range::above(0));
  o.residual_scale = config.number("residual_multiplier", 1.0, Range::above(0));
  o.query_scale = config.number("attention_multiplier", 1.0, Range::above(0));
  o.logit_scale = 1.0 / config.number("logits_scaling", 1.0, Range::above(0));
}

void read_experts(Config& config, const std::string& type, DecoderOptions& o) {
  const bool mixtral = type == "mixtral";
  o.moe.experts = config.integer(mixtral ? "num_local_experts" : "num_experts", mixtral ? 8 : 128, kSize);
  o.moe.top_k = config.integer("num_experts_per_tok", mixtral ? 2 : 8, kSize);
  o.moe.expert_width = mixtral ? o.mlp_width : config.integer("moe_intermediate_size", 768, kSize);
  o.moe.normalise_top_k = mixtral || config.boolean("norm_topk_prob", false);
  if (mixtral) return;
  config.integer("decoder_sparse_step", 1, Range::between(1, 1));
  if (!config.integers("mlp_only_layers").empty()) config.fail("mlp_only_layers", "none: experts in every layer");
}

void read_gemma(Config& config, const std::string& type, const json& raw, DecoderOptions& o) {
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

DecoderOptions decoder_options_from_hugging_face(const std::string& text, const std::string& file,
                                                 const std::vector<std::string>& ignore,
                                                 std::vector<std::string>* notes) {
  const json raw = parse_json(text, file);
  if (!raw.is_object()) throw ConfigError(file + ": is no JSON object");
  json parsed = raw;
  std::set<std::string> nulls;
  for (const auto& [key, value] : raw.items())
    if (value.is_null()) {
      nulls.insert(key);
      parsed.erase(key);
    }
  if (parsed.contains("quantization_config"))
    throw ConfigError(file +
                      ": quantization_config: this model's weights are quantised; allowed: weights in float64, "
                      "float32, float16 or bfloat16");
  std::vector<std::string> types;
  for (const Defaults& d : kDefaults) types.push_back(d.type);
  const std::string type = JsonReader(parsed, file).choice("model_type", types);
  const Defaults& defaults =
      *std::find_if(std::begin(kDefaults), std::end(kDefaults), [&](const Defaults& d) { return type == d.type; });
  const bool gemma = type.starts_with("gemma"), moe = type == "mixtral" || type == "qwen3_moe";
  // The name that transformers 5 writes for Qwen3-MoE's.
  if (type == "qwen3_moe" && parsed.contains("num_local_experts") && !parsed.contains("num_experts")) {
    parsed["num_experts"] = parsed["num_local_experts"];
    parsed.erase("num_local_experts");
  }
  Config config(parsed, file, nulls);
  config.has("model_type");
  for (const char* key : kWithoutEffect) config.has(key);

  DecoderOptions o;
  o.vocab_size = config.integer("vocab_size", kSize);
  o.width = config.integer("hidden_size", kSize);
  o.layers = config.integer("num_hidden_layers", Range::between(1, kMaxLayers));
  o.heads = config.integer("num_attention_heads", kSize);
  o.kv_heads = config.integer(
      "num_key_value_heads",
      defaults.kv_heads == 0 || config.nulls("num_key_value_heads") ? o.heads : defaults.kv_heads, kSize);
  o.head_dim = config.integer("head_dim", defaults.head_dim == 0 ? o.width / o.heads : defaults.head_dim, kSize);
  o.mlp_width = config.integer("intermediate_size", kSize);
  o.norm_eps = config.number("rms_norm_eps", defaults.norm_eps, Range::at_least(0));
  o.tie_embeddings = config.boolean("tie_word_embeddings", gemma || type == "smollm3");
  o.qk_norm = type.starts_with("olmo") || type == "gemma3_text" || type.starts_with("qwen3");
  if (type.starts_with("olmo")) {
    o.norm_placement = NormPlacement::post;
    o.qk_norm_width = QkNormWidth::full;
  }
  read_rope(config, parsed, defaults, o);
  if (type == "smollm3") read_no_rope(config, o);
  read_windows(config, type, o);
  if (moe) read_experts(config, type, o);
  if (type == "granite") read_granite(config, o);
  if (type == "qwen2")
    o.qkv_bias = true;
  else if (type == "mixtral" || type == "mistral" || type == "phi3")
    require_false(config, "attention_bias");
  else
    o.qkv_bias = o.o_bias = config.boolean("attention_bias", false);
  require_false(config, "mlp_bias");
  if (gemma)
    read_gemma(config, type, raw, o);
  else
    config.choice("hidden_act", "silu", {"silu"});
  config.settle(ignore, notes);
  if (const std::string error = o.error(); !error.empty()) throw ConfigError(file + ": " + error);
  return o;
}

}  // namespace scalevec::models
