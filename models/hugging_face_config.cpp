#include <algorithm>
#include <nlohmann/json.hpp>
#include <stdexcept>

#include "scalevec/models/hugging_face.hpp"
#include "scalevec/optim/config/json_reader.hpp"

namespace scalevec {
namespace {

using nlohmann::json;
using nlohmann::ordered_json;

// They say how a model was made, stored, trained or sampled from, and leave the logits of given tokens alone.
constexpr const char* kWithoutEffect[] = {
    "_name_or_path", "_attn_implementation_autoset", "architectures", "attention_dropout", "bos_token_id", "dtype",
    "eos_token_id", "initializer_range", "max_position_embeddings", "max_window_layers", "pad_token_id",
    "pretraining_tp", "torch_dtype", "transformers_version", "use_cache"};

void require_false(JsonReader& config, const char* key) {
  if (config.boolean(key, false)) config.fail(key, "false");
}

// transformers 4 has rope_theta beside rope_scaling; transformers 5 has both in rope_parameters.
double read_rope_theta(JsonReader& config) {
  double theta = config.number("rope_theta", 10000.0, Range::above(0));
  for (const char* key : {"rope_scaling", "rope_parameters"}) {
    if (!config.has(key)) continue;
    JsonReader rope = config.object(key);
    rope.choice("rope_type", "default", {"default"});
    rope.choice("type", "default", {"default"});
    const double own = rope.number("rope_theta", theta, Range::above(0));
    if (config.has("rope_theta") && own != theta) rope.fail("rope_theta", "the value of rope_theta beside it");
    theta = own;
    rope.finish();
  }
  return theta;
}

void require_full_attention(JsonReader& config) {
  require_false(config, "use_sliding_window");
  config.has("sliding_window");  // has no effect without use_sliding_window
  const std::vector<std::string> types = config.strings("layer_types", {});
  if (std::any_of(types.begin(), types.end(), [](const auto& type) { return type != "full_attention"; }))
    config.fail("layer_types", "\"full_attention\" in every layer");
}

}  // namespace

DecoderOptions decoder_options_from_hugging_face(const std::string& text, const std::string& file) {
  json parsed = parse_json(text, file);
  if (!parsed.is_object()) throw ConfigError(file + ": is no JSON object");
  for (auto it = parsed.begin(); it != parsed.end();) it = it->is_null() ? parsed.erase(it) : std::next(it);
  JsonReader config(parsed, file);
  const bool qwen3 = config.choice("model_type", {"llama", "qwen3"}) == "qwen3";
  for (const char* key : kWithoutEffect) config.has(key);

  const Range size = Range::between(1, 1 << 30);
  DecoderOptions o;
  o.vocab_size = config.integer("vocab_size", size);
  o.width = config.integer("hidden_size", size);
  o.layers = config.integer("num_hidden_layers", size);
  o.heads = config.integer("num_attention_heads", size);
  o.kv_heads = config.integer("num_key_value_heads", qwen3 ? 32 : o.heads, size);
  o.head_dim = config.integer("head_dim", qwen3 ? 128 : o.width / o.heads, size);
  o.mlp_width = config.integer("intermediate_size", size);
  o.norm_eps = config.number("rms_norm_eps", 1e-6, Range::at_least(0));
  o.tie_embeddings = config.boolean("tie_word_embeddings", false);
  o.qk_norm = qwen3;
  o.rope_theta = read_rope_theta(config);
  config.choice("hidden_act", "silu", {"silu"});
  require_false(config, "attention_bias");
  if (qwen3)
    require_full_attention(config);
  else
    require_false(config, "mlp_bias");
  config.finish();
  if (const std::string error = o.error(); !error.empty()) throw ConfigError(file + ": " + error);
  return o;
}

std::string hugging_face_config(const DecoderOptions& options) {
  const DecoderOptions o = options.resolved();
  ordered_json config = {{"architectures", {o.qk_norm ? "Qwen3ForCausalLM" : "LlamaForCausalLM"}},
                         {"model_type", o.qk_norm ? "qwen3" : "llama"},
                         {"vocab_size", o.vocab_size},
                         {"hidden_size", o.width},
                         {"intermediate_size", o.mlp_width},
                         {"num_hidden_layers", o.layers},
                         {"num_attention_heads", o.heads},
                         {"num_key_value_heads", o.kv_heads},
                         {"head_dim", o.head_dim},
                         {"rms_norm_eps", o.norm_eps},
                         {"rope_theta", o.rope_theta},
                         {"tie_word_embeddings", o.tie_embeddings},
                         {"hidden_act", "silu"},
                         {"attention_bias", false}};
  if (!o.qk_norm) config["mlp_bias"] = false;
  return config.dump(2) + "\n";
}

}  // namespace scalevec
