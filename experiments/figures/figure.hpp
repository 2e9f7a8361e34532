#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/plot/plot.hpp"

// A figure of the theory: prediction and simulation, and whether they agree. Each figure is one file; registry.cpp
// lists them.
namespace scalevec::experiments {

// A set of defaults for a figure: quick has fewer replicas and coarser grids, paper has more and finer ones.
enum class FigureQuality { quick, paper };

struct FigureParam {
  std::string name;
  double quick, paper;  // default at each quality
  Range allowed;
  std::string meaning;
  bool whole = false;  // only whole numbers
};

// The values of a figure's parameters: the default or what the user has set.
class FigureValues {
 public:
  FigureValues(const std::vector<FigureParam>& params, FigureQuality quality);

  // Throws UsageError if `text` is not a number or not allowed for the parameter.
  void set(const FigureParam& param, const std::string& text);
  double operator[](const std::string& name) const;
  std::int64_t whole(const std::string& name) const { return static_cast<std::int64_t>((*this)[name]); }

  int threads = 1;  // number of threads for a figure whose parts are independent

 private:
  std::vector<std::pair<std::string, double>> values_;
};

struct FigureResult {
  Plot plot;               // named after the figure
  double agreement = 0.0;  // must be at most `required`; NaN counts as no agreement
  double required = 0.0;
  std::string caption;  // what is drawn, with which parameters, and what it shows
};

// The larger of two differences, or NaN if one of them is NaN, so that an error is not lost on the way to `agreement`.
inline double worse(double a, double b) { return std::isnan(a) || a > b ? a : b; }

struct Figure {
  std::string id, title;
  std::vector<FigureParam> params;
  FigureResult (*run)(const FigureValues& values);
};

// All figures, in the order of their ids.
const std::vector<Figure>& figures();

}  // namespace scalevec::experiments
