#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "scalevec/models/hugging_face.hpp"
#include "scalevec/models/options_json.hpp"

namespace scalevec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

const char* class_of(const std::string& type) {
  if (type == "llama") return "LlamaForCausalLM";
  if (type == "qwen3") return "Qwen3ForCausalLM";
  if (type == "qwen3_moe") return "Qwen3MoeForCausalLM";
  if (type == "olmo2") return "Olmo2ForCausalLM";
  if (type == "gemma2") return "Gemma2ForCausalLM";
  return type == "mixtral" ? "MixtralForCausalLM" : "Gemma3ForCausalLM";
}

json number_or_null(double x) { return x > 0.0 ? json(x) : json(nullptr); }

ordered_json rope_json(const RopeScaling& r) {
  if (r.kind == RopeScaling::Kind::linear) return {{"rope_type", "linear"}, {"factor", r.factor}};
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
  if (type == "mixtral") config["sliding_window"] = window > 0 ? json(window) : json(nullptr);
  const bool gemma = type.starts_with("gemma");
  if (type.starts_with("qwen3")) {
    config["use_sliding_window"] = window > 0;
    if (window > 0) config["sliding_window"] = window;
  }
  if (gemma) config["sliding_window"] = window > 0 ? window : 4096;
  if (!gemma && (type != "qwen3" || window == 0)) return;
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
  if (type == "llama" || type.starts_with("qwen3") || gemma || o.head_dim * o.heads != o.width)
    config["head_dim"] = o.head_dim;
  if (!gemma || !o.tie_embeddings) config["tie_word_embeddings"] = o.tie_embeddings;
  config[gemma ? "hidden_activation" : "hidden_act"] = gemma ? "gelu_pytorch_tanh" : "silu";
  if (type != "mixtral") config["attention_bias"] = o.qkv_bias;
  if (type == "llama") config["mlp_bias"] = false;
  if (o.rope_scaling.kind != RopeScaling::Kind::none) config["rope_scaling"] = rope_json(o.rope_scaling);
  if (type == "gemma3_text") config["rope_local_base_freq"] = o.local_rope_theta;
  if (gemma) {
    const double scalar = 1.0 / (o.query_scale * o.query_scale);
    const double whole = std::round(scalar);
    if (std::abs(scalar - whole) <= 1e-9 * scalar)
      config["query_pre_attn_scalar"] = static_cast<std::int64_t>(whole);
    else
      config["query_pre_attn_scalar"] = scalar;
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
  if (widest_window(o) == 0) o.local_rope_theta = other.local_rope_theta;
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

std::string hugging_face_config(const DecoderOptions& options) {
  DecoderOptions o = options.resolved();
  const std::string type = hugging_face_type(o);
  if (o.rope_scaling.kind == RopeScaling::Kind::none) o.rope_scaling = {};
  // Without a rotation of their own, layers with a window have the others'.
  if (type == "gemma3_text" && o.local_rope_theta == 0.0 && o.rope_scaling.kind == RopeScaling::Kind::none)
    o.local_rope_theta = o.rope_theta;
  const std::string text = config_of(o, type).dump(2) + "\n";
  std::string names;
  try {
    const DecoderOptions back = decoder_options_from_hugging_face(text, "config.json").resolved();
    add_differences(json_of(without_what_exports(o, back)), json_of(back), "", names);
  } catch (const std::invalid_argument& e) {
    names = e.what();
  }
  if (!names.empty())
    throw std::invalid_argument("a Hugging Face " + type + " cannot hold this model as to " + names +
                                (names.find("scales.") != std::string::npos
                                     ? "; folding it first moves input-class scales "
                                       "into the matrices"
                                     : ""));
  return text;
}

}  // namespace scalevec
