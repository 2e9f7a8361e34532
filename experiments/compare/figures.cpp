#include "experiments/compare/report_parts.hpp"

#include <algorithm>
#include <cmath>
#include <map>

#include "experiments/record/record_files.hpp"
#include "experiments/record/run_trace.hpp"
#include "experiments/runs/curves.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

Plot loss_figure(const std::vector<RunGroup>& groups) {
  Plot plot{"loss", "Loss in training", "", {}, 2};
  // The key stands below its panel, two names a row.
  plot.panel_height += 24 * std::max(0, static_cast<int>(groups.size() + 1) / 2 - 2);
  size_t most_runs = 0;
  for (const auto& [kind, title] : {std::pair{"val", "Validation"}, std::pair{"train", "Training"}}) {
    Panel panel = loss_panel(groups, kind, title, "loss (nats per token)", 0.08);
    if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  }
  for (const RunGroup& g : groups) most_runs = std::max(most_runs, g.runs.size());
  plot.caption = most_runs > 1 ? "Mean over seeds at each variant's best setting; the band is one standard deviation "
                                 "between seeds. Overlapping bands don't mean equality, since seeds are paired: the "
                                 "figure of differences shows what is left when the seed's share is taken out."
                               : "Loss of each run.";
  plot.caption += " The axis leaves out the first steps' high loss; training loss is averaged over neighbouring steps.";
  return plot;
}

Plot grad_norm_figure(const std::vector<RunGroup>& groups) {
  Plot plot{"grad_norm",
            "Gradient norm",
            "Norm of the whole gradient before clipping, one run per curve, averaged over "
            "neighbouring steps. Spikes or a rise late in training are early signs of instability.",
            {},
            1,
            760,
            400};
  Panel panel = make_panel("", "step", "gradient norm");
  panel.log_y = true;
  for (size_t g = 0; g < groups.size(); ++g) {
    const Curve c = thinned(metric_curve(groups[g].log("metrics.jsonl"), "train", "step", "grad_norm"));
    if (c.x.empty()) continue;
    panel.series.push_back(line_series(groups[g].label, c, groups[g].color));
  }
  if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  return plot;
}

struct TraceFigure {
  const char* field;
  const char* title;
  const char* y_label;
  const char* caption;
};

constexpr TraceFigure kTraceFigures[] = {
    {"effective_lr", "Effective learning rate by group", "|update| / |gradient|",
     "The norm of the step over the norm of the gradient, for each parameter group of one run: how far a unit of "
     "gradient "
     "really moves the group. Under Adam it rises as gradients shrink, and follows the schedule at the end."},
    {"adaptive_lr", "Adaptive learning rate by group", "mean lr / (sqrt(v) + eps)",
     "The step size that Adam gives a coordinate, averaged over each group of one run. Groups with rare or small "
     "gradients "
     "lie high."},
    {"update_ratio", "Update ratio by group", "|update| / |parameter|",
     "Relative change of each parameter group per step, of one run. Groups that lie far above the rest are being "
     "rewritten; groups far below hardly learn."}};

// Scalar traces of each parameter group, by group in order of first appearance.
std::vector<std::pair<std::string, Curve>> group_curves(const std::vector<json>& traces, const char* field) {
  std::vector<std::pair<std::string, Curve>> out;
  for (const json& line : traces) {
    if (!line.contains("groups")) continue;
    for (const json& row : line["groups"]) {
      const std::string name = text_at(row, "name");
      const double x = number_at(line, "step"), y = number_at(row, field);
      if (!std::isfinite(x) || !(y > 0.0)) continue;
      auto it = std::find_if(out.begin(), out.end(), [&](const auto& item) { return item.first == name; });
      if (it == out.end()) it = out.insert(out.end(), {name, {}});
      it->second.x.push_back(x);
      it->second.y.push_back(y);
    }
  }
  return out;
}

Plot trace_figure(const TraceFigure& figure, const std::vector<RunGroup>& groups) {
  Plot plot{figure.field, figure.title, figure.caption, {}, 2, 540, 340};
  std::vector<std::string> colors;
  for (size_t g = 0; g < groups.size(); ++g) {
    Panel panel = make_panel(groups[g].label, "step", figure.y_label);
    panel.log_y = true;
    for (const auto& [name, curve] : group_curves(groups[g].log("traces.jsonl"), figure.field)) {
      auto color = std::find(colors.begin(), colors.end(), name);
      if (color == colors.end()) color = colors.insert(color, name);
      panel.series.push_back(line_series(name, thinned(curve), static_cast<int>(color - colors.begin())));
    }
    if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  }
  share_y_range(plot);
  // One key for all, where a panel has every group: small panels need their height.
  const auto whole = std::find_if(plot.panels.begin(), plot.panels.end(),
                                  [&](const Panel& p) { return p.series.size() == colors.size(); });
  for (auto p = plot.panels.begin(); p != plot.panels.end() && whole != plot.panels.end(); ++p)
    if (p != whole) p->key_position = "off";
  return plot;
}

// Indices into models::kGammaQuantiles.
enum { kQ05 = 1, kQ50 = 3, kQ95 = 5 };

// Quantiles of γ by class, each averaged over the class's norms by their sizes.
std::map<std::string, Series> gamma_bands(const std::vector<json>& traces) {
  std::map<std::string, Series> out;
  for (const json& line : traces) {
    std::map<std::string, std::pair<double, std::vector<double>>> sums;
    if (!line.contains("params")) continue;
    for (const json& row : line["params"]) {
      const auto q = row.find("gamma_quantiles");
      if (q == row.end() || !q->is_array() || q->size() != std::size(models::kGammaQuantiles)) continue;
      if (std::any_of(q->begin(), q->end(), [](const json& v) { return !v.is_number(); })) continue;
      const double count = row.value("count", 1.0);
      auto& [weight, sum] = sums[text_at(row, "group", "scale")];
      sum.resize(q->size());
      weight += count;
      for (size_t i = 0; i < q->size(); ++i) sum[i] += count * (*q)[i].get<double>();
    }
    for (const auto& [name, total] : sums) {
      Series& s = out[name];
      s.x.push_back(number_at(line, "step"));
      s.y.push_back(total.second[kQ50] / total.first);
      s.y_low.push_back(total.second[kQ05] / total.first);
      s.y_high.push_back(total.second[kQ95] / total.first);
    }
  }
  return out;
}

Plot gamma_figure(const std::vector<RunGroup>& groups) {
  Plot plot{"gamma",
            "Scale vectors",
            "Median of the effective scale vector (line) and its 5 to 95 % range (band) in one "
            "run, averaged over the norms of each class. Watch where decay pulls the median, and "
            "how far single channels spread.",
            {},
            2,
            540,
            340};
  for (size_t g = 0; g < groups.size(); ++g) {
    Panel panel = make_panel(groups[g].label, "step", "scale (gamma)");
    for (auto& [name, series] : gamma_bands(groups[g].log("traces.jsonl")))
      add_with_band(panel, series, name, name == "scale.output" ? 1 : 0);
    if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  }
  share_y_range(plot);
  return plot;
}

Plot lr_figure(const Comparison& comparison, const Analysis& analysis) {
  Plot plot{
      "loss_lr",
      "Loss against learning rate",
      "Final validation loss, mean over seeds with one standard deviation. A curve whose lowest point is at its end "
      "has not found its best learning rate.",
      {},
      1,
      760,
      440};
  Panel panel = make_panel("", "learning rate", "final validation loss (nats per token)");
  panel.log_x = true;
  size_t diverged = 0;
  for (size_t i = 0; i < analysis.variants.size(); ++i) {
    Series s;
    s.label = analysis.variants[i].name;
    s.style = Series::Style::line_points;
    s.color = static_cast<int>(i);
    // Neighbouring variants' bars would cover each other at the same x.
    s.x_factor = std::pow(1.02, static_cast<double>(i) - 0.5 * static_cast<double>(analysis.variants.size() - 1));
    for (const LrPoint& p : analysis.variants[i].curve) {
      diverged += p.diverged;
      if (p.loss.n == 0) continue;
      const double sd = p.loss.defined() ? p.loss.sd : 0.0;
      s.x.push_back(p.lr);
      s.y.push_back(p.loss.mean);
      s.y_low.push_back(p.loss.mean - sd);
      s.y_high.push_back(p.loss.mean + sd);
    }
    if (!s.x.empty()) panel.series.push_back(std::move(s));
  }
  plot.caption += " Points are set slightly apart so that the bars can be read.";
  if (diverged) plot.caption += " Diverged runs (" + std::to_string(diverged) + ") are not in the means.";
  if (comparison.grid.axes.size() > 1) plot.caption += " The other axes are at their best for each learning rate.";
  if (!panel.series.empty()) plot.panels.push_back(std::move(panel));
  return plot;
}

Plot difference_figure(const Analysis& analysis, const std::vector<RunGroup>& groups) {
  const std::string& baseline = analysis.variants[analysis.baseline].name;
  Plot plot{
      "difference",
      "Difference to " + baseline + " in training",
      "Validation loss minus that of " + baseline +
          ", paired over seeds, each variant at its best setting over all "
          "choosing seeds; the band is the 95 % interval. Below zero is better; a band across zero says that the seeds "
          "don't settle it.",
      {},
      1,
      760,
      440};
  const auto base = std::find_if(groups.begin(), groups.end(), [&](const RunGroup& g) { return g.label == baseline; });
  if (base == groups.end()) return plot;
  Panel panel = make_panel("", "", "validation loss minus baseline's");
  for (size_t g = 0; g < groups.size(); ++g) {
    if (groups[g].label == baseline) continue;
    std::vector<Curve> curves;
    for (size_t i = 0; i < groups[g].runs.size(); ++i) {
      const auto seed = std::find(base->seeds.begin(), base->seeds.end(), groups[g].seeds[i]);
      if (seed == base->seeds.end()) continue;
      const auto of_base = static_cast<size_t>(seed - base->seeds.begin());
      const Curve a = metric_curve(groups[g].log("metrics.jsonl", i), "val", "tokens", "loss"),
                  b = metric_curve(base->log("metrics.jsonl", of_base), "val", "tokens", "loss");
      Curve d;
      for (size_t k = 0; k < a.x.size(); ++k) {
        const auto same = std::find(b.x.begin(), b.x.end(), a.x[k]);
        if (same == b.x.end()) continue;
        d.x.push_back(a.x[k]);
        d.y.push_back(a.y[k] - b.y[static_cast<size_t>(same - b.x.begin())]);
      }
      curves.push_back(std::move(d));
    }
    Series s = mean_series(curves, [](const MeanInterval& m) { return m.half_width; });
    if (!s.x.empty()) add_with_band(panel, std::move(s), groups[g].label, groups[g].color);
  }
  if (panel.series.empty()) return plot;
  set_range_after(panel, 0.15);
  Series zero;
  zero.x = {0.0, largest_x(panel)};
  zero.y = {0.0, 0.0};
  zero.color = base->color;
  zero.label = baseline;
  panel.series.push_back(zero);
  scale_tokens(panel);
  plot.panels.push_back(std::move(panel));
  return plot;
}

void add_if_drawn(std::vector<Plot>& plots, Plot plot) {
  if (plot.panels.empty()) return;
  plot.columns = std::min(plot.columns, static_cast<int>(plot.panels.size()));
  plots.push_back(std::move(plot));
}

}  // namespace

std::vector<RunGroup> run_groups(const Comparison& comparison, const Analysis& analysis) {
  std::vector<RunGroup> groups;
  for (const VariantResult& v : analysis.variants) {
    if (!v.best) continue;
    RunGroup group{v.name, {}, {}, static_cast<int>(&v - analysis.variants.data())};
    for (size_t i = 0; i < comparison.grid.cells.size(); ++i) {
      const Cell& cell = comparison.grid.cells[i];
      if (cell.variant != v.name || cell.tuning || cell.setting != analysis.settings[*v.best] ||
          comparison.outcomes[i].state != CellOutcome::State::done)
        continue;
      group.runs.push_back(comparison.dir / cell.name);
      group.seeds.push_back(cell.seed);
    }
    if (!group.runs.empty()) groups.push_back(std::move(group));
  }
  return groups;
}

std::vector<Plot> run_figures(const std::vector<RunGroup>& groups) {
  std::vector<Plot> plots;
  add_if_drawn(plots, loss_figure(groups));
  add_if_drawn(plots, grad_norm_figure(groups));
  for (const TraceFigure& figure : kTraceFigures) add_if_drawn(plots, trace_figure(figure, groups));
  add_if_drawn(plots, gamma_figure(groups));
  return plots;
}

std::vector<Plot> comparison_figures(const Comparison& comparison, const Analysis& analysis,
                                     const std::vector<RunGroup>& groups) {
  std::vector<Plot> plots;
  add_if_drawn(plots, lr_figure(comparison, analysis));
  add_if_drawn(plots, difference_figure(analysis, groups));
  return plots;
}

}  // namespace scalevec::experiments
