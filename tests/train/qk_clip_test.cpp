#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <cmath>
#include <map>
#include <string>
#include <vector>

#include "experiments/errors.hpp"
#include "experiments/train/session.hpp"
#include "models/decoder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/message.hpp"

// QK-Clip (arXiv 2507.20534) of decoders: the clipped weights against plain loops, and the bound that it is for.
using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;
using torch::Tensor;

namespace {

models::DecoderOptions small(std::int64_t kv_heads, bool bias, int layers) {
  models::DecoderOptions o;
  o.vocab_size = 40;
  o.width = 32;
  o.layers = layers;
  o.heads = 4;
  o.kv_heads = kv_heads;
  o.head_dim = 16;
  o.qkv_bias = bias;
  o.init_std = 0.5;
  return o;
}

std::string policy(const std::string& method, double lr, double tau) {
  return R"({"lr": )" + std::to_string(lr) + R"(, "defaults": {"qk_clip": )" + std::to_string(tau) +
         R"(}, "rules": [{"match": {}}, {"match": {"kind": "matrix"}, "method": ")" + method + R"("}]})";
}

// A decoder and its optimizer after one step on `tokens`; what the batch's largest logits were.
struct Stepped {
  models::Decoder model;
  std::map<std::string, Tensor> values;
  std::vector<Tensor> logits;

  Stepped(const models::DecoderOptions& o, torch::Dtype dtype, const std::string& policy, const Tensor& tokens)
      : model(o, 7) {
    model.to(dtype);
    model.note_max_logits(true);
    const auto params = model_params(model);
    const auto optimizer = make_optimizer(params, RolePolicy::from_json(policy));
    model.loss(tokens, 0).backward();
    logits = model.take_max_logits();
    optimizer->set_max_logits(logits);
    optimizer->step();
    for (const NamedParam& p : params) values[p.name] = p.tensor.detach().clone();
  }

  std::vector<double> logits_now(const Tensor& tokens, std::size_t layer) {
    model.loss(tokens, 0);
    const Tensor now = model.take_max_logits().at(layer).to(torch::kFloat64);
    return {now.data_ptr<double>(), now.data_ptr<double>() + now.numel()};
  }
};

// The middle of the largest logits of a layer's heads: some are above it and some below.
double between(const Tensor& logits) {
  return std::get<0>(logits.to(torch::kFloat64).sort()).narrow(0, 1, 2).mean().item<double>();
}

json tiny(double tau) {
  return {
      {"model", {{"vocab_size", 16}, {"width", 16}, {"layers", 2}, {"heads", 2}, {"kv_heads", 1}, {"init_std", 0.5}}},
      {"data", {{"synthetic", json::object()}}},
      {"sequence_length", 8},
      {"batch_size", 4},
      {"steps", 6},
      {"dtype", "float64"},
      {"threads", 1},
      {"optimizer", {{"lr", 1e-2}, {"rules", json::array({{{"match", json::object()}, {"qk_clip", tau}}})}}}};
}

}  // namespace

TEST_CASE("qk_clip multiplies the rows of heads above the threshold after the step, and leaves all else to the bit") {
  torch::manual_seed(3);
  const Tensor tokens = torch::randint(0, 40, {2, 13}, torch::kInt64);
  for (const std::string method : {"adamw", "muon"})
    for (const std::int64_t kv_heads : {4, 2, 1})
      for (const bool bias : {false, true}) {
        const models::DecoderOptions o = small(kv_heads, bias, 2);
        const Stepped plain(o, torch::kFloat64, policy(method, 1e-2, 0.0), tokens);
        const double tau = std::stod(std::to_string(between(plain.logits[0])));
        const Stepped clipped(o, torch::kFloat64, policy(method, 1e-2, tau), tokens);
        INFO(method << ", " << kv_heads << " key heads, bias " << bias << ", threshold " << tau);
        int scaled = 0, kept = 0;
        for (const auto& [name, value] : clipped.values) {
          const bool q = name.find("attn.q.") != std::string::npos, k = name.find("attn.k.") != std::string::npos;
          const Tensor before = plain.values.at(name).view({value.size(0), -1}),
                       after = value.view({value.size(0), -1});
          for (std::int64_t row = 0; row < value.size(0); ++row) {
            double factor = 1.0;
            if (q || k) {
              const Tensor& logits = clipped.logits[name.find("layers.1.") == 0 ? 1 : 0];
              const double gamma = std::min(1.0, tau / logits[row / 16].item<double>());
              if (kv_heads == 4) factor = std::sqrt(gamma);
              if (kv_heads != 4 && q) factor = gamma;
            }
            const Tensor wanted = before[row] * factor;
            if (factor == 1.0) CHECK(torch::equal(after[row], wanted));
            CHECK((after[row] - wanted).abs().max().item<double>() <=
                  1e-15 * (1.0 + wanted.abs().max().item<double>()));
            (factor < 1.0 ? scaled : kept) += 1;
          }
        }
        CHECK(scaled >= 2 * 16);
        CHECK(kept > scaled);
      }
}

TEST_CASE("after a clip no head's logits on the same batch are above the threshold, and those below stay") {
  torch::manual_seed(4);
  const Tensor tokens = torch::randint(0, 40, {3, 20}, torch::kInt64);
  for (const auto dtype : {torch::kFloat64, torch::kFloat32})
    for (const std::int64_t kv_heads : {4, 2, 1})
      for (const bool bias : {false, true}) {
        const models::DecoderOptions o = small(kv_heads, bias, 1);
        // With lr 0 the clip alone changes the weights.
        Stepped plain(o, dtype, policy("adamw", 0.0, 0.0), tokens);
        const double tau = std::stod(std::to_string(between(plain.logits[0])));
        Stepped clipped(o, dtype, policy("adamw", 0.0, tau), tokens);
        const std::vector<double> before = plain.logits_now(tokens, 0), after = clipped.logits_now(tokens, 0);
        INFO(c10::toString(dtype) << ", " << kv_heads << " key heads, bias " << bias << ", threshold " << tau);
        const double rounding = dtype == torch::kFloat64 ? 1e-14 : 4e-6;
        int above = 0;
        for (std::size_t h = 0; h < after.size(); ++h) {
          above += before[h] > tau ? 1 : 0;
          CHECK(after[h] <= tau * (1.0 + rounding));
          CHECK(std::abs(after[h] - std::min(before[h], tau)) <= rounding * tau);
          if (before[h] <= tau) CHECK(after[h] == before[h]);
        }
        CHECK(above == 2);
      }
}

TEST_CASE("a session clips by the largest logit of all micro-batches, and traces it") {
  json parts = tiny(1.0);
  parts["accumulation"] = 4;
  Session whole(read_run_config(tiny(1.0))), split(read_run_config(parts)), free(read_run_config(tiny(0.0)));
  double last = INFINITY;
  for (int step = 0; step < 4; ++step) {
    const StepResult a = whole.step(true), b = split.step(true), c = free.step(true);
    CHECK(std::abs(a.loss - b.loss) < 1e-12);
    for (std::size_t i = 0; i < a.params.size(); ++i) {
      const bool q = a.params[i].name.ends_with("attn.q.weight");
      INFO(a.params[i].name);
      CHECK(std::isfinite(a.params[i].max_logit) == q);
      if (q) CHECK(std::abs(a.params[i].max_logit - b.params[i].max_logit) <= 1e-12);
      CHECK(std::isnan(c.params[i].max_logit));
      if (a.params[i].name == "layers.0.attn.q.weight") last = a.params[i].max_logit;
    }
    // Some four times the threshold at first; after the first clip a step of 0.01 an element off it.
    CHECK((step == 0 ? last > 3.0 : last < 2.0));
  }
  for (std::size_t i = 0; i < whole.params().size(); ++i)
    CHECK(torch::allclose(whole.params()[i].tensor, split.params()[i].tensor, 0.0, 1e-10));
}

TEST_CASE("qk_clip where it cannot bound the logits is refused by name") {
  const auto refused = [](const json& change) {
    json config = tiny(100.0);
    config.merge_patch(change);
    return message_of([&] { Session(read_run_config(config)); });
  };
  CHECK(refused(json::object()).empty());
  CHECK(refused({{"model", {{"qk_norm", true}}}}).find("model.qk_norm: got true with qk_clip; allowed: false") == 0);
  CHECK(refused({{"model", {{"attn_softcap", 30}}}}).find("model.attn_softcap: got 30 with qk_clip") == 0);
  const auto rules = [](const std::string& text) { return json{{"optimizer", {{"rules", json::parse(text)}}}}; };
  CHECK(
      refused(rules(R"([{"match": {}}, {"match": {"site": "attn.q"}, "qk_clip": 100}])")) ==
      "layers.0.attn.k.weight: qk_clip: got 0; allowed: 100, as layers.0.attn.q.weight has: a logit is of queries and "
      "keys");
  CHECK(
      refused(rules(R"([{"match": {}}, {"match": {"site": "ffn.*"}, "qk_clip": 100}])")) ==
      "layers.0.ffn.gate.weight: qk_clip: got 100, but no map to queries and keys has it (roles with the sites attn.q "
      "and attn.k); allowed: 0");
  const std::string toy = message_of([] {
    Session(read_run_config(json::parse(R"({"model": {"type": "output_scale"}, "steps": 2,
      "optimizer": {"lr": 1e-2, "rules": [{"match": {}, "qk_clip": 100}]}})")));
  });
  CHECK(toy ==
        "gamma: qk_clip: got 100, but no map to queries and keys has it (roles with the sites attn.q and attn.k); "
        "allowed: 0");
}
