#include <torch/types.h>

#include <cmath>
#include <functional>

#include "optim/optim.hpp"
#include "tests/support/catch.hpp"

namespace {

using namespace scalevec;

NamedParam param(const std::string& name, ParamRole role, std::vector<std::int64_t> shape = {4}) {
  return {name, torch::ones(shape, torch::kFloat64).requires_grad_(true), std::move(role)};
}

std::vector<NamedParam> model() {
  return {param("embed", {ParamKind::embedding}, {8, 4}),
          param("layers.0.q", {ParamKind::matrix, NormClass::none, "attn.q", 0}, {4, 4}),
          param("layers.1.up", {ParamKind::matrix, NormClass::none, "ffn.up", 1}, {4, 4}),
          param("layers.0.norm", {ParamKind::scale, NormClass::input, "attn", 0, ScaleSide::before, ScalePart::value}),
          param("layers.0.q_norm",
                {ParamKind::scale, NormClass::output, "attn.q_norm", 0, ScaleSide::after, ScalePart::value})};
}

std::string error_of(const std::string& json) {
  try {
    RolePolicy::from_json(json).resolve(model());
  } catch (const std::invalid_argument& e) {
    return e.what();
  }
  return "";
}

bool has(const std::string& text, const std::string& part) { return text.find(part) != std::string::npos; }

}  // namespace

TEST_CASE("the rule with more matched fields wins, and a name glob over roles") {
  const RolePolicy policy = RolePolicy::from_json(R"({"lr": 1e-2, "max_norm": 1.0, "defaults": {"beta2": 0.95},
    "rules": [
      {"match": {}, "method": "adamw", "weight_decay": 0.1},
      {"match": {"kind": "scale"}, "lr_mult": 10},
      {"match": {"kind": "scale", "norm_class": "output"}, "weight_decay": 0.2, "decay_target": 1, "clip": false},
      {"match": {"site": "attn.*", "kind": "matrix"}, "method": "sgd", "momentum": 0.9},
      {"match": {"name": "*.up"}, "method": "lion", "decay_coupling": "independent", "weight_decay": 0.01}]})");
  const auto rows = policy.resolve(model());
  REQUIRE(rows.size() == 5);
  CHECK(rows[0].rule == 0);
  CHECK(rows[1].rule == 3);
  CHECK(rows[2].rule == 4);
  CHECK(rows[3].rule == 1);
  CHECK(rows[4].rule == 2);
  CHECK(rows[1].options->method() == "sgd");
  CHECK(rows[3].options->lr() == 0.1);
  CHECK(rows[3].options->weight_decay() == 0.0);  // a rule that names no decay means none
  CHECK(rows[4].options->decay_target() == 1.0);
  CHECK(!rows[4].options->clip());
  CHECK(rows[2].options->decay_coupling() == DecayCoupling::independent);
  CHECK(static_cast<const AdamWOptions&>(*rows[0].options).beta2() == 0.95);
}

TEST_CASE("a tie and a parameter without a rule are errors that name them") {
  const std::string tie =
      error_of(R"({"lr": 1, "rules": [{"match": {}}, {"match": {"kind": "matrix"}}, {"match": {"layer": 1}}]})");
  CHECK(has(tie, "layers.1.up"));
  CHECK(has(tie, "rules 1 (kind=matrix) and 2 (layer=1)"));
  const std::string none = error_of(R"({"lr": 1, "rules": [{"match": {"kind": ["matrix", "embedding"]}}]})");
  CHECK(has(none, "no rule of the policy matches layers.0.norm (scale input"));
}

TEST_CASE("wrong policies are refused with path, value and what is allowed") {
  CHECK(has(error_of(R"({"lr": 1, "rules": [{"match": {}, "weigth_decay": 0.1}]})"),
            "rules[0].weigth_decay: unknown key; did you mean \"weight_decay\"?"));
  CHECK(has(error_of(R"({"lr": -1, "rules": [{"match": {}}]})"), "lr: got -1; allowed: a number, at least 0"));
  CHECK(has(error_of(R"({"lr": 1, "rules": [{"match": {"kind": "gain"}}]})"),
            "rules[0].match.kind: got \"gain\"; allowed: embedding"));
  CHECK(has(error_of(R"({"lr": 1, "rules": [{"match": {}, "method": "adamv"}]})"), "allowed: adamw, adam"));
  CHECK(has(error_of(R"({"lr": 1, "rules": [{"match": {}, "decay_target": 0.5}]})"),
            "decay_target: got 0.5; allowed: 0, 1"));
  CHECK(has(error_of(R"({"lr": 1, "rules": [{"match": {}, "beta1": 1.0}]})"),
            "beta1: got 1.0; allowed: a number, [0, 1)"));
  CHECK(has(error_of(R"({"lr": 1, "rules": [{"match": {}, "momentum": 0.9}]})"), "rules[0].momentum: unknown key"));
  CHECK(has(error_of(R"({"lr": 1, "rules": []})"), "rules"));
  // A misspelt key is named before the missing one.
  CHECK(has(error_of(R"({"learnig_rate": 1e-3, "rules": [{"match": {}}]})"),
            "learnig_rate: unknown key; known here: lr"));
  CHECK(has(error_of(R"({"Lr": 1e-3, "rules": [{"match": {}}]})"), "Lr: unknown key; did you mean \"lr\"?"));
  CHECK(has(error_of(R"({"lr": 1, "ruels": [{"match": {}}]})"), "ruels: unknown key; did you mean \"rules\"?"));
  CHECK(has(error_of(R"({"lr": 1, "rules": [{"match": {}}], "lr": 2})"), "given twice"));
  CHECK(has(error_of("{"), "not valid JSON at line 1"));
  CHECK(error_of(R"({"lr": 1, "rules": [{"match": {}}]})").empty());
}

TEST_CASE("globs match as a shell's do") {
  CHECK(glob_match("layers.*.attn.?.weight", "layers.10.attn.q.weight"));
  CHECK(!glob_match("layers.*.attn.?.weight", "layers.10.attn.qk.weight"));
  CHECK(glob_match("*", ""));
  CHECK(!glob_match("a", ""));
  CHECK(glob_match("a*b*c", "aXbYbZc"));
}

TEST_CASE("the clip norm is taken over its members and applied to them only") {
  const auto params = model();
  const RolePolicy policy = RolePolicy::from_json(R"({"lr": 0.5, "max_norm": 1.0, "rules": [
    {"match": {}, "method": "sgd"}, {"match": {"kind": "scale"}, "method": "sgd", "clip": false}]})");
  auto optimizer = make_optimizer(params, policy);
  for (const auto& p : params) p.tensor.mutable_grad() = torch::full_like(p.tensor, 2.0);
  std::vector<torch::Tensor> before;
  for (const auto& p : params) before.push_back(p.tensor.detach().clone());
  optimizer->step();
  const double norm = std::sqrt(64.0 * 4.0);  // 32 + 16 + 16 elements of 2
  const double factor = 1.0 / (norm + 1e-6);
  CHECK(std::abs(optimizer->grad_norm() - norm) < 1e-12);
  CHECK(std::abs(optimizer->clip_factor() - factor) < 1e-15);
  for (size_t i = 0; i < params.size(); ++i) {
    const double f = params[i].role.kind == ParamKind::scale ? 1.0 : factor;
    CHECK(torch::allclose(params[i].tensor, before[i] - 0.5 * f * 2.0, 0, 1e-14));
  }
}

TEST_CASE("couplings and targets act as their formulas say over a schedule") {
  for (const char* coupling : {"l2", "lr", "independent", "lr2"})
    for (const double target : {0.0, 1.0}) {
      const auto params = std::vector<NamedParam>{param("p", {ParamKind::matrix}, {3})};
      params[0].tensor.detach().fill_(4.0);
      const RolePolicy policy = RolePolicy::from_json(
          std::string(
              R"({"lr": 0.25, "rules": [{"match": {}, "method": "sgd", "lr_mult": 2, "weight_decay": 0.1, "decay_coupling": ")") +
          coupling + R"(", "decay_target": )" + std::to_string(static_cast<int>(target)) + "}]}");
      auto optimizer = make_optimizer(params, policy);
      double p = 4.0;
      for (const double factor : {0.5, 1.0, 0.2}) {
        optimizer->set_lr_factor(factor);
        params[0].tensor.mutable_grad() = torch::full({3}, 0.3, torch::kFloat64);
        optimizer->step();
        const double lr = 0.5 * factor, word = p - target;
        const std::string c = coupling;
        if (c == "l2") p -= lr * (0.3 + 0.1 * word);
        if (c == "lr") p -= lr * 0.1 * word + lr * 0.3;
        if (c == "independent") p -= 0.1 * (lr / 0.5) * word + lr * 0.3;
        if (c == "lr2") p -= 0.1 * (lr * lr / 0.5) * word + lr * 0.3;
        CHECK(std::abs(params[0].tensor[0].item<double>() - p) < 1e-14);
      }
    }
}

TEST_CASE("a parameter's traces carry its name, group and method") {
  const auto params = model();
  auto optimizer = make_optimizer(
      params,
      RolePolicy::from_json(R"({"lr": 0.1, "rules": [{"match": {}}, {"match": {"kind": "scale"}, "lr_mult": 3}]})"));
  for (const auto& p : params) p.tensor.mutable_grad() = torch::ones_like(p.tensor);
  optimizer->trace_next_step();
  optimizer->step();
  REQUIRE(optimizer->traces().size() == 5);
  for (const TraceRow& row : optimizer->traces())
    if (row.name == "layers.0.norm") {
      CHECK(row.group == "scale.input");
      CHECK(std::abs(row.scheduled_lr - 0.3) < 1e-15);
      CHECK(std::abs(row.adaptive_lr - 0.3) < 1e-6);  // |g| = 1, so √v̂ = 1
      CHECK(row.method == "adamw");
    }
  CHECK(optimizer->group_traces().size() == 4);
  const auto words =
      describe(RolePolicy::from_json(R"({"lr": 0.1, "rules": [{"match": {}, "weight_decay": 0.1}]})"),
               RolePolicy::from_json(R"({"lr": 0.1, "rules": [{"match": {}, "weight_decay": 0.1}]})").resolve(params));
  CHECK(has(words, "everything: adamw, lr 0.1, decay 0.1 toward 0 (coupling lr)"));
  optimizer->step();
  CHECK(optimizer->traces().size() == 5);
}
