#include "experiments/runs/run_prediction.hpp"

#include <cmath>
#include <vector>

#include "tests/support/catch.hpp"
#include "tests/support/text.hpp"

using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;

namespace {

json plan_row(const std::string& name, const std::string& group, double norm) {
  return {{"name", name},
          {"group", group},
          {"method", "adamw"},
          {"shape", {4, 16}},
          {"count", 64},
          {"lr", 0.02},
          {"weight_decay", 0.5},
          {"decay_coupling", "lr"},
          {"decay_target", 0.0},
          {"row_blocks", 1},
          {"norm", norm},
          {"rule", 0},
          {"options", {{"beta1", 0.0}, {"beta2", 0.95}}}};
}

json config_of(std::int64_t steps) {
  return {{"steps", steps},
          {"schedule",
           {{"shape", "cosine"},
            {"warmup_steps", 5},
            {"total_steps", steps},
            {"final_factor", 0.1},
            {"decay_steps", 0},
            {"decay_shape", "linear"}}}};
}

// The cosine with warm-up, written anew.
double factor(std::int64_t t, std::int64_t steps) {
  if (t < 5) return static_cast<double>(t + 1) / 5.0;
  const double x = std::min(1.0, static_cast<double>(t - 5 + 1) / static_cast<double>(steps - 5));
  return 0.1 + 0.9 * 0.5 * (1.0 + std::cos(3.14159265358979323846 * x));
}

}  // namespace

// Without momentum each step adds η²d to (1 − x)²‖w‖², at a right angle to w.
TEST_CASE("a run's prediction is the recursion from its configuration, policy and norms") {
  const std::int64_t steps = 60;
  json policy{
      {"rows", {plan_row("a", "matrix", 3.0), plan_row("b", "matrix", 5.0), plan_row("c", "scale.input", 8.0)}}};
  policy["rows"][2]["weight_decay"] = 0.0;
  RunPrediction whole(config_of(steps), policy), skipping(config_of(steps), policy);
  std::vector<double> square{9.0, 25.0, 64.0};
  for (std::int64_t t = 0; t < steps; ++t) {
    whole.go_to(t + 1);
    const double lr = 0.02 * factor(t, steps);
    double along = 0.0, across = 0.0;
    for (std::size_t i = 0; i < 3; ++i) {
      const double kept = 1.0 - (i == 2 ? 0.0 : 0.5 * lr);
      const RunPrediction::Value got = whole.of(std::string(1, static_cast<char>('a' + i)));
      CHECK(std::abs(got.norm / std::sqrt(square[i]) - 1.0) <= 1e-12);
      CHECK(std::abs(got.rotation / std::atan2(lr * 8.0, kept * std::sqrt(square[i])) - 1.0) <= 1e-12);
      if (i < 2) {
        along += kept * square[i];
        across += kept * kept * square[i] + lr * lr * 64.0;
      }
      square[i] = kept * kept * square[i] + lr * lr * 64.0;
    }
    const double before = whole.of_group("matrix").norm, angle = whole.of_group("matrix").rotation;
    CHECK(std::abs(angle - std::acos(along / (before * std::sqrt(across)))) <= 1e-7);
    if (t % 7 == 6) {
      skipping.go_to(t + 1);
      CHECK(skipping.of("b").norm == whole.of("b").norm);
      CHECK(skipping.of_group("matrix").rotation == angle);
    }
  }
  CHECK(whole.of_group("scale.input").norm == whole.of("c").norm);
  CHECK(std::isnan(whole.of("none").norm));
}

TEST_CASE("a prediction is made only where the step's size is the method's and decay stands beside it") {
  const auto defined = [](const std::string& key, const json& value) {
    json policy{{"rows", {plan_row("a", "matrix", 3.0), plan_row("b", "matrix", 3.0)}}};
    policy["rows"][1][key] = value;
    RunPrediction p(config_of(20), policy);
    p.go_to(4);
    CHECK(std::isfinite(p.of("a").norm));
    // A group counts only whole.
    CHECK(std::isfinite(p.of_group("matrix").norm) == std::isfinite(p.of("b").norm));
    return std::isfinite(p.of("b").rotation);
  };
  CHECK(defined("decay_coupling", "lr2"));
  CHECK(defined("decay_coupling", "independent"));
  CHECK(!defined("decay_coupling", "l2"));
  CHECK(!defined("decay_target", 1.0));
  CHECK(!defined("method", "sgd"));
  CHECK(!defined("method", "soap"));
  CHECK(!defined("norm", 0.0));
  CHECK(!defined("count", 1));
  CHECK(!defined("weight_decay", 60.0));  // all of the weights and more in one step
  json muon = plan_row("b", "matrix", 3.0);
  muon["method"] = "muon";
  muon["options"] = {
      {"momentum", 0.95}, {"nesterov", true}, {"ns_steps", 5}, {"coefficients", "quintic"}, {"lr_scaling", "original"}};
  const auto noise = update_noise_of(muon);
  REQUIRE(noise);
  // Four singular values of some 0.8 to 0.9.
  CHECK(noise->mean_square > 4.0 * 0.6);
  CHECK(noise->mean_square < 4.0 * 1.2);
  muon["options"]["lr_scaling"] = "match_rms_adamw";
  CHECK(update_noise_of(muon)->mean_square == Approx(noise->mean_square * 0.04 * 16.0));
  muon["options"]["nesterov"] = false;
  CHECK(!update_noise_of(muon));
  CHECK(RunPrediction(json::object(), json::object()).empty());
}

TEST_CASE("where curves part is the first of two steps in a row that are off") {
  const std::vector<double> step{1, 2, 3, 4, 5}, predicted(5, 2.0);
  CHECK(parting_words(parting(step, {2.0, 2.1, 1.9, 2.0, 2.0}, predicted)) ==
        "within 10 % at 5 of 5 traced steps; furthest off at step 3: 5 % below");
  // One step off comes back; from step 4 on it stays.
  const Parting p = parting(step, {2.0, 3.0, 2.0, 1.0, 1.6}, predicted);
  CHECK(p.from == 4.0);
  CHECK(p.within == 2);
  CHECK(parting_words(p) ==
        "parts at step 4; furthest off at step 4: 50 % below; at the end: 20 % below; within 10 % at 2 of 5 traced "
        "steps");
  CHECK(parting_words(parting(step, {2.0, 2.0, 2.0, 2.0, 8.0}, predicted)) ==
        "parts at step 5; furthest off at step 5: 4 times the prediction; at the end: 4 times the prediction; within "
        "10 % at 4 of 5 traced steps");
  CHECK(contains(parting_words(parting(step, {2.0, 2.0, 2.0, 2.0, 0.5}, predicted)),
                 "at the end: 1/4 of the prediction"));
  CHECK(parting_words(parting(step, {NAN, NAN, NAN, NAN, NAN}, predicted)) == "nothing to compare");
  CHECK(parting({}, {}, {}).points == 0);
}

// Noise alone from ‖w‖/γ = 1 with R held: the closed path of T13, in steps of one.
TEST_CASE("a run's ratio follows T13's path, and its growth of R") {
  json scale = plan_row("g", "scale.input", std::sqrt(64.0)), map = plan_row("w", "matrix", std::sqrt(64.0));
  scale["weight_decay"] = map["weight_decay"] = 0.0;
  json config = config_of(400);
  config["schedule"] = {{"shape", "constant"}, {"warmup_steps", 0}, {"total_steps", 400},
                        {"final_factor", 0.0}, {"decay_steps", 0},  {"decay_shape", "linear"}};
  const json policy{{"rows", {scale, map}},
                    {"scales", {{{"name", "g"}, {"form", "plain"}, {"rows", 32}, {"readers", {"w"}}}}}};
  std::vector<json> traces;
  for (const int step : {1, 201, 401})
    traces.push_back(
        {{"step", step}, {"params", {{{"name", "g"}, {"count", 64}, {"param_norm", 8.0}, {"w_gamma_ratio", 1.0}}}}});
  const std::vector<RatioPrediction> got = ratio_predictions(config, policy, traces);
  REQUIRE(got.size() == 1);
  // d ln q/dn = η²(c − q)/(1 + q) at R = 1, by small steps.
  double q = 1.0;
  for (int i = 0; i < 40000; ++i) q *= std::exp(0.01 * 0.02 * 0.02 * (32.0 - q) / (1.0 + q));
  REQUIRE(got[0].predicted.size() == 3);
  CHECK(std::abs(got[0].predicted[2] / q - 1.0) <= 2e-3);
  CHECK(got[0].still == got[0].predicted);
  json other = policy;
  other["rows"][1]["method"] = "lion";
  CHECK(ratio_predictions(config, other, traces)[0].predicted.empty());
}
