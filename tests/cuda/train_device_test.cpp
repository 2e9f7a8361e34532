#include <torch/cuda.h>
#include <torch/types.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#if defined(SCALEVEC_CUDA)
#include <c10/cuda/CUDAFunctions.h>
#endif

#include "experiments/system/memory.hpp"
#include "experiments/train/session.hpp"
#include "models/decoder.hpp"
#include "tests/support/catch.hpp"

// Training steps on a GPU: enqueued one by one, recorded, and on the CPU.
using namespace scalevec;
using namespace scalevec::experiments;
using nlohmann::json;

namespace {

// CTest shows the whole binary as skipped when it reads this line.
bool skipped() {
  if (torch::cuda::is_available()) return false;
  std::printf("SKIPPED: this build or machine has no CUDA device\n");
  return true;
}

json config(const std::string& device, const std::string& autocast) {
  json out = json::parse(R"({"model": {"vocab_size": 64, "width": 64, "layers": 2, "heads": 4, "qk_norm": true},
    "data": {"synthetic": {}}, "sequence_length": 32, "batch_size": 8, "accumulation": 2, "steps": 12, "threads": 1,
    "schedule": {"shape": "cosine", "warmup_steps": 2},
    "optimizer": {"lr": 1e-2, "max_norm": 1.0, "rules": [{"match": {}, "weight_decay": 0.1}]},
    "log": {"traces_every": 5, "snr": true}})");
  out["device"] = device;
  out["autocast"] = autocast;
  return out;
}

std::unique_ptr<Session> session(const json& of, bool recorded = true) {
  auto made = std::make_unique<Session>(read_run_config(of));
  if (!recorded) made->use_device(nullptr);
  return made;
}

// While it lives, whatever LibTorch would wait for throws.
class NoWaits {
 public:
  NoWaits() { set(true); }
  NoWaits(const NoWaits&) = delete;
  NoWaits& operator=(const NoWaits&) = delete;
  ~NoWaits() { set(false); }

 private:
  static void set([[maybe_unused]] bool on) {
#if defined(SCALEVEC_CUDA)
    using c10::cuda::SyncDebugMode;
    c10::cuda::warning_state().set_sync_debug_mode(on ? SyncDebugMode::L_ERROR : SyncDebugMode::L_DISABLED);
#endif
  }
};

// Of each step the loss, and of the traced one every parameter's update norm and signal-to-noise ratio.
struct Run {
  std::vector<double> losses, updates, signals;
};

constexpr int kSteps = 10, kTraced = 7;

Run run(Session& of) {
  Run out;
  for (int i = 0; i < kSteps; ++i) {
    const StepResult step = of.step(i == kTraced, 0, true);
    out.losses.push_back(step.loss);
    for (const RunTraceRow& row : step.params) {
      out.updates.push_back(row.update_norm);
      out.signals.push_back(row.snr);
    }
  }
  return out;
}

double distance(const std::vector<double>& a, const std::vector<double>& b) {
  REQUIRE(a.size() == b.size());
  double worst = 0.0;
  for (std::size_t i = 0; i < a.size(); ++i) worst = std::max(worst, std::abs(a[i] - b[i]) / std::abs(b[i]));
  return worst;
}

}  // namespace

TEST_CASE("ten steps on the GPU, recorded and not, are those of the CPU") {
  if (skipped()) return;
  for (const std::string autocast : {"none", "bfloat16"}) {
    INFO("autocast " << autocast);
    const auto host = session(config("cpu", "none")), eager = session(config("cuda", autocast), false),
               recorded = session(config("cuda", autocast));
    const Run expected = run(*host), one = run(*eager), two = run(*recorded);
    // In float32 sums have another order; with bfloat16 each product is off by up to 2⁻⁸ of its factors.
    const double of_loss = autocast == "none" ? 1e-4 : 2e-2, of_update = autocast == "none" ? 1e-2 : 0.2;
    CHECK(distance(one.losses, expected.losses) <= of_loss);
    CHECK(distance(two.losses, one.losses) <= of_loss);
    REQUIRE(!expected.updates.empty());
    CHECK(distance(one.updates, expected.updates) <= of_update);
    CHECK(distance(two.updates, one.updates) <= of_update);
    // A ratio is the root of a difference.
    for (std::size_t i = 0; i < expected.signals.size() && autocast == "none"; ++i) {
      CHECK(std::abs(one.signals[i] - expected.signals[i]) <= 0.05);
      CHECK(std::abs(two.signals[i] - expected.signals[i]) <= 0.05);
    }
  }
}

TEST_CASE("a step whose gradient is not finite changes nothing on the GPU, recorded or not") {
  if (skipped()) return;
  for (const bool recorded : {false, true}) {
    INFO((recorded ? "recorded" : "enqueued"));
    const auto on = session(config("cuda", "none"), recorded);
    for (int i = 0; i < 5; ++i) on->step(false, 0, false);
    const torch::Tensor p = on->params().front().tensor, other = on->params().back().tensor;
    const torch::Tensor sound = p.detach().clone(), before = other.detach().clone();
    {
      const torch::NoGradGuard no_grad;
      p.fill_(std::numeric_limits<double>::quiet_NaN());
    }
    CHECK_FALSE(on->step(false, 0, false).known);
    CHECK(torch::equal(other, before));
    {
      const torch::NoGradGuard no_grad;
      p.copy_(sound);
    }
    CHECK_FALSE(on->step(false, 0, false).known);
    CHECK_FALSE(torch::equal(other, before));
    bool told = false;
    try {
      on->step(false, 0, true);
    } catch (const Divergence& d) {
      told = true;
      CHECK(d.reason.find("not finite in 1 of the steps") != std::string::npos);
    }
    CHECK(told);
  }
}

TEST_CASE("matrix methods, states of 8 bits and modified steps on the GPU, recorded, are those of the CPU") {
  if (skipped()) return;
  const std::vector<json> rules{{{"method", "muon"}, {"precision", "float32"}},
                                {{"method", "adafactor"}},
                                {{"method", "dion"}},
                                {{"method", "kron"}, {"flat_start", 1}, {"prob_decay", 0.5}},
                                {{"method", "prodigy"}, {"lr_mult", 100}},
                                {{"method", "mars_adamw"}},
                                {{"method", "sophia"}, {"hessian_every", 3}},
                                {{"method", "schedulefree_adamw"}},
                                {{"method", "adamw8bit"}},
                                {{"method", "lion8bit"}, {"lr_mult", 0.1}},
                                {{"hold_norm", true}},
                                {{"trust_ratio", true}},
                                {{"cautious", true}, {"weight_decay", 0.1}},
                                {{"update_rms", 0.2}},
                                {{"qk_clip", 0.5}},
                                {{"method", "muon"}, {"precision", "float32"}, {"hold_norm", true}}};
  for (const json& rule : rules) {
    INFO(rule.dump());
    const auto on = [&](const std::string& device) {
      json out = config(device, "none");
      out["optimizer"]["rules"] = {rule, {{"match", json::object()}}};
      out["optimizer"]["rules"][0]["match"] = {{"kind", "matrix"}};
      if (rule.contains("qk_clip")) out["model"].update({{"qk_norm", false}, {"init_std", 0.5}});
      return out;
    };
    const auto host = session(on("cpu")), recorded = session(on("cuda"));
    const Run expected = run(*host), got = run(*recorded);
    CHECK(distance(got.losses, expected.losses) <= 1e-2);
  }
}

TEST_CASE("between waits the steps of a run ask the GPU for nothing, recorded or not") {
  if (skipped()) return;
  const json adamw = {{"method", "adamw"}}, unchanged = json::object();
  std::vector<std::pair<json, json>> cases;  // the rule of matrices, and what the model differs in
  for (const char* change :
       {R"({"norm": "layer"})", R"({"norm_placement": "sandwich"})", R"({"tie_embeddings": false})",
        R"({"windows": [8, 0]})", R"({"attn_softcap": 20})", R"({"logit_softcap": 30})", R"({"scales": "unified"})",
        R"({"kv_heads": 2})", R"({"moe": {"experts": 3, "top_k": 2, "expert_width": 32}})",
        R"({"moe": {"experts": 3, "top_k": 2, "expert_width": 36}})"})
    cases.emplace_back(adamw, json::parse(change));
  for (const char* rule : {R"({"method": "adamw"})", R"({"method": "muon"})", R"({"method": "prodigy"})",
                           R"({"method": "sophia", "hessian_every": 3})"})
    cases.emplace_back(json::parse(rule), unchanged);
  for (const auto& [rule, change] : cases)
    for (const std::string autocast : {"none", "bfloat16"})
      for (const bool recorded : {false, true}) {
        INFO(rule.dump() << ", " << change.dump() << ", autocast " << autocast << (recorded ? ", recorded" : ""));
        json of = config("cuda", autocast);
        of["model"].update(change);
        of["optimizer"]["rules"] = {rule, {{"match", json::object()}}};
        of["optimizer"]["rules"][0]["match"] = {{"kind", "matrix"}};
        const auto on = session(of, recorded);
        for (int i = 0; i < 6; ++i) on->step(i % 2 == 1, 0, i == 5);
        const NoWaits watched;
        for (int i = 6; i < 10; ++i) CHECK_NOTHROW(on->step(i % 2 == 1, 0, false));
      }
}

TEST_CASE("deterministic runs on the GPU have the same bits, also after a resume") {
  if (skipped()) return;
  const std::vector<std::pair<std::string, const char*>> cases{
      {"none", "{}"},
      {"bfloat16", "{}"},
      {"none", R"({"attn_softcap": 20})"},
      {"none", R"({"moe": {"experts": 3, "top_k": 2, "expert_width": 32}})"},
      {"bfloat16", R"({"moe": {"experts": 3, "top_k": 2, "expert_width": 32}})"}};
  for (const auto& [autocast, change] : cases) {
    INFO("autocast " << autocast << ", " << change);
    json chosen = config("cuda", autocast);
    chosen["model"].update(json::parse(change));
    chosen["deterministic"] = true;
    const auto one = session(chosen), two = session(chosen), third = session(chosen);
    std::vector<double> losses;
    for (int i = 0; i < kSteps; ++i) {
      losses.push_back(one->step(false, 0, true).loss);
      CHECK(two->step(false, 0, true).loss == losses.back());
      if (i != 4) continue;
      models::NamedTensors weights, state;
      for (const auto& [name, tensor] : two->weights()) weights.emplace_back(name, tensor.clone());
      for (const auto& [name, tensor] : two->optimizer_state()) state.emplace_back(name, tensor.clone());
      third->restore(two->steps_done(), weights, state);
    }
    for (int i = 5; i < kSteps; ++i) CHECK(third->step(false, 0, true).loss == losses[static_cast<std::size_t>(i)]);
  }
}

TEST_CASE("a longer validation after the recording leaves the recorded step as it is") {
  if (skipped()) return;
  json longer = config("cuda", "none");
  longer["validation"] = {{"sequence_length", 100}, {"sequences", 2}};
  const auto plain = session(config("cuda", "none")), validated = session(longer);
  for (int i = 0; i < kSteps; ++i) {
    const double a = plain->step(false, 0, true).loss, b = validated->step(false, 0, true).loss;
    INFO("step " << i);
    CHECK(std::abs(a - b) <= 1e-4 * a);
    if (i == 5) CHECK(std::isfinite(validated->validate()));
  }
}

// Hidden: nothing on the GPU works in this process after it, and LibTorch's destructors throw, so that it ends the
// process.
TEST_CASE("a GPU that fails in the middle of a run is said in one line", "[.][lost]") {
  if (skipped()) return;
  auto* const lost = session(config("cuda", "none")).release();
  run(*lost);
  // An index beyond its table, which a kernel of LibTorch asserts.
  const auto on_gpu = torch::dtype(torch::kInt64).device(torch::kCUDA);
  torch::zeros({4}, on_gpu).index_select(0, torch::full({1}, 1 << 20, on_gpu));
  std::string said = "nothing";
  try {
    torch::cuda::synchronize();
  } catch (const std::exception&) {
  }
  try {
    lost->step(false, 0, true);
  } catch (const std::exception& e) {
    said = gpu_failed(e).value_or(e.what());
  }
  std::printf("%s\n", said.c_str());
  std::fflush(stdout);
  std::_Exit(said.starts_with("the GPU failed: CUDA error: ") && said.find('\n') == std::string::npos ? 0 : 1);
}
