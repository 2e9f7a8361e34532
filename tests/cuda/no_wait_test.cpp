#include <ATen/record_function.h>
#include <torch/types.h>

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "models/ops/device.hpp"
#include "optim/method.hpp"
#include "optim/methods.hpp"
#include "tests/cuda/emulated_rows.hpp"
#include "tests/cuda/emulated_session.hpp"
#include "tests/support/catch.hpp"

// A step on a device asks for no value: forward, backward and step of every design and method, with several groups and
// micro-batches, over the emulated device.
using namespace scalevec;
using namespace scalevec::cuda_test;
using nlohmann::json;

namespace {

// LibTorch's operators that wait for a CUDA device, since their result or its size is on the host.
const std::set<std::string> kWaiting{"aten::_local_scalar_dense",
                                     "aten::nonzero",
                                     "aten::masked_select",
                                     "aten::bincount",
                                     "aten::equal",
                                     "aten::is_nonzero",
                                     "aten::_unique2",
                                     "aten::unique_dim",
                                     "aten::unique_consecutive",
                                     "aten::histc",
                                     "aten::multinomial",
                                     "aten::repeat_interleave.Tensor"};

std::map<std::string, int> requests;

// Counts the calls of those operators while it lives.
class Watch {
 public:
  Watch() {
    requests.clear();
    handle_ = at::addGlobalCallback(at::RecordFunctionCallback([](const at::RecordFunction& function) {
                                      if (kWaiting.contains(function.name())) ++requests[function.name()];
                                      return std::unique_ptr<at::ObserverContext>();
                                    }).scopes({at::RecordScope::FUNCTION}));
  }
  Watch(const Watch&) = delete;
  Watch& operator=(const Watch&) = delete;
  ~Watch() { at::removeCallback(handle_); }

 private:
  at::CallbackHandle handle_;
};

// What the steps after those that warm up ask for: an empty text if they ask for nothing. `recorded`: whether they are
// replayed.
std::string asked(json config, bool& recorded, int steps = 7) {
  // The CPU's own operators look at values, as at a target's range.
  const models::ops::device::Emulated emulated(kEmulatedRows);
  config.update({{"dtype", "float32"}, {"sequence_length", 2}, {"batch_size", 2}});
  OnDevice on(config);
  for (int i = 0; i <= experiments::TrainStep::kWarmUp; ++i)
    on.session.step(false, 0, i == experiments::TrainStep::kWarmUp);
  const int waits = on.device->waits;
  {
    const Watch watch;
    for (int i = experiments::TrainStep::kWarmUp + 1; i < steps; ++i) on.session.step(i % 3 == 0, 0, false);
  }
  recorded = on.recorded->replays > 0;
  std::string text = on.device->waits > waits ? "the device" : "";
  for (const auto& [name, count] : requests) text += (text.empty() ? "" : ", ") + name;
  return text;
}

}  // namespace

TEST_CASE("what is watched is seen") {
  const Watch watch;
  const torch::Tensor x = torch::ones({3});
  CHECK(x.sum().item<double>() == 3.0);
  x.nonzero();
  CHECK(requests.size() == 2);
}

TEST_CASE("forward, backward and step of every design ask for no value") {
  for (const char* preset : {"plain", "hg", "dp", "dnp", "or", "unified"})
    for (const char* execution : {"naive", "folded"})
      for (const char* autocast : {"none", "bfloat16"}) {
        INFO(preset << ", " << execution << ", autocast " << autocast);
        json config = tiny();
        config["autocast"] = autocast;
        config["model"].update({{"scales", preset}, {"execution", execution}});
        bool recorded = false;
        CHECK(asked(config, recorded) == "");
        CHECK(recorded);
      }
}

TEST_CASE("every option of a decoder asks for no value") {
  const std::vector<const char*> changes{
      R"({"norm": "layer"})",
      R"({"norm": "layer", "scales": "unified", "execution": "folded"})",
      R"({"norm_placement": "post"})",
      R"({"norm_placement": "sandwich"})",
      R"({"norm_placement": "post_residual"})",
      R"({"norm_placement": "none"})",
      R"({"final_norm": false})",
      R"({"tie_embeddings": false})",
      R"({"windows": [1], "local_rope_theta": 100})",
      R"({"no_rope": [0]})",
      R"({"attn_softcap": 20, "kv_heads": 1})",
      R"({"logit_softcap": 30})",
      R"({"moe": {"experts": 3, "top_k": 2, "expert_width": 12, "shared_width": 8}})",
      R"({"qkv_bias": true, "o_bias": true, "qk_norm": false, "kv_heads": 1})",
      R"({"qk_norm_width": "full"})",
      R"({"qk_norm_scale": false})",
      R"({"activation": "gelu"})",
      R"({"activation": "gelu_tanh"})",
      R"({"embed_scale": 3, "logit_scale": 0.5, "residual_scale": 0.7, "query_scale": 0.2})",
      R"({"rope_scaling": {"kind": "llama3", "factor": 8}})",
      R"({"rope_scaling": {"kind": "yarn", "factor": 4}})",
      R"({"scales": {"input": {"form": "zero_centred"}}})",
      R"({"scales": {"input": {"form": "exp"}}})",
      R"({"scales": {"input": {"form": "er"}}})",
      R"({"scales": {"input": {"form": "exp_product"}}})",
      R"({"scales": {"multipliers": {"scalar": true, "rows": true, "columns": true}}})"};
  for (const char* change : changes)
    for (const char* autocast : {"none", "bfloat16"}) {
      INFO(change << ", autocast " << autocast);
      json config = tiny();
      config["autocast"] = autocast;
      config["model"].merge_patch(json::parse(change));
      bool recorded = false;
      CHECK(asked(config, recorded) == "");
      CHECK(recorded);
    }
}

// SOAP sets its bases in the first step, which waits, and turns them at every tenth; at first Kron fits in every step,
// and is not recorded.
TEST_CASE("the step of every method asks for no value") {
  for (const std::string& name : method_names()) {
    INFO(name);
    json config = tiny();
    config["optimizer"]["defaults"] = {{"method", name}};
    const auto options = make_method_options(name);
    // One that takes matrices only has AdamW beside it.
    const auto* matrix = dynamic_cast<const MatrixMethod*>(&options->implementation());
    if (matrix && !matrix->any_shape())
      config["optimizer"] = {
          {"lr", 1e-2},
          {"max_norm", 1.0},
          {"rules", {{{"match", {{"kind", "matrix"}}}, {"method", name}}, {{"match", json::object()}}}}};
    if (name == "kron") config["optimizer"]["defaults"].update({{"flat_start", 1}, {"prob_decay", 0.5}});
    bool recorded = false;
    // What is done at every tenth step is among those of two.
    CHECK(asked(config, recorded, name == "sophia" || name == "soap" ? 12 : 7) == "");
    CHECK(recorded);
  }
}

TEST_CASE("a bound of the attention logits asks for no value, with keys of their own and shared ones") {
  for (const int kv_heads : {2, 1})
    for (const char* method : {"adamw", "muon"}) {
      INFO(method << ", " << kv_heads << " key heads");
      json config = tiny();
      config["model"].update({{"qk_norm", false}, {"init_std", 0.5}, {"kv_heads", kv_heads}});
      config["optimizer"]["rules"] = {{{"match", {{"kind", "matrix"}}}, {"method", method}, {"qk_clip", 0.1}},
                                      {{"match", json::object()}}};
      bool recorded = false;
      CHECK(asked(config, recorded) == "");
      CHECK(recorded);
    }
}

TEST_CASE("several groups and modifiers ask for no value") {
  json groups = tiny();
  groups["optimizer"]["rules"] = json::parse(R"([{"match": {"kind": "matrix"}, "method": "muon", "precision": "auto"},
    {"match": {"kind": "scale"}, "method": "sgd", "momentum": 0.9}, {"match": {"kind": "embedding"}, "method": "lion"},
    {"match": {}, "weight_decay": 0.1, "clip": false}])");
  bool recorded = false;
  CHECK(asked(groups, recorded) == "");
  CHECK(recorded);
  for (const char* modifier : {"hold_norm", "trust_ratio", "cautious", "cautious_decay"})
    for (const char* method : {"adamw", "muon"}) {
      INFO(method << ", " << modifier);
      json modified = tiny();
      modified["optimizer"]["rules"] = {{{"match", {{"kind", "matrix"}}}, {"method", method}, {modifier, true}},
                                        {{"match", json::object()}}};
      CHECK(asked(modified, recorded) == "");
      CHECK(recorded);
    }
}
