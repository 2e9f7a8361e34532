#include "experiments/runs/curves.hpp"

#include <algorithm>
#include <cmath>
#include <map>
#include <string_view>

#include "experiments/record/record_files.hpp"

namespace scalevec::experiments {
namespace {

constexpr size_t kMostPoints = 120;

}  // namespace

Curve thinned(const Curve& curve) {
  const size_t n = curve.x.size(), bins = std::min(n, kMostPoints);
  Curve out;
  for (size_t b = 0; b < bins; ++b) {
    const size_t from = b * n / bins, to = (b + 1) * n / bins;
    double x = 0.0, y = 0.0;
    for (size_t i = from; i < to; ++i) {
      x += curve.x[i];
      y += curve.y[i];
    }
    out.x.push_back(x / static_cast<double>(to - from));
    out.y.push_back(y / static_cast<double>(to - from));
  }
  return out;
}

const std::vector<nlohmann::json>& RunGroup::log(const char* name, size_t run) const {
  const std::filesystem::path file = runs.at(run) / name;
  const auto there = read.find(file);
  return there != read.end() ? there->second : read[file] = read_json_lines(file);
}

Curve metric_curve(const std::vector<nlohmann::json>& metrics, const char* kind, const char* x, const char* y) {
  Curve curve;
  for (const nlohmann::json& line : metrics) {
    if (text_at(line, "kind") != kind) continue;
    const double a = number_at(line, x), b = number_at(line, y);
    if (!std::isfinite(a) || !std::isfinite(b)) continue;
    curve.x.push_back(a);
    curve.y.push_back(b);
  }
  return curve;
}

Series mean_series(const std::vector<Curve>& curves, const std::function<double(const MeanInterval&)>& spread) {
  std::map<double, std::vector<double>> at;
  for (const Curve& c : curves)
    for (size_t i = 0; i < c.x.size(); ++i) at[c.x[i]].push_back(c.y[i]);
  Series s;
  for (const auto& [x, values] : at) {
    if (values.size() != curves.size()) continue;
    const MeanInterval m = mean_interval(values);
    s.x.push_back(x);
    s.y.push_back(m.mean);
    if (m.n < 2) continue;
    s.y_low.push_back(m.mean - spread(m));
    s.y_high.push_back(m.mean + spread(m));
  }
  return s;
}

void add_with_band(Panel& panel, Series s, const std::string& label, int color) {
  s.color = color;
  if (!s.y_low.empty()) {
    Series band = s;
    band.style = Series::Style::band;
    panel.series.push_back(std::move(band));
  }
  s.y_low.clear();
  s.y_high.clear();
  s.label = label;
  panel.series.push_back(std::move(s));
}

double largest_x(const Panel& panel) {
  double most = 0.0;
  for (const Series& s : panel.series)
    for (const double x : s.x) most = std::max(most, x);
  return most;
}

void scale_tokens(Panel& panel) {
  const double most = largest_x(panel);
  const auto [unit, word] = most >= 1e9   ? std::pair{1e9, " (billions)"}
                            : most >= 1e6 ? std::pair{1e6, " (millions)"}
                            : most >= 1e4 ? std::pair{1e3, " (thousands)"}
                                          : std::pair{1.0, ""};
  for (Series& s : panel.series)
    for (double& x : s.x) x /= unit;
  panel.x_label = std::string("tokens seen") + word;
}

void set_range_after(Panel& panel, double skip) {
  double low = INFINITY, high = -INFINITY;
  const double from = skip * largest_x(panel);
  for (const Series& s : panel.series)
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (s.x[i] < from) continue;
      for (const auto* values : {&s.y, &s.y_low, &s.y_high})
        if (i < values->size() && std::isfinite((*values)[i])) {
          low = std::min(low, (*values)[i]);
          high = std::max(high, (*values)[i]);
        }
    }
  if (high > low) panel.y_range = {low - 0.05 * (high - low), high + 0.05 * (high - low)};
}

Panel loss_panel(const std::vector<RunGroup>& groups, const char* kind, const std::string& title,
                 const std::string& y_label, double skip) {
  Panel panel = make_panel(title, "", y_label);
  for (const RunGroup& group : groups) {
    std::vector<Curve> curves;
    for (size_t run = 0; run < group.runs.size(); ++run) {
      const Curve curve = metric_curve(group.log("metrics.jsonl", run), kind, "tokens", "loss");
      curves.push_back(std::string_view(kind) == "train" ? thinned(curve) : curve);
    }
    Series s = mean_series(curves, [](const MeanInterval& m) { return m.sd; });
    if (!s.x.empty()) add_with_band(panel, std::move(s), group.label, group.color);
  }
  if (panel.series.empty()) return panel;
  set_range_after(panel, skip);
  scale_tokens(panel);
  return panel;
}

Series line_series(const std::string& label, const Curve& curve, int color) {
  Series s;
  s.label = label;
  s.x = curve.x;
  s.y = curve.y;
  s.color = color;
  return s;
}

Panel make_panel(const std::string& title, const std::string& x_label, const std::string& y_label) {
  Panel panel;
  panel.title = title;
  panel.x_label = x_label;
  panel.y_label = y_label;
  return panel;
}

void share_y_range(Plot& plot) {
  double low = INFINITY, high = -INFINITY;
  for (const Panel& p : plot.panels)
    for (const Series& s : p.series)
      for (const auto* values : {&s.y, &s.y_low, &s.y_high})
        for (const double y : *values)
          if (std::isfinite(y)) {
            low = std::min(low, y);
            high = std::max(high, y);
          }
  if (!(high > low)) return;
  for (Panel& p : plot.panels) {
    if (p.log_y)
      p.y_range = {low / 1.3, high * 1.3};
    else
      p.y_range = {low - 0.05 * (high - low), high + 0.05 * (high - low)};
  }
}

}  // namespace scalevec::experiments
