// The AdamW step against its peers: at::_fused_adamw_, the usual sequence of clip, step and norms, torch::optim::AdamW,
// and the memory's own speed. Every round runs each job once, in an order that turns, on one set of parameters and
// gradients; the counters are medians over rounds of a ratio within the round, with a 95 % interval.
// `scripts/bench.sh optimizers` prints the table.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <functional>

#include "bench/paired.hpp"
#include "optim/method.hpp"
#include "optim/optim.hpp"

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
    // Of norm 1, so that the peer's clipping, which writes the gradients, leaves them as they are: gradients far
    // smaller than those of the first steps would make steps of decay alone, whose sums are made in double.
    const double norm = std::sqrt(static_cast<double>(count));
    for (const Tensor& p : params) p.mutable_grad().div_(norm);
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

// Jobs run in turns, in an order that changes from round to round: the seconds of each.
std::vector<std::vector<double>> in_turns(benchmark::State& state, const std::vector<std::function<void()>>& jobs) {
  for (const auto& warm : jobs) warm(), warm();
  std::vector<std::vector<double>> seconds(jobs.size());
  size_t round = 0;
  for (auto _ : state) {
    for (size_t i = 0; i < jobs.size(); ++i) {
      const size_t which = (i + round) % jobs.size();
      const auto start = std::chrono::steady_clock::now();
      jobs[which]();
      seconds[which].push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
    }
    ++round;
  }
  return seconds;
}

void report(benchmark::State& state, const char* name, const std::vector<double>& top,
            const std::vector<double>& bottom) {
  std::vector<double> ratios;
  for (size_t i = 0; i < top.size(); ++i) ratios.push_back(top[i] / bottom[i]);
  scalevec::bench::report_ratio(state, name, std::move(ratios));
}

// States of 8 bits against those of float32, without sums.
void run_coded(benchmark::State& state, int threads, const Shapes& shapes) {
  at::set_num_threads(threads);
  const Data data(shapes);
  scalevec::AdamW adamw(data.params, scalevec::AdamWOptions(1e-6));
  scalevec::AdamW8bit adamw8bit(data.params, scalevec::AdamW8bitOptions(1e-6));
  scalevec::Lion lion(data.params, scalevec::LionOptions(1e-6));
  scalevec::Lion8bit lion8bit(data.params, scalevec::Lion8bitOptions(1e-6));
  for (scalevec::Optimizer* optimizer :
       std::initializer_list<scalevec::Optimizer*>{&adamw, &adamw8bit, &lion, &lion8bit})
    optimizer->set_check_finite(false);
  const auto seconds = in_turns(
      state, {[&] { adamw.step(); }, [&] { adamw8bit.step(); }, [&] { lion.step(); }, [&] { lion8bit.step(); }});
  report(state, "adamw8bit_over_adamw", seconds[1], seconds[0]);
  report(state, "lion8bit_over_lion", seconds[3], seconds[2]);
  state.counters["adamw_ms"] = 1e3 * median_interval(seconds[0]).middle;
}

// Muon's Newton-Schulz steps on the Gram matrix against those on the matrix, both in float32.
void run_gram(benchmark::State& state, int threads, const std::vector<std::int64_t>& shape) {
  at::set_num_threads(threads);
  const Data data({shape});
  const auto options = scalevec::MuonOptions(1e-6).precision("float32");
  scalevec::Muon plain(data.params, options), gram(data.params, scalevec::MuonOptions(options).gram(true));
  const auto seconds = in_turns(state, {[&] { plain.step(); }, [&] { gram.step(); }});
  report(state, "gram_over_matrix", seconds[1], seconds[0]);
  const auto flops = [&](const scalevec::MuonOptions& o) { return o.implementation().flops(o, shape, 1); };
  state.counters["flops_ratio"] = flops(scalevec::MuonOptions(options).gram(true)) / flops(options);
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
  for (const int threads : {1, 2}) {
    benchmark::RegisterBenchmark(
        ("coded_100M_in_100/threads:" + std::to_string(threads)).c_str(),
        [threads](benchmark::State& state) { run_coded(state, threads, equal_tensors(100, 1'000'000)); })
        ->Iterations(31)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
    for (const auto& shape : Shapes{{512, 512}, {512, 2048}, {1024, 4096}})
      benchmark::RegisterBenchmark(
          ("gram_" + std::to_string(shape[0]) + "x" + std::to_string(shape[1]) + "/threads:" + std::to_string(threads))
              .c_str(),
          [threads, shape](benchmark::State& state) { run_gram(state, threads, shape); })
          ->Iterations(15)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  }
  benchmark::RunSpecifiedBenchmarks();
}
