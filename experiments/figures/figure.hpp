#pragma once

#include <cmath>
#include <concepts>
#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/plot/plot.hpp"
#include "optim/core/option.hpp"

// A figure of the theory: prediction and simulation, and whether they agree. Each figure is one file, t5.cpp and the
// like, which CMakeLists.txt finds by its name; it defines figure_t5().
namespace scalevec::experiments {

// A set of defaults for a figure: quick has fewer replicas and coarser grids, paper has more and finer ones.
enum class FigureQuality { quick, paper };

// A parameter: an option with a default for each quality.
struct FigureParam {
  std::string name;
  double quick, paper;
  Range allowed;
  std::string meaning;
  bool whole = false;  // only whole numbers, with an upper bound in `allowed`
};

// A number or word that a caption names.
struct FigureNumber {
  FigureNumber(std::string name, double x) : name(std::move(name)), value(x) {}
  FigureNumber(std::string name, std::string text) : name(std::move(name)), value(std::move(text)) {}
  template <std::integral T>
  FigureNumber(std::string name, T n) : name(std::move(name)), value(static_cast<std::int64_t>(n)) {}

  std::string name;
  std::variant<double, std::int64_t, std::string> value;
};

// The values of a figure's parameters: the default or what the user has set.
class FigureValues {
 public:
  FigureValues(const std::vector<FigureParam>& params, FigureQuality quality);

  // As data that is stored here and may be set: a whole number is an integer.
  Options options();
  double operator[](const std::string& name) const;
  std::int64_t whole(const std::string& name) const { return static_cast<std::int64_t>((*this)[name]); }

  std::vector<FigureNumber> numbers() const;  // all of them

  int threads = 1;  // number of threads for a figure whose parts are independent

 private:
  struct Value {
    FigureParam param;
    std::variant<double, std::int64_t> now;
  };
  std::vector<Value> values_;
};

struct FigureResult {
  Plot plot;               // named after the figure
  double agreement = 0.0;  // must be at most `required`; NaN counts as no agreement
  double required = 0.0;
  std::vector<FigureNumber> numbers = {};  // for the texts of the plot, beside the parameters
};

// The larger of two differences, or NaN if one of them is NaN, so that an error is not lost on the way to `agreement`.
inline double larger_or_nan(double a, double b) { return std::isnan(a) || a > b ? a : b; }

// A figure as data, and the function that computes it. Page, documentation and --list show the formula and its domain.
struct Figure {
  struct Layout {
    int columns = 1, panel_width = Plot().panel_width, panel_height = Plot().panel_height;
  };

  std::string id, title;
  std::string formula;  // what the lines are
  std::string domain;   // "Holds for: " domain
  std::string code;     // the header of the formula
  std::vector<FigureParam> params;
  std::string heading;  // of the picture
  // In the caption and in titles and labels of the panels {name} stands for a parameter, a number of the result, or
  // `off`, its agreement; {name:.3f} as of fmt.
  std::string caption;
  std::vector<Panel> panels;  // without their series
  Layout layout = {};
  void (*draw)(const FigureValues& values, FigureResult& result);  // fills series, agreement, required, numbers

  FigureResult run(const FigureValues& values) const;

  // The parameters as rows of a printed table (option_rows()), with the defaults of both qualities.
  nlohmann::json parameter_rows() const;
};

// All figures: T1 … , P1 … , M1 … .
const std::vector<Figure>& figures();

}  // namespace scalevec::experiments
