#include "experiments/runs/prediction_figures.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>
#include <limits>
#include <map>

#include "experiments/errors.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/runs/curves.hpp"
#include "experiments/runs/run_prediction.hpp"
#include "theory/stability.hpp"

namespace scalevec::experiments {
namespace {

using nlohmann::json;

// Tensors that a picture can show; more are shown evenly chosen, all of them in the table.
constexpr std::size_t kMostTensors = 8;

// Of so many runs each has its row of panels: more make a picture that no renderer takes.
constexpr std::size_t kMostRuns = 12;

constexpr double kNotThere = std::numeric_limits<double>::quiet_NaN();

struct Followed {
  std::string name, group;
  bool before_norm = false;
  std::vector<double> step, rotation, predicted_rotation, norm, predicted_norm;
};

struct TracedRun {
  std::string label;
  int color = 0;
  json config, policy;
  const std::vector<json>& traces;
  std::filesystem::path folder;
};

std::vector<Followed> followed(const std::vector<json>& traces, const char* rows) {
  std::vector<Followed> out;
  for (const json& line : traces)
    for (const json& row : array_at(line, rows)) {
      if (!std::isfinite(number_at(row, "predicted_norm"))) continue;
      const std::string name = text_at(row, "name");
      auto it = std::find_if(out.begin(), out.end(), [&](const Followed& f) { return f.name == name; });
      if (it == out.end())
        it = out.insert(out.end(), {name, text_at(row, "group"), row.contains("directional_lr"), {}, {}, {}, {}, {}});
      it->step.push_back(number_at(line, "step"));
      it->rotation.push_back(number_at(row, "rotation"));
      it->predicted_rotation.push_back(number_at(row, "predicted_rotation"));
      it->norm.push_back(number_at(row, "param_norm"));
      it->predicted_norm.push_back(number_at(row, "predicted_norm"));
    }
  return out;
}

Series dashed_series(const std::string& label, const std::vector<double>& x, const std::vector<double>& y, int color) {
  Series s = line_series(label, {x, y}, color);
  s.style = Series::Style::dashed;
  return s;
}

// The line of a pair of curves: measured with its name, predicted dashed in the same colour.
void add_pair(Panel& panel, const std::string& label, int color, const std::vector<double>& step,
              const std::vector<double>& measured, const std::vector<double>& predicted) {
  panel.series.push_back(line_series(label, {step, measured}, color));
  panel.series.push_back(dashed_series("", step, predicted, color));
}

bool drawable(const std::vector<double>& y) {
  return std::any_of(y.begin(), y.end(), [](double v) { return std::isfinite(v) && v > 0.0; });
}

class PredictionBuilder {
 public:
  explicit PredictionBuilder(PredictionReport& report) : report_(report) {}

  // `picture`: the plot that shows the pair.
  void compare(const TracedRun& run, const std::string& picture, const std::string& of, const std::string& quantity,
               const std::string& formula, const std::vector<double>& step, const std::vector<double>& measured,
               const std::vector<double>& predicted) {
    const Parting p = parting(step, measured, predicted);
    if (p.points == 0) return;
    report_.numbers.push_back({{"run", run.label},
                               {"picture", picture},
                               {"of", of},
                               {"quantity", quantity},
                               {"formula", formula},
                               {"words", parting_words(p)},
                               {"points", p.points},
                               {"within_10_percent", p.within},
                               {"parts_at_step", std::isfinite(p.from) ? json(p.from) : json()},
                               {"largest_log_ratio", p.worst},
                               {"largest_at_step", p.worst_step},
                               {"last_log_ratio", p.last}});
  }

  // Rotation and norm (T11, T12).
  void compare_turns(const TracedRun& run, const std::string& picture, const Followed& f) {
    compare(run, picture, f.name, "rotation", "T11, T12", f.step, f.rotation, f.predicted_rotation);
    compare(run, picture, f.name, "norm", "T11, T12", f.step, f.norm, f.predicted_norm);
  }

  void add(Plot plot) {
    std::erase_if(plot.panels, [](const Panel& p) { return p.series.empty(); });
    if (plot.panels.empty()) return;
    plot.columns = std::min(plot.columns, static_cast<int>(plot.panels.size()));
    // Names of tensors are long: the key below a panel has one a line.
    std::ptrdiff_t names = 0;
    for (const Panel& p : plot.panels)
      names = std::max(
          names, std::count_if(p.series.begin(), p.series.end(), [](const Series& s) { return s.label.size() > 14; }));
    plot.panel_height += 26 * static_cast<int>(names);
    report_.plots.push_back(std::move(plot));
  }

 private:
  PredictionReport& report_;
};

Plot two_columns(const std::string& name, const std::string& title, const std::string& caption) {
  return {name, title, caption, {}, 2, 540, 340};
}

// Two panels, rotation and norm, of what is followed in one run.
void add_turns(Plot& plot, const std::string& title, const std::vector<const Followed*>& shown) {
  Panel turn = make_panel(title + "rotation", "step", "angle per step (radians)"),
        norm = make_panel(title + "norm", "step", "norm");
  turn.log_y = norm.log_y = true;
  int color = 0;
  for (const Followed* f : shown) {
    if (drawable(f->rotation)) add_pair(turn, f->name, color, f->step, f->rotation, f->predicted_rotation);
    if (drawable(f->norm)) add_pair(norm, f->name, color, f->step, f->norm, f->predicted_norm);
    ++color;
  }
  // One key for both panels.
  if (!turn.series.empty() && !norm.series.empty()) norm.key_position = "off";
  plot.panels.push_back(std::move(turn));
  plot.panels.push_back(std::move(norm));
}

// At most kMostTensors of them, the first and the last among these.
template <class T>
std::vector<T> evenly(const std::vector<T>& all) {
  std::vector<T> out;
  const std::size_t n = std::min(kMostTensors, all.size());
  for (std::size_t i = 0; i < n; ++i) out.push_back(all[n == 1 ? 0 : i * (all.size() - 1) / (n - 1)]);
  return out;
}

std::vector<const Followed*> evenly_chosen(const std::vector<Followed>& all,
                                           const std::function<bool(const Followed&)>& which) {
  std::vector<const Followed*> chosen;
  for (const Followed& f : all)
    if (which(f)) chosen.push_back(&f);
  return evenly(chosen);
}

std::string chosen_words(std::size_t shown, std::size_t all) {
  if (shown == all) return "";
  return " Shown: " + std::to_string(shown) + " of " + std::to_string(all) + ", evenly chosen; the table has all.";
}

void groups_over_run(const std::vector<TracedRun>& runs, PredictionBuilder& builder) {
  Plot plot = two_columns(
      "predicted_groups", "Rotation and norm by group, and what noise and decay alone would do",
      "Lines: measured, each group's tensors side by side; dashed: T11's (AdamW, Lion) and T12's (Muon) recursion from "
      "the run's own schedule, decay and initial norms, with nothing fitted. It takes gradients for noise: where a "
      "line leaves its dashed one, the gradients of successive steps agree (above) or most coordinates get none "
      "(below). "
      "A group turns as one vector: the square of its angle is the mean of its tensors' squares, weighted by their "
      "squared norms, so that a long tensor that turns little hides short ones that turn much.");
  if (runs.size() > kMostRuns)
    plot.caption += " Of " + std::to_string(runs.size()) + " runs the first " + std::to_string(kMostRuns) +
                    " are drawn; the table has all.";
  std::size_t drawn = 0;
  for (const TracedRun& run : runs) {
    const std::vector<Followed> all = followed(run.traces, "groups");
    for (const Followed& f : all) builder.compare_turns(run, "predicted_groups", f);
    if (!all.empty() && drawn++ < kMostRuns)
      add_turns(plot, runs.size() > 1 ? run.label + ": " : "",
                evenly_chosen(all, [](const Followed&) { return true; }));
  }
  builder.add(std::move(plot));
}

void tensors_over_run(const TracedRun& run, const std::string& suffix, PredictionBuilder& builder) {
  const std::vector<Followed> all = followed(run.traces, "params");
  const auto scale = [](const Followed& f) { return f.group.starts_with("scale"); };
  for (const Followed& f : all)
    if (f.before_norm || scale(f))
      builder.compare_turns(run, (scale(f) ? "predicted_scales" : "predicted_matrices") + suffix, f);
  Plot matrices = two_columns(
      "predicted_matrices" + suffix, "Matrices before a norm, with T11's and T12's curve",
      "Lines: measured; dashed: predicted. A gradient has no part along such a matrix, so that length and angle follow "
      "from schedule, decay and the update's own size where its gradient is mostly noise.");
  const auto draw = [&](Plot& plot, const std::function<bool(const Followed&)>& which) {
    const std::vector<const Followed*> shown = evenly_chosen(all, which);
    plot.caption += chosen_words(shown.size(), static_cast<std::size_t>(std::count_if(all.begin(), all.end(), which)));
    add_turns(plot, "", shown);
  };
  draw(matrices, [](const Followed& f) { return f.before_norm; });
  builder.add(std::move(matrices));
  Plot scales = two_columns("predicted_scales" + suffix, "Scale vectors, with T11's curve",
                            "Lines: measured; dashed: what noise and decay alone would do. A scale's gradient is small "
                            "beside its noise in one step and adds up over many: the norm leaves its curve where the "
                            "loss moves the scale.");
  draw(scales, scale);
  builder.add(std::move(scales));
}

void ratios_over_run(const TracedRun& run, const std::string& suffix, PredictionBuilder& builder) {
  const std::vector<RatioPrediction> all = ratio_predictions(run.config, run.policy, run.traces);
  Plot plot = two_columns(
      "predicted_ratio" + suffix, "Columns against their scale, with T13's and T2's curves",
      "Left: ‖w‖²/(cγ²) of each scale and the c rows that read a column of its; dashed: T13's path under AdamW "
      "(second moments held) from the first traced step on, R = γ‖w‖ as the run has it (its growth acts as decay on "
      "both). Noise alone "
      "goes to c, from below. Right: the imbalance, mean of γ² − ‖w‖², which the flow conserves (T2: it would stay "
      "where it began); "
      "dashed: under noise and decay alone (T11).");
  Panel ratio = make_panel("ratio", "step", "‖w‖² / (c γ²)"), imbalance = make_panel("imbalance", "step", "γ² − ‖w‖²");
  ratio.log_y = true;
  std::vector<const RatioPrediction*> shown;
  for (const RatioPrediction& p : all) {
    builder.compare(run, plot.name, p.scale, "‖w‖/γ", "T13", p.step, p.measured, p.predicted);
    // An imbalance crosses 0: its difference counts beside γ² + ‖w‖², 10 % for a tenth of that.
    std::vector<double> off;
    for (std::size_t i = 0; i < p.size.size(); ++i)
      off.push_back(std::exp((p.imbalance[i] - p.predicted_imbalance[i]) / p.size[i]));
    builder.compare(run, plot.name, p.scale, "γ² − ‖w‖², in units of γ² + ‖w‖²", "T2, T11", p.imbalance_step, off,
                    std::vector<double>(off.size(), 1.0));
    if (p.predicted.size() == p.step.size()) shown.push_back(&p);
  }
  const std::vector<const RatioPrediction*> drawn = evenly(shown);
  for (std::size_t i = 0; i < drawn.size(); ++i) {
    const RatioPrediction& p = *drawn[i];
    std::vector<double> y, dashed;
    for (std::size_t k = 0; k < p.step.size(); ++k) {
      y.push_back(p.measured[k] * p.measured[k] / p.rows);
      dashed.push_back(p.predicted[k] * p.predicted[k] / p.rows);
    }
    add_pair(ratio, p.scale, static_cast<int>(i), p.step, y, dashed);
    if (!p.imbalance.empty())
      add_pair(imbalance, p.scale, static_cast<int>(i), p.imbalance_step, p.imbalance, p.predicted_imbalance);
  }
  if (!ratio.series.empty()) imbalance.key_position = "off";
  plot.caption += chosen_words(drawn.size(), shown.size());
  plot.panels = {ratio, imbalance};
  builder.add(std::move(plot));
}

// T5: an output-norm scale under decay toward p̂ with a pull of the loss f = s/√(s² + 1), s the traced signal-to-noise
// ratio; f = 0 is decay alone.
std::vector<double> decayed_scale(const json& row, const Schedule& schedule, const std::vector<double>& steps,
                                  const std::vector<double>& snr) {
  double gamma = number_at(row, "norm") / std::sqrt(number_at(row, "count"));
  const double target = number_at(row, "decay_target");
  std::vector<double> out;
  std::int64_t at = 0;
  for (std::size_t i = 0; i < steps.size(); ++i) {
    const double s = snr.empty() || !std::isfinite(snr[i]) ? 0.0 : snr[i], pull = s / std::sqrt(s * s + 1.0);
    for (; at < static_cast<std::int64_t>(steps[i]) - 1; ++at) {
      const theory::StepRate rate = rate_of(row, schedule, at);
      gamma += rate.lr * pull - rate.decay * (gamma - target);
    }
    out.push_back(gamma);
  }
  return out;
}

void output_scales_over_run(const TracedRun& run, const std::string& suffix, PredictionBuilder& builder) {
  Plot plot = two_columns(
      "predicted_output" + suffix, "Output-norm scales under decay, with T5's curve",
      "Lines: root mean square of γ; dashed: T5's balance of the decay with a pull s/√(s² + 1) of the loss, s the "
      "traced "
      "signal-to-noise ratio of the scale's gradient (without it, decay alone). Every pull outward is counted, so that "
      "the curve is an upper one.");
  Panel panel = make_panel("", "step", "γ (root mean square)");
  if (!run.config.contains("schedule")) return;
  const Schedule schedule = schedule_of(run.config);
  int color = 0;
  for (const json& row : array_at(run.policy, "rows")) {
    if (text_at(row, "group") != "scale.output" || !(number_at(row, "weight_decay") > 0.0) ||
        text_at(row, "decay_coupling") == "l2" || !(number_at(row, "norm") > 0.0) ||
        color >= static_cast<int>(kMostTensors))
      continue;
    const std::string name = text_at(row, "name");
    std::vector<double> step, gamma, snr;
    for (const json& line : run.traces)
      for (const json& traced : array_at(line, "params"))
        if (text_at(traced, "name") == name) {
          step.push_back(number_at(line, "step"));
          gamma.push_back(number_at(traced, "param_norm") / std::sqrt(number_at(traced, "count")));
          snr.push_back(number_at(traced, "snr"));
        }
    if (step.empty()) continue;
    const std::vector<double> predicted = decayed_scale(row, schedule, step, snr);
    builder.compare(run, plot.name, name, "γ", "T5", step, gamma, predicted);
    add_pair(panel, name, color++, step, gamma, predicted);
  }
  plot.panels = {panel};
  builder.add(std::move(plot));
}

// Of the trace line nearest to the step, the row of that name.
json row_near(const std::vector<json>& traces, double step, const char* rows, const std::string& name) {
  const json* best = nullptr;
  for (const json& line : traces)
    if (!best || std::abs(number_at(line, "step") - step) < std::abs(number_at(*best, "step") - step)) best = &line;
  if (best)
    for (const json& row : array_at(*best, rows))
      if (text_at(row, "name") == name) return row;
  return json::object();
}

double adam_limit(const json& policy_row, double mean_step) {
  if (!(mean_step > 0.0) || !policy_row.contains("options")) return kNotThere;
  return theory::adam_edge(mean_step, number_at(policy_row["options"], "beta1"));
}

// A probe.json by an older version does not say what it measured.
void check_probe(const json& probe, const TracedRun& run) {
  const std::string file = (run.folder / "probe.json").string();
  const json config = probe.value("config", json::object());
  for (const char* key : {"model", "optimizer", "schedule", "seed", "data_seed", "steps", "batch_size", "accumulation",
                          "sequence_length", "dtype", "autocast"})
    if (config.contains(key) && config[key] != run.config.value(key, json()))
      throw RunError(file + ": has measured another run: its " + key + " is not that of config.json");
  const std::string data = text_at(probe, "data_hash");
  const json summary = read_record(run.folder / "summary.json").value_or(json::object());
  if (!data.empty() && text_at(summary, "data_hash", data) != data)
    throw RunError(file + ": has measured a run on other data than summary.json says");
}

void curvature_over_run(const TracedRun& run, const std::string& suffix, PredictionBuilder& builder) {
  const json probe = read_record(run.folder / "probe.json").value_or(json::object());
  if (!probe.contains("points") || !run.policy.contains("rows")) return;
  check_probe(probe, run);
  Plot plot = two_columns(
      "predicted_curvature" + suffix, "Largest curvature, with T14's limit",
      "Lines: largest eigenvalue of the Hessian, of everything and of a scale with the maps that read it (scalevec "
      "probe); dashed: T14's edge of stability 2(1 + β₁)/((1 − β₁) · η/√v̂) under Adam at the traced mean step of its "
      "coordinates, of everything at that of the group whose steps are largest. Above it steps grow; below, the "
      "curvature does not limit the learning rate.");
  Panel panel = make_panel("", "step", "eigenvalue");
  panel.log_y = true;
  std::map<std::string, std::array<std::vector<double>, 3>> curves;
  for (const json& point : probe["points"]) {
    const double step = number_at(point, "step");
    const json sharpness = point.value("sharpness", json::object());
    for (const auto& [name, value] : sharpness.items()) {
      double limit = kNotThere;
      if (name == "whole") {
        double largest = 0.0;
        const json* row = nullptr;
        for (const json& own : run.policy.at("rows")) {
          const double mean = number_at(row_near(run.traces, step + 1, "params", text_at(own, "name")), "adaptive_lr");
          if (mean > largest) {
            largest = mean;
            row = &own;
          }
        }
        if (row) limit = adam_limit(*row, largest);
      } else {
        // λ_max of the pair under Adam is h(γ²a_w + ‖w‖²a_γ), a the mean steps, where it is h(γ² + ‖w‖²) without.
        const json own = row_near(run.traces, step + 1, "params", name);
        const double ratio = number_at(own, "w_gamma_ratio"), ratio_sq = ratio * ratio;
        for (const json& scale : array_at(run.policy, "scales")) {
          if (text_at(scale, "name") != name || array_at(scale, "readers").empty()) continue;
          const std::string reader = scale["readers"][0].get<std::string>();
          const double a_w = number_at(row_near(run.traces, step + 1, "params", reader), "adaptive_lr");
          const double mean = (a_w + ratio_sq * number_at(own, "adaptive_lr")) / (1.0 + ratio_sq);
          for (const json& row : run.policy["rows"])
            if (text_at(row, "name") == reader) limit = adam_limit(row, mean);
        }
      }
      auto& [x, y, edge] = curves[name];
      x.push_back(step);
      y.push_back(number_at(value, "largest"));
      edge.push_back(limit);
    }
  }
  int color = 0;
  for (const auto& [name, curve] : curves) {
    builder.compare(run, plot.name, name, "largest curvature over its limit", "T14", curve[0], curve[1], curve[2]);
    add_pair(panel, name, color++, curve[0], curve[1], curve[2]);
  }
  plot.panels = {panel};
  builder.add(std::move(plot));
}

}  // namespace

PredictionReport prediction_report(const std::vector<RunGroup>& groups, bool tensors) {
  PredictionReport report;
  PredictionBuilder builder(report);
  std::vector<TracedRun> runs;
  for (const RunGroup& g : groups) {
    if (g.runs.empty()) continue;
    const auto& folder = g.runs.front();
    runs.push_back({g.label, g.color, read_json_if_whole(folder / "config.json").value_or(json::object()),
                    read_record(folder / "policy.json").value_or(json::object()), g.log("traces.jsonl"), folder});
  }
  groups_over_run(runs, builder);
  if (!tensors) return report;
  for (std::size_t i = 0; i < runs.size(); ++i) {
    const std::string suffix = runs.size() > 1 ? "_" + std::to_string(i + 1) : "";
    tensors_over_run(runs[i], suffix, builder);
    ratios_over_run(runs[i], suffix, builder);
    output_scales_over_run(runs[i], suffix, builder);
    curvature_over_run(runs[i], suffix, builder);
  }
  return report;
}

}  // namespace scalevec::experiments
