// The fused operators on a CUDA device against what they are composed of, in turns: forward and backward, in bfloat16
// with scale vectors in float32, and in float32, at the shapes of a 124M decoder. Norms also against LibTorch's own
// fused norm. `bench_device_ops` prints the table; without a GPU it says so in one line. With --device cpu it measures
// the CPU's operators, to try the program.
#include <torch/autograd.h>
#include <torch/cuda.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "bench/paired.hpp"
#include "models/ops/fused.hpp"

namespace {

using namespace scalevec::models;
using torch::Tensor;
using Tensors = std::vector<Tensor>;
using Form = std::function<Tensors(const Tensors&)>;

struct Setting {
  torch::Device device{torch::kCUDA};
  std::int64_t tokens = 65536, width = 768, heads = 12, head_dim = 64, hidden = 2048, vocab = 50304;
  int rounds = 15;
};

struct Op {
  std::string name;
  Form fused;
  std::vector<std::pair<std::string, Form>> others;
  std::vector<std::vector<std::int64_t>> shapes;  // those of one dimension are scale vectors, in float32
  double bytes;                                   // that the fused operator moves, forward and backward, per element of
                                                  // the first input, with activations of `size` bytes: bytes · size
};

// A scale vector in x's type: LibTorch's operators want one type.
Tensor as(const Tensor& gamma, const Tensor& x) { return gamma.to(x.scalar_type()); }

std::vector<Op> operators_of(const Setting& s) {
  const double eps = 1e-5;
  const std::vector<std::int64_t> x{s.tokens, s.width}, hidden{s.tokens, s.hidden},
      heads{s.tokens / 1024 > 0 ? s.tokens / 1024 : 1, std::min<std::int64_t>(s.tokens, 1024), s.heads, s.head_dim};
  const Tensor angle = torch::outer(
      torch::arange(heads[1], torch::kFloat64),
      torch::pow(1e4, torch::arange(0, s.head_dim, 2, torch::kFloat64) / -static_cast<double>(s.head_dim)));
  const Tensor cos = angle.cos().to(torch::kFloat32).to(s.device), sin = angle.sin().to(torch::kFloat32).to(s.device);
  const std::int64_t rows = std::max<std::int64_t>(1, s.tokens / 4);
  const Tensor target = torch::randint(0, s.vocab, {rows}, torch::kInt64).to(s.device);
  const auto library = [=](const Tensor& t, const std::optional<Tensor>& gamma) {
    return std::get<0>(at::_fused_rms_norm(t, {t.size(-1)}, gamma, eps));
  };
  return {
      {"norm",
       [=](const Tensors& i) -> Tensors { return {ops::rms_norm(i[0], i[1], eps)}; },
       {{"composed", [=](const Tensors& i) -> Tensors { return {ops::composed::rms_norm(i[0], as(i[1], i[0]), eps)}; }},
        {"LibTorch's fused", [=](const Tensors& i) -> Tensors { return {library(i[0], as(i[1], i[0]))}; }}},
       {x, {s.width}},
       5},
      {"norm of a sum",
       [=](const Tensors& i) -> Tensors {
         const ops::NormOfSum both = ops::rms_norm_of_sum(i[0], i[1], i[2], eps);
         return {both.sum, both.normed};
       },
       {{"composed",
         [=](const Tensors& i) -> Tensors {
           const Tensor sum = i[0] + i[1];
           return {sum, ops::composed::rms_norm(sum, as(i[2], sum), eps)};
         }},
        {"with LibTorch's fused",
         [=](const Tensors& i) -> Tensors {
           const Tensor sum = i[0] + i[1];
           return {sum, library(sum, as(i[2], sum))};
         }}},
       {x, x, {s.width}},
       8},
      {"SwiGLU",
       [](const Tensors& i) -> Tensors { return {ops::swiglu(i[0], i[1])}; },
       {{"composed", [](const Tensors& i) -> Tensors { return {ops::composed::swiglu(i[0], i[1])}; }}},
       {hidden, hidden},
       8},
      {"normed SwiGLU",
       [=](const Tensors& i) -> Tensors { return {ops::normed_swiglu(i[0], i[1], i[2], eps)}; },
       {{"composed",
         [=](const Tensors& i) -> Tensors {
           return {ops::composed::swiglu(ops::composed::rms_norm(i[0], as(i[2], i[0]), eps),
                                         ops::composed::rms_norm(i[1], {}, eps))};
         }}},
       {hidden, hidden, {s.hidden}},
       8},
      {"RoPE",
       [=](const Tensors& i) -> Tensors { return {ops::rotate(i[0], cos, sin)}; },
       {{"composed", [=](const Tensors& i) -> Tensors { return {ops::composed::rotate(i[0], cos, sin)}; }}},
       {heads},
       4},
      {"QK-norm and RoPE",
       [=](const Tensors& i) -> Tensors { return {ops::norm_rotate(i[0], i[1], cos, sin, true, eps)}; },
       {{"composed",
         [=](const Tensors& i) -> Tensors {
           return {ops::composed::rotate(ops::composed::rms_norm(i[0], as(i[1], i[0]), eps), cos, sin)};
         }}},
       {heads, {s.head_dim}},
       5},
      {"cross-entropy",
       [=](const Tensors& i) -> Tensors { return {ops::cross_entropy(i[0], target)}; },
       {{"composed", [=](const Tensors& i) -> Tensors { return {ops::composed::cross_entropy(i[0], target)}; }}},
       {{rows, s.vocab}},
       3}};
}

void wait(const Setting& s) {
  if (s.device.is_cuda()) torch::cuda::synchronize();
}

double seconds_each(const Setting& s, const Form& form, const Tensors& inputs, const Tensors& grads, int repeats) {
  wait(s);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) torch::autograd::grad(form(inputs), inputs, grads);
  wait(s);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
}

void rows_of(const Setting& s, const Op& op, torch::ScalarType type) {
  Tensors inputs;
  for (const auto& shape : op.shapes) {
    const Tensor values = torch::randn(shape, torch::TensorOptions().device(s.device));
    inputs.push_back((shape.size() == 1 ? values : values.to(type)).requires_grad_());
  }
  const auto grads_of = [&](const Form& form) {
    Tensors grads;
    for (const Tensor& y : form(inputs)) grads.push_back(torch::ones_like(y));
    return grads;
  };
  const Tensors fused_grads = grads_of(op.fused);
  const double once = seconds_each(s, op.fused, inputs, fused_grads, 3);
  const int repeats = std::clamp(static_cast<int>(2e-2 / once), 1, 200);
  const double moved =
      op.bytes * static_cast<double>(inputs[0].numel()) * static_cast<double>(inputs[0].element_size());
  for (const auto& [name, other] : op.others) {
    const Tensors other_grads = grads_of(other);
    seconds_each(s, other, inputs, other_grads, 3);
    std::vector<double> a, b, ratios;
    for (int round = 0; round < s.rounds; ++round) {
      double first = 0.0;
      if (round % 2 == 0) first = seconds_each(s, other, inputs, other_grads, repeats);
      const double mine = seconds_each(s, op.fused, inputs, fused_grads, repeats);
      if (round % 2 != 0) first = seconds_each(s, other, inputs, other_grads, repeats);
      a.push_back(1e3 * first);
      b.push_back(1e3 * mine);
      ratios.push_back(first / mine);
    }
    const scalevec::bench::Interval r = scalevec::bench::median_interval(ratios);
    const double mine = scalevec::bench::median_interval(b).middle;
    std::printf("| %s | %s | %s | %.4f | %.4f | %.2f [%.2f, %.2f] | %.0f |\n", op.name.c_str(),
                type == torch::kBFloat16 ? "bfloat16" : "float32", name.c_str(),
                scalevec::bench::median_interval(a).middle, mine, r.middle, r.low, r.high, moved / mine * 1e-6);
  }
}

}  // namespace

int main(int argc, char** argv) {
  Setting s;
  std::map<std::string, std::string> options;
  for (int i = 1; i + 1 < argc; i += 2) options[argv[i]] = argv[i + 1];
  if (options.contains("--device")) s.device = torch::Device(options["--device"]);
  if (options.contains("--tokens")) s.tokens = std::atoll(options["--tokens"].c_str());
  if (options.contains("--vocab")) s.vocab = std::atoll(options["--vocab"].c_str());
  if (options.contains("--rounds")) s.rounds = std::max(8, std::atoi(options["--rounds"].c_str()));
  if (s.device.is_cuda() && !torch::cuda::is_available()) {
    std::puts("SKIPPED: no CUDA device");
    return 0;
  }
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  torch::manual_seed(1);
  std::printf(
      "forward and backward, %lld tokens, width %lld, hidden %lld, vocabulary %lld (a quarter of the tokens)\n\n",
      static_cast<long long>(s.tokens), static_cast<long long>(s.width), static_cast<long long>(s.hidden),
      static_cast<long long>(s.vocab));
  std::printf("| operator | type | against | it, ms | fused, ms | it / fused [95 %%] | fused, GB/s |\n");
  std::printf("|---|---|---|---|---|---|---|\n");
  for (const Op& op : operators_of(s))
    for (const torch::ScalarType type : {torch::kBFloat16, torch::kFloat32})
      if (!options.contains("--operator") || options["--operator"] == op.name)
        if (s.device.is_cuda() || type == torch::kFloat32) rows_of(s, op, type);
  return 0;
}
