#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "experiments/record/record_files.hpp"
#include "experiments/runs/run_prediction.hpp"

// What predicted_rotation and predicted_norm add to a run: bench_prediction RUN, the folder of any run.
using namespace scalevec::experiments;
using nlohmann::json;

namespace {

// Seconds of all predictions of the run, traced every `every` steps.
double seconds_of_run(const json& config, const json& policy, std::int64_t steps, std::int64_t every) {
  std::vector<RunTraceRow> params, groups;
  for (const json& row : policy.at("rows")) {
    params.emplace_back().name = text_at(row, "name");
    const std::string group = text_at(row, "group");
    if (std::none_of(groups.begin(), groups.end(), [&](const RunTraceRow& g) { return g.name == group; }))
      groups.emplace_back().name = group;
  }
  const auto begin = std::chrono::steady_clock::now();
  RunPrediction prediction(config, policy);
  for (std::int64_t step = every; step <= steps; step += every) prediction.merge_into(step, params, groups);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::fprintf(stderr, "usage: bench_prediction RUN\n");
    return 2;
  }
  const std::filesystem::path run = argv[1];
  const json config = read_json_if_whole(run / "config.json").value_or(json::object());
  const json policy = read_record(run / "policy.json").value_or(json::object());
  if (!config.contains("steps") || !policy.contains("rows")) {
    std::fprintf(stderr, "bench_prediction: %s holds no run (config.json, policy.json)\n", argv[1]);
    return 2;
  }
  const auto steps = config["steps"].get<std::int64_t>();
  const json summary = read_record(run / "summary.json").value_or(json::object());
  std::printf("%zu parameters, %lld steps", policy["rows"].size(), static_cast<long long>(steps));
  if (const double seconds = number_at(summary, "seconds"); seconds > 0.0)
    std::printf(", %.3g us a step as the run was trained", 1e6 * seconds / number_at(summary, "steps"));
  std::printf("\n");
  for (const std::int64_t every : {1, 10}) {
    std::vector<double> seconds;
    for (int i = 0; i < 9; ++i) seconds.push_back(seconds_of_run(config, policy, steps, every));
    std::sort(seconds.begin(), seconds.end());
    std::printf("traces every %lld steps: predictions take %.3g us a step\n", static_cast<long long>(every),
                1e6 * seconds[4] / static_cast<double>(steps));
  }
}
