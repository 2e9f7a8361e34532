#include "models/options_json.hpp"

#include <utility>

#include "models/decoder_sites.hpp"

namespace scalevec::models {
namespace {

using nlohmann::json;

const Range kSize = Range::between(1, 1 << 30), kSizeOrDefault = Range::between(0, 1 << 30);

// Words of the JSON, in the order of the enumeration.
const std::vector<std::string>& kForms = scale_form_words();
const std::vector<std::string>& kPlacements = scale_placement_words();
const std::vector<std::string> kExperts{"together", "each"};
const std::vector<std::string> kNorms{"rms", "layer"};
const std::vector<std::string> kNormPlacements{"pre", "post", "sandwich", "post_residual", "none"};
const std::vector<std::string> kQkWidths{"head", "full"};
const std::vector<std::string> kActivations{"silu", "gelu_tanh", "gelu"};
const std::vector<std::string> kExecutions{"naive", "folded", "auto"};
const std::vector<std::string> kRopeScalings{"none", "linear", "llama3", "yarn"};

template <class E>
Option word_option(const char* key, E* at, const std::vector<std::string>& words, std::string_view meaning) {
  return {key, enum_value(at), {}, words, meaning};
}

template <class E>
void read_word(JsonReader& json, const char* key, E& value, const std::vector<std::string>& words) {
  read_options(json, {word_option(key, &value, words, "")});
}

void read_gamma(JsonReader& json, const char* key, GammaOptions& gamma) {
  JsonReader in = json.object(key);
  read_options(in, gamma_fields(gamma));
  in.finish();
}

json gamma_json(GammaOptions gamma) { return json_of_options(gamma_fields(gamma)); }

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

std::vector<std::pair<const char*, GammaOptions*>> gammas(ScaleOptions& s) {
  return {{"input", &s.input}, {"output", &s.output}, {"post", &s.post}, {"qk_norm", &s.qk_norm}, {"final", &s.final}};
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
  for (const auto& [key, gamma] : gammas(s)) read_gamma(in, key, *gamma);
  read_branches(in, s);
  read_options(in, scale_fields(s));
  for (const std::string& map : keys_of(in, "placements", map_sites())) {
    JsonReader each = in.object("placements");
    read_word(each, map.c_str(), s.placements[map], kPlacements);
  }
  for (const std::string& site : keys_of(in, "at", scale_sites())) {
    JsonReader each = in.object("at");
    read_gamma(each, site.c_str(), s.at[site] = kind_of(s, site));
  }
  JsonReader multipliers = in.object("multipliers");
  s.multipliers = {};
  read_options(multipliers, multiplier_fields(s.multipliers));
  multipliers.finish();
  in.finish();
  return s;
}

json scales_json(ScaleOptions s) {
  json out = json_of_options(scale_fields(s));
  for (const auto& [key, gamma] : gammas(s)) out[key] = gamma_json(*gamma);
  out["branches"] = json::array();
  if (s.branch_attn) out["branches"].push_back("attn");
  if (s.branch_ffn) out["branches"].push_back("ffn");
  out["multipliers"] = json_of_options(multiplier_fields(s.multipliers));
  for (const auto& [map, placement] : s.placements) out["placements"][map] = to_string(placement);
  for (const auto& [site, gamma] : s.at) out["at"][site] = gamma_json(gamma);
  return out;
}

}  // namespace

Options gamma_fields(GammaOptions& o) {
  return {{"present", &o.present, {}, {}, "whether there is a γ"},
          word_option("form", &o.form, kForms, "how γ is computed"),
          {"initial", &o.initial, {}, {}, "initial value of every element of γ"}};
}

Options multiplier_fields(MultiplierOptions& o) {
  return {{"scalar", &o.scalar, {}, {}, "s of s·diag(r) W diag(c)"},
          {"rows", &o.rows, {}, {}, "r"},
          {"columns", &o.columns, {}, {}, "c"},
          {"maps", &o.maps, {}, {}, "sites of the maps; none: every matrix of the blocks"}};
}

Options scale_fields(ScaleOptions& o) {
  return {
      word_option("experts", &o.experts, kExperts, "one γ for all experts' gates and one for all ups, or one each"),
      word_option("placement", &o.placement, kPlacements,
                  "where γ stands around a map: before it, also behind it (DP), behind its norm (DNP), or only there"),
      {"maps", &o.maps, {}, {}, "sites of the maps with a γ behind them; none: the usual ones of the placement"},
      {"allow_inert", &o.allow_inert, {}, {}, "accept a magnitude that a following norm makes ineffective"}};
}

Options rope_fields(RopeScaling& o) {
  // Those of yarn are written where they say something.
  const RopeScaling usual;
  const bool yarn = o.kind == RopeScaling::Kind::yarn || o.beta_fast != usual.beta_fast ||
                    o.beta_slow != usual.beta_slow || o.attention_factor != usual.attention_factor ||
                    o.truncate != usual.truncate;
  return {
      word_option("kind", &o.kind, kRopeScalings, "how frequencies change for longer contexts"),
      {"factor", &o.factor, Range::above(0), {}, "what frequencies are divided by"},
      {"low_freq_factor",
       &o.low_freq_factor,
       Range::above(0),
       {},
       "llama3: longer wavelengths than original_length over this are divided"},
      {"high_freq_factor",
       &o.high_freq_factor,
       Range::above(0),
       {},
       "llama3: shorter wavelengths than original_length over this are unchanged"},
      {"original_length", &o.original_length, Range::at_least(1), {}, "context of the training, tokens"},
      {"beta_fast", &o.beta_fast, Range::above(0), {}, "yarn: frequencies with more turns are unchanged", false, yarn},
      {"beta_slow",
       &o.beta_slow,
       Range::above(0),
       {},
       "yarn: frequencies with fewer turns are divided by factor",
       false,
       yarn},
      {"attention_factor",
       &o.attention_factor,
       Range::at_least(0),
       {},
       "yarn: multiplies queries and keys",
       false,
       yarn,
       "0: 0.1 ln(factor) + 1"},
      {"truncate", &o.truncate, {}, {}, "yarn: the ends of the ramp are rounded outwards", false, yarn}};
}

Options moe_fields(MoeOptions& o) {
  return {
      {"experts", &o.experts, Range::between(0, 65536), {}, "experts in place of each MLP; 0: a dense MLP"},
      {"top_k", &o.top_k, Range::at_least(1), {}, "experts of a token, at most experts"},
      {"normalise_top_k", &o.normalise_top_k, {}, {}, "the chosen probabilities are divided by their sum"},
      {"expert_width", &o.expert_width, kSizeOrDefault, {}, "hidden width of an expert", false, true, "0: mlp_width"},
      {"shared_width",
       &o.shared_width,
       kSizeOrDefault,
       {},
       "hidden width of an expert that every token passes; 0: none"},
      {"balance_loss", &o.balance_loss, Range::at_least(0), {}, "coefficient of the balance loss; arXiv 2101.03961"},
      {"balance_bias_rate",
       &o.balance_bias_rate,
       Range::at_least(0),
       {},
       "step of the bias that balances the load; arXiv 2408.15664"}};
}

Options decoder_fields(DecoderOptions& o) {
  const Range least_0 = Range::at_least(0), above_0 = Range::above(0);
  // Zeros stand for defaults in code and are refused in JSON.
  const auto size = [&](const char* key, std::int64_t* at, std::string_view meaning, std::string_view usual = {}) {
    return Option{key, at, kSize, {}, meaning, false, *at != 0, usual};
  };
  return {
      size("vocab_size", &o.vocab_size, "size of the vocabulary"),
      size("width", &o.width, "width of the residual stream"),
      {"layers", &o.layers, Range::between(1, kMaxLayers), {}, "number of blocks"},
      size("heads", &o.heads, "query heads"),
      size("kv_heads", &o.kv_heads, "key and value heads, a divisor of heads", "heads"),
      size("head_dim", &o.head_dim, "elements of a head; even", "width/heads"),
      size("mlp_width", &o.mlp_width, "hidden width of the MLP", "the first multiple of 32 that is at least 8/3·width"),
      {"rope_theta", &o.rope_theta, above_0, {}, "base of the rotary embedding"},
      {"norm_eps", &o.norm_eps, least_0, {}, "added to the mean square"},
      {"tie_embeddings", &o.tie_embeddings, {}, {}, "the unembedding is the embedding matrix"},
      {"scale_vectors",
       &o.scale_vectors,
       {},
       {},
       "γ on the norms of attention and MLP and on the final norm (input-class)"},
      {"qk_norm", &o.qk_norm, {}, {}, "norms on queries and keys"},
      {"qk_norm_scale",
       &o.qk_norm_scale,
       {},
       {},
       "γ on those norms (output-class)",
       false,
       o.qk_norm || !o.qk_norm_scale},
      {"init_std", &o.init_std, least_0, {}, "standard deviation of initial matrices"},
      {"init_depth_scaling",
       &o.init_depth_scaling,
       {},
       {},
       "the initial deviation of the output projection and of down is divided by √(2·layers)"},
      word_option("norm", &o.norm, kNorms, "RMSNorm, or LayerNorm without bias"),
      word_option("norm_placement", &o.norm_placement, kNormPlacements, "where norms stand around a sublayer"),
      {"final_norm", &o.final_norm, {}, {}, "a norm before the unembedding"},
      word_option("qk_norm_width", &o.qk_norm_width, kQkWidths,
                  "QK-norm over each head, or over all queries (or keys) of a token"),
      word_option("activation", &o.activation, kActivations, "of the gated MLP"),
      {"qkv_bias", &o.qkv_bias, {}, {}, "biases of Q, K and V"},
      {"o_bias", &o.o_bias, {}, {}, "bias of the output projection"},
      {"local_rope_theta",
       &o.local_rope_theta,
       least_0,
       {},
       "rope_theta of layers with a window; 0: the same as the others"},
      {"windows",
       &o.windows,
       kSizeOrDefault,
       {},
       "one number per layer: the tokens that a position attends to; 0: all before it",
       false,
       true,
       "0 for each layer"},
      {"no_rope", &o.no_rope, least_0, {}, "layers without rotation, ascending", false, !o.no_rope.empty(), "none"},
      {"attn_softcap", &o.attn_softcap, least_0, {}, "c: scores become c·tanh(score/c); 0: none"},
      {"logit_softcap", &o.logit_softcap, least_0, {}, "the same of the logits"},
      {"query_scale", &o.query_scale, least_0, {}, "factor of q·k", false, true, "0: 1/√head_dim"},
      {"embed_scale", &o.embed_scale, above_0, {}, "factor of the embeddings"},
      {"logit_scale", &o.logit_scale, above_0, {}, "factor of the logits", false, o.logit_scale != 1.0},
      {"residual_scale",
       &o.residual_scale,
       above_0,
       {},
       "factor of the outputs of the sublayers",
       false,
       o.residual_scale != 1.0},
      {"residual_depth_scaling",
       &o.residual_depth_scaling,
       {},
       {},
       "outputs of sublayers are multiplied by 1/√(2·layers)"},
      word_option("execution", &o.execution, kExecutions,
                  "scale vectors multiply activations, or are folded into matrices")};
}

DecoderOptions read_decoder_options(JsonReader& json) {
  DecoderOptions o;
  read_options(json, decoder_fields(o));
  if (json.has("qk_norm_scale") && o.qk_norm_scale && !o.qk_norm)
    json.fail("qk_norm_scale", "true only with qk_norm true");
  o.scales = read_scales(json);
  JsonReader rope = json.object("rope_scaling"), moe = json.object("moe");
  read_options(rope, rope_fields(o.rope_scaling));
  rope.finish();
  read_options(moe, moe_fields(o.moe));
  moe.finish();
  if (const std::string error = o.error(); !error.empty()) throw ConfigError(json.path(error));
  return o;
}

nlohmann::json json_of(const DecoderOptions& options) {
  DecoderOptions o = options;
  json out = json_of_options(decoder_fields(o));
  out["scales"] = scales_json(o.scales);
  out["rope_scaling"] = json_of_options(rope_fields(o.rope_scaling));
  out["moe"] = json_of_options(moe_fields(o.moe));
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
  read_options(json, toy_fields(o));
  if (const std::string error = toy_error(o); !error.empty()) throw ConfigError(json.path(error));
  return o;
}

json json_of(const ToyOptions& options) {
  ToyOptions copy = options;
  json out = {{"type", toy_type(options)}};
  write_options(out, toy_fields(copy));
  return out;
}

}  // namespace scalevec::models
