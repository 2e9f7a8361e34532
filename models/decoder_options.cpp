#include "models/decoder_options.hpp"

#include <algorithm>
#include <cmath>

#include "models/decoder_sites.hpp"
#include "models/options_json.hpp"

namespace scalevec::models {
namespace {

std::string sites_error(const std::string& field, const std::vector<std::string>& maps) {
  for (size_t i = 0; i < maps.size(); ++i) {
    if (std::find(map_sites().begin(), map_sites().end(), maps[i]) == map_sites().end())
      return not_allowed(field, maps[i], "attn.q, attn.k, attn.v, attn.o, ffn.gate, ffn.up, ffn.down");
    if (std::find(maps.begin(), maps.begin() + static_cast<std::ptrdiff_t>(i), maps[i]) !=
        maps.begin() + static_cast<std::ptrdiff_t>(i))
      return not_allowed(field, maps[i], "each map once");
  }
  return {};
}

std::string gamma_error(const std::string& place, const GammaOptions& gamma) {
  if (!gamma.present) return {};
  if (!std::isfinite(gamma.initial))
    return not_allowed("scales." + place + ".initial", gamma.initial, "a finite number");
  if (is_positive(gamma.form) && gamma.initial <= 0.0)
    return not_allowed("scales." + place + ".initial", gamma.initial, "more than 0, which an exponential always is");
  return {};
}

std::string rope_error(const DecoderOptions& o) {
  const RopeScaling& r = o.rope_scaling;
  if (r.kind == RopeScaling::Kind::yarn) {
    if (r.factor < 1.0) return not_allowed("rope_scaling.factor", r.factor, "at least 1");
    if (r.beta_fast < r.beta_slow)
      return not_allowed("rope_scaling.beta_fast", r.beta_fast, "at least rope_scaling.beta_slow");
    if (o.rope_theta <= 1.0) return not_allowed("rope_theta", o.rope_theta, "more than 1 under rope_scaling yarn");
  }
  if (r.kind == RopeScaling::Kind::llama3 && r.high_freq_factor <= r.low_freq_factor)
    return not_allowed("rope_scaling.high_freq_factor", r.high_freq_factor, "more than rope_scaling.low_freq_factor");
  return {};
}

std::string moe_error(const MoeOptions& m) {
  if (m.experts > 0 && m.top_k > m.experts) return not_allowed("moe.top_k", m.top_k, "from 1 to experts");
  MoeOptions dense;
  dense.top_k = m.top_k;
  if (m.experts == 0 && !(m == dense))
    return not_allowed("moe.experts", m.experts, "at least 1 where another option of the mixture is set");
  return {};
}

// What every option allows by itself.
std::string single_errors(DecoderOptions o) {
  // Zeros that stand for defaults are sound.
  for (std::int64_t* size : {&o.kv_heads, &o.head_dim, &o.mlp_width})
    if (*size == 0) *size = 1;
  for (const std::string& error :
       {option_error(decoder_fields(o)), option_error(rope_fields(o.rope_scaling), "rope_scaling."),
        option_error(moe_fields(o.moe), "moe.")})
    if (!error.empty()) return error;
  return {};
}

std::string single_placement_error(const DecoderOptions& o) {
  for (const auto& [map, placement] : o.scales.placements) {
    const std::string field = "scales.placements." + map, word(to_string(placement));
    if (std::find(map_sites().begin(), map_sites().end(), map) == map_sites().end())
      return not_allowed("scales.placements", map, "attn.q, attn.k, attn.v, attn.o, ffn.gate, ffn.up, ffn.down");
    if (!o.scale_vectors && placement != ScalePlacement::input)
      return not_allowed(field, word, "input with scale_vectors false");
    if (map == "attn.o" || map == "ffn.down") continue;  // no norm feeds these
    if (placement == ScalePlacement::output && o.pre_norms())
      return not_allowed(field, word, "input, both, both_normed: a norm before the map and one after it do the same");
    if ((placement == ScalePlacement::both || placement == ScalePlacement::both_normed) && !o.pre_norms())
      return not_allowed(field, word, "input, output without a norm before the maps: it has no γ_b there");
  }
  return {};
}

// Why there is no scale at a site of scale_sites(), of options and the same resolved; empty where there can be one.
std::string no_scale_at(const DecoderOptions& o, const DecoderOptions& r, const std::string& site) {
  const ScaleOptions& s = o.scales;
  if (site.ends_with("_norm")) return o.qk_norm && o.qk_norm_scale ? "" : "only with qk_norm and qk_norm_scale true";
  if (!o.scale_vectors) return "none with scale_vectors false";
  if (site.ends_with("_post"))
    return o.post_norms() ? ""
                          : "only with a norm behind the sublayers: norm_placement post, sandwich or post_residual";
  if (site.ends_with(".out"))
    return placement_of(r.scales, site.substr(0, site.size() - 4)) != ScalePlacement::input
               ? ""
               : "only behind a map that placement, maps or placements give a γ_a";
  if (!o.pre_norms()) return "only with a norm before the sublayers: norm_placement pre or sandwich";
  if (site == "ffn.router" && o.moe.experts == 0) return "only in a mixture of experts";
  const bool attn = site.starts_with("attn"), own = attn ? s.branch_attn : s.branch_ffn,
             branch = site.find('.') != std::string::npos;
  const std::string readers = attn ? "attn.q, attn.k, attn.v" : "ffn.gate, ffn.up";
  if (branch && !own)
    return "only under branches: " + site.substr(0, site.find('.')) + "; one γ_b is shared by " + readers + " here";
  if (!branch && own) return readers + ", which have a γ_b each under branches: " + site;
  return {};
}

std::string single_scale_error(const DecoderOptions& o, const DecoderOptions& r) {
  for (const auto& [site, gamma] : o.scales.at) {
    if (std::find(scale_sites().begin(), scale_sites().end(), site) == scale_sites().end())
      return not_allowed("scales.at", site, "a scale's site: attn, attn.q …, attn.q.out …, attn.q_norm …, attn_post …");
    if (const std::string why = no_scale_at(o, r, site); !why.empty()) return not_allowed("scales.at", site, why);
    if (const std::string error = gamma_error("at." + site, gamma); !error.empty()) return error;
  }
  return {};
}

std::string placement_error(const DecoderOptions& o) {
  const ScaleOptions& s = o.scales;
  const std::string word(to_string(s.placement));
  const bool dual = s.placement == ScalePlacement::both || s.placement == ScalePlacement::both_normed;
  if (dual && !o.pre_norms())
    return not_allowed("scales.placement", word, "input, output without a norm before the maps: it has no γ_b there");
  if (s.placement == ScalePlacement::output && o.pre_norms())
    return not_allowed(
        "scales.placement", word,
        "only with norm_placement none, post or post_residual: a norm before the map and one after it do the same");
  if (s.placement == ScalePlacement::input && !s.maps.empty())
    return not_allowed("scales.maps", s.maps.front(), "none under placement input, which has nothing behind a map");
  if (!o.pre_norms() && s.branch_attn)
    return not_allowed("scales.branches", "attn", "none: no norm feeds the branches");
  if (!o.pre_norms() && s.branch_ffn) return not_allowed("scales.branches", "ffn", "none: no norm feeds the branches");
  const DecoderOptions r = o.resolved();
  if (!r.scales.input.present && o.pre_norms() && (s.branch_attn || s.branch_ffn) && o.scale_vectors)
    return not_allowed("scales.branches", s.branch_attn ? "attn" : "ffn", "none where scales.input is not present");
  if (s.experts == ExpertScales::each && (o.moe.experts == 0 || !s.branch_ffn))
    return not_allowed("scales.experts", "each",
                       "together, unless a mixture's experts have branch scales (branches: ffn)");
  if (o.qk_norm)
    for (const char* map : {"attn.q", "attn.k"})
      if (has_output_norm(r, map))
        return not_allowed(s.placements.contains(map) ? "scales.placements" : "scales.maps", map,
                           "not under QK-norm, which normalises this map's output already");
  if (const std::string error = single_placement_error(o); !error.empty()) return error;
  if (const std::string error = single_scale_error(o, r); !error.empty()) return error;
  const MultiplierOptions& m = s.multipliers;
  if (!m.maps.empty() && !m.any())
    return not_allowed("scales.multipliers.maps", m.maps.front(), "none unless scalar, rows or columns is true");
  for (const std::string& map : r.scales.multipliers.maps) {
    if (m.rows && has_output_scale(r, map) && !has_output_norm(r, map))
      return not_allowed("scales.multipliers.rows", "true", "false on " + map + ", whose rows γ_a multiplies already");
    if (m.columns && has_branch_scale(r, map))
      return not_allowed("scales.multipliers.columns", "true",
                         "false on " + map + ", whose columns its own γ_b multiplies already");
  }
  return {};
}

}  // namespace

double RopeScaling::score_factor() const {
  if (kind != Kind::yarn) return 1.0;
  const double each = attention_factor > 0.0 ? attention_factor : 0.1 * std::log(factor) + 1.0;
  return each * each;
}

DecoderOptions DecoderOptions::resolved() const {
  DecoderOptions r = *this;
  if (r.kv_heads == 0) r.kv_heads = heads;
  if (r.head_dim == 0) r.head_dim = width / heads;
  if (r.mlp_width == 0) r.mlp_width = (8 * width + 95) / 96 * 32;
  if (r.query_scale == 0.0) r.query_scale = 1.0 / std::sqrt(static_cast<double>(r.head_dim));
  if (r.windows.empty()) r.windows.assign(static_cast<size_t>(std::max<std::int64_t>(layers, 0)), 0);
  if (r.moe.experts > 0 && r.moe.expert_width == 0) r.moe.expert_width = r.mlp_width;

  ScaleOptions& s = r.scales;
  if (!scale_vectors) {
    ScaleOptions bare;
    bare.qk_norm = s.qk_norm;
    bare.multipliers = s.multipliers;
    for (const auto& [site, gamma] : s.at)
      if (site.ends_with("_norm")) bare.at[site] = gamma;
    s = bare;
  }
  for (GammaOptions* g : {&s.input, &s.output, &s.post, &s.final}) g->present = g->present && scale_vectors;
  s.input.present = s.input.present && pre_norms();
  s.post.present = s.post.present && post_norms();
  s.qk_norm.present = s.qk_norm.present && qk_norm && qk_norm_scale;
  s.final.present = s.final.present && final_norm;
  const bool behind = std::any_of(s.placements.begin(), s.placements.end(),
                                  [](const auto& map) { return map.second != ScalePlacement::input; });
  s.output.present = s.output.present && (s.placement != ScalePlacement::input || behind);
  if (s.placement != ScalePlacement::input && s.maps.empty()) {
    s.maps = s.placement == ScalePlacement::output
                 ? map_sites()
                 : std::vector<std::string>{"attn.q", "attn.k", "attn.v", "ffn.gate", "ffn.up"};
    if (s.placement != ScalePlacement::both && qk_norm) s.maps.erase(s.maps.begin(), s.maps.begin() + 2);
  }
  if (s.multipliers.any() && s.multipliers.maps.empty()) s.multipliers.maps = map_sites();
  return r;
}

std::string DecoderOptions::error() const {
  if (const std::string error = single_errors(*this); !error.empty()) return error;
  if (head_dim == 0 && width % heads != 0)
    return not_allowed("heads", heads,
                       "a divisor of width (" + std::to_string(width) + "), or any number with head_dim given");
  const std::int64_t resolved_head_dim = head_dim == 0 ? width / heads : head_dim;
  if (resolved_head_dim % 2 != 0)
    return not_allowed(
        "head_dim", resolved_head_dim,
        std::string("an even number, since RoPE rotates pairs") + (head_dim == 0 ? " (default: width/heads)" : ""));
  if (kv_heads != 0 && heads % kv_heads != 0)
    return not_allowed("kv_heads", kv_heads, "a divisor of heads (" + std::to_string(heads) + ")");
  // Counted roughly and in doubles; exact counts in 64 bits come later.
  const double in_width = static_cast<double>(width), feed_forward = 3.0 * in_width * static_cast<double>(mlp_width),
               attention = 4.0 * in_width * static_cast<double>(heads) * static_cast<double>(resolved_head_dim),
               experts = 1.0 + static_cast<double>(moe.experts);
  const double parameters =
      2.0 * in_width * static_cast<double>(vocab_size) +
      static_cast<double>(layers) * (attention + std::max(feed_forward, 8.0 * in_width * in_width) * experts);
  if (parameters > 1125899906842624.0)
    return not_allowed("width", width,
                       "less: width, heads, mlp_width, vocab_size and layers make more than 2^50 parameters");
  if (!windows.empty() && static_cast<std::int64_t>(windows.size()) != layers)
    return not_allowed("windows", windows.size(), "one per layer (" + std::to_string(layers) + "), or none");
  for (size_t i = 0; i < no_rope.size(); ++i)
    if (no_rope[i] < (i == 0 ? 0 : no_rope[i - 1] + 1) || no_rope[i] >= layers)
      return not_allowed("no_rope", no_rope[i], "layers from 0 to " + std::to_string(layers - 1) + ", ascending");
  if (qk_norm_width == QkNormWidth::full && !qk_norm)
    return not_allowed("qk_norm_width", "full", "head unless qk_norm is true");
  for (const std::string& error :
       {rope_error(*this), moe_error(moe), sites_error("scales.maps", scales.maps),
        sites_error("scales.multipliers.maps", scales.multipliers.maps), gamma_error("input", scales.input),
        gamma_error("output", scales.output), gamma_error("post", scales.post), gamma_error("qk_norm", scales.qk_norm),
        gamma_error("final", scales.final), placement_error(*this)})
    if (!error.empty()) return error;
  if (!scales.allow_inert)
    if (const auto inert = inert_magnitudes(resolved()); !inert.empty())
      return not_allowed("scales.input.form", to_string(scales.input.form),
                         "plain, zero_centred or exp, or allow_inert true: " + inert.front());
  return {};
}

std::vector<std::string> DecoderOptions::warnings() const { return inert_magnitudes(resolved()); }

}  // namespace scalevec::models
