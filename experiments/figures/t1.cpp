#include <cmath>
#include <cstdio>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "experiments/figures/trained_runs.hpp"

// T1: a trained model without its input-side scales is the same function.
namespace scalevec::experiments {
namespace {

FigureResult draw_t1(const FigureValues& v) {
  FigureResult result;
  result.required = 1.0;
  Panel panel;
  panel.title = "Largest difference of the logits, folded against original";
  panel.x_label = "layers";
  panel.y_label = "share of the logits' scale";
  panel.log_x = panel.log_y = true;
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
        most = worse(most, gap);
      }
      depths.push_back(static_cast<double>(layers));
      gaps.push_back(most);
      worst[d] = worse(worst[d], most);
    }
    panel.series.push_back(points(labels[d], depths, gaps, d));
    panel.series.push_back(line(std::string("required, ") + labels[d], {1.0, depths.back()}, {allowed[d], allowed[d]},
                                d, Series::Style::dashed));
  }
  result.agreement = worse(worst[0] / allowed[0], worst[1] / allowed[1]);
  result.plot.title = "T1  Folding input-side scale vectors away";
  result.plot.panel_width = 700;
  result.plot.panels = {panel};
  char text[900];
  std::snprintf(text, sizeof text,
                "T1: every γ before a linear map can be multiplied into the map's columns (the paper's expressivity "
                "result; a γ of 0 makes a column of 0), so removing "
                "input-side scales after training changes nothing: decoders with gains between %g and %g, %lld models "
                "each, folded by "
                "the library. Float32 rounding grows with depth (--set layers=32). Largest difference %.1e in float32 "
                "(allowed 2e-5) and %.1e in float64 (allowed 1e-12); the verdict's number is the "
                "larger share of its allowance.",
                v["least_gain"], v["largest_gain"], static_cast<long long>(v.whole("models")), worst[0], worst[1]);
  result.caption = text;
  return result;
}

}  // namespace

Figure figure_t1() {
  return {"T1",
          "Largest output difference between folded and original decoders by dtype and depth",
          {{"layers", 8, 16, Range::between(1, 64), "largest depth; powers of two up to it", true},
           {"width", 64, 128, Range::between(16, 1024), "of the decoder, a multiple of 32", true},
           {"models", 2, 5, Range::between(1, 100), "models per depth", true},
           {"least_gain", 0.3, 0.3, {0.01, 1.0}, "least γ"},
           {"largest_gain", 3.0, 3.0, {1.0, 100.0}, "largest γ"}},
          draw_t1};
}

}  // namespace scalevec::experiments
