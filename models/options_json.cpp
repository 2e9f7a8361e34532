#include "models/options_json.hpp"

#include <cmath>
#include <limits>
#include <sstream>
#include <utility>

#include "models/decoder_sites.hpp"

namespace scalevec::models {
namespace {

using nlohmann::json;

const Range kSize = Range::between(1, 1 << 30);
const Range kSizeOrDefault = Range::between(0, 1 << 30);

// Words of the JSON, in the order of the enumeration.
const std::vector<std::string>& kForms = scale_form_words();
const std::vector<std::string> kPlacements{"input", "both", "both_normed", "output"};
const std::vector<std::string> kExperts{"together", "each"};
const std::vector<std::string> kNorms{"rms", "layer"};
const std::vector<std::string> kNormPlacements{"pre", "post", "sandwich", "post_residual", "none"};
const std::vector<std::string> kQkWidths{"head", "full"};
const std::vector<std::string> kActivations{"silu", "gelu_tanh", "gelu"};
const std::vector<std::string> kExecutions{"naive", "folded", "auto"};
const std::vector<std::string> kRopeScalings{"none", "linear", "llama3", "yarn"};

template <class E>
std::string word(E value, const std::vector<std::string>& words) {
  return words[static_cast<size_t>(value)];
}

template <class E>
void read_word(JsonReader& json, const char* key, E& value, const std::vector<std::string>& words) {
  const std::string got = json.choice(key, word(value, words), words);
  for (size_t i = 0; i < words.size(); ++i)
    if (words[i] == got) value = static_cast<E>(i);
}

void read_gamma(JsonReader& json, const char* key, GammaOptions& gamma) {
  JsonReader in = json.object(key);
  gamma.present = in.boolean("present", gamma.present);
  read_word(in, "form", gamma.form, kForms);
  gamma.initial = in.number("initial", gamma.initial);
  in.finish();
}

json gamma_json(const GammaOptions& gamma) {
  return {{"present", gamma.present}, {"form", word(gamma.form, kForms)}, {"initial", gamma.initial}};
}

void read_branches(JsonReader& json, ScaleOptions& s) {
  std::vector<std::string> now;
  if (s.branch_attn) now.push_back("attn");
  if (s.branch_ffn) now.push_back("ffn");
  now = json.strings("branches", now);
  s.branch_attn = s.branch_ffn = false;
  for (const std::string& name : now) {
    if (name == "attn")
      s.branch_attn = true;
    else if (name == "ffn")
      s.branch_ffn = true;
    else if (name == "final" || name == "qk_norm" || name == "post")
      json.fail("branches", "attn, ffn: a norm with one reader (" + name + ") has no branches");
    else
      json.fail("branches", "attn, ffn");
  }
}

// Keys of the object at `key`, each one of `known`.
std::vector<std::string> keys_of(JsonReader& json, const char* key, const std::vector<std::string>& known) {
  std::vector<std::string> keys;
  if (!json.has(key)) return keys;
  JsonReader in = json.object(key);
  for (const std::string& name : known)
    if (in.has(name)) keys.push_back(name);
  in.finish();
  return keys;
}

ScaleOptions read_scales(JsonReader& json) {
  if (!json.has("scales")) return {};
  if (json.value("scales").is_string()) return scale_preset(json.choice("scales", "plain", scale_presets()));
  JsonReader in = json.object("scales");
  ScaleOptions s = scale_preset(in.choice("preset", "plain", scale_presets()));
  if (in.has("form")) {
    read_word(in, "form", s.input.form, kForms);
    s.output.form = s.post.form = s.qk_norm.form = s.final.form = s.input.form;
  }
  read_gamma(in, "input", s.input);
  read_gamma(in, "output", s.output);
  read_gamma(in, "post", s.post);
  read_gamma(in, "qk_norm", s.qk_norm);
  read_gamma(in, "final", s.final);
  read_branches(in, s);
  read_word(in, "experts", s.experts, kExperts);
  read_word(in, "placement", s.placement, kPlacements);
  s.maps = in.strings("maps", s.maps);
  for (const std::string& map : keys_of(in, "placements", map_sites())) {
    JsonReader each = in.object("placements");
    read_word(each, map.c_str(), s.placements[map], kPlacements);
  }
  for (const std::string& site : keys_of(in, "at", scale_sites())) {
    JsonReader each = in.object("at");
    read_gamma(each, site.c_str(), s.at[site] = kind_of(s, site));
  }
  s.allow_inert = in.boolean("allow_inert", s.allow_inert);
  JsonReader m = in.object("multipliers");
  s.multipliers.scalar = m.boolean("scalar", false);
  s.multipliers.rows = m.boolean("rows", false);
  s.multipliers.columns = m.boolean("columns", false);
  s.multipliers.maps = m.strings("maps", {});
  m.finish();
  in.finish();
  return s;
}

json scales_json(const ScaleOptions& s) {
  json branches = json::array();
  if (s.branch_attn) branches.push_back("attn");
  if (s.branch_ffn) branches.push_back("ffn");
  const MultiplierOptions& m = s.multipliers;
  json placements = json::object(), at = json::object();
  for (const auto& [map, placement] : s.placements) placements[map] = word(placement, kPlacements);
  for (const auto& [site, gamma] : s.at) at[site] = gamma_json(gamma);
  json out = {{"input", gamma_json(s.input)},
              {"output", gamma_json(s.output)},
              {"post", gamma_json(s.post)},
              {"qk_norm", gamma_json(s.qk_norm)},
              {"final", gamma_json(s.final)},
              {"branches", branches},
              {"experts", word(s.experts, kExperts)},
              {"placement", word(s.placement, kPlacements)},
              {"maps", s.maps},
              {"allow_inert", s.allow_inert},
              {"multipliers", {{"scalar", m.scalar}, {"rows", m.rows}, {"columns", m.columns}, {"maps", m.maps}}}};
  if (!s.placements.empty()) out["placements"] = placements;
  if (!s.at.empty()) out["at"] = at;
  return out;
}

void read_rope(JsonReader in, RopeScaling& r) {
  read_word(in, "kind", r.kind, kRopeScalings);
  r.factor = in.number("factor", r.factor, Range::above(0));
  r.low_freq_factor = in.number("low_freq_factor", r.low_freq_factor, Range::above(0));
  r.high_freq_factor = in.number("high_freq_factor", r.high_freq_factor, Range::above(0));
  r.original_length = in.integer("original_length", r.original_length, Range::at_least(1));
  r.beta_fast = in.number("beta_fast", r.beta_fast, Range::above(0));
  r.beta_slow = in.number("beta_slow", r.beta_slow, Range::above(0));
  r.attention_factor = in.number("attention_factor", r.attention_factor, Range::at_least(0));
  r.truncate = in.boolean("truncate", r.truncate);
  in.finish();
}

json rope_json(const RopeScaling& r) {
  json out = {{"kind", word(r.kind, kRopeScalings)},
              {"factor", r.factor},
              {"low_freq_factor", r.low_freq_factor},
              {"high_freq_factor", r.high_freq_factor},
              {"original_length", r.original_length}};
  // Said where they say something.
  const RopeScaling usual;
  if (r.kind == RopeScaling::Kind::yarn || r.beta_fast != usual.beta_fast || r.beta_slow != usual.beta_slow ||
      r.attention_factor != usual.attention_factor || r.truncate != usual.truncate) {
    out["beta_fast"] = r.beta_fast;
    out["beta_slow"] = r.beta_slow;
    out["attention_factor"] = r.attention_factor;
    out["truncate"] = r.truncate;
  }
  return out;
}

void read_moe(JsonReader in, MoeOptions& m) {
  m.experts = in.integer("experts", m.experts, Range::between(0, 65536));
  m.top_k = in.integer("top_k", m.top_k, Range::at_least(1));
  m.normalise_top_k = in.boolean("normalise_top_k", m.normalise_top_k);
  m.expert_width = in.integer("expert_width", m.expert_width, kSizeOrDefault);
  m.shared_width = in.integer("shared_width", m.shared_width, kSizeOrDefault);
  m.balance_loss = in.number("balance_loss", m.balance_loss, Range::at_least(0));
  m.balance_bias_rate = in.number("balance_bias_rate", m.balance_bias_rate, Range::at_least(0));
  in.finish();
}

json moe_json(const MoeOptions& m) {
  return {{"experts", m.experts},
          {"top_k", m.top_k},
          {"normalise_top_k", m.normalise_top_k},
          {"expert_width", m.expert_width},
          {"shared_width", m.shared_width},
          {"balance_loss", m.balance_loss},
          {"balance_bias_rate", m.balance_bias_rate}};
}

}  // namespace

DecoderOptions read_decoder_options(JsonReader& json) {
  DecoderOptions o;
  o.vocab_size = json.integer("vocab_size", o.vocab_size, kSize);
  o.width = json.integer("width", o.width, kSize);
  o.layers = json.integer("layers", o.layers, Range::between(1, kMaxLayers));
  o.heads = json.integer("heads", o.heads, kSize);
  o.kv_heads = json.integer("kv_heads", o.kv_heads, kSize);
  o.head_dim = json.integer("head_dim", o.head_dim, kSize);
  o.mlp_width = json.integer("mlp_width", o.mlp_width, kSize);
  o.rope_theta = json.number("rope_theta", o.rope_theta, Range::above(0));
  o.norm_eps = json.number("norm_eps", o.norm_eps, Range::at_least(0));
  o.tie_embeddings = json.boolean("tie_embeddings", o.tie_embeddings);
  o.scale_vectors = json.boolean("scale_vectors", o.scale_vectors);
  o.qk_norm = json.boolean("qk_norm", o.qk_norm);
  o.qk_norm_scale = json.boolean("qk_norm_scale", o.qk_norm_scale);
  if (json.has("qk_norm_scale") && o.qk_norm_scale && !o.qk_norm)
    json.fail("qk_norm_scale", "true only with qk_norm true");
  o.init_std = json.number("init_std", o.init_std, Range::at_least(0));
  o.init_depth_scaling = json.boolean("init_depth_scaling", o.init_depth_scaling);

  o.scales = read_scales(json);
  read_word(json, "norm", o.norm, kNorms);
  read_word(json, "norm_placement", o.norm_placement, kNormPlacements);
  o.final_norm = json.boolean("final_norm", o.final_norm);
  read_word(json, "qk_norm_width", o.qk_norm_width, kQkWidths);
  read_word(json, "activation", o.activation, kActivations);
  o.qkv_bias = json.boolean("qkv_bias", o.qkv_bias);
  o.o_bias = json.boolean("o_bias", o.o_bias);
  read_rope(json.object("rope_scaling"), o.rope_scaling);
  o.local_rope_theta = json.number("local_rope_theta", o.local_rope_theta, Range::at_least(0));
  o.windows = json.integers("windows", {}, kSizeOrDefault);
  o.no_rope = json.integers("no_rope", {}, Range::at_least(0));
  o.attn_softcap = json.number("attn_softcap", o.attn_softcap, Range::at_least(0));
  o.logit_softcap = json.number("logit_softcap", o.logit_softcap, Range::at_least(0));
  o.query_scale = json.number("query_scale", o.query_scale, Range::at_least(0));
  o.embed_scale = json.number("embed_scale", o.embed_scale, Range::above(0));
  o.logit_scale = json.number("logit_scale", o.logit_scale, Range::above(0));
  o.residual_scale = json.number("residual_scale", o.residual_scale, Range::above(0));
  o.residual_depth_scaling = json.boolean("residual_depth_scaling", o.residual_depth_scaling);
  read_moe(json.object("moe"), o.moe);
  read_word(json, "execution", o.execution, kExecutions);
  if (const std::string error = o.error(); !error.empty()) throw ConfigError(json.path(error));
  return o;
}

nlohmann::json json_of(const DecoderOptions& o) {
  json out = {{"vocab_size", o.vocab_size},
              {"width", o.width},
              {"layers", o.layers},
              {"heads", o.heads},
              {"kv_heads", o.kv_heads},
              {"head_dim", o.head_dim},
              {"mlp_width", o.mlp_width},
              {"rope_theta", o.rope_theta},
              {"norm_eps", o.norm_eps},
              {"tie_embeddings", o.tie_embeddings},
              {"scale_vectors", o.scale_vectors},
              {"qk_norm", o.qk_norm},
              {"init_std", o.init_std},
              {"init_depth_scaling", o.init_depth_scaling},
              {"scales", scales_json(o.scales)},
              {"norm", word(o.norm, kNorms)},
              {"norm_placement", word(o.norm_placement, kNormPlacements)},
              {"final_norm", o.final_norm},
              {"qk_norm_width", word(o.qk_norm_width, kQkWidths)},
              {"activation", word(o.activation, kActivations)},
              {"qkv_bias", o.qkv_bias},
              {"o_bias", o.o_bias},
              {"rope_scaling", rope_json(o.rope_scaling)},
              {"local_rope_theta", o.local_rope_theta},
              {"windows", o.windows},
              {"attn_softcap", o.attn_softcap},
              {"logit_softcap", o.logit_softcap},
              {"query_scale", o.query_scale},
              {"embed_scale", o.embed_scale},
              {"residual_depth_scaling", o.residual_depth_scaling},
              {"moe", moe_json(o.moe)},
              {"execution", word(o.execution, kExecutions)}};
  // Explicit zeros stand for defaults in code and are refused in JSON.
  for (const char* key : {"kv_heads", "head_dim", "mlp_width"})
    if (out[key] == 0) out.erase(key);
  // Options of single architectures: said where they say something.
  if (!o.no_rope.empty()) out["no_rope"] = o.no_rope;
  if (o.logit_scale != 1.0) out["logit_scale"] = o.logit_scale;
  if (o.residual_scale != 1.0) out["residual_scale"] = o.residual_scale;
  if (o.qk_norm || !o.qk_norm_scale) out["qk_norm_scale"] = o.qk_norm_scale;
  return out;
}

DecoderOptions decoder_options_from_json(const std::string& text) {
  const nlohmann::json parsed = parse_json(text, "decoder options");
  JsonReader json(parsed, "");
  const DecoderOptions options = read_decoder_options(json);
  json.finish();
  return options;
}

ToyOptions read_toy_options(std::string_view type, JsonReader& json) {
  ToyOptions o = toy_defaults(type);
  for (const ToyField& f : toy_fields(o)) {
    const Range range{f.low, f.high, f.low_open, false};
    if (const auto* n = std::get_if<std::int64_t*>(&f.value)) **n = json.integer(f.key, **n, range);
    if (const auto* x = std::get_if<double*>(&f.value)) **x = json.number(f.key, **x, range);
    if (const auto* flag = std::get_if<bool*>(&f.value)) **flag = json.boolean(f.key, **flag);
    if (const auto* word = std::get_if<std::string*>(&f.value)) **word = json.choice(f.key, **word, f.words);
    if (const auto* list = std::get_if<std::vector<double>*>(&f.value)) **list = json.numbers(f.key, **list, range);
  }
  if (const std::string error = toy_error(o); !error.empty()) throw ConfigError(json.path(error));
  return o;
}

json json_of(const ToyOptions& options) {
  ToyOptions copy = options;
  json out = {{"type", toy_type(options)}};
  for (const ToyField& f : toy_fields(copy))
    std::visit([&](const auto* value) { out[std::string(f.key)] = *value; }, f.value);
  return out;
}

}  // namespace scalevec::models
