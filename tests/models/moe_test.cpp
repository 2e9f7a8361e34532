#include "models/moe.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "models/decoder.hpp"
#include "models/initial_value.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec;
using namespace scalevec::models;

TEST_CASE("routing picks the most probable experts and drops no token") {
  MoeOptions o;
  o.experts = 5;
  o.top_k = 2;
  const torch::Tensor logits = normal_values({200, 5}, 1.0, 3, "logits", torch::kFloat64);
  for (const bool normalise : {true, false}) {
    o.normalise_top_k = normalise;
    const Routing r = route(logits, {}, o);
    std::vector<double> load(5, 0.0), mean(5, 0.0);
    for (std::int64_t n = 0; n < 200; ++n) {
      std::vector<double> p(5);
      double sum = 0.0;
      for (std::int64_t e = 0; e < 5; ++e) sum += p[static_cast<size_t>(e)] = std::exp(logits[n][e].item<double>());
      for (size_t e = 0; e < 5; ++e) mean[e] += (p[e] /= sum) / 200.0;
      std::vector<std::int64_t> order(5);
      std::iota(order.begin(), order.end(), 0);
      std::sort(order.begin(), order.end(),
                [&](auto a, auto b) { return p[static_cast<size_t>(a)] > p[static_cast<size_t>(b)]; });
      const double both = normalise ? p[static_cast<size_t>(order[0])] + p[static_cast<size_t>(order[1])] : 1.0;
      for (std::int64_t i = 0; i < 2; ++i) {
        const auto e = static_cast<size_t>(order[static_cast<size_t>(i)]);
        load[e] += 1.0;
        REQUIRE(r.experts[n][i].item<std::int64_t>() == static_cast<std::int64_t>(e));
        REQUIRE(std::abs(r.weights[n][i].item<double>() - p[e] / both) <= 1e-14);
      }
    }
    double balance = 0.0;
    for (size_t e = 0; e < 5; ++e) {
      CHECK(r.load[static_cast<std::int64_t>(e)].item<double>() == load[e]);
      balance += 5.0 * load[e] / 400.0 * mean[e];
    }
    CHECK(r.load.sum().item<double>() == 400.0);
    CHECK(std::abs(r.balance.item<double>() - balance) <= 1e-12);
  }
}

TEST_CASE("the balancing bias changes the choice and not the weights, and evens out a skewed router") {
  MoeOptions o;
  o.experts = 4;
  o.top_k = 1;
  o.normalise_top_k = false;
  // Expert 0 is favoured by every token.
  const torch::Tensor logits =
      normal_values({512, 4}, 0.5, 3, "skew", torch::kFloat64) + torch::tensor({1.0, 0.0, 0.0, 0.0}, torch::kFloat64);
  const torch::Tensor probability = logits.softmax(-1);
  torch::Tensor bias = torch::zeros({4}, torch::kFloat64);
  const double skewed = route(logits, bias, o).load.max().item<double>();
  CHECK(skewed > 256.0);
  for (int i = 0; i < 600; ++i) balance_bias(bias, route(logits, bias, o).load, 1e-3);
  const Routing r = route(logits, bias, o);
  // A step of 1e-3 moves few of the 512 tokens: within a tenth of the mean load, 128.
  CHECK(r.load.max().item<double>() < 141.0);
  CHECK(r.weights.equal(probability.gather(-1, r.experts)));
}

TEST_CASE("a mixture of equal experts with normalised weights is the dense model") {
  DecoderOptions dense;
  dense.vocab_size = 11;
  dense.width = 16;
  dense.layers = 2;
  dense.heads = 2;
  dense.mlp_width = 12;
  DecoderOptions mixed = dense;
  mixed.moe.experts = 4;
  mixed.moe.top_k = 3;
  Decoder a(dense, 1), b(mixed, 2);
  a.to(torch::kFloat64);
  b.to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  const auto from = a.named_parameters();
  for (auto& p : from) p.value().add_(normal_values(p.value().sizes(), 0.3, 4, p.key(), torch::kFloat64));
  for (auto& p : b.named_parameters()) {
    std::string name = p.key();
    if (const auto at = name.find("experts."); at != std::string::npos) name.erase(at, 10);
    if (from.contains(name))
      p.value().copy_(from[name]);
    else
      p.value().copy_(normal_values(p.value().sizes(), 1.0, 4, p.key(), torch::kFloat64));
  }
  const torch::Tensor tokens = torch::arange(18).view({2, 9}).remainder(11);
  const torch::Tensor x = a.forward(tokens), y = b.forward(tokens);
  CHECK((x - y).abs().max().item<double>() <= 1e-12 * x.abs().max().item<double>());
}

TEST_CASE("the balancing biases of a decoder move in training only") {
  DecoderOptions o;
  o.vocab_size = 11;
  o.width = 16;
  o.layers = 1;
  o.heads = 2;
  o.mlp_width = 12;
  o.moe.experts = 3;
  o.moe.balance_bias_rate = 0.01;
  Decoder model(o, 1);
  const torch::Tensor tokens = torch::arange(18).view({2, 9}).remainder(11);
  const auto bias = [&] { return model.named_buffers()["layers.0.ffn.router.balance"].clone(); };
  {
    const torch::NoGradGuard no_grad;
    model.loss(tokens, 0);
    CHECK(bias().eq(0).all().item<bool>());
  }
  model.loss(tokens, 0);
  CHECK(bias().abs().max().item<double>() > 0.0099);
  CHECK(bias().abs().max().item<double>() < 0.0101);
}
