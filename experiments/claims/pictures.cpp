#include "scalevec/experiments/claims/pictures.hpp"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "scalevec/experiments/compare/curves.hpp"
#include "scalevec/experiments/plot/html.hpp"
#include "scalevec/experiments/compare/record_files.hpp"

namespace scalevec {
namespace {

using nlohmann::json;

constexpr double kRow = 44.0, kLeft = 330.0, kWidth = 1000.0, kRight = 20.0;

std::string element(const char* format, auto... values) {
  char text[400];
  std::snprintf(text, sizeof text, format, values...);
  return text;
}

std::string forest_row(const ContrastResult& c, double y) {
  double low = std::min(0.0, c.contrast->smallest_effect), high = std::max(0.0, c.contrast->smallest_effect);
  std::vector<double> shown = c.gains;
  shown.insert(shown.end(), {c.judgement.low, c.judgement.high, c.gain.estimate});
  for (const double x : shown)
    if (std::isfinite(x)) {
      low = std::min(low, x);
      high = std::max(high, x);
    }
  if (!(high > low)) high = low + 1.0;
  const double margin = 0.06 * (high - low);
  const auto at = [&](double x) {
    return kLeft + (x - low + margin) / (high - low + 2.0 * margin) * (kWidth - kLeft - kRight);
  };
  const std::string color = c.contrast->decides ? "#0072b2" : "#667080";
  std::string out = "<text x=\"0\" y=\"" + std::to_string(y + 4) + "\" font-size=\"13\"" +
                    (c.contrast->decides ? " font-weight=\"600\"" : "") + ">" + html::escape(c.contrast->name) +
                    "</text>\n";
  out += element("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#1c2128\"/>", at(0.0), at(0.0), y - 17,
                 y + 14);
  if (c.contrast->smallest_effect > 0.0)
    out +=
        element("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"#d55e00\" stroke-dasharray=\"4 3\"/>",
                at(c.contrast->smallest_effect), at(c.contrast->smallest_effect), y - 17, y + 14);
  for (const double x : c.gains)
    if (std::isfinite(x))
      out += element("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"2.5\" fill=\"%s\" fill-opacity=\"0.35\"/>", at(x), y + 7,
                     color.c_str());
  if (std::isfinite(c.judgement.low))
    out += element("<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%.1f\" y2=\"%.1f\" stroke=\"%s\" stroke-width=\"3\"/>",
                   at(c.judgement.low), at(c.judgement.high), y - 5, y - 5, color.c_str());
  if (std::isfinite(c.gain.estimate))
    out += element("<circle cx=\"%.1f\" cy=\"%.1f\" r=\"5\" fill=\"%s\"/>", at(c.gain.estimate), y - 5, color.c_str());
  else
    out += "<text x=\"" + std::to_string(kLeft + 10) + "\" y=\"" + std::to_string(y + 4) +
           "\" font-size=\"12\" fill=\"#a34700\">" + html::escape(c.gain.reason.substr(0, 100)) + "</text>";
  char zero[32], most[32];
  std::snprintf(zero, sizeof zero, "%.3g", low);
  std::snprintf(most, sizeof most, "%.3g", high);
  out += element("<text x=\"%.1f\" y=\"%.1f\" font-size=\"10\" fill=\"#667080\">%s</text>", kLeft, y + 24, zero);
  out += element("<text x=\"%.1f\" y=\"%.1f\" font-size=\"10\" fill=\"#667080\" text-anchor=\"end\">%s</text>\n",
                 kWidth - kRight, y + 24, most);
  return out;
}

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

std::string forest_svg(const ClaimResult& result) {
  std::vector<std::pair<std::string, const ContrastResult*>> rows;
  for (const ContrastResult& c : result.contrasts) rows.emplace_back(c.contrast->name, &c);
  const double height = kRow * static_cast<double>(rows.size()) + 10.0;
  std::string out =
      element("<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %.0f %.0f\" font-family=\"sans-serif\">\n",
              kWidth, height);
  double y = 24.0;
  for (const auto& [name, c] : rows) {
    out += forest_row(*c, y);
    y += kRow;
  }
  return out + "</svg>\n";
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

}  // namespace scalevec
