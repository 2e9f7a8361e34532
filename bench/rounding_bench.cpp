// A step on parameters of 16 bits under each rounding, against rounding to nearest: AdamW and SGD, plain and traced, 10
// million elements on one thread. Every round runs each job once, in an order that turns.
// `scripts/bench.sh rounding` prints the table.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/types.h>

#include <chrono>
#include <memory>

#include "bench/paired.hpp"
#include "optim/optim.hpp"

namespace {

constexpr std::int64_t kElements = 10'000'000, kRounds = 21;

template <class Method, class Options>
void run(benchmark::State& state, torch::Dtype dtype, bool traced, Options options) {
  constexpr const char* kRoundings[] = {"nearest", "stochastic", "compensated"};
  at::set_num_threads(1);
  std::unique_ptr<scalevec::Optimizer> jobs[3];
  for (int k = 0; k < 3; ++k) {
    torch::manual_seed(1);
    torch::Tensor param = torch::randn({kElements}).to(dtype).requires_grad_(true);
    param.mutable_grad() = torch::randn({kElements}).to(dtype);
    jobs[k] = std::make_unique<Method>(std::vector<torch::Tensor>{param}, Options(options).rounding(kRoundings[k]));
    jobs[k]->set_check_finite(false);
  }
  std::vector<double> seconds[3];
  size_t round = 0;
  const auto step = [&](size_t k) {
    if (traced) jobs[k]->trace_next_step();
    jobs[k]->step();
  };
  for (size_t k = 0; k < 3; ++k) step(k), step(k);
  for (auto _ : state) {
    for (size_t i = 0; i < 3; ++i) {
      const size_t turn = (i + round / 2) % 3, which = round % 2 ? 2 - turn : turn;
      const auto start = std::chrono::steady_clock::now();
      step(which);
      seconds[which].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    ++round;
  }
  for (size_t k = 1; k < 3; ++k) {
    std::vector<double> ratios;
    for (size_t i = 0; i < round; ++i) ratios.push_back(seconds[k][i] / seconds[0][i]);
    scalevec::bench::report_ratio(state, kRoundings[k], std::move(ratios));
  }
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const auto add = [](const std::string& name, auto body) {
    benchmark::RegisterBenchmark(name.c_str(), body)->Iterations(kRounds)->Unit(benchmark::kMillisecond)->UseRealTime();
  };
  for (const auto dtype : {torch::kBFloat16, torch::kFloat16})
    for (const bool traced : {false, true}) {
      const std::string of =
          std::string(dtype == torch::kBFloat16 ? ", bfloat16" : ", float16") + (traced ? ", traced" : "");
      add("AdamW" + of,
          [=](benchmark::State& s) { run<scalevec::AdamW>(s, dtype, traced, scalevec::AdamWOptions(1e-3)); });
      add("SGD" + of,
          [=](benchmark::State& s) { run<scalevec::SGD>(s, dtype, traced, scalevec::SGDOptions(1e-3).momentum(0.9)); });
    }
  benchmark::RunSpecifiedBenchmarks();
}
