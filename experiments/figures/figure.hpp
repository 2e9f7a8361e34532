#pragma once

#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "scalevec/experiments/errors.hpp"
#include "scalevec/experiments/plot/plot.hpp"

// A figure of the theory: prediction over simulation, and whether they agree. One file each; registry.cpp lists them.
namespace scalevec {

// The quality of a figure is a set of defaults: fewer and more replicas, coarser and finer grids.
enum class FigureQuality { quick, paper };

struct FigureParam {
  std::string name;
  double quick, paper;  // default at each quality
  Range allowed;
  std::string meaning;
  bool whole = false;  // only whole numbers
};

// The values a figure is drawn with: every parameter's default or what the user set.
class FigureValues {
 public:
  FigureValues(const std::vector<FigureParam>& params, FigureQuality quality);

  // Throws UsageError where `text` is no number or outside what the parameter allows.
  void set(const FigureParam& param, const std::string& text);
  double operator[](const std::string& name) const;
  std::int64_t whole(const std::string& name) const { return static_cast<std::int64_t>((*this)[name]); }

  int threads = 1;  // that a figure whose parts are independent may draw with

 private:
  std::vector<std::pair<std::string, double>> values_;
};

struct FigureResult {
  Plot plot;               // named after the figure
  double agreement = 0.0;  // the measure that `required` bounds; out of agreement also where it is NaN
  double required = 0.0;
  std::string caption;  // what is drawn, with which parameters, and what to see
};

// The larger of two differences, and NaN where either is, so that nothing that went wrong is lost on the way to
// `agreement`.
inline double worse(double a, double b) { return std::isnan(a) || a > b ? a : b; }

struct Figure {
  std::string id, title;
  std::vector<FigureParam> params;
  FigureResult (*run)(const FigureValues& values);
};

// Every figure, in order of their ids.
const std::vector<Figure>& figures();

}  // namespace scalevec
