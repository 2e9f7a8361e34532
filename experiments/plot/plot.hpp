#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

// Line and point charts drawn by gnuplot. Data and script are written even if gnuplot is missing.
namespace scalevec::experiments {

struct Series {
  enum class Style { line, dashed, points, line_points, band, cells };
  std::string label;  // entry in the key; empty: none
  std::vector<double> x;
  std::vector<double> y;              // a NaN breaks a line
  std::vector<double> y_low, y_high;  // error bars, or the edges of a band; empty: none
  // For style cells: rectangles from x_low to x_high and from y_low to y_high around (x, y), coloured by value.
  std::vector<double> x_low, x_high, value;
  Style style = Style::line;
  double x_factor = 1.0;  // drawn at x times this, so that neighbouring error bars on a log axis do not overlap
  int color = -1;         // index into the palette (so that a prediction and its simulation match); -1: next
  int marker = -1;        // 0 disc, 1 circle, 2 square, 3 open square, 4 diamond, 5 triangle (then again); -1: by color
};

struct Panel {
  std::string title = {};
  std::string x_label = {}, y_label = {};  // with units
  bool log_x = false, log_y = false;
  std::optional<std::pair<double, double>> x_range = {}, y_range = {};
  std::vector<Series> series = {};
  // For style cells: the meaning of the colour, and the value at the ends of the diverging palette, whose middle is 0.
  std::string color_label = {};
  double color_limit = 1.0;
  std::string key_position = "auto";  // auto: a corner free of data, or below; gnuplot's words; "off": no key
};

struct Plot {
  std::string name = {};  // file stem
  std::string title = {};
  std::string caption = {};  // what the plot shows, in one or two sentences
  std::vector<Panel> panels = {};
  int columns = 1;
  int panel_width = 560, panel_height = 380;  // pixels of the SVG
};

struct PlotFiles {
  std::filesystem::path csv, script, svg, png;  // svg and png are empty without gnuplot
};

// Whether the program gnuplot is on PATH.
bool have_gnuplot();

// Writes NAME.csv, NAME.gp and, with gnuplot, NAME.svg and NAME.png into the existing folder `dir`, each as a temporary
// file that is renamed. Running the script in its folder draws the picture again. Labels are plain text, not gnuplot
// markup. A series without a value to draw still has an entry in the key. Throws RunError with gnuplot's message (data
// and script are kept) or if a file cannot be written, and std::invalid_argument for a name that is not a file stem or
// for vectors of unequal length.
PlotFiles write_plot(const Plot& plot, const std::filesystem::path& dir);

}  // namespace scalevec::experiments
