#include "experiments/claims/pictures.hpp"

#include <algorithm>
#include <cmath>

#include "experiments/plot/html.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/runs/curves.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

// The first contrast's arms at the lr they are compared at, without duplicates.
std::vector<const ArmResult*> compared_arms(const ClaimResult& r) {
  std::vector<const ArmResult*> arms;
  for (const ContrastResult& c : r.contrasts) {
    if (c.contrast->at != Contrast::At::own) continue;
    for (const auto* side : {&c.worse, &c.better})
      for (const ArmResult& a : *side)
        if (a.lr && std::none_of(arms.begin(), arms.end(), [&](const ArmResult* b) { return b->name == a.name; }))
          arms.push_back(&a);
  }
  return arms;
}

constexpr size_t kMostCurves = 8;

Plot loss_plot(const ClaimResult& r) {
  Plot plot{r.claim->id + "-loss",
            "Validation loss in training",
            "Mean over the comparison seeds, each arm at its own best learning rate; band: one standard deviation "
            "between seeds. "
            "Seeds are paired, so that overlapping bands don't mean equality.",
            {},
            1,
            560,
            380};
  Panel panel = make_panel("", "", "validation loss (nats per token)");
  int color = 0;
  for (const ArmResult* a : compared_arms(r)) {
    if (color >= static_cast<int>(kMostCurves)) break;
    std::vector<Curve> curves;
    for (const auto& run : a->runs)
      if (Curve c = metric_curve(run, "val", "tokens", "loss"); c.x.size() > 1) curves.push_back(std::move(c));
    Series s = mean_series(curves, [](const MeanInterval& m) { return m.sd; });
    if (!s.x.empty()) add_with_band(panel, std::move(s), a->name, color++);
  }
  if (panel.series.empty()) return plot;
  set_range_after(panel, 0.2);
  scale_tokens(panel);
  plot.panels.push_back(std::move(panel));
  return plot;
}

Plot lr_plot(const ClaimResult& r) {
  Plot plot{
      r.claim->id + "-lr",
      "Loss against learning rate",
      "Mean over the tuning seeds, which the comparison does not use. The grid grows at an end where the best lies.",
      {},
      1,
      560,
      380};
  Panel panel = make_panel("", "learning rate", "final validation loss (nats per token)");
  panel.log_x = true;
  int color = 0;
  for (const auto& [name, t] : r.tunings) {
    if (color >= static_cast<int>(kMostCurves)) break;
    Series s;
    s.label = name;
    s.style = Series::Style::line_points;
    s.color = color;
    for (const TuningPoint& p : t.curve) {
      if (p.diverged || p.loss.n == 0) continue;
      s.x.push_back(p.lr);
      s.y.push_back(p.loss.mean);
    }
    if (s.x.size() < 2) continue;
    ++color;
    panel.series.push_back(std::move(s));
  }
  if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  return plot;
}

Curve curve_of(const json& arm, const char* field) {
  Curve out;
  for (size_t i = 0; i < arm.at("steps").size(); ++i)
    if (arm.at(field)[i].is_number()) {
      out.x.push_back(arm.at("steps")[i].get<double>());
      out.y.push_back(arm.at(field)[i].get<double>());
    }
  return out;
}

}  // namespace

Forest claim_forest(const ClaimResult& result) {
  Forest forest;
  forest.shared_axis = false;
  for (const ContrastResult& c : result.contrasts) {
    ForestRow row;
    row.name = c.contrast->name;
    row.strong = c.contrast->decides;
    row.estimate = c.gain.estimate;
    row.reason = c.gain.reason.empty() ? "no gain measured" : c.gain.reason;
    row.dots = c.gains;
    if (c.contrast->smallest_effect > 0.0) row.effect = c.contrast->smallest_effect;
    row.interval = {c.judgement.low, c.judgement.high};
    if (c.contrast->decides && c.gain.interval && std::isfinite(c.judgement.low)) {
      row.outer = row.interval;
      row.interval = c.gain.interval(0.95);
    }
    if (std::isfinite(row.estimate)) row.value = html::number(gain_text(c));
    forest.rows.push_back(std::move(row));
  }
  return forest;
}

std::vector<Plot> run_plots(const ClaimResult& result) {
  std::vector<Plot> out;
  for (Plot plot : {lr_plot(result), loss_plot(result)})
    if (!plot.panels.empty()) out.push_back(std::move(plot));
  return out;
}

std::vector<Plot> mechanism_plots(const ClaimResult& result, const json& mechanism) {
  std::vector<Plot> out;
  if (!mechanism.is_object()) return out;
  Plot traces{
      result.claim->id + "-mechanism",
      "Scale vectors and their matrices in training",
      "One run of each arm (the first seed, own best learning rate), means over the scales that maps read. Left: the "
      "flow conserves "
      "the imbalance (T2); what moves it is noise, the optimizer and decay. Right: with decay on both, T4 has "
      "the ratio tend "
      "to that of the decays as lr goes to 0, and above it at a finite one.",
      {},
      2,
      480,
      340};
  for (const auto& [field, label] :
       {std::pair{"imbalance", "mean of γ² − ‖w‖²"}, std::pair{"w_gamma_ratio", "‖w‖/γ"}}) {
    Panel panel = make_panel("", "step", label);
    int color = 0;
    for (const auto& [arm, values] : mechanism.items()) {
      const Curve c = curve_of(values, field);
      if (c.x.size() > 1 && color < static_cast<int>(kMostCurves)) {
        panel.series.push_back(line_series(arm, thinned(c), color));
        ++color;
      }
    }
    if (!panel.series.empty()) traces.panels.push_back(std::move(panel));
  }
  traces.columns = std::max<int>(1, static_cast<int>(traces.panels.size()));
  if (!traces.panels.empty()) out.push_back(std::move(traces));
  Plot curvature{result.claim->id + "-curvature",
                 "Top eigenvalue of the Hessian",
                 "Of the loss on fixed validation sequences, by Lanczos; whole, and restricted to the first attention "
                 "scale with the "
                 "maps that it is multiplied into, which is what T4 speaks of.",
                 {},
                 2,
                 480,
                 340};
  for (const bool whole : {true, false}) {
    Panel panel = make_panel(whole ? "whole" : "a scale and its maps", "step", "largest eigenvalue");
    panel.log_y = true;
    int color = 0;
    for (const auto& [arm, values] : mechanism.items()) {
      Series s;
      s.label = arm;
      s.style = Series::Style::line_points;
      s.color = color++;
      for (const json& point : values.value("probe", json::object()).value("points", json::array()))
        for (const auto& [name, top] : point.at("sharpness").items())
          if ((name == "whole") == whole && (whole || name.find("attn") != std::string::npos) &&
              number_at(top, "largest") > 0.0) {
            s.x.push_back(number_at(point, "step"));
            s.y.push_back(number_at(top, "largest"));
            break;  // of branch scales the first
          }
      if (!s.x.empty()) panel.series.push_back(std::move(s));
    }
    if (!panel.series.empty()) curvature.panels.push_back(std::move(panel));
  }
  curvature.columns = std::max<int>(1, static_cast<int>(curvature.panels.size()));
  if (!curvature.panels.empty()) out.push_back(std::move(curvature));
  return out;
}

Plot toy_plot(const Claim& claim, const ToyEvidence& toy) {
  Plot plot{claim.id + "-toy", "Toy through the real optimizers", "", {}, 1, 560, 380};
  Panel panel = make_panel("", "learning rate", "final excess loss");
  panel.log_x = panel.log_y = true;
  int color = 0;
  for (const auto& [name, values] :
       {std::pair{"worse, by the claim", &toy.worse}, std::pair{"better, by the claim", &toy.better}}) {
    Series s;
    s.label = name;
    s.style = Series::Style::line_points;
    s.color = color++;
    for (size_t i = 0; i < toy.lrs.size(); ++i)
      if ((*values)[i] > 0.0) {
        s.x.push_back(toy.lrs[i]);
        s.y.push_back((*values)[i]);
      }
    if (!s.x.empty()) panel.series.push_back(std::move(s));
  }
  plot.panels.push_back(std::move(panel));
  return plot;
}

Plot ladder_plot(const ClaimResult& result) {
  Plot plot{result.claim->id + "-ladder",
            "Scaling",
            "Final loss against compute (6 × parameters × tokens), mean over seeds; lines: "
            "E + A·C^(−α), fitted. Nothing is drawn outside the measured budgets.",
            {},
            1,
            560,
            380};
  Panel panel = make_panel("", "compute (FLOP)", "final validation loss (nats per token)");
  panel.log_x = true;
  int color = 0;
  for (const ContrastResult& c : result.contrasts)
    for (const LadderFit& f : c.fits) {
      Series points, law;
      points.style = Series::Style::points;
      points.label = f.arm;
      points.x = f.compute;
      points.y = f.loss;
      points.color = law.color = color++;
      for (int i = 0; i <= 40 && f.exponent > 0.0; ++i) {
        const double x = f.compute.front() * std::pow(f.compute.back() / f.compute.front(), i / 40.0);
        law.x.push_back(x);
        law.y.push_back(f.floor + std::exp(f.log_factor - f.exponent * std::log(x)));
      }
      panel.series.push_back(std::move(points));
      if (!law.x.empty()) panel.series.push_back(std::move(law));
    }
  if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  return plot;
}

}  // namespace scalevec::experiments
