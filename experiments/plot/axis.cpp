#include "experiments/plot/axis.hpp"

#include <algorithm>
#include <cmath>

namespace scalevec::experiments {
namespace {

void extend(AxisRange& range, double value, bool log) {
  if (!drawable(value, log)) return;
  range.low = range.empty ? value : std::min(range.low, value);
  range.high = range.empty ? value : std::max(range.high, value);
  range.empty = false;
  range.whole = range.whole && value == std::round(value);
}

// Characters, not bytes: labels hold Greek.
size_t characters(const std::string& text) {
  return static_cast<size_t>(std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

double along(double value, double low, double high, bool log) {
  if (log) return (std::log(value) - std::log(low)) / (std::log(high) - std::log(low));
  return (value - low) / (high - low);
}

// Below 1e-300 a logarithmic axis has no room left for its margin.
bool drawable(double value, bool log) { return std::isfinite(value) && (!log || value > 1e-300); }

AxisRange x_extent(const Panel& panel) {
  AxisRange range;
  for (const Series& s : panel.series)
    for (size_t i = 0; i < s.x.size(); ++i)
      if (drawable(s.y[i], panel.log_y)) {
        extend(range, s.x[i] * s.x_factor, panel.log_x);
        if (s.x_low.empty()) continue;
        extend(range, s.x_low[i], panel.log_x);
        extend(range, s.x_high[i], panel.log_x);
      }
  return range;
}

AxisRange y_extent(const Panel& panel) {
  AxisRange range;
  for (const Series& s : panel.series)
    for (size_t i = 0; i < s.x.size(); ++i) {
      if (!drawable(s.x[i], panel.log_x)) continue;
      extend(range, s.y[i], panel.log_y);
      if (s.y_low.empty()) continue;
      extend(range, s.y_low[i], panel.log_y);
      extend(range, s.y_high[i], panel.log_y);
    }
  return range;
}

std::optional<std::pair<double, double>> axis_range(const AxisRange& extent,
                                                    const std::optional<std::pair<double, double>>& wanted, bool log) {
  if (wanted) return wanted;
  if (extent.empty) return std::pair{log ? 0.1 : 0.0, 1.0};
  if (log) {
    const double margin = std::max(1.02, std::exp(0.04 * (std::log(extent.high) - std::log(extent.low))));
    return std::pair{extent.low / margin, extent.high * margin};
  }
  if (extent.low == extent.high) {
    const double margin = extent.low == 0.0 ? 1.0 : 0.1 * std::abs(extent.low);
    return std::pair{extent.low - margin, extent.high + margin};
  }
  return std::nullopt;
}

std::vector<double> linear_ticks(double low, double high) {
  std::vector<double> ticks;
  const double rough = (high - low) / 5.0, power = std::pow(10.0, std::floor(std::log10(rough)));
  const double digit = rough / power;
  const double step = power * (digit < 1.5 ? 1.0 : digit < 3.5 ? 2.0 : digit < 7.5 ? 5.0 : 10.0);
  // By index, so that rounding cannot make the loop endless where the step is below the spacing of doubles.
  const double first = std::ceil(low / step - 1e-9);
  for (int k = 0; k < 20 && (first + k) * step <= high + 1e-9 * step; ++k) ticks.push_back((first + k) * step);
  return ticks;
}

std::vector<double> log_ticks(double low, double high) {
  std::vector<double> ticks;
  const double decades = std::log10(high / low);
  if (!(decades < 2.0)) return ticks;
  if (decades < 0.7) return linear_ticks(low, high);  // so little of a decade is nearly linear
  for (double power = std::pow(10.0, std::floor(std::log10(low))); power <= high; power *= 10.0)
    for (const double digit : {1.0, 2.0, 5.0})
      if (digit * power >= low && digit * power <= high) ticks.push_back(digit * power);
  return ticks;
}

std::string key_words(const Panel& panel, int panel_width, int panel_height) {
  constexpr const char* below = "outside bottom center horizontal";
  size_t entries = 0, longest = 0;
  for (const Series& s : panel.series) {
    entries += s.label.empty() ? 0 : 1;
    longest = std::max(longest, characters(s.label));
  }
  if (entries == 0) return "off";
  if (panel.key_position != "auto") return panel.key_position;
  const AxisRange x = x_extent(panel), y = y_extent(panel);
  if (x.empty || y.empty) return "top right";
  const auto [x0, x1] = axis_range(x, panel.x_range, panel.log_x).value_or(std::pair{x.low, x.high});
  const auto [y0, y1] = axis_range(y, panel.y_range, panel.log_y).value_or(std::pair{y.low, y.high});
  // Share of the axes (the panel less its margins) that a key covers, at some 8 by 20 pixels a character.
  const double width = (70.0 + 8.0 * static_cast<double>(longest)) / std::max(1, panel_width - 100);
  const double height = (16.0 + 20.0 * static_cast<double>(entries)) / std::max(1, panel_height - 110);
  if (width > 0.9 || height > 0.9) return below;

  struct Corner {
    const char* words;
    bool right, top;
  };
  for (const Corner corner : {Corner{"top right", true, true}, Corner{"top left", false, true},
                              Corner{"bottom right", true, false}, Corner{"bottom left", false, false}}) {
    const auto inside = [&](double px, double py) {
      return (corner.right ? px > 1.0 - width : px < width) && (corner.top ? py > 1.0 - height : py < height);
    };
    bool free = true;
    for (const Series& s : panel.series) {
      double last_x = NAN, last_y = NAN;
      for (size_t i = 0; i < s.x.size() && free; ++i) {
        const bool shown = drawable(s.x[i], panel.log_x) && drawable(s.y[i], panel.log_y);
        const double px = shown ? along(s.x[i], x0, x1, panel.log_x) : NAN;
        const double py = shown ? along(s.y[i], y0, y1, panel.log_y) : NAN;
        free = !inside(px, py);
        // A straight line between two points can cross a corner in which neither lies.
        for (int k = 1; k < 16 && free && s.style != Series::Style::points; ++k)
          free = !inside(px + (last_x - px) * k / 16.0, py + (last_y - py) * k / 16.0);
        if (shown && !s.y_low.empty())
          for (const double edge : {s.y_low[i], s.y_high[i]})
            if (drawable(edge, panel.log_y)) free = free && !inside(px, along(edge, y0, y1, panel.log_y));
        last_x = px;
        last_y = py;
      }
    }
    if (free) return corner.words;
  }
  return below;
}

}  // namespace scalevec::experiments
