#include "experiments/plot/picture.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <set>
#include <string_view>

#include "experiments/plot/axis.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/plot/picture_panel.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using html::escape;

struct Key {
  std::string label, sample;
  bool curves;  // something to hide
};

std::string sample(const Series& s, const SeriesLook& look) {
  std::string out = "<svg class=\"" + look.colour + "\" viewBox=\"0 0 38 14\" aria-hidden=\"true\">";
  if (s.style == Series::Style::band) out += "<path class=\"area\" d=\"M1 1H37V13H1z\"/>";
  if (!look.dash.empty()) out += "<path class=\"" + look.dash + "\" d=\"M1 7H37\"/>";
  if (!look.marker.empty()) out += "<use href=\"#" + look.marker + "\" x=\"19\" y=\"7\"/>";
  return out + "</svg>";
}

std::vector<Key> keys_of(const Panel& panel) {
  std::vector<Key> keys;
  const bool distinct = lines_differ_in_dash(panel);
  for (size_t i = 0; i < panel.series.size(); ++i) {
    const Series& s = panel.series[i];
    if (s.label.empty() || s.style == Series::Style::cells) continue;
    const auto known = std::find_if(keys.begin(), keys.end(), [&](const Key& k) { return k.label == s.label; });
    if (known != keys.end())
      known->curves = known->curves || !s.x.empty();
    else
      keys.push_back({s.label, sample(s, look_of(panel, i, distinct)), !s.x.empty()});
  }
  return keys;
}

std::string key_list(const std::vector<Key>& keys) {
  if (keys.empty()) return "";
  std::string out = "<ul class=\"keys\">";
  for (const Key& k : keys) {
    const std::string inside = k.sample + "<span>" + escape(k.label) + "</span>";
    out += k.curves ? "<li><button type=\"button\" class=\"key\" aria-pressed=\"true\" data-key=\"" + escape(k.label) +
                          "\">" + inside + "</button></li>"
                    : "<li><span class=\"key\">" + inside + "</span></li>";
  }
  return out + "</ul>\n";
}

// The key that serves every panel: the one that has all the labels. Empty where no panel has them all.
std::vector<Key> common_key(const std::vector<std::vector<Key>>& panels) {
  std::set<std::string> labels;
  for (const auto& keys : panels)
    for (const Key& k : keys) labels.insert(k.label);
  for (const auto& keys : panels)
    if (keys.size() == labels.size()) return keys;
  return {};
}

std::string color_bar(const Panel& panel) {
  return "<div class=\"color-bar\"><span>" + html::number(printed("%.3g", -panel.color_limit)) +
         "</span><i></i><span>" + printed("%.3g", panel.color_limit) + "</span><span>" + escape(panel.color_label) +
         "</span></div>\n";
}

std::string url(const std::string& path) {
  std::string out;
  for (const unsigned char c : path) {
    const bool plain =
        std::isalnum(c) || (c != 0 && std::string_view("-_.~/").find(static_cast<char>(c)) != std::string_view::npos);
    out += plain ? std::string(1, static_cast<char>(c)) : fmt::format("%{:02X}", c);
  }
  return out;
}

}  // namespace

std::string picture(const Plot& plot, const std::string& links, const std::string& caption) {
  std::string out = "<figure id=\"figure-" + escape(plot.name) + "\">\n";
  if (!plot.title.empty()) out += "<h3>" + escape(plot.title) + "</h3>\n";
  std::vector<std::vector<Key>> keys;
  for (const Panel& panel : plot.panels) keys.push_back(keys_of(panel));
  const std::vector<Key> common = keys.size() > 1 ? common_key(keys) : std::vector<Key>{};
  out += key_list(common);
  const bool one = plot.panels.size() < 2;
  out += std::string("<div class=\"panels") + (one ? " one" : "") + "\">\n";
  const double ratio = std::clamp(static_cast<double>(plot.panel_height) / plot.panel_width, 0.5, 0.75);
  for (size_t i = 0; i < plot.panels.size(); ++i) {
    const Panel& panel = plot.panels[i];
    const bool heat = std::any_of(panel.series.begin(), panel.series.end(),
                                  [](const Series& s) { return s.style == Series::Style::cells; });
    out += std::string("<div class=\"panel") + (heat ? " heat" : "") + "\">\n";
    if (!panel.title.empty()) out += "<h4>" + escape(panel.title) + "</h4>\n";
    if (common.empty() && panel.key_position != "off") out += key_list(keys[i]);
    out += "<div class=\"axis\">" + escape(panel.y_label) + "</div>\n" + panel_svg(panel, one ? 700 : 520, ratio) +
           "<div class=\"axis x\">" + escape(panel.x_label) + "</div>\n";
    if (heat) out += color_bar(panel);
    out += "</div>\n";
  }
  out += "</div>\n";
  const std::string words = caption.empty() ? escape(plot.caption) : caption;
  if (!words.empty() || !links.empty()) out += "<figcaption>" + words + " " + links + "</figcaption>\n";
  return out + "</figure>\n";
}

std::string file_links(const PlotFiles& files, const std::string& folder) {
  std::string out;
  const auto add = [&](const std::filesystem::path& file, const char* name) {
    if (file.empty()) return;
    const std::string place = (folder.empty() ? "" : folder + "/") + file.filename().string();
    out += (out.empty() ? "" : ", ") + ("<a href=\"" + url(place) + "\">" + name + "</a>");
  };
  add(files.csv, "CSV");
  add(files.script, "gnuplot");
  add(files.png, "PNG");
  add(files.svg, "SVG");
  return "<span class=\"files\">" + out + "</span>";
}

std::string drawn(const Plot& plot, const std::filesystem::path& folder) {
  if (plot.panels.empty()) return "";
  std::filesystem::create_directories(folder);
  return picture(plot, file_links(write_plot(plot, folder), folder.filename().string()));
}

}  // namespace scalevec::experiments
