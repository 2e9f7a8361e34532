#include "experiments/plot/gnuplot_script.hpp"

#include <algorithm>
#include <cmath>
#include <sstream>

#include "experiments/plot/axis.hpp"
#include "experiments/plot/shortest.hpp"

namespace scalevec::experiments {
namespace {

// Okabe and Ito's palette, distinct under every common colour blindness, without its yellow (too light for lines).
constexpr const char* kPalette[] = {"#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"};
constexpr int kMarkers[] = {7, 6, 5, 4, 13, 9};  // gnuplot's point types

using Style = Series::Style;

std::string number(double x) { return std::isnan(x) ? "NaN" : shortest(x); }

bool has_bars(const Series& s) { return !s.y_low.empty() && s.style != Series::Style::cells; }

bool anything_to_draw(const Series& s, const Panel& panel) {
  for (size_t i = 0; i < s.x.size(); ++i)
    if (drawable(s.x[i], panel.log_x) && drawable(s.y[i], panel.log_y)) return true;
  return false;
}

std::string block_name(size_t panel, size_t series) {
  return "$panel" + std::to_string(panel + 1) + "_series" + std::to_string(series + 1);
}

void write_data(std::ostream& out, const Series& s, const std::string& block) {
  out << block << " << EOD\n";
  for (size_t i = 0; i < s.x.size(); ++i) {
    out << number(s.x[i]) << ' ' << number(s.y[i]);
    if (has_bars(s)) out << ' ' << number(s.y_low[i]) << ' ' << number(s.y_high[i]);
    if (s.style == Series::Style::cells)
      out << ' ' << number(s.x_low[i]) << ' ' << number(s.x_high[i]) << ' ' << number(s.y_low[i]) << ' '
          << number(s.y_high[i]) << ' ' << number(s.value[i]);
    out << '\n';
  }
  out << "EOD\n";
}

// "with …" of a series.
std::string series_style(const Series& s, int color, bool bars) {
  const std::string rgb = std::string(" lc rgb '") + kPalette[color % std::size(kPalette)] + "'";
  const int marker = (s.marker < 0 ? color : s.marker) % static_cast<int>(std::size(kMarkers));
  // Open markers are larger, so that they can stand around a filled one.
  const char* const size = marker == 1 || marker == 3 ? "1.3" : "0.75";
  const std::string point = " pt " + std::to_string(kMarkers[marker]) + " ps " + size;
  // A colour that comes round again is dotted.
  const std::string dots = color < static_cast<int>(std::size(kPalette)) ? " dt 1" : " dt (2,4)";
  switch (s.style) {
    case Style::line:
      return "with lines lw 2.2" + dots + rgb;
    case Style::dashed:
      return "with lines lw 2.2 dt (10,6)" + rgb;
    case Style::points:
      return (bars ? "with yerrorbars lw 1.3" : "with points lw 1.3") + point + rgb;
    case Style::line_points:
      return (bars ? "with yerrorlines lw 1.8" : "with linespoints lw 1.8") + dots + point + rgb;
    case Style::band:
      return "with filledcurves fs transparent solid 0.18 noborder" + rgb;
    case Style::cells:
      return "with boxxyerror fs solid 1 noborder lc palette";
  }
  return "";
}

std::string drawing(const Series& s, const Panel& panel, const std::string& block, int color) {
  const std::string title = s.label.empty() ? "notitle" : "title " + gnuplot_quoted(s.label);
  if (!anything_to_draw(s, panel)) return "NaN " + title + " " + series_style(s, color, false);
  if (s.style == Style::cells) return block + " using 1:2:3:4:5:6:7 notitle " + series_style(s, color, false);
  if (s.style == Style::band) return block + " using 1:3:4 " + title + " " + series_style(s, color, true);
  const bool bars = has_bars(s) && (s.style == Style::points || s.style == Style::line_points);
  const std::string x = s.x_factor == 1.0 ? "1" : "($1*" + number(s.x_factor) + ")";
  return block + " using " + x + (bars ? ":2:3:4 " : ":2 ") + title + " " + series_style(s, color, bars);
}

void write_axis(std::ostream& out, char axis, const std::string& label, bool log, const AxisRange& extent,
                const std::optional<std::pair<double, double>>& wanted) {
  const auto range = axis_range(extent, wanted, log);
  out << "  set " << axis << "label " << gnuplot_quoted(label) << " noenhanced"
      << (axis == 'x' ? " offset 0,0.3\n" : "\n");
  out << "  " << (log ? "set" : "unset") << " logscale " << axis << "\n";
  if (range)
    out << "  set " << axis << "range [" << number(range->first) << ":" << number(range->second) << "]\n";
  else
    out << "  set " << axis << "range [*:*]\n";
  out << "  unset m" << axis << "tics\n";
  const std::vector<double> ticks = log ? log_ticks(range->first, range->second) : std::vector<double>{};
  if (log && ticks.empty()) {
    out << "  set format " << axis << " '10^{%T}'\n  set " << axis << "tics autofreq nomirror\n  set m" << axis
        << "tics 10\n";
    return;
  }
  out << "  set format " << axis << " '%.6g'\n  set " << axis << "tics nomirror ";
  if (!log) {
    out << (axis == 'x' && extent.few_whole() ? "1\n" : "autofreq\n");
    return;
  }
  out << "(";
  for (size_t i = 0; i < ticks.size(); ++i) out << (i ? ", " : "") << number(ticks[i]);
  out << ")\n";
}

// Lines of a key below the panel, at some 9 pixels a character and 60 for a sample.
int key_rows(const Panel& panel, int width) {
  std::size_t longest = 0;
  int labels = 0;
  for (const Series& s : panel.series) {
    longest = std::max(longest, s.label.size());
    labels += !s.label.empty();
  }
  const int columns = std::max(1, width / static_cast<int>(9 * longest + 60));
  return (labels + columns - 1) / columns;
}

void write_panel(std::ostream& out, const Plot& plot, size_t index) {
  const Panel& panel = plot.panels[index];
  out << "  set title " << gnuplot_quoted(panel.title) << " noenhanced\n";
  write_axis(out, 'x', panel.x_label, panel.log_x, x_extent(panel), panel.x_range);
  write_axis(out, 'y', panel.y_label, panel.log_y, y_extent(panel), panel.y_range);
  const bool cells =
      std::any_of(panel.series.begin(), panel.series.end(), [](const Series& s) { return s.style == Style::cells; });
  if (cells)
    out << "  set palette defined (-1 '#2166ac', -0.5 '#92c5de', 0 '#f7f7f7', 0.5 '#f4a582', 1 '#b2182b')\n  set "
           "cbrange ["
        << number(-panel.color_limit) << ":" << number(panel.color_limit) << "]\n  set cblabel "
        << gnuplot_quoted(panel.color_label) << " noenhanced\n  set colorbox\n  set style fill solid 1 noborder\n";
  else
    out << "  unset colorbox\n  set style fill transparent solid 0.18 noborder\n";
  const std::string key = key_words(panel, plot.panel_width, plot.panel_height);
  // Left to gnuplot, a key below a panel touches the axis label.
  out << "  set bmargin "
      << (key.starts_with("outside bottom") ? number(5.2 + 1.15 * key_rows(panel, plot.panel_width)) : "-1") << "\n";
  const std::string key_style = "set key default Left reverse noenhanced samplen 2.2 spacing 1.15 ";
  out << "  " << (key == "off" ? "unset key" : key_style + key) << "\n";
  if (panel.series.empty()) {
    out << "  plot NaN notitle\n";
    return;
  }
  out << "  plot ";
  int next_color = 0;
  for (size_t i = 0; i < panel.series.size(); ++i) {
    const Series& s = panel.series[i];
    const int color = s.color < 0 ? next_color++ : s.color;
    out << (i ? ", \\\n    " : "") << drawing(s, panel, block_name(index, i), color);
  }
  out << "\n";
}

}  // namespace

std::string gnuplot_quoted(const std::string& text) {
  std::string out = "'";
  for (const char c : text) {
    if (c == '\'') out += '\'';
    out += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return out + "'";
}

// Height of the SVG; the PNG has twice, and Cairo takes 32767 at most.
constexpr int kMostPixels = 8000;

std::string gnuplot_script(const Plot& plot) {
  std::ostringstream out;
  const int panels = std::max<int>(1, static_cast<int>(plot.panels.size()));
  const int columns = std::clamp(plot.columns, 1, panels);
  const int rows = std::min((panels + columns - 1) / columns, std::max(1, kMostPixels / plot.panel_height));
  const size_t shown = std::min(plot.panels.size(), static_cast<size_t>(rows * columns));
  std::string title = plot.title;
  if (shown < plot.panels.size())
    title += " (the first " + std::to_string(shown) + " of " + std::to_string(panels) + " panels; all are in the CSV)";
  const int title_height = title.empty() ? 0 : 36;
  const int width = columns * plot.panel_width, height = rows * plot.panel_height + title_height;

  out << "# Run in this folder to redraw " << plot.name << ".svg and " << plot.name << ".png: gnuplot " << plot.name
      << ".gp\n# The data are also in " << plot.name << ".csv.\nset encoding utf8\n\n";
  for (size_t p = 0; p < shown; ++p)
    for (size_t s = 0; s < plot.panels[p].series.size(); ++s)
      write_data(out, plot.panels[p].series[s], block_name(p, s));

  out << "\ndo for [format in \"svg png\"] {\n"
      << "  if (format eq \"svg\") {\n    set terminal svg size " << width << "," << height
      << " dynamic enhanced font 'sans-serif,14' background rgb 'white'\n"
      << "  } else {\n    if (strstrt(GPVAL_TERMINALS, 'pngcairo') > 0) {\n      set terminal pngcairo size "
      << 2 * width << "," << 2 * height << " enhanced font 'sans,11' fontscale 2 linewidth 2 pointscale 2\n"
      << "    } else {\n      set terminal png size " << width << "," << height << " enhanced\n    }\n  }\n"
      << "  set output " << gnuplot_quoted(plot.name + ".") << ".format\n"
      << "  set border 3 lw 1.2 lc rgb '#404040'\n"
      << "  set tics out nomirror scale 0.6 textcolor rgb '#202020'\n"
      << "  set grid back lt 1 lw 0.8 lc rgb '#e4e4e4'\n"
      << "  set multiplot layout " << rows << "," << columns;
  if (!title.empty()) out << " title " << gnuplot_quoted(title) << " font ',16' noenhanced";
  out << "\n";
  for (size_t p = 0; p < shown; ++p) write_panel(out, plot, p);
  out << "  unset multiplot\n  unset output\n}\n";
  return out.str();
}

}  // namespace scalevec::experiments
