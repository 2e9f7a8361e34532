#include "models/decoder_sites.hpp"

#include <algorithm>
#include <sstream>

namespace scalevec::models {
namespace {

bool listed(const std::vector<std::string>& sites, const std::string& site) {
  return std::find(sites.begin(), sites.end(), site) != sites.end();
}

std::string inert_line(const std::string& place, const std::string& readers) {
  return "the magnitude of " + place + " is inert: a norm follows " + readers;
}

}  // namespace

const std::vector<std::string>& map_sites() {
  static const std::vector<std::string> sites{"attn.q", "attn.k", "attn.v", "attn.o", "ffn.gate", "ffn.up", "ffn.down"};
  return sites;
}

const std::vector<std::string>& scale_sites() {
  static const std::vector<std::string> sites = [] {
    std::vector<std::string> all{"attn",   "attn.q",     "attn.k",      "attn.v",      "ffn",       "ffn.gate",
                                 "ffn.up", "ffn.router", "attn.q_norm", "attn.k_norm", "attn_post", "ffn_post"};
    for (const std::string& map : map_sites()) all.push_back(map + ".out");
    return all;
  }();
  return sites;
}

const GammaOptions& kind_of(const ScaleOptions& s, const std::string& site) {
  if (site.ends_with(".out")) return s.output;
  if (site.ends_with("_norm")) return s.qk_norm;
  return site.ends_with("_post") ? s.post : s.input;
}

const GammaOptions& gamma_at(const ScaleOptions& s, const std::string& site) {
  const auto found = s.at.find(site);
  return found == s.at.end() ? kind_of(s, site) : found->second;
}

ScalePlacement placement_of(const ScaleOptions& s, const std::string& site) {
  const auto found = s.placements.find(site);
  if (found != s.placements.end()) return found->second;
  return listed(s.maps, site) ? s.placement : ScalePlacement::input;
}

bool has_output_scale(const DecoderOptions& o, const std::string& site) {
  return placement_of(o.scales, site) != ScalePlacement::input && gamma_at(o.scales, site + ".out").present;
}

bool has_output_norm(const DecoderOptions& o, const std::string& site) {
  const ScalePlacement placement = placement_of(o.scales, site);
  return placement == ScalePlacement::both_normed || placement == ScalePlacement::output;
}

bool has_branch_scale(const DecoderOptions& o, const std::string& site) {
  if (!gamma_at(o.scales, site).present) return false;
  if (site == "attn.q" || site == "attn.k" || site == "attn.v") return o.scales.branch_attn;
  if (site == "ffn.gate" || site == "ffn.up") return o.scales.branch_ffn;
  return false;
}

bool output_normalised(const DecoderOptions& o, const std::string& site) {
  return has_output_norm(o, site) || (o.qk_norm && (site == "attn.q" || site == "attn.k"));
}

std::string qk_clip_error(const DecoderOptions& o) {
  const std::string instead =
      ". The norm takes the scale of the maps out of the logits: to bound them, train the scale vectors behind it with "
      "a "
      "smaller lr or with decay";
  if (o.qk_norm) return "qk_norm: got true with qk_clip; allowed: false" + instead;
  for (const char* site : {"attn.q", "attn.k"})
    if (has_output_norm(o, site))
      return "scales: got a norm behind " + std::string(site) + " with qk_clip; allowed: none" + instead;
  if (o.attn_softcap > 0.0) {
    std::ostringstream cap;
    cap << o.attn_softcap;
    return "attn_softcap: got " + cap.str() + " with qk_clip; allowed: 0. The cap bounds the logits";
  }
  return {};
}

std::vector<std::string> inert_magnitudes(const DecoderOptions& o) {
  std::vector<std::string> lines;
  // The β of e^(βa) is no magnitude that a norm divides out.
  const auto has = [&](const std::string& site) {
    const GammaOptions& gamma = gamma_at(o.scales, site);
    return gamma.present && has_magnitude(gamma.form) && gamma.form != ScaleForm::exponential_product;
  };
  const auto visit = [&](const std::string& norm, bool branches, const std::vector<std::string>& sites, bool router) {
    if (branches) {
      for (const std::string& site : sites)
        if (has(site) && output_normalised(o, site)) lines.push_back(inert_line("γ_b of " + site, site));
    } else if (has(norm) && !router &&
               std::all_of(sites.begin(), sites.end(), [&](const auto& s) { return output_normalised(o, s); })) {
      lines.push_back(inert_line(norm + "_norm's γ_b", "every map that reads it"));
    }
  };
  visit("attn", o.scales.branch_attn, {"attn.q", "attn.k", "attn.v"}, false);
  visit("ffn", o.scales.branch_ffn, {"ffn.gate", "ffn.up"}, o.moe.experts > 0);
  return lines;
}

}  // namespace scalevec::models
