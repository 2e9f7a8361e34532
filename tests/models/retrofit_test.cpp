#include "models/retrofit.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <string>
#include <vector>

#include "models/initial_value.hpp"
#include "models/options_json.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"
#include "tests/support/tensor_gap.hpp"

using namespace scalevec;
using namespace scalevec::models;
using nlohmann::json;

namespace {

// float64, gains of either sign, an exact zero among them.
std::shared_ptr<Decoder> model_with(const json& more, double gains = 0.7) {
  json options = {{"vocab_size", 23}, {"width", 16}, {"layers", 2}, {"heads", 4}, {"kv_heads", 2}, {"mlp_width", 10}};
  options.update(more);
  auto model = std::make_shared<Decoder>(decoder_options_from_json(options.dump()), 1);
  model->to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  for (auto& p : model->named_parameters())
    p.value().add_(normal_values(p.value().sizes(), model->role(p.key()).kind == ParamKind::scale ? gains : 0.3, 2,
                                 p.key(), torch::kFloat64));
  return model;
}

DecoderOptions with_scales(const Decoder& model, const json& scales) {
  json options = json_of(model.options());
  options["scales"] = scales;
  return decoder_options_from_json(options.dump());
}

const torch::Tensor kTokens = torch::tensor({{0, 3, 22, 2, 2, 5}, {4, 1, 0, 6, 13, 1}}, torch::kInt64);

}  // namespace

TEST_CASE("a model under another exact design is the same function, whatever it was before") {
  const torch::NoGradGuard no_grad;
  const std::vector<json> designs = {"plain",
                                     "hg",
                                     "dp",
                                     "or",
                                     "none",
                                     {{"preset", "hg"}, {"placement", "both"}, {"form", "or"}},
                                     {{"form", "er"}},
                                     {{"form", "product"}},
                                     {{"form", "zero_centred"}},
                                     {{"multipliers", {{"scalar", true}, {"rows", true}}}}};
  const std::vector<json> sources = {"plain", "dp", {{"form", "or"}}, {{"form", "zero_centred"}}};
  for (const json& source : sources)
    for (const bool tied : {false, true})
      for (const json& design : designs) {
        if (design == "none" && tied) continue;  // refused below
        INFO(source.dump() << " to " << design.dump() << (tied ? ", tied" : ""));
        const auto from = model_with({{"scales", source}, {"tie_embeddings", tied}});
        const RetrofitResult to = retrofit(*from, with_scales(*from, design));
        CHECK(to.inexact.empty());
        CHECK(gap(to.model->forward(kTokens), from->forward(kTokens)) <= 1e-11);
        CHECK(to.logit_gap <= 1e-11);
      }
}

TEST_CASE("γ goes where the design says: to every branch, and 1 behind maps") {
  const auto from = model_with({{"scales", "plain"}});
  const auto before = from->named_parameters();
  const auto hg = retrofit(*from, with_scales(*from, "hg")).model;
  for (const char* branch : {"q", "k", "v"})
    CHECK(hg->named_parameters()["layers.1.attn_norm." + std::string(branch) + ".gamma"].equal(
        before["layers.1.attn_norm.gamma"]));
  const auto dp = retrofit(*from, with_scales(*from, "dp")).model;
  CHECK(dp->named_parameters()["layers.0.attn.v.out.gamma"].eq(1.0).all().item<bool>());
  // Matrices stay as they are, to the bit.
  CHECK(dp->named_parameters()["layers.0.attn.q.weight"].equal(before["layers.0.attn.q.weight"]));
  const auto original = retrofit(*from, with_scales(*from, "or")).model->named_parameters();
  const double rms = before["layers.0.ffn_norm.gamma"].square().mean().sqrt().item<double>();
  CHECK(original["layers.0.ffn_norm.beta"].item<double>() == Approx(rms).epsilon(1e-14));
}

TEST_CASE("a positive form takes the size of γ, and maps its signs and zeros") {
  const torch::NoGradGuard no_grad;
  for (const char* form : {"exp", "exp_sum", "exp_product"}) {
    INFO(form);
    const auto from = model_with({{"tie_embeddings", false}});
    from->named_parameters()["layers.0.attn_norm.gamma"][3] = 0.0;
    const json scales = {{"form", form}};
    const RetrofitResult to = retrofit(*from, with_scales(*from, scales));
    CHECK(gap(to.model->forward(kTokens), from->forward(kTokens)) <= 1e-11);
    CHECK(to.moved.size() >= 2);
    CHECK(to.model->named_parameters()["layers.0.attn.q.weight"].select(1, 3).eq(0.0).all().item<bool>());
  }
  // Where no map can take them: behind QK-norm, and in a tied unembedding.
  const auto refusal = [](const json& more, const json& scales, const std::string& negative) {
    const auto from = model_with(more);
    from->named_parameters()[negative][1] = -0.5;
    return message_of([&] { retrofit(*from, with_scales(*from, scales)); });
  };
  CHECK(refusal({{"qk_norm", true}, {"tie_embeddings", false}}, {{"qk_norm", {{"form", "exp"}}}},
                "layers.0.attn.q_norm.gamma")
            .find("layers.0.attn.q_norm") == 0);
  CHECK(refusal({{"tie_embeddings", true}}, {{"final", {{"form", "exp"}}}}, "final_norm.gamma").find("final_norm") ==
        0);
  CHECK(refusal({{"tie_embeddings", true}}, "none", "final_norm.gamma").find("tied") != std::string::npos);
}

TEST_CASE("what is not exact is named with its size, and another architecture refused") {
  const torch::NoGradGuard no_grad;
  const auto from = model_with({{"scales", "plain"}});
  for (const json& design : {json("dnp"), json("unified")}) {
    const RetrofitResult to = retrofit(*from, with_scales(*from, design));
    REQUIRE(!to.inexact.empty());
    CHECK(to.inexact.front().find("a norm behind") != std::string::npos);
    CHECK(to.logit_gap > 1e-3);
  }
  DecoderOptions other = with_scales(*from, "plain");
  other.rope_theta = 5.0;
  CHECK_THROWS_AS(retrofit(*from, other), std::invalid_argument);
  const auto own = model_with({{"scales", "hg"}});
  CHECK(message_of([&] { retrofit(*own, with_scales(*own, "plain")); }).find("fold it first") != std::string::npos);
}

TEST_CASE("experts, norms after the sublayers and QK-norm keep their scales") {
  const torch::NoGradGuard no_grad;
  const json experts = {{"experts", 3}, {"top_k", 2}, {"shared_width", 4}};
  for (const json& more : {json{{"moe", experts}}, json{{"norm_placement", "sandwich"}, {"qk_norm", true}}}) {
    const auto from = model_with(more);
    for (const json& design : {json("hg"), json("or"),
                               json{{"preset", "hg"}, {"placement", "both"}, {"form", "or"}, {"allow_inert", true}}}) {
      INFO(more.dump() << design.dump());
      const RetrofitResult to = retrofit(*from, with_scales(*from, design));
      CHECK(gap(to.model->forward(kTokens), from->forward(kTokens)) <= 1e-11);
    }
  }
}
