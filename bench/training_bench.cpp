// What traces cost, their lines of traces.jsonl included. Blocks of ten steps without traces, with one traced step, and
// with every step traced take turns in one session, so that each round gives paired ratios: between sessions the
// memory's placement alone moves a step by more than traces cost. `scripts/bench.sh training` prints the medians and
// their intervals.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <unistd.h>

#include <array>
#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "bench/paired.hpp"
#include "experiments/record/json_lines.hpp"
#include "experiments/system/memory.hpp"
#include "experiments/train/session.hpp"
#include "experiments/train/trace_line.hpp"

namespace {

constexpr std::array<int, 3> kTraceEvery{0, 10, 1};  // 0: none

double ten_steps(scalevec::experiments::Session& session, scalevec::experiments::JsonLines& log, int every) {
  const auto start = std::chrono::steady_clock::now();
  for (int step = 0; step < 10; ++step) {
    const bool trace = every > 0 && step % every == 0;
    const scalevec::experiments::StepResult result = session.step(trace);
    if (trace) log.append_line(scalevec::experiments::trace_line(session.steps_done(), result.params, result.groups));
  }
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void traces(benchmark::State& state, int width, int layers) {
  at::set_num_threads(2);
  scalevec::experiments::Session session(scalevec::experiments::read_run_config(
      {{"model", {{"vocab_size", 256}, {"width", width}, {"layers", layers}, {"heads", width / 32}, {"qk_norm", true}}},
       {"data", {{"synthetic", nlohmann::json::object()}}},
       {"sequence_length", 128},
       {"batch_size", 16},
       {"steps", 1'000'000},
       {"optimizer",
        {{"lr", 1e-3},
         {"max_norm", 1.0},
         {"rules", nlohmann::json::array({nlohmann::json{{"match", nlohmann::json::object()}}})}}}}));
  const auto file =
      std::filesystem::temp_directory_path() / ("scalevec-bench-" + std::to_string(::getpid()) + ".jsonl");
  scalevec::experiments::JsonLines log(file, 0);
  for (const int every : kTraceEvery) ten_steps(session, log, every);
  std::vector<double> every_10, every_step;
  size_t round = 0;
  for (auto _ : state) {
    std::array<double, 3> seconds{};
    for (size_t k = 0; k < 3; ++k) {
      const size_t block = (k + round) % 3;  // each kind stands first, second and last equally often
      seconds[block] = ten_steps(session, log, kTraceEvery[block]);
    }
    ++round;
    every_10.push_back(seconds[1] / seconds[0]);
    every_step.push_back(seconds[2] / seconds[0]);
  }
  std::filesystem::remove(file);
  scalevec::bench::report_ratio(state, "traced_every_10", every_10);
  scalevec::bench::report_ratio(state, "traced_every_step", every_step);
}

}  // namespace

int main(int argc, char** argv) {
  scalevec::experiments::keep_freed_memory();  // as the program does
  benchmark::Initialize(&argc, argv);
  for (const auto& [width, layers, rounds] : {std::tuple(64, 2, 90), std::tuple(128, 4, 45), std::tuple(256, 4, 24)})
    benchmark::RegisterBenchmark(("width_" + std::to_string(width) + "_layers_" + std::to_string(layers)).c_str(),
                                 [width = width, layers = layers](benchmark::State& s) { traces(s, width, layers); })
        ->Iterations(rounds)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  benchmark::RunSpecifiedBenchmarks();
}
