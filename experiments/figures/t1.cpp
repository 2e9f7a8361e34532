#include <cmath>
#include <string>

#include "experiments/errors.hpp"
#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "experiments/figures/trained_runs.hpp"

// T1: a trained model without its input-side scales is the same function.
namespace scalevec::experiments {
namespace {

void draw_t1(const FigureValues& v, FigureResult& result) {
  if (v.whole("width") % 32 != 0)
    throw UsageError("width: got " + std::to_string(v.whole("width")) + "; allowed: a multiple of 32");
  result.required = 1.0;
  Panel& panel = result.plot.panels[0];
  const double allowed[] = {2e-5, 1e-12};
  const char* labels[] = {"float32", "float64"};
  double worst[] = {0.0, 0.0};
  for (const int d : {0, 1}) {
    std::vector<double> depths, gaps;
    for (std::int64_t layers = 1; layers <= v.whole("layers"); layers *= 2) {
      double most = 0.0;
      for (std::int64_t seed = 1; seed <= v.whole("models"); ++seed) {
        const double gap = trained_runs().fold_gap(layers, v.whole("width"), v["least_gain"], v["largest_gain"], d == 1,
                                                   static_cast<std::uint64_t>(seed));
        most = larger_or_nan(most, gap);
      }
      depths.push_back(static_cast<double>(layers));
      gaps.push_back(most);
      worst[d] = larger_or_nan(worst[d], most);
    }
    panel.series.push_back(points(labels[d], depths, gaps, d));
    panel.series.push_back(line(std::string("required, ") + labels[d], {1.0, depths.back()}, {allowed[d], allowed[d]},
                                d, Series::Style::dashed));
  }
  result.agreement = larger_or_nan(worst[0] / allowed[0], worst[1] / allowed[1]);
  result.numbers = {{"worst_float", worst[0]}, {"worst_double", worst[1]}};
}

}  // namespace

Figure figure_t1() {
  return {.id = "T1",
          .title = "Largest output difference between folded and original decoders by dtype and depth",
          .formula = "W diag(γ) x = (W diag(γ)) x",
          .domain = "any γ, 0 too; with tied embeddings the final norm only after untying",
          .code = "models/fold.hpp",
          .params = {{"layers", 8, 16, Range::between(1, 64), "largest depth; powers of two up to it", true},
                     {"width", 64, 128, Range::between(32, 1024), "of the decoder, a multiple of 32", true},
                     {"models", 2, 5, Range::between(1, 100), "models per depth", true},
                     {"least_gain", 0.3, 0.3, {0.01, 1.0}, "least γ"},
                     {"largest_gain", 3.0, 3.0, {1.0, 100.0}, "largest γ"}},
          .heading = "Folding input-side scale vectors away",
          .caption =
              "every γ before a linear map can be multiplied into the map's columns (the paper's expressivity result; "
              "a γ of 0 makes a column of 0), so removing input-side scales after training changes nothing: decoders "
              "with gains between {least_gain:g} and {largest_gain:g}, {models} models each, folded by the library. "
              "Float32 rounding grows with depth (--set layers=32). Largest difference {worst_float:.1e} in float32 "
              "(allowed 2e-5) and {worst_double:.1e} in float64 (allowed 1e-12); the verdict's number is the larger "
              "share of its allowance.",
          .panels = {panel("Largest difference of the logits, folded against original", "layers",
                           "share of the logits' scale", Log::both)},
          .layout = {.panel_width = 700},
          .draw = draw_t1};
}

}  // namespace scalevec::experiments
