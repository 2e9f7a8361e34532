#include <algorithm>
#include <cmath>

#include "experiments/figures/decay_run.hpp"
#include "experiments/figures/figure.hpp"
#include "experiments/figures/phase.hpp"

// P3: where weight decay on an input-norm scale pays, over both decays, in loss and in curvature, at constant lr and
// under a cosine.
namespace scalevec::experiments {
namespace {

// Means over replicas, one outcome per decay on γ.
std::vector<DecayOutcome> mean_outcomes(const DecayRun& s, const std::vector<double>& decays_gamma, double decay_w,
                                        bool cosine) {
  const std::vector<theory::MapResult> results = simulated_decay(s, decays_gamma, decay_w, cosine);
  std::vector<DecayOutcome> out(decays_gamma.size());
  for (std::size_t i = 0; i < results.size(); ++i) {
    DecayOutcome& o = out[i / static_cast<std::size_t>(s.replicas)];
    o.loss += results[i].loss / static_cast<double>(s.replicas);
    o.curvature += (results[i].input_sq + results[i].weight_sq) / static_cast<double>(s.replicas);
  }
  return out;
}

void draw_p3(const FigureValues& v, FigureResult& result) {
  const DecayRun s = decay_run(v);
  const std::vector<double> axis = log_grid(v["least"], v["most"], v.whole("grid"));
  std::vector<double> decays{0.0};
  decays.insert(decays.end(), axis.begin(), axis.end());
  const std::size_t n = axis.size();
  std::vector<double> expected_loss(n * n), expected_curvature(n * n), measured[4];
  for (auto& m : measured) m.resize(n * n);
  for (std::size_t i = 0; i < n; ++i) {  // λ_w along x
    const DecayOutcome none = predicted_decay(s, 0.0, axis[i]);
    for (std::size_t j = 0; j < n; ++j) {
      const DecayOutcome at = predicted_decay(s, axis[j], axis[i]);
      expected_loss[j * n + i] = std::log(none.loss / at.loss);
      expected_curvature[j * n + i] = std::log(none.curvature / at.curvature);
    }
    for (const int cosine : {0, 1}) {
      const std::vector<DecayOutcome> got = mean_outcomes(s, decays, axis[i], cosine == 1);
      for (std::size_t j = 0; j < n; ++j) {
        measured[2 * cosine][j * n + i] = std::log(got[0].loss / got[j + 1].loss);
        measured[2 * cosine + 1][j * n + i] = std::log(got[0].curvature / got[j + 1].curvature);
      }
    }
  }
  SignCount constant, cosine_curvature;
  std::int64_t cosine_helps = 0;
  for (std::size_t x = 0; x < n * n; ++x) {
    constant.add(measured[0][x], expected_loss[x], 0.1);
    constant.add(measured[1][x], expected_curvature[x], 0.1);
    cosine_curvature.add(measured[3][x], expected_curvature[x], 0.1);
    cosine_helps += measured[2][x] > 0.0;
  }
  result.required = 0.05;
  result.agreement = constant.share();
  for (std::size_t k = 0; k < 4; ++k) {
    Panel& panel = result.plot.panels[k];
    add_measured(panel, axis, axis, measured[k]);
    if (k != 2)
      add_predicted(panel, axis, axis, k == 0 ? expected_loss : expected_curvature,
                    k == 3 ? "constant lr's formula" : "predicted: equal");
  }
  result.numbers = {{"cosine_helps", cosine_helps},
                    {"cells", n * n},
                    {"cosine_wrong", cosine_curvature.share()},
                    {"counted", constant.counted}};
}

Panel decay_panel(const std::string& title, const std::string& quantity) {
  return phase_panel(title, "λ_w, decay on the column", "λ_γ, decay on its scale",
                     "ln(" + quantity + " without / with λ_γ)", 3.0);
}

}  // namespace

Figure figure_p3() {
  return {
      .id = "P3",
      .title = "Decay on an input-norm scale: loss and curvature over λ_γ and λ_w, constant lr and cosine",
      .formula =
          "½h(R − γw̄)² + ¼ησ[cγ²/(γ + σλ_w/h) + ‖w‖²/(‖w‖ + σλ_γ/h)] and h(γ² + ‖w‖²), with and without λ_γ (derived)",
      .domain = "AdamW at constant lr, gradient noise well above the gradient; none known under a cosine",
      .code = "theory/input_scale_decay.hpp",
      .params = {{"grid", 12, 36, Range::between(4, 200), "cells per axis", true},
                 {"least", 0.02, 0.02, {1e-4, 10.0}, "least decay"},
                 {"most", 3.0, 3.0, {1e-3, 100.0}, "largest decay"},
                 {"rows", 16, 16, Range::between(1, 1024), "c, rows of the column", true},
                 {"target", 1.0, 1.0, {0.01, 100.0}, "R"},
                 {"sigma", 1.0, 1.0, {0.01, 100.0}, "standard deviation of the gradient noise"},
                 {"lr", 4e-3, 4e-3, {1e-5, 0.1}, "learning rate"},
                 {"steps", 20000, 40000, Range::between(100, 1e7), "steps", true},
                 {"replicas", 5, 12, Range::between(1, 1000000), "replicas", true},
                 {"seed", 1, 1, {0.0, 9007199254740992.0}, "seed of the noise", true}},
      .heading = "Where weight decay on an input-norm scale pays",
      .caption =
          "AdamW on ½‖γw − θ*‖² with gradient noise; colour: what decay λ_γ on the scale does to the final loss and to "
          "the largest eigenvalue h(γ² + ‖w‖²), against λ_γ = 0 at the same λ_w (red: decay on γ helps). At constant "
          "lr the closed form of T4 (derived, green) gives both boundaries. Under a cosine the noise is gone at the "
          "end and the bias of the decay is all that is left: λ_γ lowers the loss in {cosine_helps} of {cells} cells, "
          "while its effect on the curvature keeps the boundary of the constant lr ({cosine_wrong:.3f} of cells on the "
          "wrong side of it; no formula of its own is known). c = {rows}, R = {target:g}, σ = {sigma:g}, lr = {lr:g}, "
          "{steps} steps, {replicas} replicas. Cells at constant lr on the wrong side, those within 10 % of equal left "
          "out: {off:.4f} of {counted}.",
      .panels = {decay_panel("Final loss, constant lr", "loss"), decay_panel("Top curvature, constant lr", "curvature"),
                 decay_panel("Final loss, cosine to 0", "loss"),
                 decay_panel("Top curvature, cosine to 0", "curvature")},
      .layout = {.columns = 2, .panel_width = 600, .panel_height = 440},
      .draw = draw_p3};
}

}  // namespace scalevec::experiments
