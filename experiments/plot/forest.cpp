#include "experiments/plot/forest.hpp"

#include <algorithm>
#include <cmath>

#include "experiments/plot/axis.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using html::escape;

struct Scale {
  double low, high;
  std::string at(double x) const { return printed("%.2f%%", 100.0 * std::clamp((x - low) / (high - low), 0.0, 1.0)); }
};

std::string vertical_mark(const Scale& scale, double x, const char* kind, const char* from, const char* to) {
  const std::string at = scale.at(x);
  return std::string("<line class=\"") + kind + "\" x1=\"" + at + "\" x2=\"" + at + "\" y1=\"" + from + "\" y2=\"" +
         to + "\"/>";
}

std::string level(const Scale& scale, const ForestRow::Ends& ends, const char* kind) {
  if (!std::isfinite(ends.first) || !std::isfinite(ends.second)) return "";
  return std::string("<line class=\"") + kind + "\" x1=\"" + scale.at(ends.first) + "\" x2=\"" + scale.at(ends.second) +
         "\" y1=\"42%\" y2=\"42%\"/>";
}

struct Beyond {
  bool below = false, above = false;
};
Beyond beyond(const Scale& scale, const ForestRow& row) {
  Beyond out;
  for (const double x : {row.estimate, row.interval.first, row.interval.second, row.outer.first, row.outer.second}) {
    out.below = out.below || x < scale.low;
    out.above = out.above || x > scale.high;
  }
  return out;
}

// Whether a row does not give its reason in place of a strip.
bool has_strip(const ForestRow& row) { return row.reason.empty() || std::isfinite(row.estimate); }

// An arrow head at an end of the axis beyond which something lies.
std::string arrows(const Scale& scale, const ForestRow& row) {
  const auto [below, above] = beyond(scale, row);
  std::string out;
  if (below) out += "<svg x=\"0%\" y=\"42%\" overflow=\"visible\"><path class=\"beyond\" d=\"M-7 0L3-5V5z\"/></svg>";
  if (above) out += "<svg x=\"100%\" y=\"42%\" overflow=\"visible\"><path class=\"beyond\" d=\"M7 0L-3-5V5z\"/></svg>";
  return out;
}

std::string strip(const Scale& scale, const ForestRow& row, const std::vector<double>& ticks) {
  std::string out = "<svg role=\"img\" aria-label=\"" + escape(row.name) + "\">";
  for (const double t : ticks) out += vertical_mark(scale, t, "tick", "0", "100%");
  out += vertical_mark(scale, 0.0, "zero", "0", "100%");
  if (row.effect) out += vertical_mark(scale, *row.effect, "effect", "0", "100%");
  for (const double x : row.dots)
    if (x >= scale.low && x <= scale.high)
      out += "<circle class=\"dot\" cx=\"" + scale.at(x) + "\" cy=\"78%\" r=\"2.6\"/>";
  out += level(scale, row.outer, "outer") + level(scale, row.interval, "ci");
  for (const double end : {row.outer.first, row.outer.second})
    if (end >= scale.low && end <= scale.high) out += vertical_mark(scale, end, "outer", "29%", "55%");
  out += arrows(scale, row);
  if (row.reference)
    out += "<svg x=\"" + scale.at(0.0) +
           "\" y=\"50%\" overflow=\"visible\"><path class=\"estimate\" d=\"M0-7L7 0 0 7-7 0z\"/></svg>";
  else if (row.estimate >= scale.low && row.estimate <= scale.high)
    out += "<circle class=\"estimate\" cx=\"" + scale.at(row.estimate) + "\" cy=\"42%\" r=\"5.5\"/>";
  return out + "</svg>";
}

}  // namespace

std::pair<double, double> forest_range(const std::vector<ForestRow>& rows) {
  std::vector<double> sizes;
  for (const ForestRow& row : rows) {
    double size = 0.0;
    for (const double x : {row.estimate, row.interval.first, row.interval.second, row.effect.value_or(0.0)})
      if (std::isfinite(x)) size = std::max(size, std::abs(x));
    if (size > 0.0 && !row.reference) sizes.push_back(size);
  }
  if (sizes.empty()) return {-1.0, 1.0};
  std::sort(sizes.begin(), sizes.end());
  const double most = 12.0 * sizes[(sizes.size() - 1) / 2];
  double low = 0.0, high = 0.0;
  const auto take = [&](double x, double limit) {
    if (!std::isfinite(x) || std::abs(x) > limit) return;
    low = std::min(low, x);
    high = std::max(high, x);
  };
  for (const ForestRow& row : rows) {
    for (const double x : {row.estimate, row.interval.first, row.interval.second, row.effect.value_or(0.0)})
      take(x, most);
    for (const double x : row.dots) take(x, most);
  }
  const double reach = 2.5 * std::max(-low, high);
  for (const ForestRow& row : rows)
    for (const double x : {row.outer.first, row.outer.second}) take(x, reach);
  if (!(high > low)) return {-1.0, 1.0};
  const double margin = 0.05 * (high - low);
  return {low - margin, high + margin};
}

bool goes_beyond(const Forest& forest) {
  const auto [low, high] = forest_range(forest.rows);
  return std::any_of(forest.rows.begin(), forest.rows.end(), [&](const ForestRow& row) {
    const auto [below, above] = beyond({low, high}, row);
    return has_strip(row) && (below || above);
  });
}

std::string forest_html(const Forest& forest) {
  std::string out = "<div class=\"forest\">\n";
  if (!forest.head_name.empty())
    out += "<div class=\"row head\"><div class=\"name\">" + escape(forest.head_name) +
           "</div><div class=\"ends\"><span>" + escape(forest.low_end) + "</span><span>" + escape(forest.high_end) +
           "</span></div><div class=\"value\">" + escape(forest.head_value) + "</div></div>\n";
  const auto [all_low, all_high] = forest_range(forest.rows);
  const std::vector<double> ticks = forest.shared_axis ? linear_ticks(all_low, all_high) : std::vector<double>{};
  for (const ForestRow& row : forest.rows) {
    const auto [low, high] = forest.shared_axis ? std::pair{all_low, all_high} : forest_range({row});
    out += std::string("<div class=\"row") + (row.strong ? " strong" : "") + "\"><div class=\"name\">" +
           escape(row.name) + (row.note.empty() ? "" : "<div class=\"sub\">" + escape(row.note) + "</div>") +
           "</div><div class=\"middle\">";
    if (!has_strip(row))
      out += "<span class=\"mark\">" + escape(row.reason) + "</span>";
    else
      out += "<div class=\"strip\">" + strip({low, high}, row, ticks) + "</div>";
    if (!forest.shared_axis && std::isfinite(row.estimate))
      out += "<div class=\"ends sub\"><span>" + html::number(printed("%.3g", low)) + "</span><span>" +
             html::number(printed("%.3g", high)) + "</span></div>";
    out += "</div><div class=\"value\">" + row.value +
           (row.subvalue.empty() ? "" : "<div class=\"sub\">" + row.subvalue + "</div>") + "</div></div>\n";
  }
  if (forest.shared_axis) {
    const Scale scale{all_low, all_high};
    out +=
        "<div class=\"row scale\"><div class=\"name\"></div><div class=\"middle\"><div class=\"strip\"><svg "
        "aria-hidden=\"true\">";
    for (const double t : ticks)
      out += "<text x=\"" + scale.at(t) + "\" y=\"16\" text-anchor=\"middle\">" +
             html::number(std::abs(t) < 1e-9 * (all_high - all_low) ? "0" : printed("%+.4g", t)) + "</text>";
    out += "</svg></div></div><div class=\"value\"></div></div>\n";
  }
  return out + "</div>\n";
}

}  // namespace scalevec::experiments
