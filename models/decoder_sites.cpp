#include "scalevec/models/decoder_sites.hpp"

#include <algorithm>

namespace scalevec {
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

bool has_output_scale(const DecoderOptions& o, const std::string& site) {
  return o.scales.output.present && o.scales.placement != ScalePlacement::input && listed(o.scales.maps, site);
}

bool has_output_norm(const DecoderOptions& o, const std::string& site) {
  return (o.scales.placement == ScalePlacement::both_normed || o.scales.placement == ScalePlacement::output) &&
         listed(o.scales.maps, site);
}

bool has_branch_scale(const DecoderOptions& o, const std::string& site) {
  if (!o.scales.input.present) return false;
  if (site == "attn.q" || site == "attn.k" || site == "attn.v") return o.scales.branch_attn;
  if (site == "ffn.gate" || site == "ffn.up") return o.scales.branch_ffn;
  return false;
}

bool output_normalised(const DecoderOptions& o, const std::string& site) {
  return has_output_norm(o, site) || (o.qk_norm && (site == "attn.q" || site == "attn.k"));
}

std::vector<std::string> inert_magnitudes(const DecoderOptions& o) {
  std::vector<std::string> lines;
  // The β of e^(βa) is no magnitude that a norm divides out.
  const ScaleForm form = o.scales.input.form;
  if (!o.scales.input.present || !has_magnitude(form) || form == ScaleForm::exponential_product) return lines;
  const auto visit = [&](const std::string& norm, bool branches, const std::vector<std::string>& sites, bool router) {
    if (branches) {
      for (const std::string& site : sites)
        if (output_normalised(o, site)) lines.push_back(inert_line("γ_b of " + site, site));
    } else if (!router && std::all_of(sites.begin(), sites.end(), [&](const auto& s) { return output_normalised(o, s); })) {
      lines.push_back(inert_line(norm + "'s γ_b", "every map that reads it"));
    }
  };
  visit("attn_norm", o.scales.branch_attn, {"attn.q", "attn.k", "attn.v"}, false);
  visit("ffn_norm", o.scales.branch_ffn, {"ffn.gate", "ffn.up"}, o.moe.experts > 0);
  return lines;
}

}  // namespace scalevec
