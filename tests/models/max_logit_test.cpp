#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <vector>

#include "models/decoder.hpp"
#include "models/decoder_sites.hpp"
#include "models/initial_value.hpp"
#include "models/ops/attention.hpp"
#include "tests/support/attention_reference.hpp"
#include "tests/support/catch.hpp"

// The largest attention logit of each head against plain loops in double precision.
using namespace scalevec::models;
namespace reference = scalevec::attention_reference;
using torch::Tensor;

namespace {

void check_close(const Tensor& got, const std::vector<double>& wanted, double tolerance) {
  REQUIRE(got.defined());
  REQUIRE(got.sizes() == at::IntArrayRef{static_cast<std::int64_t>(wanted.size())});
  CHECK(!got.requires_grad());
  for (std::size_t h = 0; h < wanted.size(); ++h) {
    INFO("head " << h);
    CHECK(std::abs(got[static_cast<std::int64_t>(h)].item<double>() - wanted[h]) <=
          tolerance * (1.0 + std::abs(wanted[h])));
  }
}

}  // namespace

TEST_CASE("attention gives the largest logit of each head, and the same result without", "[ops]") {
  struct Shape {
    std::int64_t length, heads, kv_heads, dim, window;
  };
  // Dimensions of 16 are computed in blocks of 64 queries (32 beyond 1024 positions), the others composed.
  const Shape shapes[] = {{1, 2, 2, 16, 0},  {5, 4, 2, 16, 0},    {63, 4, 1, 32, 7},   {64, 2, 2, 16, 64},
                          {65, 4, 4, 16, 1}, {130, 6, 2, 48, 40}, {130, 2, 1, 16, 0},  {1030, 1, 1, 16, 33},
                          {5, 4, 2, 8, 0},   {70, 4, 2, 12, 9},   {300, 2, 2, 10, 20}, {300, 2, 1, 10, 0}};
  for (const auto dtype : {torch::kFloat64, torch::kFloat32, torch::kBFloat16})
    for (const Shape& s : shapes) {
      torch::manual_seed(s.length + s.dim);
      INFO(c10::toString(dtype) << ", " << s.length << " positions, " << s.heads << "/" << s.kv_heads << " heads of "
                                << s.dim << ", window " << s.window);
      const Tensor q = torch::randn({2, s.length, s.heads, s.dim}, torch::kFloat64).to(dtype).requires_grad_(true),
                   k = torch::randn({2, s.length, s.kv_heads, s.dim}, torch::kFloat64).to(dtype),
                   v = torch::randn({2, s.length, s.kv_heads, s.dim}, torch::kFloat64).to(dtype);
      Tensor most;
      const Tensor with = ops::attention(q, k, v, 0.3, s.window, &most), plain = ops::attention(q, k, v, 0.3, s.window);
      CHECK(torch::equal(with, plain));
      check_close(most, reference::max_logits(q, k, 0.3, s.window), dtype == torch::kFloat64 ? 1e-13 : 1e-5);
      check_close(ops::composed::max_logit(q, k, 0.3, s.window), reference::max_logits(q, k, 0.3, s.window),
                  dtype == torch::kFloat64 ? 1e-13 : 1e-5);
    }
}

TEST_CASE("pairs of positions that do not attend have no part in the largest logit", "[ops]") {
  for (const std::int64_t dim : {16, 10}) {
    // Logits are 10⁴ at (0, 3), which is later, and at (99, 60), which is before the window; else −i.
    Tensor q = torch::zeros({1, 100, 1, dim}, torch::kFloat64), k = torch::zeros({1, 100, 1, dim}, torch::kFloat64);
    q.select(3, 0).copy_(-torch::arange(100, torch::kFloat64).view({1, 100, 1}) - 1.0);
    k.select(3, 0).fill_(1.0);
    q[0][0][0][1] = 1.0;
    k[0][3][0][1] = 1e4;
    q[0][99][0][2] = 1.0;
    k[0][60][0][2] = 1e4;
    Tensor most;
    ops::attention(q, k, k, 1.0, 39, &most);
    CHECK(most.item<double>() == -1.0);
    ops::attention(q, k, k, 1.0, 40, &most);
    CHECK(most.item<double>() == 1e4 - 100.0);
  }
}

TEST_CASE("a decoder notes the largest logit of every head over all passes with gradients until it is taken") {
  struct Case {
    std::int64_t kv_heads, head_dim, window;
    double theta, query_scale;
    bool bias, rope;
  };
  for (const Case& c : {Case{4, 16, 0, 10000.0, 0.0, false, true}, Case{2, 16, 3, 500.0, 0.0, true, true},
                        Case{1, 8, 0, 10000.0, 0.7, true, true}, Case{2, 8, 5, 10000.0, 0.0, false, false}}) {
    DecoderOptions o;
    o.vocab_size = 40;
    o.width = 32;
    o.layers = 2;
    o.heads = 4;
    o.kv_heads = c.kv_heads;
    o.head_dim = c.head_dim;
    o.rope_theta = c.theta;
    o.query_scale = c.query_scale;
    o.qkv_bias = c.bias;
    o.windows = {c.window, 0};
    if (!c.rope) o.no_rope = {0};
    Decoder model(o, 3);
    model.to(torch::kFloat64);
    const auto p = model.named_parameters();
    {
      const torch::NoGradGuard no_grad;
      for (const auto& each : p)
        each.value().add_(normal_values(each.value().sizes(), 0.4, 5, each.key(), torch::kFloat64));
    }
    torch::manual_seed(1);
    const Tensor first = torch::randint(0, 40, {2, 12}, torch::kInt64),
                 second = torch::randint(0, 40, {1, 9}, torch::kInt64);
    const auto expected = [&](const Tensor& tokens) {
      // x/√(mean x² + ε)·γ of the embeddings.
      const Tensor x = p["embed.weight"].detach().index_select(0, tokens.narrow(1, 0, tokens.size(1) - 1).flatten()),
                   h = x / (x.square().mean(1, true) + 1e-5).sqrt() * p["layers.0.attn_norm.gamma"].detach();
      const auto map = [&](const std::string& name) {
        Tensor y = at::matmul(h, p["layers.0.attn." + name + ".weight"].detach().t());
        if (c.bias) y = y + p["layers.0.attn." + name + ".bias"].detach();
        return y.view({tokens.size(0), tokens.size(1) - 1, -1});
      };
      const double theta = c.rope ? c.theta : 0.0;
      return reference::max_logits(
          reference::rotated(map("q"), 4, theta), reference::rotated(map("k"), c.kv_heads, theta),
          c.query_scale > 0 ? c.query_scale : 1.0 / std::sqrt(static_cast<double>(c.head_dim)), c.window);
    };
    model.loss(first, 0);
    for (const Tensor& layer : model.take_max_logits()) CHECK(!layer.defined());  // not asked
    model.note_max_logits(true);
    model.loss(first, 0);
    check_close(model.take_max_logits().at(0), expected(first), 1e-12);
    model.loss(second, 0);
    {
      const torch::NoGradGuard no_grad;
      model.loss(first, 0);
    }
    check_close(model.take_max_logits().at(0), expected(second), 1e-12);
    model.loss(first, 0);
    model.loss(second, 0);
    std::vector<double> both = expected(first);
    const std::vector<double> more = expected(second);
    for (std::size_t h = 0; h < both.size(); ++h) both[h] = std::max(both[h], more[h]);
    const auto noted = model.take_max_logits();
    REQUIRE(noted.size() == 2);
    check_close(noted[0], both, 1e-12);
    CHECK(noted[1].defined());
    CHECK(!model.take_max_logits().at(0).defined());
  }
}

TEST_CASE("where logits are not linear in queries and keys, it is said by the option's name") {
  const auto error = [](const auto& change) {
    DecoderOptions o;
    change(o);
    REQUIRE(o.error().empty());
    return qk_clip_error(o.resolved());
  };
  CHECK(error([](DecoderOptions&) {}).empty());
  CHECK(error([](DecoderOptions& o) { o.qkv_bias = true; }).empty());
  CHECK(error([](DecoderOptions& o) { o.qk_norm = true; }).find("qk_norm: got true with qk_clip; allowed: false") == 0);
  CHECK(error([](DecoderOptions& o) { o.attn_softcap = 50.0; }) ==
        "attn_softcap: got 50 with qk_clip; allowed: 0. The cap bounds the logits");
  CHECK(error([](DecoderOptions& o) {
          o.scales.placement = ScalePlacement::both_normed;
          o.scales.maps = {"attn.k"};
        }).find("scales: got a norm behind attn.k with qk_clip") == 0);
  CHECK(error([](DecoderOptions& o) {
          o.scales.placement = ScalePlacement::both_normed;
          o.scales.maps = {"attn.v", "ffn.up"};
        }).empty());
}
