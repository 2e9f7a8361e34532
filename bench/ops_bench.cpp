// Every operator of models/ops against what it is composed of, in turns: forward and backward in float32 on two
// threads, at the shapes of bench/compare_with_pytorch.py's models. `scripts/bench.sh ops` prints the table.
#include <ATen/Parallel.h>
#include <torch/autograd.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/paired.hpp"
#include "experiments/system/memory.hpp"
#include "models/decoder_options.hpp"
#include "models/ops/attention.hpp"
#include "models/ops/fused.hpp"
#include "models/rope.hpp"

namespace {

using namespace scalevec;
using torch::Tensor;
using Tensors = std::vector<Tensor>;
using Form = std::function<Tensors(const Tensors&)>;

struct Case {
  std::string name;
  std::int64_t vocab, width, heads, batch, length;
};

const std::vector<Case>& cases() {
  static const std::vector<Case> all{
      {"a", 256, 128, 4, 16, 256}, {"b", 4096, 256, 4, 8, 256}, {"c", 4096, 512, 8, 4, 512}};
  return all;
}

int usage() {
  std::fputs("usage: bench_ops [--rounds N] [--case a|b|c] [--operator NAME]\n", stderr);
  return 2;
}

struct Op {
  std::string name;
  Form composed, fused;
  std::vector<std::vector<std::int64_t>> shapes;  // of inputs, each with a gradient
};

// Q, K and V of one input, with a scale on either side of each.
std::vector<models::ops::Scaled> maps_of(const Tensors& i) {
  return {{i[1], i[2], i[3], {}}, {i[4], i[5], i[6], {}}, {i[7], i[8], i[9], {}}};
}

std::vector<Op> operators_of(const Case& c) {
  models::DecoderOptions options;
  options.width = c.width;
  options.heads = c.heads;
  options = options.resolved();
  const std::int64_t d = c.width, h = options.mlp_width, head = options.head_dim;
  const double eps = options.norm_eps, scale = 1.0 / std::sqrt(static_cast<double>(head));
  const std::vector<std::int64_t> x{c.batch, c.length, d}, hidden{c.batch, c.length, h},
      heads{c.batch, c.length, c.heads, head};
  const auto rope = std::make_shared<models::Rope>(head, options.rope_theta);
  const Tensor exponent = torch::arange(0, head, 2, torch::kFloat64) / -static_cast<double>(head);
  const Tensor angle = torch::outer(torch::arange(c.length, torch::kFloat64), torch::pow(options.rope_theta, exponent));
  const Tensor cos = angle.cos().to(torch::kFloat32), sin = angle.sin().to(torch::kFloat32);
  const Tensor target = torch::randint(0, c.vocab, {c.batch * c.length}, torch::kInt64);
  // Where ops::composed falls back on a fused norm, the reference takes its norm apart.
  return {{"norm without γ",
           [=](const Tensors& i) -> Tensors { return {models::ops::composed::rms_norm(i[0], {}, eps)}; },
           [=](const Tensors& i) -> Tensors { return {models::ops::rms_norm(i[0], {}, eps)}; },
           {x}},
          {"norm",
           [=](const Tensors& i) -> Tensors { return {models::ops::composed::rms_norm(i[0], i[1], eps)}; },
           [=](const Tensors& i) -> Tensors { return {models::ops::rms_norm(i[0], i[1], eps)}; },
           {x, {d}}},
          {"norm of a sum",
           [=](const Tensors& i) -> Tensors {
             const Tensor sum = i[0] + i[1];
             return {sum, models::ops::composed::rms_norm(sum, i[2], eps)};
           },
           [=](const Tensors& i) -> Tensors {
             const models::ops::NormOfSum both = models::ops::rms_norm_of_sum(i[0], i[1], i[2], eps);
             return {both.sum, both.normed};
           },
           {x, x, {d}}},
          {"radial scale (OR)",
           [](const Tensors& i) -> Tensors { return {models::ops::composed::radial(i[0], i[1], false)}; },
           [](const Tensors& i) -> Tensors { return {models::ops::radial(i[0], i[1], false)}; },
           {{d}, {1}}},
          {"SwiGLU",
           [](const Tensors& i) -> Tensors { return {models::ops::composed::swiglu(i[0], i[1])}; },
           [](const Tensors& i) -> Tensors { return {models::ops::swiglu(i[0], i[1])}; },
           {hidden, hidden}},
          {"normed SwiGLU",
           [=](const Tensors& i) -> Tensors { return {models::ops::composed::normed_swiglu(i[0], i[1], i[2], eps)}; },
           [=](const Tensors& i) -> Tensors { return {models::ops::normed_swiglu(i[0], i[1], i[2], eps)}; },
           {hidden, hidden, {h}}},
          {"RoPE",
           [=](const Tensors& i) -> Tensors { return {models::ops::composed::rotate(i[0], cos, sin)}; },
           [=](const Tensors& i) -> Tensors { return {rope->rotate(i[0])}; },
           {heads}},
          {"QK-norm and RoPE",
           [=](const Tensors& i) -> Tensors {
             return {models::ops::composed::rotate(models::ops::composed::rms_norm(i[0], i[1], eps), cos, sin)};
           },
           [=](const Tensors& i) -> Tensors { return {rope->norm_rotate(i[0], i[1], true, eps)}; },
           {heads, {head}}},
          {"scaled linear, Q K V",
           [](const Tensors& i) { return models::ops::composed::scaled_linear(i[0], maps_of(i)); },
           [](const Tensors& i) { return models::ops::scaled_linear(i[0], maps_of(i)); },
           {x, {d, d}, {d}, {d}, {d, d}, {d}, {d}, {d, d}, {d}, {d}}},
          {"scaled linear, Q K and normed V",
           [=](const Tensors& i) {
             Tensors out = models::ops::composed::scaled_linear(i[0], maps_of(i));
             out[2] = models::ops::composed::rms_norm(out[2], {}, eps);
             return out;
           },
           [=](const Tensors& i) {
             std::vector<models::ops::Scaled> maps = maps_of(i);
             maps[2].output_norm = eps;
             return models::ops::scaled_linear(i[0], maps);
           },
           {x, {d, d}, {d}, {d}, {d, d}, {d}, {d}, {d, d}, {d}, {d}}},
          // The reference is at::scaled_dot_product_attention, not a softmax of products.
          {"attention",
           [=](const Tensors& i) -> Tensors { return {models::ops::composed::attention(i[0], i[1], i[2], scale, 0)}; },
           [=](const Tensors& i) -> Tensors { return {models::ops::attention(i[0], i[1], i[2], scale, 0)}; },
           {heads, heads, heads}},
          {"cross-entropy",
           [=](const Tensors& i) -> Tensors { return {models::ops::composed::cross_entropy(i[0], target)}; },
           [=](const Tensors& i) -> Tensors { return {models::ops::cross_entropy(i[0], target)}; },
           {{c.batch * c.length, c.vocab}}}};
}

// How often is enough for a turn of 5 ms: the clock and the switch between the two then do not count.
int repeats_for(double seconds) { return std::max(1, static_cast<int>(5e-3 / seconds)); }

double seconds_each(const Form& form, const Tensors& inputs, const Tensors& grads, int repeats) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repeats; ++i) torch::autograd::grad(form(inputs), inputs, grads);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() / repeats;
}

void check_equal(const std::string& what, const Tensors& a, const Tensors& b) {
  for (std::size_t i = 0; i < a.size(); ++i) {
    const double gap = ((a[i] - b[i]).abs().max() / b[i].abs().max()).item<double>();
    if (!(gap <= 1e-3))
      throw std::runtime_error(what + " " + std::to_string(i) + ": fused and composed differ by " +
                               std::to_string(gap));
  }
}

void row(const Op& op, const std::string& name, int rounds) {
  Tensors inputs, grads;
  for (const auto& shape : op.shapes) inputs.push_back(torch::randn(shape).requires_grad_());
  const Tensors value = op.fused(inputs), expected = op.composed(inputs);
  for (const Tensor& y : value) grads.push_back(torch::randn_like(y));
  check_equal(op.name + ", value", value, expected);
  check_equal(op.name + ", gradient", torch::autograd::grad(value, inputs, grads),
              torch::autograd::grad(expected, inputs, grads));

  const int composed_repeats = repeats_for(seconds_each(op.composed, inputs, grads, 3));
  const int fused_repeats = repeats_for(seconds_each(op.fused, inputs, grads, 3));
  std::vector<double> composed, fused, ratios;
  for (int round = 0; round < rounds; ++round) {
    double a = 0.0, b = 0.0;
    if (round % 2 == 0) a = seconds_each(op.composed, inputs, grads, composed_repeats);
    b = seconds_each(op.fused, inputs, grads, fused_repeats);
    if (round % 2 != 0) a = seconds_each(op.composed, inputs, grads, composed_repeats);
    composed.push_back(1e3 * a);
    fused.push_back(1e3 * b);
    ratios.push_back(a / b);
  }
  const bench::Interval r = bench::median_interval(ratios);
  std::printf("| %s | %s | %.3f | %.3f | %.2f [%.2f, %.2f] |\n", op.name.c_str(), name.c_str(),
              bench::median_interval(composed).middle, bench::median_interval(fused).middle, r.middle, r.low, r.high);
}

}  // namespace

int main(int argc, char** argv) {
  experiments::keep_freed_memory();  // as the program does
  at::set_num_threads(2);
  torch::manual_seed(1);
  std::setvbuf(stdout, nullptr, _IOLBF, 0);
  std::map<std::string, std::string> options;
  for (int i = 1; i < argc; i += 2) {
    const std::string key = argv[i];
    if ((key != "--rounds" && key != "--case" && key != "--operator") || i + 1 == argc) return usage();
    options[key] = argv[i + 1];
  }
  const auto chosen = [&](const char* key, const std::string& name) {
    return !options.contains(key) || options[key] == name;
  };
  // The interval of the median needs eight.
  const int rounds = std::max(8, options.contains("--rounds") ? std::atoi(options["--rounds"].c_str()) : 25);

  std::printf("forward and backward, float32, 2 threads, %d rounds\n\n", rounds);
  for (const Case& c : cases())
    std::printf("- %s: d = %lld, %lld x %lld tokens, vocabulary %lld\n", c.name.c_str(),
                static_cast<long long>(c.width), static_cast<long long>(c.batch), static_cast<long long>(c.length),
                static_cast<long long>(c.vocab));
  std::printf("\n| operator | case | composed, ms | fused, ms | composed / fused [95 %%] |\n|---|---|---|---|---|\n");
  std::vector<std::vector<Op>> by_case;
  bool found = false;
  for (const Case& c : cases()) by_case.push_back(operators_of(c));
  for (std::size_t i = 0; i < by_case[0].size(); ++i)
    for (std::size_t k = 0; k < cases().size(); ++k)
      if (chosen("--case", cases()[k].name) && chosen("--operator", by_case[k][i].name)) {
        row(by_case[k][i], cases()[k].name, rounds);
        found = true;
      }
  return found ? 0 : usage();
}
