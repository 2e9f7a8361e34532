#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "models/hugging_face.hpp"
#include "models/options_json.hpp"

namespace scalevec::models {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

const char* class_of(const std::string& type) {
  static const std::map<std::string, const char*> classes = {
      {"llama", "LlamaForCausalLM"},       {"mistral", "MistralForCausalLM"},    {"qwen2", "Qwen2ForCausalLM"},
      {"qwen3", "Qwen3ForCausalLM"},       {"qwen3_moe", "Qwen3MoeForCausalLM"}, {"mixtral", "MixtralForCausalLM"},
      {"smollm3", "SmolLM3ForCausalLM"},   {"granite", "GraniteForCausalLM"},    {"phi3", "Phi3ForCausalLM"},
      {"olmo2", "Olmo2ForCausalLM"},       {"olmo3", "Olmo3ForCausalLM"},        {"gemma2", "Gemma2ForCausalLM"},
      {"gemma3_text", "Gemma3ForCausalLM"}};
  return classes.at(type);
}

bool is_type(const std::string& type) {
  static const std::set<std::string> types = {"llama",   "mistral", "qwen2",      "qwen3", "qwen3_moe",
                                              "mixtral", "smollm3", "granite",    "phi3",  "olmo2",
                                              "olmo3",   "gemma2",  "gemma3_text"};
  return types.contains(type);
}

// As transformers writes it.
const char* name_of(torch::Dtype dtype) {
  return dtype == torch::kFloat64    ? "float64"
         : dtype == torch::kBFloat16 ? "bfloat16"
         : dtype == torch::kFloat16  ? "float16"
                                     : "float32";
}

// A number that a reciprocal or a root was taken of, whole where it was.
json whole_or(double x) {
  const double whole = std::round(x);
  if (std::abs(x - whole) <= 1e-9 * std::abs(x)) return static_cast<std::int64_t>(whole);
  return x;
}

json number_or_null(double x) { return x > 0.0 ? json(x) : json(nullptr); }

ordered_json rope_json(const RopeScaling& r) {
  if (r.kind == RopeScaling::Kind::linear) return {{"rope_type", "linear"}, {"factor", r.factor}};
  if (r.kind == RopeScaling::Kind::yarn)
    return {{"rope_type", "yarn"},
            {"factor", r.factor},
            {"beta_fast", r.beta_fast},
            {"beta_slow", r.beta_slow},
            {"attention_factor", std::sqrt(r.score_factor())},
            {"truncate", r.truncate},
            {"original_max_position_embeddings", r.original_length}};
  return {{"rope_type", "llama3"},
          {"factor", r.factor},
          {"low_freq_factor", r.low_freq_factor},
          {"high_freq_factor", r.high_freq_factor},
          {"original_max_position_embeddings", r.original_length}};
}

std::int64_t widest_window(const DecoderOptions& o) {
  return o.windows.empty() ? 0 : *std::max_element(o.windows.begin(), o.windows.end());
}

void add_windows(const DecoderOptions& o, const std::string& type, ordered_json& config) {
  const std::int64_t window = widest_window(o);
  if (type == "mixtral" || type == "mistral" || type == "phi3")
    config["sliding_window"] = window > 0 ? json(window) : json(nullptr);
  const bool always = type.starts_with("gemma") || type == "olmo3";
  if (type.starts_with("qwen") || type == "smollm3") {
    config["use_sliding_window"] = window > 0;
    if (window > 0) config["sliding_window"] = window;
  }
  if (always) config["sliding_window"] = window > 0 ? window : 4096;
  const bool listed = type == "qwen3" || type == "qwen2" || type == "smollm3";
  if (!always && (!listed || window == 0)) return;
  for (const std::int64_t w : o.windows)
    config["layer_types"].push_back(w > 0 ? "sliding_attention" : "full_attention");
}

ordered_json config_of(const DecoderOptions& o, const std::string& type) {
  const bool gemma = type.starts_with("gemma");
  ordered_json config = {{"architectures", {class_of(type)}},
                         {"model_type", type},
                         {"vocab_size", o.vocab_size},
                         {"hidden_size", o.width},
                         {"intermediate_size", type == "mixtral" ? o.moe.expert_width : o.mlp_width},
                         {"num_hidden_layers", o.layers},
                         {"num_attention_heads", o.heads},
                         {"num_key_value_heads", o.kv_heads},
                         {"rms_norm_eps", o.norm_eps},
                         {"rope_theta", o.rope_theta}};
  if (type == "llama" || type == "mistral" || type.starts_with("qwen3") || gemma || o.head_dim * o.heads != o.width)
    config["head_dim"] = o.head_dim;
  if (!gemma || !o.tie_embeddings) config["tie_word_embeddings"] = o.tie_embeddings;
  config[gemma ? "hidden_activation" : "hidden_act"] = gemma ? "gelu_pytorch_tanh" : "silu";
  if (type != "mixtral" && type != "mistral" && type != "phi3" && type != "qwen2")
    config["attention_bias"] = o.qkv_bias;
  if (type == "llama" || type == "granite" || type == "smollm3") config["mlp_bias"] = false;
  if (type == "granite") {
    config["embedding_multiplier"] = o.embed_scale;
    config["residual_multiplier"] = o.residual_scale;
    config["attention_multiplier"] = o.query_scale;
    config["logits_scaling"] = whole_or(1.0 / o.logit_scale);
  }
  if (type == "smollm3")
    for (std::int64_t i = 0; i < o.layers; ++i)
      config["no_rope_layers"].push_back(std::binary_search(o.no_rope.begin(), o.no_rope.end(), i) ? 0 : 1);
  if (o.rope_scaling.kind != RopeScaling::Kind::none) config["rope_scaling"] = rope_json(o.rope_scaling);
  if (type == "olmo3") {
    // transformers 5 takes rope_theta beside it for the layers without a window only.
    ordered_json full = {{"rope_type", "default"}};
    if (o.rope_scaling.kind != RopeScaling::Kind::none) full = rope_json(o.rope_scaling);
    full["rope_theta"] = o.rope_theta;
    const double local = o.local_rope_theta > 0.0 ? o.local_rope_theta : o.rope_theta;
    config["rope_parameters"] = {{"full_attention", full},
                                 {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", local}}}};
  }
  if (type == "gemma3_text") config["rope_local_base_freq"] = o.local_rope_theta;
  if (gemma) {
    config["query_pre_attn_scalar"] = whole_or(1.0 / (o.query_scale * o.query_scale));
    config["final_logit_softcapping"] = number_or_null(o.logit_softcap);
    if (type == "gemma2") config["attn_logit_softcapping"] = number_or_null(o.attn_softcap);
  }
  if (o.moe.experts > 0) {
    config[type == "mixtral" ? "num_local_experts" : "num_experts"] = o.moe.experts;
    config["num_experts_per_tok"] = o.moe.top_k;
  }
  if (type == "qwen3_moe") {
    config["moe_intermediate_size"] = o.moe.expert_width;
    config["norm_topk_prob"] = o.moe.normalise_top_k;
    config["decoder_sparse_step"] = 1;
    config["mlp_only_layers"] = json::array();
  }
  add_windows(o, type, config);
  return config;
}

// Options that leave the function of given weights alone, taken over from `other`.
DecoderOptions without_what_exports(DecoderOptions o, const DecoderOptions& other) {
  o.init_std = other.init_std;
  o.init_depth_scaling = other.init_depth_scaling;
  o.execution = other.execution;
  o.scale_vectors = other.scale_vectors;
  o.qk_norm_scale = other.qk_norm_scale;
  o.moe.balance_loss = 0.0;
  if (o.moe.experts == 0)
    o.moe = other.moe;
  else
    o.mlp_width = other.mlp_width;
  // A rotation of their own of layers with a window says nothing where there are none, or where it is the others'.
  if (widest_window(o) == 0 || (o.rope_scaling.kind == RopeScaling::Kind::none &&
                                (o.local_rope_theta == 0.0 ? o.rope_theta : o.local_rope_theta) ==
                                    (other.local_rope_theta == 0.0 ? other.rope_theta : other.local_rope_theta)))
    o.local_rope_theta = other.local_rope_theta;
  o.scales.allow_inert = other.scales.allow_inert;
  o.scales.input = other.scales.input;
  o.scales.post = other.scales.post;
  o.scales.qk_norm = other.scales.qk_norm;
  o.scales.final = other.scales.final;
  if (o.scales.placement == ScalePlacement::input) o.scales.output = other.scales.output;
  // A form or an initial value of a single scale is none of the weights' business; that one is missing is.
  std::erase_if(o.scales.at, [](const auto& site) { return site.second.present; });
  return o;
}

bool same(const json& a, const json& b) {
  if (a.is_number() && b.is_number()) {
    const double x = a.get<double>(), y = b.get<double>();
    return std::abs(x - y) <= 1e-12 * std::max(std::abs(x), std::abs(y));
  }
  return a == b;
}

void add_differences(const json& a, const json& b, const std::string& path, std::string& names) {
  for (const auto& [key, value] : a.items()) {
    const json& other = b.contains(key) ? b[key] : json();
    if (value.is_object() && other.is_object())
      add_differences(value, other, path + key + ".", names);
    else if (!same(value, other))
      names += (names.empty() ? "" : ", ") + path + key;
  }
}

}  // namespace

namespace {

// Which options a `type` cannot hold, given the text of its config.json; empty: none.
std::string differences(const DecoderOptions& o, const std::string& text) {
  std::string names;
  try {
    const DecoderOptions back = decoder_options_from_hugging_face(text, "config.json").resolved();
    add_differences(json_of(without_what_exports(o, back)), json_of(back), "", names);
  } catch (const std::invalid_argument& e) {
    names = e.what();
  }
  return names;
}

// Keys that are written for the function, or that stand for it in another spelling: none is taken from the source.
bool about_function(const std::string& key) {
  static const std::set<std::string> keys = {"_sliding_window_pattern",
                                             "architectures",
                                             "attention_bias",
                                             "attention_multiplier",
                                             "attn_logit_softcapping",
                                             "decoder_sparse_step",
                                             "dtype",
                                             "embedding_multiplier",
                                             "final_logit_softcapping",
                                             "head_dim",
                                             "hidden_act",
                                             "hidden_activation",
                                             "hidden_size",
                                             "intermediate_size",
                                             "layer_types",
                                             "logits_scaling",
                                             "max_window_layers",
                                             "mlp_bias",
                                             "mlp_only_layers",
                                             "model_type",
                                             "moe_intermediate_size",
                                             "no_rope_layer_interval",
                                             "no_rope_layers",
                                             "norm_topk_prob",
                                             "num_attention_heads",
                                             "num_experts",
                                             "num_experts_per_tok",
                                             "num_hidden_layers",
                                             "num_key_value_heads",
                                             "num_local_experts",
                                             "partial_rotary_factor",
                                             "quantization_config",
                                             "query_pre_attn_scalar",
                                             "residual_multiplier",
                                             "rms_norm_eps",
                                             "rope_local_base_freq",
                                             "rope_parameters",
                                             "rope_scaling",
                                             "rope_theta",
                                             "sliding_window",
                                             "sliding_window_pattern",
                                             "tie_word_embeddings",
                                             "torch_dtype",
                                             "use_bidirectional_attention",
                                             "use_sliding_window",
                                             "vocab_size"};
  return keys.contains(key);
}

}  // namespace

std::string hugging_face_config(const DecoderOptions& options, const std::string& source, torch::Dtype dtype) {
  DecoderOptions o = options.resolved();
  if (o.rope_scaling.kind == RopeScaling::Kind::none) o.rope_scaling = {};
  o.rope_scaling.attention_factor =
      o.rope_scaling.kind == RopeScaling::Kind::yarn ? std::sqrt(o.rope_scaling.score_factor()) : 0.0;
  json came = source.empty() ? json::object() : parse_json_if_sound(source);
  if (!came.is_object()) came = json::object();

  const auto config_as = [&](const std::string& type) {
    DecoderOptions of_type = o;
    // Without a rotation of their own, layers with a window have the others'.
    if (type == "gemma3_text" && o.local_rope_theta == 0.0 && o.rope_scaling.kind == RopeScaling::Kind::none)
      of_type.local_rope_theta = o.rope_theta;
    return std::pair(config_of(of_type, type), of_type);
  };
  std::string type = hugging_face_type(o);
  if (came.contains("model_type") && came["model_type"].is_string()) {
    const auto given = came["model_type"].get<std::string>();
    const bool as_gemma = given.starts_with("gemma"), gemma = type.starts_with("gemma");
    if (given != type && is_type(given) && as_gemma == gemma)
      if (const auto [config, of_type] = config_as(given); differences(of_type, config.dump()).empty()) type = given;
  }
  auto [config, of_type] = config_as(type);
  if (const std::string names = differences(of_type, config.dump()); !names.empty())
    throw std::invalid_argument("a Hugging Face " + type + " cannot hold this model as to " + names +
                                (names.find("scales.") != std::string::npos
                                     ? "; folding it first moves input-class scales "
                                       "into the matrices"
                                     : ""));
  for (const auto& [key, value] : came.items())
    if (!about_function(key)) config[key] = value;
  config[came.contains("dtype") ? "dtype" : "torch_dtype"] = name_of(dtype);
  return config.dump(2) + "\n";
}

}  // namespace scalevec::models
