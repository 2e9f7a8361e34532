#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>

#include "models/decoder.hpp"
#include "models/initial_value.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec::models;

namespace {

using scalevec::models::Decoder;
using scalevec::models::DecoderOptions;

DecoderOptions tiny() {
  DecoderOptions o;
  o.vocab_size = 7;
  o.width = 8;
  o.layers = 2;
  o.heads = 2;
  o.mlp_width = 12;
  o.rope_theta = 50.0;
  o.norm_eps = 1e-3;
  return o;
}

// The largest |analytic − central difference| over every element of every parameter, relative to the largest gradient.
double worst_gradient_error(const DecoderOptions& options) {
  Decoder model(options, 1);
  model.to(torch::kFloat64);
  {
    // Weights of order one, so that attention and gates are far from linear, and gains away from 1.
    const torch::NoGradGuard no_grad;
    for (auto& p : model.named_parameters())
      p.value().add_(scalevec::models::normal_values(p.value().sizes(), 0.4, 2, p.key(), torch::kFloat64));
  }
  const torch::Tensor tokens = torch::tensor({{0, 3, 6, 2, 2, 5}, {4, 1, 0, 6, 3, 1}}, torch::kInt64);
  model.loss(tokens, 0).backward();

  const torch::NoGradGuard no_grad;
  const double step = 1e-5;
  double worst = 0.0, largest = 0.0;
  for (auto& p : model.named_parameters()) {
    REQUIRE(p.value().grad().defined());
    double* data = p.value().data_ptr<double>();
    const double* grad = p.value().grad().const_data_ptr<double>();
    for (std::int64_t i = 0; i < p.value().numel(); ++i) {
      const double value = data[i];
      data[i] = value + step;
      const double above = model.loss(tokens, 0).item<double>();
      data[i] = value - step;
      const double below = model.loss(tokens, 0).item<double>();
      data[i] = value;
      worst = std::max(worst, std::abs(grad[i] - (above - below) / (2.0 * step)));
      largest = std::max(largest, std::abs(grad[i]));
    }
  }
  REQUIRE(largest > 0.01);
  return worst / largest;
}

}  // namespace

TEST_CASE("decoder gradients agree with central differences") {
  DecoderOptions o = tiny();
  SECTION("tied, shared scales") {}
  SECTION("untied, grouped queries") {
    o.tie_embeddings = false;
    o.kv_heads = 1;
  }
  SECTION("no scale vectors, one key-value head, wide heads") {
    o.scale_vectors = false;
    o.kv_heads = 1;
    o.head_dim = 6;
  }
  SECTION("QK-norm with scale, grouped queries") {
    o.qk_norm = true;
    o.kv_heads = 1;
  }
  SECTION("QK-norm without scale, untied") {
    o.qk_norm = true;
    o.qk_norm_scale = false;
    o.tie_embeddings = false;
  }
  // Truncation is of order step² = 1e-10 times third derivatives, rounding of order 1e-16/step = 1e-11.
  CHECK(worst_gradient_error(o) <= 1e-7);
}
