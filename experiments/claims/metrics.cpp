#include "scalevec/experiments/claims/metrics.hpp"

#include <cmath>
#include <limits>
#include <map>

#include "scalevec/experiments/compare/overrides.hpp"
#include "scalevec/experiments/compare/record_files.hpp"

namespace scalevec {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();

struct Mean {
  double sum = 0.0;
  std::int64_t n = 0;
  void add(double x) {
    if (!std::isfinite(x)) return;
    sum += x;
    ++n;
  }
  double value() const { return n ? sum / static_cast<double>(n) : kNaN; }
};

double itself(double x) { return x; }

// Of the last traced step, mean over the parameters that have it of a function of it.
double last_trace(const fs::path& run, const char* field, double (*of)(double) = itself) {
  const std::vector<json> lines = read_json_lines(run / "traces.jsonl");
  Mean mean;
  if (!lines.empty())
    for (const json& row : lines.back().value("params", json::array())) mean.add(of(number_at(row, field)));
  return mean.value();
}

double decay_of(const json& policy, const char* group) {
  for (const json& row : policy.value("groups", json::array()))
    if (text_at(row, "group") == group) return number_at(row, "weight_decay");
  return kNaN;
}

double rotation_ratio(const fs::path& run) {
  const json config = read_json_if_whole(run / "config.json").value_or(json::object());
  const json policy = read_json_if_whole(run / "policy.json").value_or(json::object());
  const json* beta = find_at(config, "optimizer.defaults.beta1");
  const double beta1 = beta && beta->is_number() ? beta->get<double>() : 0.9;
  std::map<std::string, double> decay;
  for (const json& row : policy.value("rows", json::array()))
    if (text_at(row, "method") == "adamw") decay[text_at(row, "name")] = number_at(row, "weight_decay");
  const std::vector<json> lines = read_json_lines(run / "traces.jsonl");
  const double from = lines.empty() ? 0.0 : 0.5 * number_at(lines.back(), "step");
  Mean mean;
  for (const json& line : lines) {
    if (number_at(line, "step") < from) continue;
    for (const json& row : line.value("params", json::array())) {
      const auto wd = decay.find(text_at(row, "name"));
      if (wd == decay.end() || !std::isfinite(number_at(row, "directional_lr"))) continue;
      mean.add(number_at(row, "rotation") /
               std::sqrt(2.0 * number_at(row, "scheduled_lr") * wd->second * (1.0 - beta1) / (1.0 + beta1)));
    }
  }
  return mean.value();
}

}  // namespace

const std::vector<std::string>& run_metric_names() {
  static const std::vector<std::string> names{"val_loss",    "seconds_per_step", "peak_memory", "gamma_w_correlation",
                                              "precond_min", "decay_balance", "rotation_ratio"};
  return names;
}

double decay_ratio(const fs::path& run) {
  const json policy = read_json_if_whole(run / "policy.json").value_or(json::object());
  const double on_scales = decay_of(policy, "scale.input");
  return on_scales > 0.0 ? on_scales / decay_of(policy, "matrix") : kNaN;
}

double run_metric(const fs::path& run, const std::string& name) {
  if (name == "gamma_w_correlation" || name == "precond_min") return last_trace(run, name.c_str());
  if (name == "decay_balance") return std::exp(last_trace(run, "w_gamma_ratio", std::log)) / decay_ratio(run);
  if (name == "rotation_ratio") return rotation_ratio(run);
  const json summary = read_json_if_whole(run / "summary.json").value_or(json::object());
  if (name == "seconds_per_step") {
    const bool one_thread = text_at(summary, "device") == "cpu" && number_at(summary, "threads") == 1.0;
    return number_at(summary, one_thread ? "cpu_seconds" : "training_seconds") / number_at(summary, "steps");
  }
  if (name == "peak_memory") return number_at(summary, "peak_memory_bytes");
  return number_at(summary, name);
}

}  // namespace scalevec
