#include "experiments/claims/metrics.hpp"

#include <cmath>
#include <map>

#include "experiments/record/overrides.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/runs/run_prediction.hpp"
#include "experiments/statistics/statistics.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Of the finite ones.
double mean_of(const std::vector<double>& values) { return mean_interval(values).mean; }

// Of the last traced step, over the parameters that have it.
double last_trace(const fs::path& run, const char* field) {
  const std::vector<json> lines = read_json_lines(run / "traces.jsonl");
  std::vector<double> mean;
  if (!lines.empty())
    for (const json& row : array_at(lines.back(), "params")) mean.push_back(number_at(row, field));
  return mean_of(mean);
}

// Of a group that one rule decays to 0.
double decay_of(const json& policy, const char* group) {
  for (const json& row : array_at(policy, "groups"))
    if (text_at(row, "group") == group)
      return number_at(row, "decay_target") == 0.0 ? number_at(row, "weight_decay") : kNaN;
  return kNaN;
}

double rotation_ratio(const fs::path& run) {
  const json config = read_json_if_whole(run / "config.json").value_or(json::object());
  const json policy = read_record(run / "policy.json").value_or(json::object());
  const json* beta = find_at(config, "optimizer.defaults.beta1");
  const double beta1 = beta && beta->is_number() ? beta->get<double>() : 0.9;
  std::map<std::string, double> decay;
  for (const json& row : array_at(policy, "rows"))
    if (text_at(row, "method") == "adamw") decay[text_at(row, "name")] = number_at(row, "weight_decay");
  const std::vector<json> lines = read_json_lines(run / "traces.jsonl");
  const double from = lines.empty() ? 0.0 : 0.5 * number_at(lines.back(), "step");
  std::vector<double> mean;
  for (const json& line : lines) {
    if (number_at(line, "step") < from) continue;
    for (const json& row : array_at(line, "params")) {
      const auto wd = decay.find(text_at(row, "name"));
      if (wd == decay.end() || !std::isfinite(number_at(row, "directional_lr"))) continue;
      mean.push_back(number_at(row, "rotation") /
                     std::sqrt(2.0 * number_at(row, "scheduled_lr") * wd->second * (1.0 - beta1) / (1.0 + beta1)));
    }
  }
  return mean_of(mean);
}

// Of each traced step the mean over matrices before a norm of ln(measured/predicted rotation).
std::vector<double> rotation_gaps(const fs::path& run) {
  std::vector<double> out;
  for (const json& line : read_json_lines(run / "traces.jsonl")) {
    std::vector<double> mean;
    for (const json& row : array_at(line, "params"))
      if (std::isfinite(number_at(row, "directional_lr")))
        mean.push_back(std::log(number_at(row, "rotation") / number_at(row, "predicted_rotation")));
    if (const double value = mean_of(mean); std::isfinite(value)) out.push_back(value);
  }
  return out;
}

double rotation_over_run(const fs::path& run, bool worst) {
  std::vector<double> mean;
  double largest = kNaN;
  for (const double gap : rotation_gaps(run)) {
    mean.push_back(std::abs(gap));
    if (!(std::abs(gap) <= largest)) largest = std::abs(gap);
  }
  return std::exp(worst ? largest : mean_of(mean));
}

std::vector<double> ranks(const std::vector<double>& x) {
  std::vector<double> out;
  for (const double a : x) {
    double below = 0.0, same = 0.0;
    for (const double b : x) {
      below += b < a;
      same += b == a;
    }
    out.push_back(below + 0.5 * (same - 1.0));
  }
  return out;
}

// Spearman's, ties at their mean rank; NaN where one side has no spread.
double rank_correlation(const std::vector<double>& x, const std::vector<double>& y) {
  const std::vector<double> a = ranks(x), b = ranks(y);
  const double middle = 0.5 * (static_cast<double>(x.size()) - 1.0);
  double aa = 0.0, bb = 0.0, ab = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    aa += (a[i] - middle) * (a[i] - middle);
    bb += (b[i] - middle) * (b[i] - middle);
    ab += (a[i] - middle) * (b[i] - middle);
  }
  return aa > 0.0 && bb > 0.0 ? ab / std::sqrt(aa * bb) : kNaN;
}

double ratio_metric(const fs::path& run, const std::string& name) {
  const json config = read_json_if_whole(run / "config.json").value_or(json::object());
  const json policy = read_record(run / "policy.json").value_or(json::object());
  std::vector<double> measured, predicted, still, length;
  std::vector<double> level;
  for (const RatioPrediction& p : ratio_predictions(config, policy, read_json_lines(run / "traces.jsonl"))) {
    if (p.predicted.empty()) continue;
    measured.push_back(p.measured.back());
    predicted.push_back(p.predicted.back());
    still.push_back(p.still.back());
    length.push_back(p.length.back());
    level.push_back(std::abs(std::log(measured.back() / predicted.back())));
  }
  if (name == "ratio_level") return std::exp(mean_of(level));
  return rank_correlation(measured, name == "ratio_order" ? predicted : name == "ratio_order_still" ? still : length);
}

}  // namespace

const std::vector<std::string>& run_metric_names() {
  static const std::vector<std::string> names{
      "val_loss",          "seconds_per_step",   "peak_memory",        "gamma_w_correlation", "precond_min",
      "decay_balance",     "rotation_ratio",     "rotation_run_worst", "rotation_run_mean",   "ratio_order",
      "ratio_order_still", "ratio_order_length", "ratio_level"};
  return names;
}

DecayBalance decay_balance(const fs::path& run) {
  const json policy = read_record(run / "policy.json").value_or(json::object());
  const double on_scales = decay_of(policy, "scale.input"), on_maps = decay_of(policy, "matrix");
  std::map<std::string, double> rows;
  for (const json& scale : array_at(policy, "scales"))
    if (text_at(scale, "form") == "plain" && number_at(scale, "rows") > 0.0)
      rows[text_at(scale, "name")] = number_at(scale, "rows");
  const std::vector<json> lines = read_json_lines(run / "traces.jsonl");
  std::vector<double> measured, predicted;
  if (!lines.empty() && on_scales > 0.0 && on_maps > 0.0)
    for (const json& row : array_at(lines.back(), "params")) {
      const auto readers = rows.find(text_at(row, "name"));
      const double ratio = number_at(row, "w_gamma_ratio");
      if (readers == rows.end() || !(ratio > 0.0)) continue;
      // The positive root ρ of λ_wρ²γ² − ½cη = λ_γγ²ρ.
      const double gamma_sq = std::pow(number_at(row, "param_norm"), 2) / number_at(row, "count");
      const double pull = 2.0 * on_maps * readers->second * number_at(row, "scheduled_lr") / gamma_sq;
      measured.push_back(std::log(ratio));
      predicted.push_back(std::log((on_scales + std::sqrt(on_scales * on_scales + pull)) / (2.0 * on_maps)));
    }
  return {std::exp(mean_of(measured)), std::exp(mean_of(predicted))};
}

double run_metric(const fs::path& run, const std::string& name) {
  if (name == "gamma_w_correlation" || name == "precond_min") return last_trace(run, name.c_str());
  if (name == "decay_balance") {
    const DecayBalance balance = decay_balance(run);
    return balance.measured / balance.predicted;
  }
  if (name == "rotation_ratio") return rotation_ratio(run);
  if (name.starts_with("rotation_run")) return rotation_over_run(run, name == "rotation_run_worst");
  if (name.starts_with("ratio_")) return ratio_metric(run, name);
  const json summary = read_record(run / "summary.json").value_or(json::object());
  if (name == "seconds_per_step") {
    const bool one_thread = text_at(summary, "device") == "cpu" && number_at(summary, "threads") == 1.0;
    return number_at(summary, one_thread ? "cpu_seconds" : "training_seconds") / number_at(summary, "steps");
  }
  if (name == "peak_memory") return number_at(summary, "peak_memory_bytes");
  return number_at(summary, name);
}

}  // namespace scalevec::experiments
