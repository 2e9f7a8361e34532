#include "experiments/probe/probe.hpp"

#include <cmath>

#include "experiments/claims/levels.hpp"
#include "experiments/toys/toys.hpp"
#include "experiments/train/session.hpp"
#include "optim/config/json_reader.hpp"
#include "optim/core/random.hpp"
#include "tests/support/catch.hpp"
#include "theory/lanczos.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using namespace scalevec::models;
using namespace scalevec::theory;
using nlohmann::json;

namespace {

json tiny_config() {
  return {
      {"model", {{"vocab_size", 16}, {"width", 8}, {"layers", 1}, {"heads", 1}, {"mlp_width", 16}, {"qk_norm", true}}},
      {"data", {{"synthetic", {{"validation_windows", 32}}}}},
      {"steps", 20},
      {"batch_size", 4},
      {"sequence_length", 16},
      {"threads", 1},
      {"optimizer", {{"lr", 0.01}, {"rules", {{{"match", json::object()}, {"method", "adamw"}}}}}}};
}

// The quadratic ½h(γ − γ*)² per replica has the Hessian h·1.
struct Quadratic : Model {
  explicit Quadratic(std::vector<double> curvatures) : h(std::move(curvatures)) {
    p = add_parameter("p", torch::zeros({static_cast<std::int64_t>(h.size())}, torch::kFloat64), ParamRole{});
  }
  torch::Tensor loss(const torch::Tensor&, std::int64_t) override {
    return 0.5 * (torch::tensor(h, torch::kFloat64) * (p - 1.0).square()).sum();
  }
  bool needs_tokens() const override { return false; }
  std::int64_t vocab_size() const override { return 0; }
  std::vector<double> h;
  torch::Tensor p;
};

}  // namespace

TEST_CASE("a Hessian product of a quadratic is exact, and leaves the weights as they were") {
  Quadratic model({3.0, 0.5, -2.0});
  LossSurface surface(model, {});
  const std::vector<double> v{1.0, -2.0, 4.0};
  std::vector<double> hv(3);
  surface.hessian_product(v, hv);
  for (size_t i = 0; i < 3; ++i) CHECK(hv[i] == Approx(model.h[i] * v[i]).epsilon(1e-7));
  CHECK(model.p.abs().max().item<double>() == 0.0);
  CHECK(lanczos(3, [&](auto in, auto out) { surface.hessian_product(in, out); }).largest == Approx(3.0).epsilon(1e-6));
}

// vᵀHv from gradients of a decoder with fused operators against the second difference of its loss, which no gradient
// enters.
TEST_CASE("a decoder's curvature along a direction agrees with second differences of its loss") {
  json config = tiny_config();
  config["dtype"] = "float64";
  Session session(read_run_config(config));
  for (int i = 0; i < 10; ++i) session.step(false);
  Model& model = const_cast<Model&>(session.model());
  for (const std::vector<std::string>& names :
       {std::vector<std::string>{}, {"layers.0.attn_norm.gamma", "layers.0.attn.q.weight"}}) {
    LossSurface surface(model, session.validation_tokens(8), names);
    std::vector<double> v(surface.size()), hv(surface.size());
    double norm = 0.0;
    for (size_t i = 0; i < v.size(); ++i) {
      v[i] = random_normal(4, 0, i);
      norm += v[i] * v[i];
    }
    surface.hessian_product(v, hv);
    double along = 0.0;
    for (size_t i = 0; i < v.size(); ++i) along += v[i] * hv[i] / norm;
    const double h = 1e-3, here = surface.loss();
    const auto moved = [&](double factor) {
      size_t at = 0;
      const torch::NoGradGuard no_grad;
      double loss = 0.0;
      for (const double sign : {1.0, -1.0}) {
        at = 0;
        for (auto& p : model.named_parameters())
          if (names.empty() || std::find(names.begin(), names.end(), p.key()) != names.end())
            for (std::int64_t k = 0; k < p.value().numel(); ++k)
              p.value().data_ptr<double>()[k] += sign * factor * v[at++] / std::sqrt(norm);
        if (sign > 0.0) loss = surface.loss();
      }
      return loss;
    };
    CHECK(along == Approx((moved(h) - 2.0 * here + moved(-h)) / (h * h)).epsilon(2e-4).margin(1e-5));
  }
}

TEST_CASE("a probe measures a run where it is asked to, alike each time") {
  const RunConfig config = read_run_config(tiny_config());
  ProbeOptions options;
  options.steps = {0, 10};
  options.gradients = 6;
  options.rows = 8;
  options.most_products = 12;
  const json first = probe(config, options);
  REQUIRE(first.at("points").size() == 2);
  CHECK(first.at("points")[1].at("step") == 10);
  CHECK(first.at("points")[0].at("sharpness").at("whole").at("largest").get<double>() > 0.0);
  CHECK(first.at("points")[0].at("sharpness").contains("layers.0.attn_norm.gamma"));
  // A restriction's largest eigenvalue is at most the whole's.
  CHECK(first.at("points")[1].at("sharpness").at("layers.0.attn_norm.gamma").at("largest").get<double>() <=
        1.05 * first.at("points")[1].at("sharpness").at("whole").at("largest").get<double>());
  CHECK(first.at("points")[1].at("snr").contains("scale.input"));
  CHECK(probe(config, options) == first);
}

TEST_CASE("a toy claim finds what is known of it") {
  // T5: decay holds an output-norm scale short of its target.
  ToyClaim toy{{{"words", "w"},
                {"rows", 1},
                {"columns", 32},
                {"target", 2},
                {"noise", 1.0},
                {"steps", 600},
                {"replicas", 8},
                {"schedule", "constant"},
                {"lrs", {3e-3, 1e-2, 3e-2}}},
               {{"words", "decay"}, {"scale", "output"}, {"decay", 0.5}},
               {{"words", "none"}, {"scale", "output"}},
               0.05};
  const json made = run_claim_toy(toy);
  REQUIRE(made.at("gains").size() == 4);
  for (const json& gain : made.at("gains")) CHECK(gain.get<double>() > 0.3);
  CHECK(run_claim_toy(toy) == made);
  // Every way of making θ starts at W, or at γ, and falls.
  for (const char* scale : {"none", "input", "branches", "both", "or"}) {
    const ToyClaim same{{{"words", "w"},
                         {"rows", 4},
                         {"columns", 8},
                         {"noise", 0.1},
                         {"steps", 200},
                         {"replicas", 4},
                         {"lrs", {1e-3, 3e-2, 1e-1}}},
                        {{"words", "a"}, {"scale", scale}},
                        {{"words", "b"}, {"scale", scale}},
                        0.05};
    const json r = run_claim_toy(same);
    CHECK(r.at("worse") == r.at("better"));
    for (const json& gain : r.at("gains")) CHECK(gain == 0.0);
    CHECK(r.at("worse")[1].get<double>() < 0.5 * r.at("worse")[0].get<double>());
  }
  const ToyClaim wrong{{{"words", "w"}, {"lrs", {1.0, 2.0, 3.0}}, {"rows", 0}}, {}, {}, 0.0};
  CHECK_THROWS_AS(run_claim_toy(wrong), ConfigError);
}
