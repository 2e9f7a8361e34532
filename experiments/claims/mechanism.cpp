#include <chrono>
#include <cmath>
#include <map>
#include <set>
#include <thread>

#include "experiments/claims/levels.hpp"
#include "experiments/claims/metrics.hpp"
#include "experiments/distributed/child_process.hpp"
#include "experiments/record/overrides.hpp"
#include "experiments/record/record_files.hpp"
#include "experiments/statistics/statistics.hpp"
#include "theory/magnitude_direction.hpp"

namespace scalevec::experiments {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kScaleTraces[] = {"imbalance", "w_gamma_ratio", "precond_min", "gamma_w_correlation"};

json of_traces(const fs::path& run, double width) {
  json out{{"steps", json::array()}};
  for (const char* field : kScaleTraces) out[field] = json::array();
  std::map<std::string, double> decrease;
  std::map<std::string, std::vector<double>> snr;
  double total = 0.0, along_sq = 0.0, along = 0.0;
  std::multiset<double> lengths;  // of the vectors whose magnitude's step is measured, last step
  for (const json& line : read_json_lines(run / "traces.jsonl")) {
    out["steps"].push_back(line.value("step", 0));
    lengths.clear();
    for (const char* field : kScaleTraces) {
      std::vector<double> values;
      for (const json& row : array_at(line, "params")) values.push_back(number_at(row, field));
      out[field].push_back(finite_or_null(mean_interval(values).mean));
    }
    for (const json& row : array_at(line, "params"))
      if (const double x = number_at(row, "gamma_update_along") / number_at(row, "scheduled_lr");
          std::isfinite(x) && text_at(row, "group") == "scale.input") {
        along_sq += x * x;
        along += 1.0;
        lengths.insert(number_at(row, "count"));
      }
    for (const json& row : array_at(line, "groups")) {
      if (const double x = number_at(row, "predicted_decrease"); std::isfinite(x)) {
        decrease[text_at(row, "name")] += x;
        total += x;
      }
      if (const double x = number_at(row, "snr"); std::isfinite(x)) snr[text_at(row, "name")].push_back(x);
    }
  }
  for (auto& [group, x] : decrease) out["decrease"][group] = finite_or_null(x / total);
  for (auto& [group, values] : snr) out["snr"][group] = mean_interval(values).mean;
  if (const double s = number_at(out.value("snr", json::object()), "scale.input"); s >= 0.0)
    out["amplification"] = theory::or_adam_amplification(width, s);
  out["magnitude_step"] = {{"size", finite_or_null(std::sqrt(along_sq / along))}, {"lengths", lengths}};
  const DecayBalance balance = decay_balance(run);
  out["w_gamma"] = {{"measured", finite_or_null(balance.measured)}, {"predicted", finite_or_null(balance.predicted)}};
  out["rotation_ratio"] = finite_or_null(run_metric(run, "rotation_ratio"));
  return out;
}

// Through a process of its own, like a run; an empty object with the reason where it fails.
json probed(const fs::path& run, const fs::path& file, const std::string& program) {
  const auto config = read_json_if_whole(run / "config.json");
  if (!config) return {{"problem", "the run has no config.json"}};
  if (const auto kept = read_record(file)) {
    if (kept->value("config", *config) == *config) return *kept;
    return {{"problem", file.string() + ": has measured another run"}};
  }
  const auto steps = config->value("steps", std::int64_t{0});
  std::set<std::int64_t> points{0, steps / 4, steps / 2, steps};
  std::string at;
  for (const std::int64_t p : points) at += (at.empty() ? "" : ",") + std::to_string(p);
  fs::create_directories(file.parent_path());
  fs::path log = file;
  const pid_t child =
      start_child({program, "probe", (run / "config.json").string(), "--at", at, "--out", file.string()},
                  log.replace_extension(".log"));
  std::optional<ChildEnd> end;
  while (!(end = poll_child(child))) std::this_thread::sleep_for(std::chrono::milliseconds(20));
  if (const auto made = read_record(file)) return *made;
  return {{"problem", end->text() + ": " + last_line(log)}};
}

}  // namespace

json mechanism(const Plan& plan, const Claim& claim, const RunStore& store, const fs::path& probes,
               const std::string& program) {
  json out = json::object();
  for (const Variant& variant : claim.variants) {
    const Tuning t = plan.tuning(claim, variant.name, store.outcomes());
    if (!t.best) continue;
    const PlannedVariant& planned = plan.variant(claim, variant.name);
    const std::string run = run_name(planned.folder, *t.best, plan.choice(claim).first_seed);
    const auto outcome = store.outcome(run);
    // Of a run made elsewhere there are no traces.
    if (!outcome || outcome->state != CellOutcome::State::done || !fs::exists(store.folder() / run)) continue;
    const json* width = find_at(planned.config, "model.width");
    out[variant.name] = of_traces(store.folder() / run, width && width->is_number() ? width->get<double>() : 128.0);
    if (std::find(claim.probes.begin(), claim.probes.end(), variant.name) == claim.probes.end()) continue;
    out[variant.name]["probe"] = probed(store.folder() / run, probes / (file_name(run) + ".json"), program);
  }
  if (out.contains(claim.baseline)) {
    const json unit = out[claim.baseline]["magnitude_step"];
    for (auto& [name, m] : out.items())
      if (m["magnitude_step"]["lengths"] == unit["lengths"])
        m["amplification_measured"] = finite_or_null(number_at(m["magnitude_step"], "size") / number_at(unit, "size"));
  }
  return out.empty() ? json() : out;
}

}  // namespace scalevec::experiments
