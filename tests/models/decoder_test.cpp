#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <stdexcept>
#include <string>
#include <vector>

#include "models/decoder.hpp"
#include "models/initial_value.hpp"
#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"

using namespace scalevec::models;

namespace {

using scalevec::ParamKind;
using scalevec::ParamRole;
using scalevec::models::Decoder;
using scalevec::models::DecoderOptions;

DecoderOptions small() {
  DecoderOptions o;
  o.vocab_size = 40;
  o.width = 32;
  o.layers = 2;
  o.heads = 4;
  o.kv_heads = 2;
  return o;
}

}  // namespace

TEST_CASE("initial values are a function of seed, name and index") {
  const torch::Tensor t = scalevec::models::normal_values({300, 70}, 0.5, 9, "some.weight", torch::kFloat64);
  const double* data = t.const_data_ptr<double>();
  double worst = 0.0;
  for (std::int64_t i = 0; i < t.numel(); ++i)
    worst = std::max(worst, std::abs(data[i] - 0.5 * scalevec::random_normal(9, scalevec::stream_of("some.weight"),
                                                                             static_cast<std::uint64_t>(i))));
  CHECK(worst == 0.0);
  CHECK(torch::equal(scalevec::models::normal_values({300, 70}, 0.5, 9, "some.weight"), t.to(torch::kFloat32)));
  CHECK(!torch::equal(scalevec::models::normal_values({300, 70}, 0.5, 10, "some.weight", torch::kFloat64), t));
  CHECK(!torch::equal(scalevec::models::normal_values({300, 70}, 0.5, 9, "other.weight", torch::kFloat64), t));

  const int threads = at::get_num_threads();
  at::set_num_threads(1);
  const torch::Tensor alone = scalevec::models::normal_values({300, 70}, 0.5, 9, "some.weight", torch::kFloat64);
  at::set_num_threads(threads);
  CHECK(torch::equal(alone, t));
}

TEST_CASE("the same seed gives the same matrices whatever scale vectors exist") {
  DecoderOptions with = small(), without = small(), qk = small(), bare_qk = small();
  without.scale_vectors = false;
  qk.qk_norm = true;
  bare_qk.qk_norm = true;
  bare_qk.qk_norm_scale = false;
  Decoder reference(without, 5);
  const auto expected = reference.named_parameters();
  for (const DecoderOptions& o : {with, qk, bare_qk}) {
    Decoder model(o, 5);
    std::size_t matrices = 0;
    for (const auto& p : model.named_parameters()) {
      if (model.role(p.key()).kind == ParamKind::scale) {
        CHECK(torch::equal(p.value(), torch::ones_like(p.value())));
        continue;
      }
      ++matrices;
      REQUIRE(expected.contains(p.key()));
      CHECK(torch::equal(p.value(), expected[p.key()]));
    }
    CHECK(matrices == expected.size());
  }
  CHECK(!torch::equal(Decoder(without, 6).named_parameters()["embed.weight"], expected["embed.weight"]));
}

TEST_CASE("maps to queries and keys state the rows of a head, others none") {
  Decoder model(small(), 5);
  int heads = 0;
  for (const auto& p : model.named_parameters()) {
    const ParamRole& role = model.role(p.key());
    const bool map = role.kind == ParamKind::matrix && (role.site == "attn.q" || role.site == "attn.k");
    CHECK(role.head_dim == (map ? model.options().head_dim : 0));
    heads += map;
  }
  CHECK(heads == 2 * small().layers);
}

TEST_CASE("initial standard deviations") {
  // 512·128 draws or more: the sample deviation is within 1.5 % of std with false-alarm rate below 1e-7.
  DecoderOptions o = small();
  o.vocab_size = 512;
  o.width = 128;
  o.layers = 8;
  o.kv_heads = 4;
  const auto std_of = [](const Decoder& m, const char* name) {
    return m.named_parameters()[name].std().item<double>();
  };
  Decoder scaled(o, 3);
  CHECK(std::abs(std_of(scaled, "embed.weight") / 0.02 - 1.0) < 0.015);
  CHECK(std::abs(std_of(scaled, "layers.3.ffn.down.weight") / (0.02 / 4.0) - 1.0) < 0.03);  // 352·128 draws
  o.init_depth_scaling = false;
  o.init_std = 0.1;
  CHECK(std::abs(std_of(Decoder(o, 3), "layers.3.ffn.down.weight") / 0.1 - 1.0) < 0.03);
}

TEST_CASE("every parameter carries the role of its place") {
  DecoderOptions o = small();
  o.qk_norm = true;
  o.tie_embeddings = false;
  Decoder model(o, 0);
  std::set<std::string> described;
  for (const auto& p : model.named_parameters())
    described.insert(p.key() + " | " + scalevec::describe(model.role(p.key())));
  std::set<std::string> expected{"embed.weight | embedding embed", "unembed.weight | unembedding unembed",
                                 "final_norm.gamma | scale input before final"};
  for (const std::string layer : {"0", "1"}) {
    const std::string path = "layers." + layer + ".", end = " layer " + layer;
    expected.insert(path + "attn_norm.gamma | scale input before attn" + end);
    expected.insert(path + "ffn_norm.gamma | scale input before ffn" + end);
    expected.insert(path + "attn.q_norm.gamma | scale output after attn.q_norm" + end);
    expected.insert(path + "attn.k_norm.gamma | scale output after attn.k_norm" + end);
    for (const std::string site : {"attn.q", "attn.k", "attn.v", "attn.o", "ffn.gate", "ffn.up", "ffn.down"})
      expected.insert(path + site + ".weight | matrix " + site + end);
  }
  CHECK(described == expected);
  for (const auto& p : model.named_parameters())
    if (const auto& role = model.role(p.key()); role.kind == ParamKind::scale)
      CHECK(role.part == scalevec::ScalePart::value);
  CHECK_THROWS_AS(model.role("layers.9.attn.q.weight"), std::invalid_argument);
}

TEST_CASE("a parameter registered past the roles is found") {
  Decoder model(small(), 0);
  model.check_roles();
  model.register_parameter("stray", torch::ones({3}));
  CHECK_THROWS_AS(model.check_roles(), std::logic_error);
}

TEST_CASE("scale links name the maps that read each scale") {
  DecoderOptions o = small();
  o.qk_norm = true;
  o.layers = 1;
  Decoder model(o, 0);
  std::map<std::string, std::vector<std::string>> links;
  for (const auto& link : model.scale_links()) links[link.scale] = link.maps;
  const std::map<std::string, std::vector<std::string>> expected{
      {"layers.0.attn_norm.gamma", {"layers.0.attn.q.weight", "layers.0.attn.k.weight", "layers.0.attn.v.weight"}},
      {"layers.0.ffn_norm.gamma", {"layers.0.ffn.gate.weight", "layers.0.ffn.up.weight"}},
      {"layers.0.attn.q_norm.gamma", {}},
      {"layers.0.attn.k_norm.gamma", {}},
      {"final_norm.gamma", {"embed.weight"}}};
  CHECK(links == expected);
  CHECK(model.matrices_before_norm() == std::vector<std::string>{"layers.0.attn.q.weight", "layers.0.attn.k.weight"});
}

TEST_CASE("an input scale times its readers' columns is the same function") {
  // T1: W diag(γ) for every reader, γ = 1, on an untied model; tests the links against the forward pass.
  DecoderOptions o = small();
  o.tie_embeddings = false;
  Decoder model(o, 4);
  model.to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  const torch::Tensor tokens = torch::arange(24).view({2, 12}).remainder(40);
  const auto parameters = model.named_parameters();
  for (const auto& p : parameters)
    p.value().add_(scalevec::models::normal_values(p.value().sizes(), 0.3, 8, p.key(), torch::kFloat64));
  const torch::Tensor before = model.forward(tokens);
  for (const auto& link : model.scale_links()) {
    for (const auto& map : link.maps) parameters[map].mul_(parameters[link.scale]);
    parameters[link.scale].fill_(1.0);
  }
  const torch::Tensor after = model.forward(tokens);
  CHECK((after - before).abs().max().item<double>() <= 1e-12 * before.abs().max().item<double>());
}

TEST_CASE("a matrix before a norm acts through its direction only") {
  DecoderOptions o = small();
  o.qk_norm = true;
  o.norm_eps = 0.0;
  Decoder model(o, 4);
  model.to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  const torch::Tensor tokens = torch::arange(24).view({2, 12}).remainder(40);
  const torch::Tensor before = model.forward(tokens);
  for (const auto& name : model.matrices_before_norm()) model.named_parameters()[name].mul_(3.0);
  CHECK((model.forward(tokens) - before).abs().max().item<double>() <= 1e-12 * before.abs().max().item<double>());
}

TEST_CASE("later tokens do not change earlier logits") {
  Decoder model(small(), 1);
  const torch::NoGradGuard no_grad;
  for (auto& p : model.parameters()) p.mul_(10.0);
  const torch::Tensor tokens = torch::arange(12).view({1, 12});
  torch::Tensor changed = tokens.clone();
  changed.narrow(1, 7, 5).add_(20);
  const torch::Tensor a = model.forward(tokens), b = model.forward(changed);
  const auto gap = [&](std::int64_t from, std::int64_t count) {
    return (a - b).narrow(1, from, count).abs().max().item<double>();
  };
  CHECK(gap(0, 7) <= 1e-6 * a.abs().max().item<double>());
  CHECK(gap(7, 5) > 1e-2 * a.abs().max().item<double>());
}

TEST_CASE("loss is the mean cross-entropy of the next token in nats") {
  Decoder model(small(), 1);
  model.to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  for (auto& p : model.parameters()) p.mul_(10.0);
  const torch::Tensor tokens = torch::tensor({{1, 30, 7, 7, 12}, {39, 0, 2, 5, 21}}, torch::kInt64);
  const torch::Tensor logits = model.forward(tokens.narrow(1, 0, 4));
  double sum = 0.0;
  for (int b = 0; b < 2; ++b)
    for (int t = 0; t < 4; ++t) {
      double partition = 0.0;
      for (int v = 0; v < 40; ++v) partition += std::exp(logits[b][t][v].item<double>());
      sum += std::log(partition) - logits[b][t][tokens[b][t + 1]].item<double>();
    }
  CHECK(std::abs(model.loss(tokens, 0).item<double>() - sum / 8.0) <= 1e-12);
  CHECK_THROWS_AS(model.loss(torch::Tensor(), 0), std::invalid_argument);
  CHECK_THROWS_AS(model.loss(tokens.narrow(1, 0, 1), 0), std::invalid_argument);
}

TEST_CASE("zero weights give the uniform distribution") {
  Decoder model(small(), 1);
  const torch::NoGradGuard no_grad;
  for (auto& p : model.parameters()) p.zero_();
  const torch::Tensor tokens = torch::zeros({2, 5}, torch::kInt64);
  CHECK(std::abs(model.loss(tokens, 0).item<double>() - std::log(40.0)) <= 1e-6);
}

TEST_CASE("a model moved to float64 computes in float64, whatever sequence lengths it saw before") {
  DecoderOptions o = small();
  Decoder moved(o, 1), fresh(o, 1);
  const torch::NoGradGuard no_grad;
  const torch::Tensor tokens = torch::arange(20).view({1, 20});
  moved.forward(tokens.narrow(1, 0, 5));
  moved.forward(tokens);
  moved.to(torch::kFloat64);
  fresh.to(torch::kFloat64);
  const torch::Tensor logits = moved.forward(tokens.narrow(1, 0, 9));
  CHECK(logits.scalar_type() == torch::kFloat64);
  CHECK(torch::equal(logits, fresh.forward(tokens.narrow(1, 0, 9))));
}
