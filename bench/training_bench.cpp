// What traces cost: training steps with a traced step every 10, with every step traced, and without, interleaved.
// `scripts/bench.sh training` prints the ratios.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>

#include "scalevec/experiments/train/session.hpp"

namespace {

// Ten steps, of which every `every`-th is traced (0: none).
void ten_steps(benchmark::State& state, int width, int layers, int every) {
  at::set_num_threads(2);
  scalevec::Session session(scalevec::read_run_config(
      {{"model", {{"vocab_size", 256}, {"width", width}, {"layers", layers}, {"heads", width / 32}, {"qk_norm", true}}},
       {"data", {{"synthetic", nlohmann::json::object()}}},
       {"sequence_length", 128},
       {"batch_size", 16},
       {"steps", 1'000'000},
       {"optimizer", {{"lr", 1e-3}, {"max_norm", 1.0}, {"rules", {{{"match", nlohmann::json::object()}}}}}}}));
  for (auto _ : state)
    for (int step = 0; step < 10; ++step) session.step(every > 0 && step % every == 0);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  for (const auto& [width, layers] : {std::pair(64, 2), std::pair(128, 4), std::pair(256, 4)})
    for (const auto& [name, every] : {std::pair("untraced", 0), std::pair("traced_every_10", 10), std::pair("traced_every_step", 1)})
      benchmark::RegisterBenchmark(("width_" + std::to_string(width) + "_layers_" + std::to_string(layers) + "/" + name).c_str(),
                                   [width = width, layers = layers, every = every](benchmark::State& s) { ten_steps(s, width, layers, every); })
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  benchmark::RunSpecifiedBenchmarks();
}
