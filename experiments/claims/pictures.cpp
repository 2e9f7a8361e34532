#include <algorithm>
#include <cmath>

#include "experiments/claims/joined.hpp"
#include "experiments/claims/page.hpp"
#include "experiments/claims/plan.hpp"
#include "experiments/claims/verdict.hpp"
#include "experiments/plot/html.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/runs/curves.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

constexpr size_t kMostCurves = 8;

Plot one_panel(const std::string& name, const char* title, const char* caption) {
  return {name, title, caption, {}, 1, 560, 380};
}

Series points_series(const std::string& label, int color) {
  Series s;
  s.label = label;
  s.style = Series::Style::line_points;
  s.color = color;
  return s;
}

// The variants at their own best lr with their runs of the comparison seeds, as curves of the picture.
std::vector<RunGroup> compared_variants(const json& entry, const std::filesystem::path& runs) {
  std::vector<RunGroup> groups;
  std::vector<std::string> names;
  for (const json& c : entry.at("contrasts"))
    for (const char* side : {"worse", "better"})
      for (const json& a : c.at(side)) {
        if (text_at(c, "at") != "own best lr" || !a.at("lr").is_number() ||
            std::find(names.begin(), names.end(), text_at(a, "variant")) != names.end())
          continue;
        names.push_back(text_at(a, "variant"));
        RunGroup group{names.back(), {}, {}, static_cast<int>(groups.size())}, whole = group;
        for (size_t i = 0; i < a.at("values").size(); ++i)
          group.runs.push_back(runs /
                               run_name(text_at(a, "folder"), number_at(a, "lr"),
                                        entry.value("first_seed", std::int64_t{1}) + static_cast<std::int64_t>(i)));
        for (size_t i = 0; i < group.runs.size(); ++i)
          if (metric_curve(group.log("metrics.jsonl", i), "val", "tokens", "loss").x.size() > 1)
            whole.runs.push_back(group.runs[i]);
        whole.read = std::move(group.read);
        if (!whole.runs.empty() && groups.size() < kMostCurves) groups.push_back(std::move(whole));
      }
  return groups;
}

Plot loss_plot(const std::string& claim, const json& entry, const std::filesystem::path& runs) {
  Plot plot = one_panel(picture_name(claim, entry, "loss"), "Validation loss in training",
                        "Mean over the comparison seeds, each variant at its own best learning rate; band: one "
                        "standard deviation between "
                        "seeds. Seeds are paired, so that overlapping bands don't mean equality.");
  Panel panel = loss_panel(compared_variants(entry, runs), "val", "", "validation loss (nats per token)", 0.2);
  if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  return plot;
}

Plot lr_plot(const std::string& claim, const json& entry) {
  Plot plot = one_panel(
      picture_name(claim, entry, "lr"), "Loss against learning rate",
      "Mean over the tuning seeds, which the comparison does not use. The grid grows at an end where the best lies.");
  Panel panel = make_panel("", "learning rate", "final validation loss (nats per token)");
  panel.log_x = true;
  const json tuning = entry.value("tuning", json::object());
  for (const auto& [name, t] : tuning.items()) {
    Series s = points_series(name, static_cast<int>(panel.series.size()));
    for (const json& p : t.at("curve")) {
      const MeanInterval loss = mean_interval(numbers_at(p, "losses"));
      if (number_at(p, "diverged") > 0.0 || loss.n == 0) continue;
      s.x.push_back(number_at(p, "lr"));
      s.y.push_back(loss.mean);
    }
    if (s.x.size() > 1 && panel.series.size() < kMostCurves) panel.series.push_back(std::move(s));
  }
  if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  return plot;
}

Plot ladder_plot(const std::string& claim, const json& entry) {
  Plot plot = one_panel(picture_name(claim, entry, "ladder"), "Scaling",
                        "Final loss against compute (6 × parameters × tokens), mean over seeds; lines: "
                        "E + A·C^(−α), fitted. Nothing is drawn outside the measured budgets.");
  Panel panel = make_panel("", "compute (FLOP)", "final validation loss (nats per token)");
  panel.log_x = true;
  int color = 0;
  for (const json& c : entry.at("contrasts"))
    for (const json& f : array_at(c, "fits")) {
      Series points = line_series(text_at(f, "variant"), {numbers_at(f, "compute"), numbers_at(f, "loss")}, color++);
      points.style = Series::Style::points;
      Curve law;
      const double exponent = number_at(f, "exponent"), first = points.x.front(), last = points.x.back();
      for (int i = 0; i <= 40 && exponent > 0.0; ++i) {
        law.x.push_back(first * std::pow(last / first, i / 40.0));
        law.y.push_back(number_at(f, "floor") +
                        std::exp(number_at(f, "log_factor") - exponent * std::log(law.x.back())));
      }
      panel.series.push_back(std::move(points));
      if (!law.x.empty()) panel.series.push_back(line_series("", law, color - 1));
    }
  if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  return plot;
}

}  // namespace

Forest entry_forest(const json& entry) {
  Forest forest;
  forest.shared_axis = false;
  for (const json& c : entry.at("contrasts")) {
    const json& judgement = c.at("judgement");
    ForestRow row;
    row.name = text_at(c, "name");
    row.strong = c.at("decides").get<bool>();
    row.estimate = number_at(c, "gain");
    row.reason = text_at(judgement, "reason");
    row.dots = numbers_at(c, "gains");
    if (const double effect = number_at(c, "smallest_effect"); effect > 0.0) row.effect = effect;
    row.interval = {number_at(judgement, "low"), number_at(judgement, "high")};
    if (row.strong && std::isfinite(row.interval.first)) {
      const auto n = c.at("pairs").get<std::int64_t>();
      const double sd = number_at(c, "sd");
      const MeanInterval m =
          row.dots.empty() ? whole_interval(row.estimate, sd, n) : at_confidence({n, 0, row.estimate, sd, 0.0}, 0.95);
      row.outer = row.interval;
      row.interval = {m.low(), m.high()};
    }
    if (std::isfinite(row.estimate)) row.value = html::number(gain_text(c));
    forest.rows.push_back(std::move(row));
  }
  return forest;
}

std::vector<Forest> ledger_forests(const json& ledger) {
  std::vector<Forest> forests(2);
  forests[0].low_end = "against the claim";
  forests[0].high_end = "for the claim, nats per token";
  forests[1].shared_axis = false;
  for (const json& claim : ledger.at("claims")) {
    if (!claim.value("judged", true)) continue;
    Forest& forest = forests[text_at(claim, "unit") == "nats per token" ? 0 : 1];
    for (const json& entry : claim.at("evidence")) {
      const json& c = leading_contrast(entry);
      if (!c.at("decides").get<bool>()) continue;
      Forest one = entry_forest({{"contrasts", {c}}});
      ForestRow row = std::move(one.rows.front());
      row.name = text_at(claim, "id");
      row.note = entry_name(entry) + ", " + c.at("pairs").dump() + " pairs";
      row.strong = text_at(c.at("judgement"), "verdict") == "confirmed" ||
                   text_at(c.at("judgement"), "verdict") == "contradicted";
      row.value = html::number(effect_text(c));
      row.subvalue = verdict_mark(text_at(entry, "verdict"));
      forest.rows.push_back(std::move(row));
    }
  }
  return forests;
}

std::vector<Plot> run_plots(const std::string& claim, const json& entry, const std::filesystem::path& runs) {
  return {lr_plot(claim, entry), loss_plot(claim, entry, runs), ladder_plot(claim, entry)};
}

std::vector<Plot> mechanism_plots(const std::string& claim, const json& entry) {
  const json mechanism = entry.value("mechanism", json());
  if (!mechanism.is_object()) return {};
  Plot traces{
      picture_name(claim, entry, "mechanism"),
      "Scale vectors and their matrices in training",
      "One run of each variant (the first seed, own best learning rate), means over the scales that maps read. Left: "
      "the flow conserves the imbalance (T2); what moves it is noise, the optimizer and decay. Right: with decay on "
      "both, T4 has the ratio tend to that of the decays as lr goes to 0, and above it at a finite one.",
      {},
      1,
      480,
      340};
  for (const auto& [field, label] :
       {std::pair{"imbalance", "mean of γ² − ‖w‖²"}, std::pair{"w_gamma_ratio", "‖w‖/γ"}}) {
    Panel panel = make_panel("", "step", label);
    for (const auto& [variant, values] : mechanism.items()) {
      Curve c;
      const std::vector<double> steps = numbers_at(values, "steps"), y = numbers_at(values, field);
      for (size_t i = 0; i < steps.size(); ++i)
        if (!std::isnan(y[i])) {
          c.x.push_back(steps[i]);
          c.y.push_back(y[i]);
        }
      if (c.x.size() > 1 && panel.series.size() < kMostCurves)
        panel.series.push_back(line_series(variant, thinned(c), static_cast<int>(panel.series.size())));
    }
    if (!panel.series.empty()) traces.panels.push_back(std::move(panel));
  }
  Plot curvature{picture_name(claim, entry, "curvature"),
                 "Top eigenvalue of the Hessian",
                 "Of the loss on fixed validation sequences, by Lanczos; whole, and restricted to the first attention "
                 "scale with the maps that it is multiplied into, which is what T4 speaks of.",
                 {},
                 1,
                 480,
                 340};
  for (const bool whole : {true, false}) {
    Panel panel = make_panel(whole ? "whole" : "a scale and its maps", "step", "largest eigenvalue");
    panel.log_y = true;
    int color = 0;
    for (const auto& [variant, values] : mechanism.items()) {
      Series s = points_series(variant, color++);
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
  for (Plot* plot : {&traces, &curvature}) plot->columns = std::max(1, static_cast<int>(plot->panels.size()));
  return {traces, curvature};
}

Plot toy_plot(const json& claim) {
  const json& toy = claim.at("toy");
  Plot plot = one_panel(text_at(claim, "id") + "-toy", "Toy through the real optimizers", "");
  plot.caption = text_at(toy, "words");
  Panel panel = make_panel("", "learning rate", "final excess loss");
  panel.log_x = panel.log_y = true;
  const std::vector<double> lrs = numbers_at(toy, "lrs");
  for (const auto& [key, color] : {std::pair{"worse", 0}, std::pair{"better", 1}}) {
    Series s = points_series(std::string(key) + ", by the claim", color);
    const std::vector<double> losses = numbers_at(toy, key);
    for (size_t i = 0; i < lrs.size(); ++i)
      if (losses[i] > 0.0) {
        s.x.push_back(lrs[i]);
        s.y.push_back(losses[i]);
      }
    if (!s.x.empty()) panel.series.push_back(std::move(s));
  }
  plot.panels.push_back(std::move(panel));
  return plot;
}

}  // namespace scalevec::experiments
