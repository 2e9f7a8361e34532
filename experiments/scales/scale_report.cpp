#include "experiments/scales/scale_report.hpp"

#include <algorithm>
#include <cmath>
#include <set>

#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::ordered_json;

std::string number(double x) { return std::isfinite(x) ? printed("%.9g", x) : ""; }

ordered_json finite(double x) { return std::isfinite(x) ? ordered_json(x) : ordered_json(nullptr); }

}  // namespace

ModelScales analysed(const ScaledModel& model) {
  ModelScales out;
  out.label = model.label;
  out.architecture = model.architecture;
  out.notes = model.notes;
  std::map<int, std::pair<const ScaleData*, const ScaleData*>> qk;
  std::vector<SiteOutliers> sites;
  std::map<std::string, std::set<std::size_t>> sizes;
  std::map<std::string, std::set<int>> layers;
  for (const ScaleData& data : model.scales) {
    ScaleRecord r{data.name,   data.site,         data.note,    data.layer,
                  data.input,  data.gamma.size(), data.readers, gamma_statistics(data.gamma),
                  std::nullopt};
    if (data.rows > 0.0) r.maps = reader_statistics(data.gamma, data.squares, data.rows);
    if (!data.note.empty()) out.notes.push_back(data.name + ": " + data.note);
    if (data.site == "attn.q_norm") qk[data.layer].first = &data;
    if (data.site == "attn.k_norm") qk[data.layer].second = &data;
    if (data.layer >= 0 && data.gamma.size() > 1) {
      auto site = std::find_if(sites.begin(), sites.end(), [&](const auto& s) { return s.site == data.site; });
      if (site == sites.end()) site = sites.insert(sites.end(), SiteOutliers{data.site, 0, {}});
      ++site->layers;
      sizes[data.site].insert(data.gamma.size());
      layers[data.site].insert(data.layer);
      for (const std::int64_t channel : r.gamma.outliers) ++site->channels[channel];
    }
    out.scales.push_back(std::move(r));
  }
  for (SiteOutliers& s : sites)
    if (sizes[s.site].size() == 1 && layers[s.site].size() == s.layers) out.outliers.push_back(std::move(s));
  const std::int64_t hd = model.head_dim;
  for (const auto& [layer, pair] : qk) {
    if (pair.first == nullptr || pair.second == nullptr || hd < 2 || hd % 2 != 0) continue;
    const std::size_t q = pair.first->gamma.size(), k = pair.second->gamma.size(), h = static_cast<std::size_t>(hd);
    if (q % h == 0 && k % h == 0)
      out.pairs.push_back({layer, pair_products(pair.first->gamma, pair.second->gamma, hd)});
  }
  return out;
}

double number_of(const ordered_json& record, const char* key, std::size_t at) {
  const auto it = record.find(key);
  if (it == record.end()) return std::nan("");
  const ordered_json& value = it->is_array() ? it->at(at) : *it;
  return value.is_number() ? value.get<double>() : std::nan("");
}

std::string scales_csv(const ordered_json& scales) {
  std::string text =
      "model,scale,site,layer,class,size,mean,rms,least,greatest,abs_q05,abs_q25,abs_q50,abs_q75,abs_q95,negative,"
      "near_zero,participation,outliers,rows,ratio,ratio_over_sqrt_rows,channel_q05,channel_q50,channel_q95,imbalance,"
      "correlation,precond_min,precond_max,spread,folded_spread\n";
  const auto columns = [&](const ordered_json& r, std::initializer_list<const char*> keys, std::size_t count = 1) {
    for (const char* key : keys)
      for (std::size_t i = 0; i < count; ++i) text += "," + number(number_of(r, key, i));
  };
  for (const ordered_json& m : scales.at("models"))
    for (const ordered_json& r : m.at("scales")) {
      std::string label = m.at("label");
      std::replace(label.begin(), label.end(), ',', ' ');
      text += label;
      for (const char* key : {"name", "site", "layer", "class", "size"})
        text += "," + (r.at(key).is_string() ? r.at(key).get<std::string>() : number(number_of(r, key)));
      columns(r, {"mean", "rms", "least", "greatest"});
      columns(r, {"abs_quantiles"}, 5);
      columns(r, {"negative", "near_zero", "participation"});
      text += "," + std::to_string(r.at("outliers").size());
      columns(r, {"rows", "ratio", "ratio_over_sqrt_rows"});
      columns(r, {"channel_quantiles"}, 3);
      columns(r, {"imbalance", "correlation", "precond_min", "precond_max", "spread", "folded_spread"});
      text += "\n";
    }
  return text;
}

ordered_json scales_json(const std::vector<ModelScales>& models, const std::optional<Decays>& decays) {
  ordered_json out = {{"format", 1}, {"models", ordered_json::array()}};
  if (decays) out["decays"] = {{"gamma", decays->gamma}, {"w", decays->w}, {"ratio", decays->gamma / decays->w}};
  for (const ModelScales& m : models) {
    ordered_json model = {{"label", m.label}, {"architecture", m.architecture}, {"notes", m.notes}};
    model["findings"] = ordered_json::array();
    for (const Finding& f : findings(m, decays))
      model["findings"].push_back({{"title", f.title}, {"text", f.text}, {"bears_on", f.bears_on}});
    model["scales"] = ordered_json::array();
    for (const ScaleRecord& r : m.scales) {
      const GammaStatistics& g = r.gamma;
      ordered_json scale = {{"name", r.name},
                            {"site", r.site},
                            {"layer", r.layer < 0 ? ordered_json(nullptr) : ordered_json(r.layer)},
                            {"class", r.input ? "input" : "output"},
                            {"size", r.size},
                            {"mean", finite(g.mean)},
                            {"rms", finite(g.rms)},
                            {"least", finite(g.least)},
                            {"greatest", finite(g.greatest)},
                            {"abs_quantiles", g.quantiles},
                            {"negative", g.negative},
                            {"near_zero", g.near_zero},
                            {"participation", g.participation},
                            {"from_one", finite(g.from_one)},
                            {"outliers", g.outliers}};
      if (r.maps) {
        const ReaderStatistics& s = *r.maps;
        scale["readers"] = r.readers;
        scale["rows"] = s.rows;
        scale["ratio"] = finite(s.ratio);
        scale["ratio_over_sqrt_rows"] = finite(s.trace_ratio);
        scale["channel_quantiles"] = s.channel;
        scale["imbalance"] = finite(s.imbalance);
        scale["correlation"] = s.correlation ? ordered_json(*s.correlation) : ordered_json(nullptr);
        scale["precond_min"] = s.precond_min;
        scale["precond_max"] = s.precond_max;
        scale["spread"] = finite(s.spread);
        scale["folded_spread"] = finite(s.folded_spread);
      }
      model["scales"].push_back(std::move(scale));
    }
    model["outliers"] = ordered_json::array();
    for (const SiteOutliers& s : m.outliers) {
      ordered_json channels = ordered_json::array();
      for (const auto& [channel, layers] : s.channels) channels.push_back({{"channel", channel}, {"layers", layers}});
      model["outliers"].push_back({{"site", s.site}, {"layers", s.layers}, {"channels", channels}});
    }
    model["qk_pairs"] = ordered_json::array();
    for (const LayerPairs& p : m.pairs)
      model["qk_pairs"].push_back({{"layer", p.layer},
                                   {"rms", p.products.rms},
                                   {"untied", p.products.untied},
                                   {"opposite", p.products.opposite}});
    out["models"].push_back(std::move(model));
  }
  return out;
}

}  // namespace scalevec::experiments
