// The AdamW step against its peers: at::_fused_adamw_, the usual sequence of clip, step and norms, torch::optim::AdamW,
// and the memory's own speed. Every round runs each job once, in an order that turns, on one set of parameters and
// gradients; the counters are medians over rounds of a ratio within the round, with a 95 % interval.
// `scripts/bench.sh optimizers` prints the table.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include <chrono>
#include <functional>

#include "scalevec/bench/paired.hpp"
#include "scalevec/optim.hpp"

namespace {

using scalevec::bench::median_interval;
using torch::Tensor;
using Shapes = std::vector<std::vector<std::int64_t>>;

Shapes equal_tensors(std::int64_t count, std::int64_t size) { return Shapes(static_cast<size_t>(count), {size}); }

// Llama-3.2-1B's shapes with every width divided by four: 16 layers, two norms each.
Shapes llama_shapes() {
  Shapes shapes{{32064, 512}, {512}};
  for (int layer = 0; layer < 16; ++layer) {
    for (const auto& s :
         Shapes{{512, 512}, {128, 512}, {128, 512}, {512, 512}, {2048, 512}, {2048, 512}, {512, 2048}, {512}, {512}})
      shapes.push_back(s);
  }
  return shapes;
}

struct Data {
  std::vector<Tensor> params;
  std::int64_t count = 0;

  explicit Data(const Shapes& shapes) {
    torch::manual_seed(1);
    for (const auto& shape : shapes) {
      params.push_back(torch::randn(shape).requires_grad_(true));
      params.back().mutable_grad() = torch::randn(shape);
      count += params.back().numel();
    }
  }
};

struct Fused {
  std::vector<Tensor> params, grads, m, v, max, steps;

  explicit Fused(const Data& data) {
    for (const Tensor& p : data.params) {
      params.push_back(p.detach());
      grads.push_back(p.grad());
      m.push_back(torch::zeros_like(p.detach()));
      v.push_back(torch::zeros_like(p.detach()));
      steps.push_back(torch::zeros({}));
    }
  }
  void step() {
    const torch::NoGradGuard no_grad;
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(params, grads, m, v, max, steps, 1e-3, 0.9, 0.999, 1e-2, 1e-8, false, false);
  }
};

std::unique_ptr<scalevec::AdamW> ours(const Data& data) {
  return std::make_unique<scalevec::AdamW>(data.params, scalevec::AdamWOptions(1e-3));
}

// The same job with LibTorch's pieces: clip, keep a copy, step, norms of g, p and Δ.
void usual_whole_job(const Data& data, Fused& fused, std::vector<Tensor>& before) {
  const torch::NoGradGuard no_grad;
  torch::nn::utils::clip_grad_norm_(data.params, 1.0);
  at::_foreach_copy_(before, fused.params);
  fused.step();
  benchmark::DoNotOptimize(at::_foreach_norm(fused.grads));
  benchmark::DoNotOptimize(at::_foreach_norm(fused.params));
  at::_foreach_sub_(before, fused.params);
  benchmark::DoNotOptimize(at::_foreach_norm(before));
}

void run(benchmark::State& state, int threads, const Shapes& shapes) {
  at::set_num_threads(threads);
  const Data data(shapes);
  // Every sum and the clip factor in the step, which reads each gradient once.
  const auto with_sums = ours(data);
  with_sums->set_check_finite(false);
  // Global norm, check for values that are not finite, clip, step, sums.
  const auto whole_job = ours(data);
  whole_job->set_max_norm(1.0);
  Fused fused(data);
  torch::optim::AdamW torch_adamw(data.params, torch::optim::AdamWOptions(1e-3));
  std::vector<Tensor> before;
  for (const Tensor& p : fused.params) before.push_back(torch::empty_like(p));
  // What memory can do: a large x += y, 12 bytes an element.
  Tensor x = torch::zeros({data.count}), y = torch::ones({data.count});

  enum { sums, whole, bare, usual, torch_step, add, jobs };
  const std::function<void()> job[jobs] = {[&] { with_sums->trace_next_step(), with_sums->step(); },
                                           [&] { whole_job->trace_next_step(), whole_job->step(); },
                                           [&] { fused.step(); },
                                           [&] { usual_whole_job(data, fused, before); },
                                           [&] { torch_adamw.step(); },
                                           [&] { x.add_(y); }};
  for (const auto& warm : job) warm(), warm();

  std::vector<double> seconds[jobs];
  size_t round = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < jobs; ++i) {
      // Halves of the rounds run in opposite order, so that no job always follows the same one.
      const size_t turn = (i + round / 2) % jobs, which = round % 2 ? jobs - 1 - turn : turn;
      const auto start = std::chrono::steady_clock::now();
      job[which]();
      seconds[which].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    ++round;
  }

  const auto ratio = [&](const char* name, size_t top, size_t bottom, double factor = 1.0) {
    std::vector<double> ratios;
    for (size_t i = 0; i < round; ++i) ratios.push_back(factor * seconds[top][i] / seconds[bottom][i]);
    scalevec::bench::report_ratio(state, name, std::move(ratios));
  };
  ratio("sums_over_fused", sums, bare);
  ratio("usual_over_whole", usual, whole);
  ratio("torch_over_sums", torch_step, sums);
  ratio("bandwidth_share", add, sums, 28.0 / 12.0);
  state.counters["add_GBps"] = 12e-9 * static_cast<double>(data.count) / median_interval(seconds[add]).middle;
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const std::tuple<const char*, Shapes, int> sizes[] = {{"100M_in_100", equal_tensors(100, 1'000'000), 31},
                                                        {"10M_in_1000", equal_tensors(1000, 10'000), 151},
                                                        {"llama_1b_quarter", llama_shapes(), 31}};
  for (const int threads : {1, 2})
    for (const auto& [size, shapes, rounds] : sizes)
      benchmark::RegisterBenchmark(
          (std::string(size) + "/threads:" + std::to_string(threads)).c_str(),
          [threads, &shapes = shapes](benchmark::State& state) { run(state, threads, shapes); })
          ->Iterations(rounds)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  benchmark::RunSpecifiedBenchmarks();
}
