#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "scalevec/experiments/compare/statistics.hpp"
#include "scalevec/experiments/plot/plot.hpp"

// From recorded lines to the series and panels of a plot.
namespace scalevec {

struct Curve {
  std::vector<double> x, y;
};

// Means over at most 120 runs of neighbouring points: a readable line from a logged step's noise.
Curve thinned(const Curve& curve);

// Of the lines of RUN/metrics.jsonl with this kind ("train" or "val"), the keys x and y where both are finite numbers.
Curve metric_curve(const std::filesystem::path& run, const char* kind, const char* x, const char* y);

// Mean over curves at the x they all have, from mean − spread to mean + spread where there are several.
Series mean_series(const std::vector<Curve>& curves, const std::function<double(const MeanInterval&)>& spread);

Series line_series(const std::string& label, const Curve& curve, int color);

Panel make_panel(const std::string& title, const std::string& x_label, const std::string& y_label);

// Adds the series as a line, over a band where it has y_low and y_high.
void add_with_band(Panel& panel, Series series, const std::string& label, int color);

// Divides x by a unit that keeps the axis short, and labels it as tokens seen.
void scale_tokens(Panel& panel);

double largest_x(const Panel& panel);

// The y range of what comes after the first `skip` (a fraction) of the x axis, so that the start doesn't flatten the
// rest.
void set_range_after(Panel& panel, double skip);

// Gives every panel the same y range, so that they can be compared by eye.
void share_y_range(Plot& plot);

}  // namespace scalevec
