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

using Json = nlohmann::ordered_json;

// Of vectors in layers, those with maps only if `with_maps`.
std::vector<std::string> layered_sites(const Json& models, bool with_maps) {
  std::vector<std::string> sites;
  for (const Json& m : models)
    for (const Json& r : m.at("scales"))
      if (!r.at("layer").is_null() && (r.contains("readers") || !with_maps) &&
          std::find(sites.begin(), sites.end(), r.at("site")) == sites.end())
        sites.push_back(r.at("site"));
  return sites;
}

// One of the numbers of a scale vector; in a list the one at `at`.
struct Value {
  const char* key;
  std::size_t at = 0;
  double operator()(const Json& scale) const { return number_of(scale, key, at); }
};

Series curve(const Json& m, const std::string& site, const std::string& label, const Value& value, Style style,
             int color, const std::optional<std::pair<Value, Value>>& band = {}) {
  Series s;
  s.label = label;
  s.style = style;
  s.color = color;
  for (const Json& r : m.at("scales")) {
    if (r.at("site") != site || r.at("layer").is_null()) continue;
    s.x.push_back(r.at("layer"));
    s.y.push_back(value(r));
    if (!band) continue;
    s.y_low.push_back(band->first(r));
    s.y_high.push_back(band->second(r));
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

Plot by_site(const Json& models, const char* name, const char* title, const char* caption, const char* y_label,
             bool with_maps, bool log_y, const std::function<void(const Json&, const std::string&, int, Panel&)>& fill,
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

std::string site_table(const Json& m) {
  std::vector<std::vector<std::string>> rows;
  std::vector<std::string> sites;
  for (const Json& r : m.at("scales"))
    if (std::find(sites.begin(), sites.end(), r.at("site")) == sites.end()) sites.push_back(r.at("site"));
  for (const std::string& site : sites) {
    std::vector<const Json*> own;
    for (const Json& r : m.at("scales"))
      if (r.at("site") == site) own.push_back(&r);
    const auto median_of = [&](const Value& value) {
      std::vector<double> values;
      for (const Json* r : own)
        if (std::isfinite(value(*r))) values.push_back(value(*r));
      std::sort(values.begin(), values.end());
      return values.empty() ? std::nan("") : sorted_quantile(values, 0.5);
    };
    rows.push_back({escape(site + (own.back()->at("class") == "input" ? "" : " (output class)")),
                    std::to_string(own.size()), cell(median_of({"rows"}), "%.6g"), cell(median_of({"mean"})),
                    cell(median_of({"rms"})), cell(100.0 * median_of({"negative"})), cell(median_of({"participation"})),
                    cell(median_of({"ratio_over_sqrt_rows"})), cell(median_of({"channel_quantiles", 1})),
                    cell(median_of({"correlation"})), cell(median_of({"spread"})), cell(median_of({"folded_spread"}))});
  }
  return html::table({"Site", "Vectors", "c", "Mean", "RMS", "Negative, %", "Participation", "√(Σ‖w‖²/Σγ²)/√c",
                      "‖w‖²/(cγ²)", "corr(γ², ‖w‖²)", "Spread", "Folded"},
                     rows, 1);
}

std::string vector_table(const Json& m) {
  std::vector<std::vector<std::string>> rows;
  for (const Json& r : m.at("scales")) {
    const auto at = [&](const char* key, double unit = 1.0) { return cell(unit * number_of(r, key)); };
    rows.push_back({"<div class=\"wide\">" + escape(r.at("name").get<std::string>()) + "</div>", at("mean"), at("rms"),
                    at("least"), at("greatest"), at("negative", 100.0), std::to_string(r.at("outliers").size()),
                    at("ratio_over_sqrt_rows"), at("precond_min"), at("precond_max")});
  }
  return html::table({"Scale vector", "Mean", "RMS", "Least", "Greatest", "Negative, %", "Outliers", "√(Σ‖w‖²/Σγ²)/√c",
                      "min γ²", "max(γ² + ‖w‖²)"},
                     rows, 1);
}

}  // namespace

std::vector<Plot> scale_plots(const Json& scales) {
  const Json& models = scales.at("models");
  const bool several = models.size() > 1;
  const auto label = [&](const Json& m, const std::string& word) {
    const std::string model = m.at("label");
    return word.empty() ? model : several ? model + ", " + word : word;
  };
  std::vector<Plot> plots;
  plots.push_back(by_site(
      models, "gamma", "Size of γ by depth", "Median of |γ| over the channels, and the range of 5 to 95 % of them.",
      "|γ|", false, false, [&](const Json& m, const std::string& site, int i, Panel& p) {
        p.series.push_back(curve(m, site, several ? "" : "5 to 95 %", Value{"abs_quantiles", 2}, Style::band, i,
                                 std::pair(Value{"abs_quantiles", 0}, Value{"abs_quantiles", 4})));
        p.series.push_back(curve(m, site, label(m, "median"), Value{"abs_quantiles", 2}, Style::line_points, i));
      }));
  plots.push_back(by_site(
      models, "signs", "Negative and near-zero entries by depth",
      "Share of γ_j < 0, and of |γ_j| below a hundredth of the vector's RMS.", "share", false, false,
      [&](const Json& m, const std::string& site, int i, Panel& p) {
        p.series.push_back(curve(m, site, label(m, "negative"), Value{"negative"}, Style::line_points, 2 * i));
        p.series.push_back(curve(m, site, label(m, "near zero"), Value{"near_zero"}, Style::line_points, 2 * i + 1));
      }));
  plots.push_back(by_site(
      models, "balance", "γ against the maps that read it (T2)",
      "√(Σ‖w_j‖²/Σγ_j²) over √c. At 1 the trace of the curvature is least: where isotropic gradient noise drives γ and "
      "its maps.",
      "√(Σ‖w‖²/Σγ²)/√c", true, true,
      [&](const Json& m, const std::string& site, int i, Panel& p) {
        p.series.push_back(curve(m, site, label(m, ""), Value{"ratio_over_sqrt_rows"}, Style::line_points, i));
      },
      "T2: least trace"));
  plots.push_back(by_site(
      models, "channels", "The same, channel by channel (T2)",
      "‖w_j‖²/(cγ_j²): median over the channels, and the range of 5 to 95 % of them.", "‖w_j‖²/(cγ_j²)", true, true,
      [&](const Json& m, const std::string& site, int i, Panel& p) {
        p.series.push_back(curve(m, site, several ? "" : "5 to 95 %", Value{"channel_quantiles", 1}, Style::band, i,
                                 std::pair(Value{"channel_quantiles", 0}, Value{"channel_quantiles", 2})));
        p.series.push_back(curve(m, site, label(m, "median"), Value{"channel_quantiles", 1}, Style::line_points, i));
      },
      "T2: least trace"));
  plots.push_back(by_site(
      models, "fold", "Spread of the columns before and after a fold (T1)",
      "Largest over median column norm of the maps that read γ.", "largest/median", true, true,
      [&](const Json& m, const std::string& site, int i, Panel& p) {
        p.series.push_back(curve(m, site, label(m, "as stored"), Value{"spread"}, Style::line_points, 2 * i));
        p.series.push_back(curve(m, site, label(m, "folded"), Value{"folded_spread"}, Style::line_points, 2 * i + 1));
      }));

  Plot outliers;
  outliers.name = "outliers";
  outliers.title = "Channels whose |γ| is an outlier";
  outliers.caption = "In how many layers |γ_j| lies beyond 4 medians of |γ|, by channel j.";
  for (const Json& m : models)
    for (const Json& s : m.at("outliers")) {
      if (s.at("channels").empty()) continue;
      Panel panel;
      panel.title = label(m, s.at("site"));
      panel.x_label = "channel";
      panel.y_label = "layers of " + s.at("layers").dump();
      Series points;
      points.style = Style::points;
      for (const Json& channel : s.at("channels")) {
        points.x.push_back(channel.at("channel"));
        points.y.push_back(channel.at("layers"));
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
  for (const Json& m : models) {
    const Json& layers = m.at("qk_pairs");
    if (layers.empty()) continue;
    Panel panel;
    panel.title = m.at("label");
    panel.x_label = "pair";
    panel.y_label = "RMS of γ_q γ_k";
    for (const std::size_t at : {std::size_t{0}, layers.size() / 2, layers.size() - 1}) {
      Series s;
      s.label = "layer " + layers[at].at("layer").dump();
      s.y = layers[at].at("rms").get<std::vector<double>>();
      for (std::size_t i = 0; i < s.y.size(); ++i) s.x.push_back(static_cast<double>(i));
      if (std::none_of(panel.series.begin(), panel.series.end(), [&](const Series& o) { return o.label == s.label; }))
        panel.series.push_back(std::move(s));
    }
    pairs.panels.push_back(std::move(panel));
  }
  if (!pairs.panels.empty()) plots.push_back(std::move(pairs));
  std::erase_if(plots, [](const Plot& p) { return p.panels.empty(); });
  return plots;
}

std::string scales_page(const Json& scales, const std::vector<std::string>& pictures, const std::string& command) {
  const Json& models = scales.at("models");
  const auto text = [](const Json& object, const char* key) { return escape(object.at(key).get<std::string>()); };
  std::string body = "<h1>Scale vectors of trained models</h1>\n<p class=\"meta\">";
  for (std::size_t i = 0; i < models.size(); ++i)
    body += (i > 0 ? "; " : "") + text(models[i], "label") + " (" + text(models[i], "architecture") + ", " +
            std::to_string(models[i].at("scales").size()) + " scale vectors)";
  body += ".</p>\n";
  for (const Json& m : models) {
    const std::string heading = models.size() > 1 ? text(m, "label") + ": " : "";
    body += "<h2>" + (heading.empty() ? "By site" : heading + "by site") + "</h2>\n" + site_table(m) +
            "<p class=\"sub\">Medians over the vectors of a site. c: rows of all maps that read γ; w_j their column j. "
            "Participation (Σγ²)²/(dΣγ⁴) is 1 where all entries are alike. Spread: largest over median column norm, "
            "as stored and with γ folded in.</p>\n<h2>" +
            (heading.empty() ? "Findings" : heading + "findings") + "</h2>\n<div class=\"findings\">\n";
    for (const Json& f : m.at("findings"))
      body += "<p><strong>" + text(f, "title") + "</strong> (" + text(f, "bears_on") + "). " +
              html::number(f.at("text").get<std::string>()) + "</p>\n";
    body += "</div>\n";
  }
  body +=
      "<h2>Pictures</h2>\n<p class=\"sub hint\">Click a name in a key to hide or show its curves; point at a curve to "
      "read its values.</p>\n";
  for (const std::string& p : pictures) body += p;
  for (const Json& m : models) {
    const std::string label = m.at("label");
    body += html::details("Every scale vector of " + label, vector_table(m));
    std::vector<std::string> notes;
    for (const Json& note : m.at("notes")) notes.push_back(escape(note.get<std::string>()));
    if (!notes.empty())
      body += html::details("Notes on " + label + " (" + std::to_string(notes.size()) + ")", html::list(notes));
  }
  body += "<h2>Reproduction</h2>\n<pre>" + escape(command) + "</pre>\n";
  return html::page("Scale vectors of trained models", body);
}

}  // namespace scalevec::experiments
