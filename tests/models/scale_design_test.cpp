#include <torch/autograd.h>
#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>
#include <string>
#include <vector>

#include "models/decoder.hpp"
#include "models/fold.hpp"
#include "models/initial_value.hpp"
#include "models/options_json.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace scalevec;
using namespace scalevec::models;

DecoderOptions tiny_design() {
  DecoderOptions o;
  o.vocab_size = 7;
  o.width = 8;
  o.layers = 2;
  o.heads = 2;
  o.kv_heads = 1;
  o.mlp_width = 6;
  o.rope_theta = 50.0;
  o.norm_eps = 1e-3;
  return o;
}

struct Case {
  std::string name;
  DecoderOptions options;
};

std::vector<Case> designs() {
  std::vector<Case> cases;
  const auto add = [&](const std::string& name, const std::function<void(DecoderOptions&)>& change) {
    DecoderOptions o = tiny_design();
    change(o);
    cases.push_back({name, o});
  };
  for (const std::string& preset : scale_presets()) {
    add(preset, [&](auto& o) { o.scales = scale_preset(preset); });
    add(preset + " with QK-norm, untied", [&](auto& o) {
      o.scales = scale_preset(preset);
      o.qk_norm = true;
      o.tie_embeddings = false;
    });
    add(preset + " in a mixture", [&](auto& o) {
      o.scales = scale_preset(preset);
      o.moe.experts = 3;
      o.moe.shared_width = 4;
      o.moe.balance_loss = 0.1;
    });
  }
  for (const ScaleForm form :
       {ScaleForm::zero_centred, ScaleForm::exponential, ScaleForm::product, ScaleForm::exponential_radial,
        ScaleForm::exponential_sum, ScaleForm::exponential_product})
    add("form " + std::string(to_string(form)), [&](auto& o) {
      o.scales.input.form = o.scales.final.form = form;
      o.scales.input.initial = 1.3;
    });
  add("DP on all maps with biases", [](auto& o) {
    o.scales = scale_preset("dp");
    o.scales.maps = {"attn.q", "attn.k", "attn.v", "attn.o", "ffn.gate", "ffn.up", "ffn.down"};
    o.qkv_bias = o.o_bias = true;
  });
  add("DNP on v, o, down", [](auto& o) {
    o.scales = scale_preset("dnp");
    o.scales.maps = {"attn.v", "attn.o", "ffn.down"};
    o.qkv_bias = true;
  });
  add("norms behind the maps only", [](auto& o) {
    o.scales.placement = ScalePlacement::output;
    o.norm_placement = NormPlacement::none;
  });
  add("multipliers", [](auto& o) { o.scales.multipliers = {true, true, true, {}}; });
  add("HG, each expert", [](auto& o) {
    o.scales = scale_preset("hg");
    o.scales.experts = ExpertScales::each;
    o.moe.experts = 3;
    o.moe.normalise_top_k = false;
  });
  add("norms after, full-width QK-norm", [](auto& o) {
    o.norm_placement = NormPlacement::post;
    o.qk_norm = true;
    o.qk_norm_width = QkNormWidth::full;
  });
  add("norms around, soft-caps, windows, gelu", [](auto& o) {
    o.norm_placement = NormPlacement::sandwich;
    for (GammaOptions* g : {&o.scales.input, &o.scales.post, &o.scales.final}) g->form = ScaleForm::zero_centred;
    o.attn_softcap = 3.0;
    o.logit_softcap = 5.0;
    o.windows = {2, 0};
    o.activation = Activation::gelu_tanh;
    o.embed_scale = 1.7;
    o.query_scale = 0.4;
    o.local_rope_theta = 20.0;
  });
  add("LayerNorm on the sum, depth-scaled", [](auto& o) {
    o.norm = NormKind::layer;
    o.norm_placement = NormPlacement::post_residual;
    o.residual_depth_scaling = true;
    o.windows = {2, 2};
  });
  return cases;
}

// float64, with weights of order one and gains away from 1.
void shake_design(Decoder& model) {
  model.to(torch::kFloat64);
  const torch::NoGradGuard no_grad;
  for (auto& p : model.named_parameters())
    p.value().add_(normal_values(p.value().sizes(), 0.4, 2, p.key(), torch::kFloat64));
}

torch::Tensor design_tokens() { return torch::tensor({{0, 3, 6, 2, 2, 5}, {4, 1, 0, 6, 3, 1}}, torch::kInt64); }

}  // namespace

TEST_CASE("gradients of every design agree with central differences") {
  for (const Execution execution : {Execution::naive, Execution::folded})
    for (Case c : designs()) {
      INFO(c.name << (execution == Execution::folded ? ", folded" : ", naive"));
      c.options.execution = execution;
      Decoder model(c.options, 1);
      shake_design(model);
      const torch::Tensor tokens = design_tokens();
      model.loss(tokens, 0).backward();
      // Along three random directions per parameter; the balance loss exists only while gradients are recorded.
      double worst = 0.0, largest = 0.0;
      for (auto& p : model.named_parameters()) {
        INFO(p.key());
        REQUIRE(p.value().grad().defined());
        for (std::uint64_t draw = 0; draw < 3; ++draw) {
          torch::Tensor direction = normal_values(p.value().sizes(), 1.0, 7 + draw, p.key(), torch::kFloat64);
          direction /= direction.norm();
          const auto moved = [&](double by) {
            {
              const torch::NoGradGuard no_grad;
              p.value().add_(direction, by);
            }
            const double loss = model.loss(tokens, 0).item<double>();
            const torch::NoGradGuard no_grad;
            p.value().sub_(direction, by);
            return loss;
          };
          const double step = 1e-5, slope = (moved(step) - moved(-step)) / (2.0 * step);
          const double analytic = (p.value().grad() * direction).sum().item<double>();
          worst = std::max(worst, std::abs(slope - analytic));
          largest = std::max(largest, p.value().grad().norm().item<double>());
        }
      }
      CHECK(largest > 0.01);
      // Truncation is of order step² = 1e-10 times third derivatives, rounding of order 1e-16/step = 1e-11.
      CHECK(worst <= 1e-7 * largest);
    }
}

TEST_CASE("naive and folded execution agree in values and gradients") {
  for (Case c : designs()) {
    INFO(c.name);
    const torch::Tensor tokens = design_tokens();
    c.options.execution = Execution::naive;
    Decoder naive(c.options, 1);
    c.options.execution = Execution::folded;
    Decoder folded(c.options, 1);
    CHECK(!naive.folds(1 << 20));
    CHECK(folded.folds(1));
    shake_design(naive);
    shake_design(folded);
    const torch::Tensor a = naive.loss(tokens, 0), b = folded.loss(tokens, 0);
    CHECK(std::abs((a - b).item<double>()) <= 1e-12);
    a.backward();
    b.backward();
    const auto ours = naive.named_parameters(), theirs = folded.named_parameters();
    double largest = 0.0, worst = 0.0;
    for (const auto& p : ours) {
      largest = std::max(largest, p.value().grad().abs().max().item<double>());
      worst = std::max(worst, (p.value().grad() - theirs[p.key()].grad()).abs().max().item<double>());
    }
    CHECK(worst <= 1e-12 * largest);
  }
}

TEST_CASE("every design has roles that are complete and tell its parameters apart") {
  for (const Case& c : designs()) {
    INFO(c.name);
    const Decoder model(c.options, 1);
    std::set<std::string> roles;
    std::size_t linked = 0;
    for (const auto& p : model.named_parameters()) {
      const ParamRole& role = model.role(p.key());
      CHECK(role_error(role).empty());
      CHECK(!role.site.empty());
      INFO(p.key() << ": " << describe(role));
      CHECK(roles.insert(describe(role)).second);
      if (role.kind == ParamKind::scale) {
        CHECK(role.part != ScalePart::none);
        CHECK(role.side != ScaleSide::none);
        if (role.part == ScalePart::value || role.part == ScalePart::direction || role.site.ends_with("multiplier"))
          ++linked;
      }
    }
    CHECK(linked == model.scale_links().size());
    for (const ScaleLink& link : model.scale_links()) {
      CHECK(model.role(link.scale).norm_class == (link.folds() ? NormClass::input : NormClass::output));
      CHECK(!class_reason(link).empty());
    }
  }
}

TEST_CASE("a seed gives the same matrices under every design") {
  const auto dense = Decoder(tiny_design(), 3).named_parameters();
  for (const Case& c : designs()) {
    if (c.options.moe.experts > 0) continue;
    INFO(c.name);
    const Decoder model(c.options, 3);
    for (const auto& p : model.named_parameters())
      if (model.role(p.key()).kind == ParamKind::matrix || model.role(p.key()).kind == ParamKind::embedding) {
        REQUIRE(dense.contains(p.key()));
        CHECK(p.value().equal(dense[p.key()]));
      }
  }
}

TEST_CASE("every scale starts at its initial value, and no form changes the model that it starts from") {
  for (const ScaleForm form :
       {ScaleForm::plain, ScaleForm::zero_centred, ScaleForm::exponential, ScaleForm::original, ScaleForm::product,
        ScaleForm::exponential_radial, ScaleForm::exponential_sum, ScaleForm::exponential_product}) {
    const GammaOptions options{true, form, 1.75};
    const ScaleVector gamma(form, ScaleVector::initial_vector(options, 5), ScaleVector::initial_magnitude(options));
    INFO(std::string(to_string(form)));
    CHECK((gamma.value() - 1.75).abs().max().item<double>() <= 1e-6);
  }
}

TEST_CASE("the forms of a scale have theory's Jacobians") {
  // T8's JJᵀ at α of any length, with d = 6; J by automatic differentiation of each γ_i.
  const std::int64_t d = 6;
  const double beta = 1.4;
  const auto of = [&](ScaleForm form, double magnitude) {
    torch::Tensor a = normal_values({d}, 1.0, 5, "alpha", torch::kFloat64).requires_grad_();
    torch::Tensor b = torch::full({1}, magnitude, torch::kFloat64).requires_grad_();
    const torch::Tensor gamma = ScaleVector(form, a, b).value();
    std::vector<torch::Tensor> rows;
    for (std::int64_t i = 0; i < d; ++i) {
      const auto grads = torch::autograd::grad({gamma[i]}, {a, b}, {}, true);
      rows.push_back(torch::cat({grads[0], grads[1]}));
    }
    const torch::Tensor jacobian = torch::stack(rows);
    return std::tuple(jacobian.matmul(jacobian.t()), a.detach(), gamma.detach());
  };
  const torch::Tensor identity = torch::eye(d, torch::kFloat64);
  {
    const auto [jjt, a, gamma] = of(ScaleForm::original, beta);
    const torch::Tensor unit = a / a.norm(), along = torch::outer(unit, unit);
    const torch::Tensor expected = double(d) * along + (beta * beta * d / a.square().sum()) * (identity - along);
    CHECK((jjt - expected).abs().max().item<double>() <= 1e-12);
  }
  {
    const auto [jjt, a, gamma] = of(ScaleForm::product, beta);
    CHECK((jjt - beta * beta * identity - torch::outer(a, a)).abs().max().item<double>() <= 1e-12);
  }
  {
    const auto [jjt, a, gamma] = of(ScaleForm::exponential_radial, std::log(beta));
    const torch::Tensor unit = a / a.norm(), along = torch::outer(unit, unit);
    const torch::Tensor expected = gamma.square().sum() * (along + (identity - along) / a.square().sum());
    CHECK((jjt - expected).abs().max().item<double>() <= 1e-12);
  }
  {
    const auto [jjt, a, gamma] = of(ScaleForm::exponential_sum, std::log(beta));
    const torch::Tensor expected = torch::diag(gamma.square()) + torch::outer(gamma, gamma);
    CHECK(((jjt - expected).abs() / (1.0 + expected)).max().item<double>() <= 1e-12);
  }
  {
    const auto [jjt, a, gamma] = of(ScaleForm::exponential_product, beta);
    const torch::Tensor inner = beta * beta * identity + torch::outer(a, a);
    const torch::Tensor expected = torch::diag(gamma).matmul(inner).matmul(torch::diag(gamma));
    CHECK(((jjt - expected).abs() / (1.0 + expected.abs())).max().item<double>() <= 1e-12);
  }
}

TEST_CASE("folding any design leaves its function") {
  const torch::NoGradGuard no_grad;
  const torch::Tensor tokens = design_tokens();
  for (const Case& c : designs())
    for (const bool untie : {false, true}) {
      INFO(c.name << (untie ? ", untied" : ""));
      Decoder model(c.options, 1);
      shake_design(model);
      const torch::Tensor before = model.forward(tokens);
      const FoldResult result = fold(model, untie);
      const torch::Tensor after = result.model->forward(tokens);
      CHECK((after - before).abs().max().item<double>() <= 1e-12 * before.abs().max().item<double>());
      CHECK(result.folded.size() + result.kept.size() == model.scale_links().size());
      for (const ScaleLink& link : result.model->scale_links()) {
        const bool tied = !link.maps.empty() && link.maps[0] == "embed.weight";
        if (link.folds() && !tied) CHECK(link.gamma.value().eq(1).all().item<bool>());
      }
    }
}

TEST_CASE("a magnitude that is called inert leaves the loss alone, and others do not") {
  DecoderOptions o = tiny_design();
  o.norm_eps = 0.0;
  o.scales = scale_preset("unified");
  const std::vector<std::string> warnings = o.warnings();
  REQUIRE(warnings.size() == 5);  // γ_b of q, k, v, gate, up
  Decoder model(o, 1);
  shake_design(model);
  model.loss(design_tokens(), 0).backward();
  for (const auto& p : model.named_parameters()) {
    const ParamRole& role = model.role(p.key());
    if (role.part != ScalePart::magnitude) continue;
    INFO(p.key());
    const double gradient = p.value().grad().abs().max().item<double>();
    if (role.side == ScaleSide::before && role.layer >= 0)
      CHECK(gradient <= 1e-12);
    else
      CHECK(gradient > 1e-6);
  }
}

TEST_CASE("designs that mean nothing are refused with the reason") {
  const auto message = [](const std::string& text) -> std::string {
    try {
      decoder_options_from_json(text);
    } catch (const std::invalid_argument& e) {
      return e.what();
    }
    return "accepted";
  };
  const auto says = [&](const std::string& text, const std::string& part) {
    const std::string got = message(text);
    INFO(text << ": " << got);
    CHECK(got.find(part) != std::string::npos);
    CHECK(got.find('\n') == std::string::npos);
  };
  for (const std::string& preset : scale_presets()) CHECK(message(R"({"scales": ")" + preset + "\"}") == "accepted");
  says(R"({"scales": "hgg"})", "scales: got \"hgg\"; allowed: ");
  says(R"({"scales": {"branches": ["final"]}})", "a norm with one reader (final) has no branches");
  says(R"({"scales": {"placement": "both_normed", "form": "or"}})", "is inert: a norm follows");
  says(R"({"scales": {"preset": "hg", "form": "or"}, "qk_norm": true})", "the magnitude of γ_b of attn.q is inert");
  CHECK(message(R"({"scales": {"preset": "hg", "form": "or", "allow_inert": true}, "qk_norm": true})") == "accepted");
  says(R"({"scales": "hg", "norm_placement": "post"})", "no norm feeds the branches");
  says(R"({"scales": "dp", "norm_placement": "none"})", "has no γ_b there");
  says(R"({"scales": {"placement": "output"}})", "a norm before the map and one after it do the same");
  CHECK(message(R"({"scales": {"placement": "output"}, "norm_placement": "none"})") == "accepted");
  says(R"({"scales": {"preset": "dnp", "maps": ["attn.q"]}, "qk_norm": true})", "under QK-norm");
  says(R"({"scales": {"maps": ["attn.q"]}})", "under placement input");
  says(R"({"scales": {"preset": "dp", "maps": ["attn.x"]}})", "attn.q, attn.k");
  says(R"({"scales": {"preset": "dp", "maps": ["attn.q", "attn.q"]}})", "each map once");
  says(R"({"scales": {"preset": "dp", "multipliers": {"rows": true}}})", "whose rows γ_a multiplies already");
  says(R"({"scales": {"preset": "hg", "multipliers": {"columns": true}}})",
       "whose columns its own γ_b multiplies already");
  says(R"({"scales": {"experts": "each"}})", "a mixture's experts");
  says(R"({"scales": {"form": "exp", "input": {"initial": -1}}})", "more than 0");
  says(R"({"scales": {"form": "ore"}})", "scales.form");
  says(R"({"moe": {"experts": 2, "top_k": 3}})", "moe.top_k");
  says(R"({"moe": {"shared_width": 3}})", "moe.experts");
  says(R"({"windows": [1, 2]})", "one per layer (4)");
  says(R"({"qk_norm_width": "full"})", "qk_norm_width");
  says(R"({"rope_scaling": {"kind": "llama3", "high_freq_factor": 0.5}})", "more than rope_scaling.low_freq_factor");
}

TEST_CASE("options written as JSON come back the same") {
  for (const Case& c : designs()) {
    INFO(c.name);
    CHECK(decoder_options_from_json(json_of(c.options).dump()) == c.options);
    CHECK(decoder_options_from_json(json_of(c.options.resolved()).dump()) == c.options.resolved());
    CHECK(c.options.resolved().resolved() == c.options.resolved());
  }
}
