#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "experiments/plot/plot.hpp"

// What gnuplot does not choose well by itself: ranges and tick marks of log axes, and where a key hides no data.
namespace scalevec::experiments {

// Range of what a panel draws along one axis; log axes leave out values ≤ 0. `empty` if there is nothing to draw.
struct AxisRange {
  double low = 0.0, high = 1.0;
  bool empty = true;
  bool whole = true;  // whole numbers only, as layers are

  // Whether steps between tick marks have to be kept from falling below 1.
  bool few_whole() const { return whole && !empty && high > low && high - low < 6.0; }
};

// True where gnuplot can draw the value on the axis.
bool drawable(double value, bool log);

AxisRange x_extent(const Panel& panel);
AxisRange y_extent(const Panel& panel);

// The range to set: the panel's own, or on a log axis and for a single value the extent with a margin. Empty where
// gnuplot's choice is good.
std::optional<std::pair<double, double>> axis_range(const AxisRange& extent,
                                                    const std::optional<std::pair<double, double>>& wanted, bool log);

// Some five even tick marks, in steps of 1, 2 or 5 times a power of ten.
std::vector<double> linear_ticks(double low, double high);

// Tick marks of a log axis that spans under two decades; empty where powers of ten will do.
std::vector<double> log_ticks(double low, double high);

// Fraction of the way from low to high along the axis.
double along(double value, double low, double high, bool log);

// gnuplot's words for the key of a panel of that many pixels: a corner that no data enter, else below the axes.
std::string key_words(const Panel& panel, int width, int height);

}  // namespace scalevec::experiments
