#include <torch/torch.h>

#include <algorithm>
#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "scalevec/models/fold.hpp"
#include "scalevec/models/hugging_face.hpp"
#include "scalevec/models/model_folder.hpp"
#include "scalevec/tests/models/scratch_folder.hpp"
#include "scalevec/tests/support/catch.hpp"

using namespace scalevec;
using nlohmann::json;
using test::ScratchFolder;

namespace {

namespace fs = std::filesystem;
const fs::path kFixtures = SCALEVEC_FIXTURES "/hf";
const std::vector<std::string> kModels = {"llama-tied", "llama-untied", "qwen3"};

json json_of(const fs::path& file) {
  std::ifstream in(file);
  return json::parse(in);
}

struct Expected {
  torch::Tensor tokens, logits;
};

Expected expected_of(const std::string& name) {
  const json file = json_of(kFixtures / name / "expected.json");
  std::vector<torch::Tensor> tokens, logits;
  for (const json& row : file["tokens"]) tokens.push_back(torch::tensor(row.get<std::vector<std::int64_t>>(), torch::kInt64));
  for (const json& sequence : file["logits"]) {
    std::vector<torch::Tensor> rows;
    for (const json& row : sequence) rows.push_back(torch::tensor(row.get<std::vector<float>>()));
    logits.push_back(torch::stack(rows));
  }
  return {torch::stack(tokens), torch::stack(logits)};
}

double gap(const torch::Tensor& a, const torch::Tensor& b) {
  return ((a - b).abs().max() / b.abs().max()).item<double>();
}

// A copy of a fixture to damage.
struct Copy {
  ScratchFolder folder;
  explicit Copy(const std::string& name) {
    for (const char* file : {"config.json", "model.safetensors"}) fs::copy_file(kFixtures / name / file, folder / file);
  }
  void set(const std::string& key, const json& value) const {
    json config = json_of(folder / "config.json");
    config[key] = value;
    folder.write("config.json", config.dump());
  }
  std::string refusal() const {
    return test::message_of([&] { import_hugging_face(folder.path()); });
  }
};

}  // namespace

TEST_CASE("imported models give Hugging Face's logits, also folded, stored and exported") {
  const torch::NoGradGuard no_grad;
  for (const std::string& name : kModels) {
    INFO(name);
    const Expected expected = expected_of(name);
    const auto model = import_hugging_face(kFixtures / name);
    const torch::Tensor logits = model->forward(expected.tokens);
    CHECK(gap(logits, expected.logits) <= 2e-5);
    CHECK(gap(fold(*model, true).model->forward(expected.tokens), expected.logits) <= 2e-5);

    const ScratchFolder ours, theirs;
    write_model_folder(*model, model->options(), ours.path());
    CHECK(read_model_folder(ours.path())->forward(expected.tokens).equal(logits));
    export_hugging_face(*model, theirs.path());
    CHECK(import_hugging_face(theirs.path())->forward(expected.tokens).equal(logits));
    // Every key that the exported config.json has, the original has with the same value.
    const json original = json_of(kFixtures / name / "config.json");
    const json exported = json_of(theirs / "config.json");
    for (const auto& [key, value] : exported.items()) {
      INFO(key);
      REQUIRE(original.contains(key));
      CHECK(original[key] == value);
    }
  }
}

TEST_CASE("what a config.json asks for and the decoder lacks is refused, never ignored") {
  for (const std::string name : {"qwen3-moe", "olmo2", "gemma2", "gemma3", "mixtral"})
    CHECK(test::message_of([&] { import_hugging_face(kFixtures / name); }).find("model_type: got") !=
          std::string::npos);
  const std::vector<std::tuple<std::string, std::string, json>> cases = {
      {"llama-tied", "rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}},
      {"llama-tied", "rope_scaling", {{"type", "linear"}, {"factor", 2.0}}},
      {"llama-tied", "rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 1e4}}},
      {"llama-tied", "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}},
      {"llama-tied", "attention_bias", true},
      {"llama-tied", "mlp_bias", true},
      {"llama-tied", "hidden_act", "gelu"},
      {"llama-tied", "sliding_window", 4096},
      {"llama-tied", "attn_logit_softcapping", 50.0},
      {"llama-tied", "quantization_config", {{"bits", 4}}},
      {"llama-tied", "vocab_size", -1},
      {"llama-tied", "hidden_size", "24"},
      {"qwen3", "use_sliding_window", true},
      {"qwen3", "layer_types", {"full_attention", "sliding_attention"}}};
  for (const auto& [name, key, value] : cases) {
    CAPTURE(name, key);
    const Copy copy(name);
    copy.set(key, value);
    const std::string message = copy.refusal();
    INFO(message);
    CHECK(message.find("config.json") != std::string::npos);
    CHECK(message.find(key.substr(0, key.find('.'))) != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
  }
  const Copy null("llama-tied");
  null.set("quantization_config", nullptr);
  CHECK(null.refusal() == "nothing thrown");
}

TEST_CASE("keys that are missing, left over or of another shape are named") {
  const auto changed = [](const std::string& name, auto change) {
    const Copy copy(name);
    NamedTensors weights = read_safetensors(copy.folder / "model.safetensors");
    change(weights);
    write_safetensors(copy.folder / "model.safetensors", weights);
    return copy.refusal();
  };
  const auto find = [](NamedTensors& w, const std::string& name) {
    return std::find_if(w.begin(), w.end(), [&](const auto& item) { return item.first == name; });
  };
  const std::string q = "model.layers.1.self_attn.q_proj.weight";
  CHECK(changed("qwen3", [&](NamedTensors& w) { w.erase(find(w, q)); }).find("missing: " + q) != std::string::npos);
  CHECK(changed("qwen3", [&](NamedTensors& w) { w.emplace_back("model.extra", torch::ones({2})); })
            .find("left over: model.extra") != std::string::npos);
  const std::string shape = changed("qwen3", [&](NamedTensors& w) { find(w, q)->second = torch::ones({24, 40}); });
  CHECK(shape.find("of another shape: " + q + " ([24, 40] where [40, 24] is needed)") != std::string::npos);
  CHECK(changed("qwen3", [&](NamedTensors& w) { find(w, q)->second = torch::ones({40, 24}, torch::kInt32); })
            .find("no floats: " + q) != std::string::npos);

  // As transformers writes them in some versions: a copy of the tied embedding, and rotation tables.
  const auto embed = [&](NamedTensors& w) { return find(w, "model.embed_tokens.weight")->second; };
  CHECK(changed("llama-tied", [&](NamedTensors& w) {
          w.emplace_back("lm_head.weight", embed(w).clone());
          w.emplace_back("model.layers.0.self_attn.rotary_emb.inv_freq", torch::ones({3}));
        }) == "nothing thrown");
  CHECK(changed("llama-tied", [&](NamedTensors& w) { w.emplace_back("lm_head.weight", embed(w) + 1); })
            .find("lm_head.weight differs") != std::string::npos);
}

TEST_CASE("a model without scale vectors exports with gains of one") {
  const torch::NoGradGuard no_grad;
  for (const bool qk_norm : {false, true}) {
    const ScratchFolder folder;
    Decoder model({.vocab_size = 31, .width = 16, .layers = 2, .heads = 2, .scale_vectors = false, .qk_norm = qk_norm,
                   .qk_norm_scale = false}, 3);
    export_hugging_face(model, folder.path());
    const torch::Tensor tokens = torch::randint(0, 31, {1, 7});
    CHECK(gap(import_hugging_face(folder.path())->forward(tokens), model.forward(tokens)) <= 1e-6);
  }
}
