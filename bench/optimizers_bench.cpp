// The AdamW step against its peers: at::_fused_adamw_, the usual sequence of clip, step and norms, torch::optim::AdamW,
// and the memory's own speed. `scripts/bench.sh optimizers` runs it interleaved and prints the ratios.
#include <ATen/Parallel.h>
#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include "scalevec/optim/optim.hpp"

namespace {

using torch::Tensor;
using Shapes = std::vector<std::vector<std::int64_t>>;

Shapes equal_tensors(std::int64_t count, std::int64_t size) { return Shapes(static_cast<size_t>(count), {size}); }

// Llama-3.2-1B's shapes with every width divided by four: 16 layers, two norms each.
Shapes llama_shapes() {
  Shapes shapes{{32064, 512}, {512}};
  for (int layer = 0; layer < 16; ++layer) {
    for (const auto& s : Shapes{{512, 512}, {128, 512}, {128, 512}, {512, 512}, {2048, 512}, {2048, 512}, {512, 2048}, {512}, {512}})
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
  std::vector<Tensor> grads() const {
    std::vector<Tensor> out;
    for (const Tensor& p : params) out.push_back(p.grad());
    return out;
  }
};

struct Fused {
  Data& data;
  std::vector<Tensor> params, grads, m, v, max, steps;

  explicit Fused(Data& d) : data(d), grads(d.grads()) {
    for (const Tensor& p : d.params) {
      params.push_back(p.detach());
      m.push_back(torch::zeros_like(p.detach()));
      v.push_back(torch::zeros_like(p.detach()));
      steps.push_back(torch::zeros({}));
    }
  }
  void step() {
    at::_foreach_add_(steps, 1);
    at::_fused_adamw_(params, grads, m, v, max, steps, 1e-3, 0.9, 0.999, 1e-2, 1e-8, false, false);
  }
};

void report(benchmark::State& state, std::int64_t params, int bytes_per_param) {
  state.counters["params"] = static_cast<double>(params);
  state.counters["GB/s"] = benchmark::Counter(static_cast<double>(params) * bytes_per_param * 1e-9, benchmark::Counter::kIsIterationInvariantRate);
}

std::unique_ptr<scalevec::AdamW> ours(const Data& data) {
  return std::make_unique<scalevec::AdamW>(data.params, scalevec::AdamWOptions(1e-3));
}

// Every sum and the clip factor in the step, which reads each gradient once.
void ours_with_sums(benchmark::State& state, const Shapes& shapes) {
  Data data(shapes);
  auto optimizer = ours(data);
  optimizer->set_check_finite(false);
  for (auto _ : state) {
    optimizer->trace_next_step();
    optimizer->step();
  }
  report(state, data.count, 28);
}

// The whole job: global norm, check for values that are not finite, clip, step, sums.
void ours_whole_job(benchmark::State& state, const Shapes& shapes) {
  Data data(shapes);
  auto optimizer = ours(data);
  optimizer->set_max_norm(1.0);
  for (auto _ : state) {
    optimizer->trace_next_step();
    optimizer->step();
  }
  report(state, data.count, 32);
}

void fused(benchmark::State& state, const Shapes& shapes) {
  const torch::NoGradGuard no_grad;
  Data data(shapes);
  Fused optimizer(data);
  for (auto _ : state) optimizer.step();
  report(state, data.count, 28);
}

// The same job with LibTorch's pieces: clip, keep a copy, step, norms of g, p and Δ.
void usual_whole_job(benchmark::State& state, const Shapes& shapes) {
  const torch::NoGradGuard no_grad;
  Data data(shapes);
  Fused optimizer(data);
  std::vector<Tensor> before;
  for (const Tensor& p : optimizer.params) before.push_back(torch::empty_like(p));
  for (auto _ : state) {
    torch::nn::utils::clip_grad_norm_(data.params, 1.0);
    at::_foreach_copy_(before, optimizer.params);
    optimizer.step();
    benchmark::DoNotOptimize(at::_foreach_norm(optimizer.grads));
    benchmark::DoNotOptimize(at::_foreach_norm(optimizer.params));
    at::_foreach_sub_(before, optimizer.params);
    benchmark::DoNotOptimize(at::_foreach_norm(before));
  }
  report(state, data.count, 28);
}

void torch_adamw(benchmark::State& state, const Shapes& shapes) {
  Data data(shapes);
  torch::optim::AdamW optimizer(data.params, torch::optim::AdamWOptions(1e-3));
  for (auto _ : state) optimizer.step();
  report(state, data.count, 28);
}

// What memory can do: a large x += y, 12 bytes an element.
void in_place_add(benchmark::State& state, const Shapes& shapes) {
  std::int64_t count = 0;
  for (const auto& shape : shapes) count += c10::multiply_integers(shape);
  Tensor x = torch::zeros({count}), y = torch::ones({count});
  for (auto _ : state) x.add_(y);
  report(state, count, 12);
}

}  // namespace

int main(int argc, char** argv) {
  benchmark::Initialize(&argc, argv);
  const std::pair<const char*, Shapes> sizes[] = {{"100M_in_100", equal_tensors(100, 1'000'000)},
                                                  {"10M_in_1000", equal_tensors(1000, 10'000)},
                                                  {"llama_1b_quarter", llama_shapes()}};
  const std::pair<const char*, void (*)(benchmark::State&, const Shapes&)> jobs[] = {
      {"ours_with_sums", ours_with_sums}, {"ours_whole_job", ours_whole_job}, {"fused", fused},
      {"usual_whole_job", usual_whole_job}, {"torch_adamw", torch_adamw},     {"in_place_add", in_place_add}};
  for (const int threads : {1, 2})
    for (const auto& [size, shapes] : sizes)
      for (const auto& [job, run] : jobs)
        benchmark::RegisterBenchmark((std::string(size) + "/threads:" + std::to_string(threads) + "/" + job).c_str(),
                                     [threads, run = run, &shapes = shapes](benchmark::State& state) {
                                       at::set_num_threads(threads);
                                       run(state, shapes);
                                     })
            ->Unit(benchmark::kMillisecond)
            ->UseRealTime();
  benchmark::RunSpecifiedBenchmarks();
}
