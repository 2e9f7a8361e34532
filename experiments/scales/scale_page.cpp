#include <algorithm>
#include <cmath>
#include <functional>

#include "experiments/plot/html.hpp"
#include "experiments/scales/scale_report.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using html::escape;
using Style = Series::Style;

std::vector<std::string> layered_sites(const std::vector<ModelScales>& models, bool with_maps) {
  std::vector<std::string> sites;
  for (const ModelScales& m : models)
    for (const ScaleRecord& r : m.scales)
      if (r.layer >= 0 && (r.maps || !with_maps) && std::find(sites.begin(), sites.end(), r.site) == sites.end())
        sites.push_back(r.site);
  return sites;
}

using Value = std::function<double(const ScaleRecord&)>;

Series curve(const ModelScales& m, const std::string& site, const std::string& label, const Value& value, Style style,
             int color, const Value& low = {}, const Value& high = {}) {
  Series s;
  s.label = label;
  s.style = style;
  s.color = color;
  for (const ScaleRecord& r : m.scales) {
    if (r.site != site || r.layer < 0) continue;
    s.x.push_back(r.layer);
    s.y.push_back(value(r));
    if (low) s.y_low.push_back(low(r));
    if (high) s.y_high.push_back(high(r));
  }
  return s;
}

Series line_at_one(const Series& along, const std::string& label, int color) {
  Series s;
  s.label = label;
  s.style = Style::dashed;
  s.color = color;
  if (along.x.empty()) return s;
  const auto [low, high] = std::minmax_element(along.x.begin(), along.x.end());
  s.x = {*low, std::max(*high, *low + 1)};
  s.y = {1.0, 1.0};
  return s;
}

Value mapped(double ReaderStatistics::*member) {
  return [member](const ScaleRecord& r) { return r.maps ? (*r.maps).*member : std::nan(""); };
}
Value channel(int i) {
  return [i](const ScaleRecord& r) { return r.maps ? r.maps->channel[i] : std::nan(""); };
}
Value quantile(int i) {
  return [i](const ScaleRecord& r) { return r.gamma.quantiles[i]; };
}

Plot by_site(const std::vector<ModelScales>& models, const char* name, const char* title, const char* caption,
             const char* y_label, bool with_maps, bool log_y,
             const std::function<void(const ModelScales&, const std::string&, int, Panel&)>& fill,
             const char* one = nullptr) {
  Plot plot;
  plot.name = name;
  plot.title = title;
  plot.caption = caption;
  for (const std::string& site : layered_sites(models, with_maps)) {
    Panel panel;
    panel.title = site;
    panel.x_label = "layer";
    panel.y_label = y_label;
    panel.log_y = log_y;
    for (std::size_t i = 0; i < models.size(); ++i) fill(models[i], site, static_cast<int>(i), panel);
    if (one != nullptr && !panel.series.empty())
      panel.series.push_back(line_at_one(panel.series.front(), one, static_cast<int>(models.size())));
    plot.panels.push_back(std::move(panel));
  }
  plot.columns = plot.panels.size() > 1 ? 2 : 1;
  return plot;
}

std::string cell(double x, const char* format = "%.3g") {
  return std::isfinite(x) ? html::number(printed(format, x)) : "";
}

std::string site_table(const ModelScales& m) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> sites;
  for (const ScaleRecord& r : m.scales)
    if (std::find(sites.begin(), sites.end(), r.site) == sites.end()) sites.push_back(r.site);
  for (const std::string& site : sites) {
    const auto median_of = [&](const Value& value) {
      std::vector<double> values;
      for (const ScaleRecord& r : m.scales)
        if (r.site == site && std::isfinite(value(r))) values.push_back(value(r));
      std::sort(values.begin(), values.end());
      return values.empty() ? std::nan("") : sorted_quantile(values, 0.5);
    };
    std::size_t n = 0;
    bool input = false;
    for (const ScaleRecord& r : m.scales)
      if (r.site == site) {
        ++n;
        input = r.input;
      }
    rows.push_back({escape(site + (input ? "" : " (output class)")), std::to_string(n),
                    cell(median_of(mapped(&ReaderStatistics::rows)), "%.6g"),
                    cell(median_of([](const ScaleRecord& r) { return r.gamma.mean; })),
                    cell(median_of([](const ScaleRecord& r) { return r.gamma.rms; })),
                    cell(100.0 * median_of([](const ScaleRecord& r) { return r.gamma.negative; })),
                    cell(median_of([](const ScaleRecord& r) { return r.gamma.participation; })),
                    cell(median_of(mapped(&ReaderStatistics::trace_ratio))), cell(median_of(channel(1))),
                    cell(median_of([](const ScaleRecord& r) {
                      return r.maps && r.maps->correlation ? *r.maps->correlation : std::nan("");
                    })),
                    cell(median_of(mapped(&ReaderStatistics::spread))),
                    cell(median_of(mapped(&ReaderStatistics::folded_spread)))});
  }
  return html::table({"Site", "Vectors", "c", "Mean", "RMS", "Negative, %", "Participation", "√(Σ‖w‖²/Σγ²)/√c",
                      "‖w‖²/(cγ²)", "corr(γ², ‖w‖²)", "Spread", "Folded"},
                     rows, 1);
}

std::string vector_table(const ModelScales& m) {
  std::vector<std::vector<std::string>> rows;
  for (const ScaleRecord& r : m.scales) {
    const auto of_maps = [&](const Value& value) { return r.maps ? cell(value(r)) : std::string(); };
    rows.push_back({"<div class=\"wide\">" + escape(r.name) + "</div>", cell(r.gamma.mean), cell(r.gamma.rms),
                    cell(r.gamma.least), cell(r.gamma.greatest), cell(100.0 * r.gamma.negative),
                    std::to_string(r.gamma.outliers.size()), of_maps(mapped(&ReaderStatistics::trace_ratio)),
                    of_maps(mapped(&ReaderStatistics::precond_min)), of_maps(mapped(&ReaderStatistics::precond_max))});
  }
  return html::table({"Scale vector", "Mean", "RMS", "Least", "Greatest", "Negative, %", "Outliers", "√(Σ‖w‖²/Σγ²)/√c",
                      "min γ²", "max(γ² + ‖w‖²)"},
                     rows, 1);
}

}  // namespace

std::vector<Plot> scale_plots(const std::vector<ModelScales>& models) {
  const bool several = models.size() > 1;
  const auto label = [&](const ModelScales& m, const char* word) {
    return several ? m.label + (std::string(word).empty() ? "" : std::string(", ") + word)
                   : std::string(std::string(word).empty() ? m.label : word);
  };
  std::vector<Plot> plots;
  plots.push_back(by_site(models, "gamma", "Size of γ by depth",
                          "Median of |γ| over the channels, and the range of 5 to 95 % of them.", "|γ|", false, false,
                          [&](const ModelScales& m, const std::string& site, int i, Panel& p) {
                            p.series.push_back(curve(m, site, several ? "" : "5 to 95 %", quantile(2), Style::band, i,
                                                     quantile(0), quantile(4)));
                            p.series.push_back(curve(m, site, label(m, "median"), quantile(2), Style::line_points, i));
                          }));
  plots.push_back(by_site(models, "signs", "Negative and near-zero entries by depth",
                          "Share of γ_j < 0, and of |γ_j| below a hundredth of the vector's RMS.", "share", false,
                          false, [&](const ModelScales& m, const std::string& site, int i, Panel& p) {
                            p.series.push_back(curve(
                                m, site, label(m, "negative"), [](const ScaleRecord& r) { return r.gamma.negative; },
                                Style::line_points, 2 * i));
                            p.series.push_back(curve(
                                m, site, label(m, "near zero"), [](const ScaleRecord& r) { return r.gamma.near_zero; },
                                Style::line_points, 2 * i + 1));
                          }));
  plots.push_back(by_site(
      models, "balance", "γ against the maps that read it (T2)",
      "√(Σ‖w_j‖²/Σγ_j²) over √c. At 1 the trace of the curvature is least: where isotropic gradient noise drives γ and "
      "its maps.",
      "√(Σ‖w‖²/Σγ²)/√c", true, true,
      [&](const ModelScales& m, const std::string& site, int i, Panel& p) {
        p.series.push_back(curve(m, site, label(m, ""), mapped(&ReaderStatistics::trace_ratio), Style::line_points, i));
      },
      "T2: least trace"));
  plots.push_back(by_site(
      models, "channels", "The same, channel by channel (T2)",
      "‖w_j‖²/(cγ_j²): median over the channels, and the range of 5 to 95 % of them.", "‖w_j‖²/(cγ_j²)", true, true,
      [&](const ModelScales& m, const std::string& site, int i, Panel& p) {
        p.series.push_back(
            curve(m, site, several ? "" : "5 to 95 %", channel(1), Style::band, i, channel(0), channel(2)));
        p.series.push_back(curve(m, site, label(m, "median"), channel(1), Style::line_points, i));
      },
      "T2: least trace"));
  plots.push_back(by_site(models, "fold", "Spread of the columns before and after a fold (T1)",
                          "Largest over median column norm of the maps that read γ.", "largest/median", true, true,
                          [&](const ModelScales& m, const std::string& site, int i, Panel& p) {
                            p.series.push_back(curve(m, site, label(m, "as stored"), mapped(&ReaderStatistics::spread),
                                                     Style::line_points, 2 * i));
                            p.series.push_back(curve(m, site, label(m, "folded"),
                                                     mapped(&ReaderStatistics::folded_spread), Style::line_points,
                                                     2 * i + 1));
                          }));

  Plot outliers;
  outliers.name = "outliers";
  outliers.title = "Channels whose |γ| is an outlier";
  outliers.caption = "In how many layers |γ_j| lies beyond 4 medians of |γ|, by channel j.";
  for (const ModelScales& m : models)
    for (const SiteOutliers& s : m.outliers) {
      if (s.channels.empty()) continue;
      Panel panel;
      panel.title = (several ? m.label + ", " : "") + s.site;
      panel.x_label = "channel";
      panel.y_label = "layers of " + std::to_string(s.layers);
      Series points;
      points.style = Style::points;
      for (const auto& [channel, layers] : s.channels) {
        points.x.push_back(static_cast<double>(channel));
        points.y.push_back(static_cast<double>(layers));
      }
      panel.series.push_back(std::move(points));
      outliers.panels.push_back(std::move(panel));
    }
  outliers.columns = outliers.panels.size() > 1 ? 2 : 1;
  if (!outliers.panels.empty()) plots.push_back(std::move(outliers));

  Plot pairs;
  pairs.name = "qk";
  pairs.title = "QK-norm's γ_q γ_k by frequency pair";
  pairs.caption = "Root mean square over the pair's two elements; pair 0 turns fastest.";
  for (const ModelScales& m : models) {
    if (m.pairs.empty()) continue;
    Panel panel;
    panel.title = m.label;
    panel.x_label = "pair";
    panel.y_label = "RMS of γ_q γ_k";
    for (const std::size_t at : {std::size_t{0}, m.pairs.size() / 2, m.pairs.size() - 1}) {
      Series s;
      s.label = "layer " + std::to_string(m.pairs[at].layer);
      for (std::size_t i = 0; i < m.pairs[at].products.rms.size(); ++i) {
        s.x.push_back(static_cast<double>(i));
        s.y.push_back(m.pairs[at].products.rms[i]);
      }
      if (std::none_of(panel.series.begin(), panel.series.end(), [&](const Series& o) { return o.label == s.label; }))
        panel.series.push_back(std::move(s));
    }
    pairs.panels.push_back(std::move(panel));
  }
  if (!pairs.panels.empty()) plots.push_back(std::move(pairs));
  std::erase_if(plots, [](const Plot& p) { return p.panels.empty(); });
  return plots;
}

std::string scales_page(const std::vector<ModelScales>& models, const std::optional<Decays>& decays,
                        const std::vector<std::string>& pictures, const std::string& command) {
  std::string body = "<h1>Scale vectors of trained models</h1>\n<p class=\"meta\">";
  for (std::size_t i = 0; i < models.size(); ++i)
    body += (i > 0 ? "; " : "") + escape(models[i].label) + " (" + escape(models[i].architecture) + ", " +
            std::to_string(models[i].scales.size()) + " scale vectors)";
  body += ".</p>\n";
  for (const ModelScales& m : models) {
    const std::string heading = models.size() > 1 ? m.label + ": " : "";
    body += "<h2>" + escape(heading.empty() ? "By site" : heading + "by site") + "</h2>\n" + site_table(m) +
            "<p class=\"sub\">Medians over the vectors of a site. c: rows of all maps that read γ; w_j their column j. "
            "Participation (Σγ²)²/(dΣγ⁴) is 1 where all entries are alike. Spread: largest over median column norm, "
            "as stored and with γ folded in.</p>\n<h2>" +
            escape(heading.empty() ? "Findings" : heading + "findings") + "</h2>\n<div class=\"findings\">\n";
    for (const Finding& f : findings(m, decays))
      body += "<p><strong>" + escape(f.title) + "</strong> (" + escape(f.bears_on) + "). " + html::number(f.text) +
              "</p>\n";
    body += "</div>\n";
  }
  body +=
      "<h2>Pictures</h2>\n<p class=\"sub hint\">Click a name in a key to hide or show its curves; point at a curve to "
      "read its values.</p>\n";
  for (const std::string& p : pictures) body += p;
  for (const ModelScales& m : models) {
    body += html::details("Every scale vector of " + m.label, vector_table(m));
    if (m.notes.empty()) continue;
    std::vector<std::string> notes;
    for (const std::string& note : m.notes) notes.push_back(escape(note));
    body += html::details("Notes on " + m.label + " (" + std::to_string(m.notes.size()) + ")", html::list(notes));
  }
  body += "<h2>Reproduction</h2>\n<pre>" + escape(command) + "</pre>\n";
  return html::page("Scale vectors of trained models", body);
}

}  // namespace scalevec::experiments
