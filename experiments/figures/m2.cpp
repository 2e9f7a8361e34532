#include <fmt/core.h>

#include <cmath>

#include "experiments/figures/figure.hpp"
#include "experiments/figures/series.hpp"
#include "experiments/figures/trained_runs.hpp"
#include "theory/muon.hpp"

// M2: T9 under Muon: the length at which a matrix before a norm settles, and how far it turns per step.
namespace scalevec::experiments {
namespace {

void draw_m2(const FigureValues& v, FigureResult& result) {
  const double lr = v["lr"], momentum = v["momentum"];
  const std::int64_t sizes[] = {v.whole("size"), 2 * v.whole("size")};
  const std::vector<double> fine = log_grid(v["least"], v["most"], 41),
                            coarse = log_grid(v["least"], v["most"], v.whole("points"));
  result.required = 1.0;
  Panel &norm = result.plot.panels[0], &angle = result.plot.panels[1];
  double mean_square[2];
  double worst_angle = 0.0, worst_length = 0.0;
  for (int k = 0; k < 2; ++k) {
    const auto n = static_cast<double>(sizes[k]);
    const theory::Orthogonalised quintic = theory::quintic_steps(static_cast<int>(sizes[k]));
    const auto predict = [&](double product) { return theory::muon_rotation(n, momentum, lr, product / lr, quintic); };
    mean_square[k] = quintic.mean_square;
    std::vector<double> lengths, turns, dots, turned, dot_bars, turned_bars;
    for (const double x : fine) {
      lengths.push_back(std::pow(predict(x).norm, 2));
      turns.push_back(predict(x).angle);
    }
    for (const double product : coarse) {
      const theory::Rotation expected = predict(product);
      const auto settle = static_cast<std::int64_t>(1.5 / product);
      const auto steps = settle + static_cast<std::int64_t>(v["relaxations"] / product);
      const std::vector<TraceRow> rows = trained_runs().toy_traces(
          {{"model",
            {{"type", "scale_invariant"}, {"rows", sizes[k]}, {"columns", sizes[k]}, {"init_std", expected.norm / n}}},
           {"seed", static_cast<std::uint64_t>(v["seed"])},
           {"device", "cpu"},
           {"steps", steps},
           {"optimizer",
            {{"lr", lr},
             {"rules", nlohmann::json::array({{{"match", nlohmann::json::object()},
                                               {"method", "muon"},
                                               {"momentum", momentum},
                                               {"precision", "auto"},
                                               {"weight_decay", product / lr}}})}}}},
          settle, 10)[0];
      std::vector<double> squares, angles;
      for (const TraceRow& row : rows) {
        squares.push_back(row.param_norm * row.param_norm);
        angles.push_back(row.rotation * row.rotation);
      }
      // A length is remembered for 1/(2ηλ) steps, a fourth of a block or less.
      const MeanInterval length_sq = block_interval(squares, 5), turn_sq = block_interval(angles, 5);
      const double length = length_sq.mean;
      dots.push_back(length);
      dot_bars.push_back(length_sq.half_width);
      turned.push_back(std::sqrt(turn_sq.mean));
      turned_bars.push_back(turn_sq.half_width / (2.0 * turned.back()));
      worst_length = larger_or_nan(worst_length, std::abs(length / (expected.norm * expected.norm) - 1.0));
      worst_angle = larger_or_nan(worst_angle, std::abs(turned.back() / expected.angle - 1.0));
    }
    const std::string label = fmt::format("{} × {}", sizes[k], sizes[k]);
    norm.series.push_back(line(label, fine, lengths, k));
    norm.series.push_back(points_with_bars("", coarse, dots, dot_bars, k));
    angle.series.push_back(line(label, fine, turns, k));
    angle.series.push_back(points_with_bars("", coarse, turned, turned_bars, k, k));
  }
  result.agreement = larger_or_nan(worst_angle, worst_length) / 0.1;
  result.numbers = {{"long_run", theory::muon_noise(1e6, momentum).long_run * 1e6},
                    {"mean_square_small", mean_square[0]},
                    {"mean_square_large", mean_square[1]},
                    {"worst_length", worst_length},
                    {"worst_angle", worst_angle}};
}

}  // namespace

Figure figure_m2() {
  return {.id = "M2",
          .title = "Muon: squared length and rotation per step of a matrix before a norm against ηλ",
          .formula = "‖W‖² = ηn²V/(2λ), angle √(2ηλρ/(nV))",
          .domain = "ηλ small against 1 − μ, n large (`muon_rotation_holds`)",
          .code = "theory/muon.hpp",
          .params = {{"size", 16, 16, Range::between(2, 512), "rows and columns of the smaller matrix", true},
                     {"lr", 0.01, 0.01, {0.0, 1.0, true, false}, "learning rate η"},
                     {"momentum", 0.95, 0.95, Range::below(0.0, 1.0), "Muon's momentum"},
                     {"least", 4e-4, 2e-4, {1e-6, 0.1}, "least ηλ"},
                     {"most", 2e-3, 2e-3, {1e-6, 0.1}, "largest ηλ"},
                     {"points", 3, 5, Range::between(2, 50), "values of ηλ simulated", true},
                     {"relaxations", 10.0, 20.0, {10.0, 1e4}, "length of the average in units of 1/(ηλ)"},
                     {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the gradients", true}},
          .heading = "A matrix before a norm under Muon: length and rotation at equilibrium",
          .caption =
              "a matrix that a norm follows, trained by the library's Muon under decay and gradient noise alone (T9's "
              "toy; dots: traces of the LibTorch run, time averages, bars 95 %). Lines: ‖W‖² = ηn²V/(2λ) and angle "
              "√(2ηλρ/(nV)), derived: V is the long-run variance of the orthogonalised momentum's entries, about "
              "{long_run:.0f}/n at momentum {momentum:g}, and ρ the mean squared singular value that five quintic "
              "steps leave of noise, {mean_square_small:.2f} and {mean_square_large:.2f} at these sizes. As under "
              "AdamW, the angle depends on ηλ alone, and hardly on the size of the matrix. Small matrices settle "
              "shorter (a tenth at n = 8). Squared length off by at most {worst_length:.3f}, angle by "
              "{worst_angle:.3f} (allowed 0.1); the verdict's number is the larger share. η = {lr:g}.",
          .panels = {panel("Squared length", "learning rate × weight decay", "‖W‖²", Log::both),
                     panel("Rotation per step", "learning rate × weight decay", "angle (radians, root mean square)",
                           Log::both)},
          .layout = {.columns = 2, .panel_height = 440},
          .draw = draw_m2};
}

}  // namespace scalevec::experiments
