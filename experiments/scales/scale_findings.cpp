#include <algorithm>
#include <cmath>

#include "experiments/scales/scale_report.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

// What the vectors of one site say, over the layers.
struct Site {
  std::string name;
  std::vector<const ScaleRecord*> scales;
};

std::vector<Site> sites_of(const ModelScales& model) {
  std::vector<Site> sites;
  for (const ScaleRecord& r : model.scales) {
    auto site = std::find_if(sites.begin(), sites.end(), [&](const Site& s) { return s.name == r.site; });
    if (site == sites.end()) site = sites.insert(sites.end(), Site{r.site, {}});
    site->scales.push_back(&r);
  }
  return sites;
}

template <class Value>
std::vector<double> sorted_values(const Site& site, Value value) {
  std::vector<double> out;
  for (const ScaleRecord* r : site.scales)
    if (const double x = value(*r); std::isfinite(x)) out.push_back(x);
  std::sort(out.begin(), out.end());
  return out;
}

double middle(const std::vector<double>& sorted) { return sorted_quantile(sorted, 0.5); }

std::string layers_word(std::size_t n) { return n == 1 ? "one vector" : std::to_string(n) + " vectors"; }

// "0.9 in the median (0.8 to 1.1 over the vectors)" of sorted values, "0.9" of one.
std::string median_and_range(const std::vector<double>& values, const char* format) {
  const auto text = [&](double x) { return printed(format, x); };
  if (values.size() < 2) return text(values.front());
  return text(middle(values)) + " in the median (" + text(values.front()) + " to " + text(values.back()) +
         " over the vectors)";
}

void add_values(const Site& site, std::vector<Finding>& out) {
  const auto negative = sorted_values(site, [](const ScaleRecord& r) { return r.gamma.negative; });
  const auto zero = sorted_values(site, [](const ScaleRecord& r) { return r.gamma.near_zero; });
  const auto rms = sorted_values(site, [](const ScaleRecord& r) { return r.gamma.rms; });
  double least = INFINITY, greatest = -INFINITY;
  const ScaleRecord* most = site.scales.front();
  for (const ScaleRecord* r : site.scales) {
    least = std::min(least, r->gamma.least);
    greatest = std::max(greatest, r->gamma.greatest);
    if (r->gamma.negative > most->gamma.negative) most = r;
  }
  std::string says = printed("%s: γ lies between %.3g and %.3g (RMS %s). ", layers_word(site.scales.size()).c_str(),
                             least, greatest, median_and_range(rms, "%.3g").c_str());
  if (most->gamma.negative > 0.0)
    says += printed(
        "Negative are %.2g %% of the entries in the median and %.3g %% in %s (mean %.2g, RMS %.2g): "
        "a fold takes the sign into the map (T1), and a form that is positive by construction, like exp(a) (T8), could "
        "not hold this vector. ",
        100.0 * middle(negative), 100.0 * most->gamma.negative, most->name.c_str(), most->gamma.mean, most->gamma.rms);
  else
    says += "None is negative. ";
  if (zero.back() > 0.0)
    says += printed("Up to %.2g %% of the entries are below %.2g of their vector's RMS: channels that are all but off.",
                    100.0 * zero.back(), kNearZero);
  out.push_back({"Values at " + site.name, says, most->gamma.negative > 0.0 ? "T1, T8" : "T1"});
}

void add_trace(const Site& site, std::vector<Finding>& out) {
  const auto trace =
      sorted_values(site, [](const ScaleRecord& r) { return r.maps ? r.maps->trace_ratio : std::nan(""); });
  if (trace.empty()) return;
  const auto channel =
      sorted_values(site, [](const ScaleRecord& r) { return r.maps ? r.maps->channel[1] : std::nan(""); });
  const auto rows = sorted_values(site, [](const ScaleRecord& r) { return r.maps ? r.maps->rows : std::nan(""); });
  const double m = middle(trace);
  std::string examples;
  std::size_t shown = 0;
  for (std::size_t i = 0; i < site.scales.size() && shown < 4; i += std::max<std::size_t>(1, site.scales.size() / 4)) {
    const ScaleRecord& r = *site.scales[i];
    if (!r.maps || r.layer < 0) continue;
    examples += (examples.empty() ? "" : ", ") + printed("%.3g in layer %d", r.maps->ratio, r.layer);
    ++shown;
  }
  std::string says = printed("√(Σ‖w_j‖²/Σγ_j²) over √c, c = %.6g rows, is %s%s%s%s. ", middle(rows),
                             median_and_range(trace, "%.3g").c_str(), examples.empty() ? "" : " (before the division ",
                             examples.c_str(), examples.empty() ? "" : ")");
  if (m > 0.8 && m < 1.25)
    says +=
        "That is near the state of least trace, ‖w‖² = cγ², to which isotropic gradient noise drives a scale and its "
        "maps. ";
  else if (m < 0.8)
    says += "γ is larger against its maps than at the state of least trace, ‖w‖² = cγ²: the preconditioner γ²I leads. ";
  else
    says += "γ is smaller against its maps than at the state of least trace, ‖w‖² = cγ². ";
  says += printed("Channel by channel the median of ‖w_j‖²/(cγ_j²) is %.3g.", middle(channel));
  out.push_back({"Balance with the maps at " + site.name, says, "T2, T13"});
}

void add_balance(const Site& site, const std::optional<Decays>& decays, std::vector<Finding>& out) {
  const auto correlation = sorted_values(
      site, [](const ScaleRecord& r) { return r.maps && r.maps->correlation ? *r.maps->correlation : std::nan(""); });
  const auto condition = sorted_values(site, [](const ScaleRecord& r) {
    return r.maps && r.maps->precond_min > 0.0 ? r.maps->precond_max / r.maps->precond_min : std::nan("");
  });
  const auto ratio = sorted_values(site, [](const ScaleRecord& r) { return r.maps ? r.maps->ratio : std::nan(""); });
  if (ratio.empty()) return;
  std::string says;
  if (!correlation.empty())
    says +=
        printed("γ_j² and ‖w_j‖² correlate over the channels by %s%s. ", median_and_range(correlation, "%.2f").c_str(),
                middle(correlation) > 0.5    ? ", as where both share one balance"
                : middle(correlation) < -0.2 ? ": what γ takes off a channel the maps partly give back"
                                             : "");
  if (!condition.empty())
    says += printed(
        "The extremes of the preconditioner, max(γ_j² + ‖w_j‖²) over min γ_j², differ by a factor of %.3g in the "
        "median: "
        "so unequal are the rates at which the channels' directions learn under the flow. ",
        middle(condition));
  if (decays)
    says += printed("Decays λ_γ = %g and λ_w = %g would bring √(Σ‖w_j‖²/Σγ_j²) to %.3g; it is %.3g.", decays->gamma,
                    decays->w, decays->gamma / decays->w, middle(ratio));
  if (!says.empty()) out.push_back({"Channels and decay at " + site.name, says, decays ? "T2, T4" : "T2"});
}

void add_output(const Site& site, std::vector<Finding>& out) {
  if (site.scales.front()->input) return;
  double to_zero = 0.0, to_one = 0.0;
  for (const ScaleRecord* r : site.scales) {
    to_zero += r->gamma.rms * r->gamma.rms;
    to_one += r->gamma.from_one * r->gamma.from_one;
  }
  const double share = to_zero > 0.0 ? to_one / to_zero : 0.0;
  out.push_back(
      {"Decay on the output-class scales at " + site.name,
       printed("No map that follows can make up for decay on these. The harm of decay towards p̂ grows with (γ* − p̂)²: "
               "its mean over the entries is %.3g towards 0 and %.3g towards 1, so that decay towards 1 would do %.3g "
               "times the "
               "harm%s.",
               to_zero / static_cast<double>(site.scales.size()), to_one / static_cast<double>(site.scales.size()),
               share, share < 1.0 ? "" : ": no gain here"),
       "T5"});
}

void add_fold(const Site& site, std::vector<Finding>& out) {
  const auto before = sorted_values(site, [](const ScaleRecord& r) { return r.maps ? r.maps->spread : std::nan(""); });
  const auto after =
      sorted_values(site, [](const ScaleRecord& r) { return r.maps ? r.maps->folded_spread : std::nan(""); });
  if (before.empty() || after.empty()) return;
  const double b = middle(before), a = middle(after);
  out.push_back(
      {"What folding does to the columns at " + site.name,
       printed(
           "The largest column of the maps is %.3g times the median one, and %.3g times once γ is folded in%s: what "
           "quantisation with one scale for all columns meets %s.",
           b, a,
           before.size() > 1 ? printed(" (medians; up to %.3g and %.3g)", before.back(), after.back()).c_str() : "",
           a > 1.1 * b   ? "is worse after a fold"
           : a < 0.9 * b ? "is better after a fold"
                         : "is about the same after a fold"),
       "T1"});
}

}  // namespace

std::vector<Finding> findings(const ModelScales& model, const std::optional<Decays>& decays) {
  std::vector<Finding> out;
  for (const Site& site : sites_of(model)) {
    add_values(site, out);
    add_trace(site, out);
    add_balance(site, decays, out);
    add_fold(site, out);
    add_output(site, out);
  }
  for (const SiteOutliers& s : model.outliers) {
    std::size_t most = 0;
    std::vector<std::pair<std::size_t, std::int64_t>> order;
    for (const auto& [channel, layers] : s.channels) {
      order.emplace_back(layers, channel);
      most = std::max(most, layers);
    }
    if (most < 2) continue;
    std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
      return a.first != b.first ? a.first > b.first : a.second < b.second;
    });
    std::string list;
    for (std::size_t i = 0; i < std::min<std::size_t>(order.size(), 6); ++i)
      list += (i > 0 ? ", " : "") + std::to_string(order[i].second) + " (" + std::to_string(order[i].first) + ")";
    out.push_back(
        {"Outlier channels at " + s.site,
         printed(
             "Beyond %g medians of |γ| are %zu channels in at least one of %zu layers; most often, with the number of "
             "layers: %s.",
             kOutlierMedians, s.channels.size(), s.layers, list.c_str()),
         "T15"});
  }
  if (!model.pairs.empty()) {
    std::vector<double> untied, spread;
    for (const LayerPairs& p : model.pairs) {
      untied.push_back(p.products.untied);
      const auto [low, high] = std::minmax_element(p.products.rms.begin(), p.products.rms.end());
      if (*low > 0.0) spread.push_back(*high / *low);
    }
    std::sort(untied.begin(), untied.end());
    std::sort(spread.begin(), spread.end());
    std::string says = printed("γ_q γ_k, which alone matters to the scores, ");
    if (!spread.empty())
      says += printed("differs by a factor of %.3g between the rotated pairs in the median layer, ", middle(spread));
    says += printed("and within a pair by a factor of %.3g: %s.", std::exp(middle(untied)),
                    middle(untied) < 0.01 ? "tied, so that one vector would do"
                                          : "not tied, so that under RoPE the two vectors do not merge into one");
    out.push_back({"QK-norm by frequency pair", says, "T1"});
  }
  return out;
}

}  // namespace scalevec::experiments
