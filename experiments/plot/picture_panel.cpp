#include "experiments/plot/picture_panel.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>

#include "experiments/plot/axis.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/system/text.hpp"

namespace scalevec::experiments {
namespace {

using html::escape;
using Style = Series::Style;

constexpr int kColourCount = 7, kDashCount = 6, kMarkerCount = 7;

std::string pixel(double x) {
  std::string text = printed("%.1f", std::clamp(x, -1e5, 1e5));
  if (text.ends_with(".0")) text.resize(text.size() - 2);
  return text == "-0" ? "0" : text;
}

struct Axis {
  double low, high;
  bool log;
  double length;
  bool downward;           // grows towards 0: y in SVG
  bool few_whole = false;  // as in AxisRange
  double at(double value) const {
    const double share = along(value, low, high, log);
    return (downward ? 1.0 - share : share) * length;
  }
};

Axis axis_of(const AxisRange& extent, const std::optional<std::pair<double, double>>& wanted, bool log, double margin,
             double length, bool downward) {
  const auto range = axis_range(extent, wanted, log);
  const double room = margin * (extent.high - extent.low);
  const auto [low, high] = range.value_or(std::pair{extent.low - room, extent.high + room});
  return {low, high, log, length, downward};
}

std::string raised(int exponent) {
  constexpr const char* digits[] = {"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string out = "10";
  if (exponent < 0) out += "⁻";
  for (const char c : std::to_string(std::abs(exponent))) out += digits[c - '0'];
  return out;
}

struct Tick {
  double value;
  std::string label;
};

std::vector<Tick> ticks_of(const Axis& axis) {
  std::vector<Tick> out;
  if (axis.log) {
    for (const double v : log_ticks(axis.low, axis.high)) out.push_back({v, printed("%.6g", v)});
    if (!out.empty()) return out;
    const int first = static_cast<int>(std::ceil(std::log10(axis.low) - 1e-9));
    const int last = static_cast<int>(std::floor(std::log10(axis.high) + 1e-9));
    const int step = std::max(1, (last - first + 5) / 6);
    // Written out while that is short: raised digits are small.
    const bool plain = first >= -4 && last <= 5;
    for (int e = first; e <= last; e += step)
      out.push_back({std::pow(10.0, e), plain ? printed("%.6g", std::pow(10.0, e)) : raised(e)});
    return out;
  }
  for (const double v : linear_ticks(axis.low, axis.high)) {
    if (axis.few_whole && std::abs(v - std::round(v)) > 1e-6) continue;
    // Next to steps of this size, what is left of a rounded zero is zero.
    const bool zero = std::abs(v) < 1e-9 * (axis.high - axis.low);
    out.push_back({v, html::number(zero ? "0" : printed("%.6g", v))});
  }
  return out;
}

// As the CSS has it on a narrow screen, where letters are largest.
double label_width(const std::vector<Tick>& ticks, double letter) {
  size_t longest = 1;
  for (const Tick& t : ticks)
    longest = std::max(longest, static_cast<size_t>(std::count_if(t.label.begin(), t.label.end(),
                                                                  [](char c) { return (c & 0xC0) != 0x80; })));
  return letter * static_cast<double>(longest);
}

// The label whose key hides series i: its own, or that of the labelled one of its colour that it belongs to.
std::string key_label(const Panel& panel, size_t i) {
  const Series& s = panel.series[i];
  if (!s.label.empty()) return s.label;
  const auto fits = [&](const Series& other) {
    return !other.label.empty() && other.color == s.color && other.style != Style::cells && s.color >= 0;
  };
  const auto before = [&]() -> std::string {
    for (size_t k = i; k-- > 0;)
      if (fits(panel.series[k])) return panel.series[k].label;
    return "";
  };
  const auto after = [&]() -> std::string {
    for (size_t k = i + 1; k < panel.series.size(); ++k)
      if (fits(panel.series[k])) return panel.series[k].label;
    return "";
  };
  // A band is drawn before its line.
  const std::string first = s.style == Style::band ? after() : before();
  return first.empty() ? (s.style == Style::band ? before() : after()) : first;
}

int colour_of(const Panel& panel, size_t i) {
  int next = 0;
  for (size_t k = 0; k < i; ++k) next += panel.series[k].color < 0;
  return panel.series[i].color < 0 ? next : panel.series[i].color;
}

std::string values(const char* name, const std::vector<double>& v) {
  std::string out = std::string(" data-") + name + "=\"";
  for (size_t i = 0; i < v.size(); ++i) out += (i ? " " : "") + (std::isfinite(v[i]) ? printed("%.6g", v[i]) : "NaN");
  return out + "\"";
}

// gnuplot_script.cpp's palette, as #rrggbb; `share` from −1 to 1.
std::string heat(double share) {
  constexpr std::array<std::array<double, 3>, 5> stops{
      {{0x21, 0x66, 0xac}, {0x92, 0xc5, 0xde}, {0xf7, 0xf7, 0xf7}, {0xf4, 0xa5, 0x82}, {0xb2, 0x18, 0x2b}}};
  const double at = (std::clamp(share, -1.0, 1.0) + 1.0) * 2.0;
  const size_t i = std::min<size_t>(3, static_cast<size_t>(at));
  int rgb[3];
  for (size_t k = 0; k < 3; ++k)
    rgb[k] =
        static_cast<int>(std::lround(stops[i][k] + (at - static_cast<double>(i)) * (stops[i + 1][k] - stops[i][k])));
  return fmt::format("#{:02x}{:02x}{:02x}", rgb[0] & 255, rgb[1] & 255, rgb[2] & 255);
}

class Drawing {
 public:
  Drawing(const Panel& panel, const Axis& x, const Axis& y)
      : panel_(panel), x_(x), y_(y), distinct_(lines_differ_in_dash(panel)) {}

  std::string series(size_t i) const {
    const Series& s = panel_.series[i];
    const SeriesLook look = look_of(panel_, i, distinct_);
    std::string inside;
    switch (s.style) {
      case Style::cells:
        return cells(s);
      case Style::band:
        inside = band(s);
        break;
      default:
        if (!look.dash.empty()) inside = line(s, look.dash);
        if (s.style == Style::points || s.style == Style::line_points) inside += bars(s);
        if (!look.marker.empty()) inside += markers(s, look.marker, colour_of(panel_, i));
    }
    if (inside.empty()) return "";
    const std::string label = key_label(panel_, i);
    std::string out = "<g class=\"s " + look.colour + (s.style == Style::dashed ? " thin" : "") + "\"";
    if (!label.empty()) out += " data-key=\"" + escape(label) + "\"";
    if (s.style != Style::band) out += " data-colour=\"" + look.colour + "\"" + values("x", s.x) + values("y", s.y);
    if (const Series* edges = s.style == Style::band ? nullptr : edges_of(i))
      out += values("low", edges->y_low) + values("high", edges->y_high);
    out += ">" + (label.empty() ? "" : "<title>" + escape(label) + "</title>") + inside + "</g>\n";
    return out;
  }

 private:
  bool shown(const Series& s, size_t i) const {
    return drawable(s.x[i], panel_.log_x) && drawable(s.y[i], panel_.log_y);
  }

  // Its own bars, or the band of the same curve.
  const Series* edges_of(size_t i) const {
    const Series& s = panel_.series[i];
    if (!s.y_low.empty()) return &s;
    for (const Series& band : panel_.series)
      if (band.style == Style::band && band.color == s.color && band.x == s.x) return &band;
    return nullptr;
  }

  std::string line(const Series& s, const std::string& dash) const {
    std::string d;
    bool pen = false;
    for (size_t i = 0; i < s.x.size(); ++i) {
      const bool here = shown(s, i);
      if (here) d += (pen ? "L" : "M") + pixel(x_.at(s.x[i] * s.x_factor)) + " " + pixel(y_.at(s.y[i]));
      pen = here;
    }
    return d.empty() ? "" : "<path class=\"" + dash + "\" d=\"" + d + "\"/>";
  }

  std::string band(const Series& s) const {
    std::string d;
    for (size_t from = 0; from < s.x.size();) {
      size_t to = from;
      std::string upper, lower;
      for (; to < s.x.size() && drawable(s.x[to], panel_.log_x) && drawable(s.y_high[to], panel_.log_y); ++to) {
        const std::string x = pixel(x_.at(s.x[to]));
        // A lower edge that a log axis cannot show lies below it.
        const double low = drawable(s.y_low[to], panel_.log_y) ? y_.at(s.y_low[to]) : 2.0 * y_.length;
        upper += (upper.empty() ? "M" : "L") + x + " " + pixel(y_.at(s.y_high[to]));
        lower = "L" + x + " " + pixel(low) + lower;
      }
      if (to > from) d += upper + lower + "z";
      from = to + 1;
    }
    return d.empty() ? "" : "<path class=\"area\" d=\"" + d + "\"/>";
  }

  std::string bars(const Series& s) const {
    std::string d;
    for (size_t i = 0; i < s.x.size() && !s.y_low.empty(); ++i)
      if (shown(s, i) && drawable(s.y_low[i], panel_.log_y) && drawable(s.y_high[i], panel_.log_y))
        d += "M" + pixel(x_.at(s.x[i] * s.x_factor)) + " " + pixel(y_.at(s.y_low[i])) + "V" + pixel(y_.at(s.y_high[i]));
    return d.empty() ? "" : "<path class=\"bars\" d=\"" + d + "\"/>";
  }

  std::string markers(const Series& s, const std::string& marker, int colour) const {
    std::vector<size_t> at;
    for (size_t i = 0; i < s.x.size(); ++i)
      if (shown(s, i)) at.push_back(i);
    if (s.style == Style::line && at.size() > 9) {
      // A few along the line, at places that differ from curve to curve.
      constexpr size_t kSpots = 5;
      std::vector<size_t> some;
      for (size_t k = 0; k < kSpots; ++k)
        some.push_back(at[(at.size() * (10 * k + 2 * static_cast<size_t>(colour % 5) + 1)) / (10 * kSpots)]);
      at = some;
    }
    std::string out;
    for (const size_t i : at)
      out += "<use href=\"#" + marker + "\" x=\"" + pixel(x_.at(s.x[i] * s.x_factor)) + "\" y=\"" +
             pixel(y_.at(s.y[i])) + "\"/>";
    return out;
  }

  std::string cells(const Series& s) const {
    // A little wider than they are, so that rounding leaves no seams.
    std::string out = "<g shape-rendering=\"crispEdges\">";
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!std::isfinite(s.value[i]) || !shown(s, i)) continue;
      const double x0 = x_.at(s.x_low[i]), x1 = x_.at(s.x_high[i]), y0 = y_.at(s.y_high[i]), y1 = y_.at(s.y_low[i]);
      out += "<rect x=\"" + pixel(x0) + "\" y=\"" + pixel(y0) + "\" width=\"" + pixel(x1 - x0 + 0.6) + "\" height=\"" +
             pixel(y1 - y0 + 0.6) + "\" fill=\"" + heat(s.value[i] / panel_.color_limit) + "\"><title>" +
             printed("%.3g", s.x[i]) + ", " + printed("%.3g", s.y[i]) + ": " + printed("%.3g", s.value[i]) +
             "</title></rect>";
    }
    return out + "</g>\n";
  }

  const Panel& panel_;
  Axis x_, y_;
  bool distinct_;
};

}  // namespace

bool lines_differ_in_dash(const Panel& panel) {
  return std::none_of(panel.series.begin(), panel.series.end(),
                      [](const Series& s) { return s.style == Style::dashed || s.style == Style::points; });
}

SeriesLook look_of(const Panel& panel, size_t i, bool lines_differ) {
  const Series& s = panel.series[i];
  const int colour = colour_of(panel, i);
  const std::string marker = "m" + std::to_string((s.marker < 0 ? colour : s.marker) % kMarkerCount);
  // Seven colours and six dashes: the pairs come round after 42.
  const std::string dash = "d" + std::to_string(lines_differ ? colour % kDashCount : 0);
  SeriesLook look{"k" + std::to_string(colour % kColourCount), "", ""};
  if (s.style == Style::line || s.style == Style::line_points) look.dash = dash;
  if (s.style == Style::dashed) look.dash = "d6";
  if (s.style == Style::points || s.style == Style::line_points || (s.style == Style::line && lines_differ))
    look.marker = marker;
  return look;
}

std::string panel_svg(const Panel& panel, int width, double ratio) {
  const double letter = width > 600 ? 12.2 : 9.6, height = width * ratio, top = 8.0, bottom = 34.0, right = 16.0;
  const bool cells =
      std::any_of(panel.series.begin(), panel.series.end(), [](const Series& s) { return s.style == Style::cells; });
  const Axis y = axis_of(y_extent(panel), panel.y_range, panel.log_y, cells ? 0.0 : 0.04, height - top - bottom, true);
  const std::vector<Tick> y_ticks = ticks_of(y);
  const double left = 16.0 + label_width(y_ticks, letter);
  Axis x = axis_of(x_extent(panel), panel.x_range, panel.log_x, 0.0, width - left - right, false);
  x.few_whole = x_extent(panel).few_whole();

  std::string out = "<svg class=\"plot\" viewBox=\"0 0 " + std::to_string(width) + " " + pixel(height) +
                    "\" role=\"img\" aria-label=\"" + escape(panel.title) + (panel.title.empty() ? "" : ": ") +
                    escape(panel.y_label) + ", " + escape(panel.x_label) + "\"";
  if (!cells)
    out += " data-x=\"" + escape(panel.x_label) + "\" data-axes=\"" + printed("%.9g", x.low) + " " +
           printed("%.9g", x.high) + (x.log ? " 1 " : " 0 ") + printed("%.9g", y.low) + " " + printed("%.9g", y.high) +
           (y.log ? " 1 " : " 0 ") + pixel(x.length) + " " + pixel(y.length) + "\"";
  out += ">\n<g transform=\"translate(" + pixel(left) + " " + pixel(top) + ")\">\n";
  std::string lines, labels;
  for (const Tick& t : y_ticks) {
    const std::string at = pixel(y.at(t.value));
    lines += "M0 " + at + "H" + pixel(x.length);
    labels += "<text x=\"-8\" y=\"" + at + "\" dy=\"0.35em\" text-anchor=\"end\">" + t.label + "</text>";
  }
  for (const Tick& t : ticks_of(x)) {
    const std::string at = pixel(x.at(t.value));
    lines += "M" + at + " 0V" + pixel(y.length);
    labels +=
        "<text x=\"" + at + "\" y=\"" + pixel(y.length + 23.0) + "\" text-anchor=\"middle\">" + t.label + "</text>";
  }
  out += "<path class=\"grid\" d=\"" + lines + "\"/>\n" + labels + "\n<svg class=\"data\" width=\"" + pixel(x.length) +
         "\" height=\"" + pixel(y.length) + "\">\n";
  const Drawing drawing(panel, x, y);
  for (size_t i = 0; i < panel.series.size(); ++i) out += drawing.series(i);
  out += "<line class=\"cross-hair\" y1=\"0\" y2=\"" + pixel(y.length) +
         "\"/>\n</svg>\n<path class=\"frame\" d=\"M0 0V" + pixel(y.length) + "H" + pixel(x.length) +
         "\"/>\n</g>\n</svg>\n";
  return out;
}

}  // namespace scalevec::experiments
