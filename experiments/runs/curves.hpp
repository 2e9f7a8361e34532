#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "experiments/plot/plot.hpp"
#include "experiments/statistics/statistics.hpp"

// Series and panels of plots from the logs of runs.
namespace scalevec::experiments {

// Runs shown as one curve: a variant's seeds at its best setting, or a single run.
struct RunGroup {
  std::string label;
  std::vector<std::filesystem::path> runs;  // finished ones only; the first stands for the group where one run is shown
  std::vector<std::int64_t> seeds;          // of the runs
  int color = 0;                            // in every picture
  mutable std::map<std::filesystem::path, std::vector<nlohmann::json>> read = {};

  // The lines of a log of a run, metrics.jsonl or traces.jsonl. A file is read once.
  const std::vector<nlohmann::json>& log(const char* name, size_t run = 0) const;
};

struct Curve {
  std::vector<double> x, y;
};

// At most 120 points, each the mean over neighbouring points, so that the noise of single steps does not hide the line.
Curve thinned(const Curve& curve);

// The values of the keys x and y in the lines of metrics.jsonl of this kind ("train" or "val"), where both are finite
// numbers.
Curve metric_curve(const std::vector<nlohmann::json>& metrics, const char* kind, const char* x, const char* y);

// The loss of this kind in the runs of each group over the tokens, with a band of one standard deviation between seeds;
// training losses are averaged over neighbouring steps. The y axis is that of the points after the first `skip` of the
// x axis. No series where no group has one.
Panel loss_panel(const std::vector<RunGroup>& groups, const char* kind, const std::string& title,
                 const std::string& y_label, double skip);

// The mean over the curves at each x that all of them have; with several curves, a band from mean − spread to
// mean + spread.
Series mean_series(const std::vector<Curve>& curves, const std::function<double(const MeanInterval&)>& spread);

Series line_series(const std::string& label, const Curve& curve, int color);

Panel make_panel(const std::string& title, const std::string& x_label, const std::string& y_label);

// Adds the series as a line, with a band behind it if it has y_low and y_high.
void add_with_band(Panel& panel, Series series, const std::string& label, int color);

// Divides x by a unit that keeps the numbers of the axis short, and labels the axis as tokens seen.
void scale_tokens(Panel& panel);

// The largest x of all series.
double largest_x(const Panel& panel);

// Sets the y range to that of the points after the first `skip` (a fraction) of the x axis, so that the start of the
// training does not make the rest flat.
void set_range_after(Panel& panel, double skip);

// Gives all panels the same y range, so that they can be compared.
void share_y_range(Plot& plot);

}  // namespace scalevec::experiments
