#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <string>
#include <tuple>
#include <vector>

#include "models/fold.hpp"
#include "models/hugging_face.hpp"
#include "models/model_folder.hpp"
#include "tests/models/scratch_folder.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/tensor_gap.hpp"

using namespace scalevec;
using namespace scalevec::models;
using nlohmann::json;
using test::ScratchFolder;

namespace {

namespace fs = std::filesystem;
const fs::path kFixtures = SCALEVEC_FIXTURES "/hf";
const std::vector<std::string> kModels = {
    "llama-tied", "llama-untied", "llama-rope-bias", "qwen3",   "qwen3-window", "qwen3-moe", "olmo2", "gemma2",
    "gemma3",     "mixtral",      "qwen2",           "mistral", "smollm3",      "granite",   "phi3",  "olmo3"};

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
  for (const json& row : file["tokens"])
    tokens.push_back(torch::tensor(row.get<std::vector<std::int64_t>>(), torch::kInt64));
  for (const json& sequence : file["logits"]) {
    std::vector<torch::Tensor> rows;
    for (const json& row : sequence) rows.push_back(torch::tensor(row.get<std::vector<float>>()));
    logits.push_back(torch::stack(rows));
  }
  return {torch::stack(tokens), torch::stack(logits)};
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
    return test::message_of([&] { read_hugging_face(folder.path()); });
  }
};

}  // namespace

TEST_CASE("imported models give Hugging Face's logits, also folded, stored and exported") {
  const torch::NoGradGuard no_grad;
  for (const std::string& name : kModels) {
    INFO(name);
    const Expected expected = expected_of(name);
    const HuggingFaceModel read = read_hugging_face(kFixtures / name);
    const auto model = read.model;
    const torch::Tensor logits = model->forward(expected.tokens);
    CHECK(gap(logits, expected.logits) <= 2e-5);
    CHECK(gap(fold(*model, true).model->forward(expected.tokens), expected.logits) <= 2e-5);

    const ScratchFolder ours, theirs;
    write_model_folder(*model, model->options(), ours.path());
    CHECK(read_model_folder(ours.path())->forward(expected.tokens).equal(logits));
    // Without the configuration it came with: another type may hold the same function.
    export_hugging_face(*model, theirs.path());
    CHECK(read_hugging_face(theirs.path()).model->forward(expected.tokens).equal(logits));
    const ScratchFolder kept;
    export_hugging_face(*model, kept.path(), read.config);
    CHECK(read_hugging_face(kept.path()).model->forward(expected.tokens).equal(logits));
    std::vector<std::string> names, exported_names;
    for (const auto& [key, value] : read_safetensors(kFixtures / name / "model.safetensors")) names.push_back(key);
    for (const auto& [key, value] : read_safetensors(kept / "model.safetensors")) exported_names.push_back(key);
    std::sort(names.begin(), names.end());
    std::sort(exported_names.begin(), exported_names.end());
    CHECK(names == exported_names);
    // Every key that the exported config.json has, the original has with the same value.
    const json original = json_of(kFixtures / name / "config.json");
    const json exported = json_of(kept / "config.json");
    for (const auto& [key, value] : exported.items()) {
      INFO(key);
      if (original.contains(key) && key != "rope_parameters") CHECK(original[key] == value);
      // Left out of the original because it is the default, or said inside rope_parameters by transformers 5.
      else
        CHECK((key == "tie_word_embeddings" || key == "sliding_window" || key == "rope_theta" ||
               key == "rope_scaling" || key == "rope_parameters" || key == "head_dim"));
    }
    for (const char* key : {"bos_token_id", "eos_token_id", "pad_token_id", "max_position_embeddings"})
      CHECK(exported[key] == original[key]);
  }
}

TEST_CASE("what a config.json asks for and the decoder lacks is refused, never ignored") {
  const std::vector<std::tuple<std::string, std::string, json>> cases = {
      {"llama-tied", "rope_scaling", {{"rope_type", "llama3"}, {"factor", 8.0}}},
      {"llama-tied", "rope_scaling", {{"type", "dynamic"}, {"factor", 2.0}}},
      {"llama-tied", "rope_scaling", {{"type", "linear"}, {"factor", 2.0}, {"beta_fast", 32}}},
      {"llama-tied", "model_type", "gpt2"},
      {"llama-tied", "rope_parameters", {{"rope_type", "yarn"}, {"rope_theta", 1e4}}},
      {"llama-tied", "rope_scaling", {{"rope_type", "yarn"}, {"factor", 4.0}, {"beta_fats", 32}}},
      {"llama-tied", "rope_scaling", {{"rope_type", "longrope"}, {"factor", 4.0}}},
      {"llama-tied", "partial_rotary_factor", 0.5},
      {"phi3", "rope_parameters", {{"rope_type", "yarn"}, {"factor", 4.0}}},
      {"mistral", "layer_types", {"full_attention", "sliding_attention"}},
      {"smollm3", "no_rope_layers", {1}},
      {"granite", "logits_scaling", 0.0},
      {"llama-tied", "rope_parameters", {{"rope_type", "default"}, {"rope_theta", 5e5}}},
      {"llama-tied", "mlp_bias", true},
      {"llama-tied", "hidden_act", "gelu"},
      {"llama-tied", "sliding_window", 4096},
      {"llama-tied", "attn_logit_softcapping", 50.0},
      {"llama-tied", "quantization_config", {{"bits", 4}}},
      {"llama-tied", "vocab_size", -1},
      {"llama-tied", "hidden_size", "24"},
      {"mixtral", "attention_bias", true},
      {"olmo2", "clip_qkv", 8.0},
      {"gemma2", "hidden_activation", "gelu"},
      {"gemma2", "layer_types", {"full_attention"}},
      {"gemma2", "layer_types", {"full_attention", "chunked_attention"}},
      {"gemma3", "attn_logit_softcapping", 50.0},
      {"gemma3", "use_bidirectional_attention", true},
      {"qwen3-moe", "mlp_only_layers", {0}},
      {"qwen3-moe", "decoder_sparse_step", 2},
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

TEST_CASE("a key that is not known goes on where its value says nothing, and else stops with its name") {
  const auto notes_of = [](const std::string& key, const json& value, const std::vector<std::string>& ignore = {}) {
    json config = json_of(kFixtures / "llama-tied" / "config.json");
    config[key] = value;
    std::vector<std::string> notes;
    decoder_options_from_hugging_face(config.dump(), "config.json", ignore, &notes);
    return notes;
  };
  for (const json& value : {json(nullptr), json(false), json(0), json(1), json(0.0), json(1.0), json("")})
    CHECK_NOTHROW(notes_of("new_thing", value));
  CHECK(notes_of("new_thing", 0).front().find("new_thing") != std::string::npos);
  for (const json& value : {json(true), json(2), json(-1), json(0.5), json("on"), json({1, 2}), json({{"a", 1}})}) {
    INFO(value.dump());
    const std::string message = test::message_of([&] { notes_of("new_thing", value); });
    INFO(message);
    CHECK(message.find("config.json.new_thing: got ") == 0);
    CHECK(message.find("--ignore new_thing") != std::string::npos);
    CHECK(message.find('\n') == std::string::npos);
    CHECK(notes_of("new_thing", value, {"new_thing"}).size() == 1);
  }
  // By themselves, whatever they say: how a model was made and stored.
  for (const char* key : {"_model_name_or_path", "unk_token_id", "unsloth_fixed", "_commit_hash", "is_llama_config"})
    CHECK(notes_of(key, "x").empty());
  const std::string quantised = test::message_of([&] {
    decoder_options_from_hugging_face(R"({"model_type": "gpt2", "quantization_config": {"bits": 4}})", "config.json");
  });
  CHECK(quantised.find("config.json: quantization_config: ") == 0);
}

TEST_CASE("what transformers saves of a configuration, and every key that it has, mean the same") {
  const json all = json_of(kFixtures / "configs.json");
  REQUIRE(all.size() == 13);
  for (const json& config : all) {
    const std::string type = config["full"]["model_type"];
    INFO(type);
    std::vector<std::string> notes;
    const DecoderOptions saved = decoder_options_from_hugging_face(config["saved"].dump(), "config.json", {}, &notes);
    const DecoderOptions full = decoder_options_from_hugging_face(config["full"].dump(), "config.json", {}, &notes);
    CHECK(saved == full);
    INFO((notes.empty() ? "" : notes.front()));
    CHECK(notes.empty());
    // And what is written of it is read as the same again, as the same type.
    const std::string text = hugging_face_config(full.resolved(), config["full"].dump());
    CHECK(json::parse(text)["model_type"] == type);
    CHECK(decoder_options_from_hugging_face(text, "config.json").resolved().windows == full.resolved().windows);
  }
}

TEST_CASE("the same rotation is read in the spelling of transformers 4 and 5") {
  const auto options = [](const Copy& copy) {
    std::ifstream in(copy.folder / "config.json");
    return decoder_options_from_hugging_face({std::istreambuf_iterator<char>(in), {}}, "config.json");
  };
  const Copy four("gemma3"), five("gemma3");
  five.set("rope_theta", nullptr);
  five.set("rope_local_base_freq", nullptr);
  five.set("rope_parameters", {{"full_attention", {{"rope_type", "default"}, {"rope_theta", 1e6}}},
                               {"sliding_attention", {{"rope_type", "default"}, {"rope_theta", 1e4}}}});
  CHECK(options(four) == options(five));
  const Copy old("llama-tied"), current("llama-tied");
  old.set("rope_scaling", {{"type", "linear"}, {"factor", 2.0}});
  current.set("rope_theta", nullptr);
  current.set("rope_parameters", {{"rope_type", "linear"}, {"factor", 2.0}, {"rope_theta", 1e4}});
  CHECK(options(old) == options(current));
  CHECK(!(options(old) == options(Copy("llama-tied"))));
}

TEST_CASE("soft-caps of an explicit null are none, and of a key left out transformers' default") {
  const auto cap = [](bool keep) {
    const json config = json_of(kFixtures / "gemma2" / "config.json");
    json changed = config;
    changed.erase("final_logit_softcapping");
    if (keep) changed["final_logit_softcapping"] = nullptr;
    return decoder_options_from_hugging_face(changed.dump(), "config.json").logit_softcap;
  };
  CHECK(cap(true) == 0.0);
  CHECK(cap(false) == 30.0);
}

TEST_CASE("a model that no Hugging Face architecture can hold is refused with the options that stand in the way") {
  const auto refusal = [](const std::string& options) {
    const ScratchFolder folder;
    const Decoder model(decoder_options_from_json(options), 0);
    return test::message_of([&] { export_hugging_face(model, folder.path()); });
  };
  const std::string sizes = R"("vocab_size": 31, "width": 16, "layers": 2, "heads": 2, "mlp_width": 24)";
  for (const auto& [extra, part] : std::vector<std::pair<std::string, std::string>>{
           {R"("scales": "hg")", "scales.branches"},
           {R"("scales": "dp")", "scales.placement"},
           {R"("scales": "unified")", "scales.placement"},
           {R"("scales": {"multipliers": {"scalar": true}})", "scales.multipliers.scalar"},
           {R"("norm": "layer")", "norm"},
           {R"("final_norm": false)", "final_norm"},
           {R"("norm_placement": "none")", "norm_placement"},
           {R"("activation": "gelu")", "activation"},
           {R"("logit_softcap": 5)", "logit_softcap"},
           {R"("windows": [2, 0])", "windows"},
           {R"("windows": [2, 3], "no_rope": [1])", "windows"},
           {R"("no_rope": [1], "logit_scale": 0.5)", "logit_scale"},
           {R"("norm_placement": "sandwich")", "embed_scale"},
           {R"("residual_depth_scaling": true)", "residual_depth_scaling"},
           {R"("o_bias": true)", "o_bias"},
           {R"("qk_norm": true, "qk_norm_width": "full")", "qk_norm_width"},
           {R"("moe": {"experts": 4, "shared_width": 8})", "moe.shared_width"},
           {R"("moe": {"experts": 4, "balance_bias_rate": 0.01})", "moe.balance_bias_rate"}}) {
    INFO(extra);
    const std::string message = refusal("{" + sizes + ", " + extra + "}");
    INFO(message);
    CHECK(message.find(part) != std::string::npos);
    CHECK(message.find("Hugging Face") != std::string::npos);
  }
}

TEST_CASE("models trained with HG, DP and OR fold to a plain Llama") {
  const torch::NoGradGuard no_grad;
  const torch::Tensor tokens = torch::randint(0, 31, {2, 9});
  for (const std::string scales :
       {R"("hg")", R"("dp")", R"("or")", R"({"preset": "hg", "placement": "both", "form": "or"})"})
    for (const bool tied : {false, true}) {
      INFO(scales << (tied ? ", tied" : ""));
      Decoder model(decoder_options_from_json(R"({"vocab_size": 31, "width": 16, "layers": 2, "heads": 4, "kv_heads": 2,
                      "mlp_width": 24, "tie_embeddings": )" +
                                              std::string(tied ? "true" : "false") + R"(, "scales": )" + scales + "}"),
                    3);
      for (auto& p : model.named_parameters()) p.value().add_(torch::randn_like(p.value()) * 0.2);
      const ScratchFolder folder;
      export_hugging_face(*fold(model).model, folder.path());
      CHECK(json_of(folder / "config.json")["model_type"] == "llama");
      CHECK(gap(read_hugging_face(folder.path()).model->forward(tokens), model.forward(tokens)) <= 2e-5);
    }
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
  CHECK(changed("qwen3", [&](NamedTensors& w) {
          w.emplace_back("model.extra", torch::ones({2}));
        }).find("left over: model.extra") != std::string::npos);
  const std::string shape = changed("qwen3", [&](NamedTensors& w) { find(w, q)->second = torch::ones({24, 40}); });
  CHECK(shape.find("of another shape: " + q + " ([24, 40] where [40, 24] is needed)") != std::string::npos);
  CHECK(changed("qwen3", [&](NamedTensors& w) {
          find(w, q)->second = torch::ones({40, 24}, torch::kInt32);
        }).find("no floats: " + q) != std::string::npos);

  // As transformers writes them in some versions: a copy of the tied embedding, and rotation tables.
  const auto embed = [&](NamedTensors& w) { return find(w, "model.embed_tokens.weight")->second; };
  CHECK(changed("llama-tied", [&](NamedTensors& w) {
          w.emplace_back("lm_head.weight", embed(w).clone());
          w.emplace_back("model.layers.0.self_attn.rotary_emb.inv_freq", torch::ones({3}));
        }) == "nothing thrown");
  CHECK(changed("llama-tied", [&](NamedTensors& w) {
          w.emplace_back("model.rotary_emb.inv_freq", torch::ones({3}));
        }) == "nothing thrown");
  CHECK(changed("llama-tied", [&](NamedTensors& w) {
          find(w, "model.embed_tokens.weight")->first = "lm_head.weight";
        }) == "nothing thrown");
  CHECK(changed("llama-tied", [&](NamedTensors& w) {
          for (auto& [name, value] : w) name = name.substr(std::string("model.").size());
        }) == "nothing thrown");
  CHECK(changed("llama-untied", [&](NamedTensors& w) {
          w.erase(find(w, "lm_head.weight"));
          for (auto& [name, value] : w) name = name.substr(std::string("model.").size());
        }).find("missing: lm_head.weight") != std::string::npos);
  CHECK(changed("llama-tied", [&](NamedTensors& w) {
          w.emplace_back("lm_head.weight", embed(w) + 1);
        }).find("lm_head.weight differs") != std::string::npos);
}

TEST_CASE("a model without scale vectors exports with gains of one") {
  const torch::NoGradGuard no_grad;
  for (const bool qk_norm : {false, true}) {
    const ScratchFolder folder;
    Decoder model({.vocab_size = 31,
                   .width = 16,
                   .layers = 2,
                   .heads = 2,
                   .scale_vectors = false,
                   .qk_norm = qk_norm,
                   .qk_norm_scale = false},
                  3);
    export_hugging_face(model, folder.path());
    const torch::Tensor tokens = torch::randint(0, 31, {1, 7});
    CHECK(gap(read_hugging_face(folder.path()).model->forward(tokens), model.forward(tokens)) <= 1e-6);
  }
}

TEST_CASE("bfloat16 and float16 stay what they are, in another type of number only where asked") {
  const torch::NoGradGuard no_grad;
  for (const auto& [type, word] : {std::pair(torch::kBFloat16, "bfloat16"), {torch::kFloat16, "float16"}}) {
    const Copy copy("qwen3");
    NamedTensors weights = read_safetensors(copy.folder / "model.safetensors");
    for (auto& [name, value] : weights) value = value.to(type);
    write_safetensors(copy.folder / "model.safetensors", weights);
    const HuggingFaceModel read = read_hugging_face(copy.folder.path());
    CHECK(read.stored == type);
    CHECK(read.model->named_parameters()["embed.weight"].scalar_type() == torch::kFloat32);
    const ScratchFolder ours, theirs, wide;
    write_model_folder(*read.model, read.model->options(), ours.path(), read.stored);
    torch::Dtype stored = torch::kFloat64;
    const auto again = read_model_folder(ours.path(), &stored);
    CHECK(stored == type);
    export_hugging_face(*again, theirs.path(), read.config, stored);
    export_hugging_face(*again, wide.path(), read.config);
    CHECK(json_of(theirs /
                  "config.json")[read.config.find("\"dtype\"") != std::string::npos ? "dtype" : "torch_dtype"] == word);
    for (const auto& [name, value] : read_safetensors(theirs / "model.safetensors")) {
      CHECK(value.scalar_type() == type);
      const auto it = std::find_if(weights.begin(), weights.end(), [&](const auto& w) { return w.first == name; });
      REQUIRE(it != weights.end());
      CHECK(value.equal(it->second));
    }
    for (const auto& [name, value] : read_safetensors(wide / "model.safetensors"))
      CHECK(value.scalar_type() == torch::kFloat32);
  }
}

TEST_CASE("shards are read as one file, with a tensor that the index does not name passed over") {
  const torch::NoGradGuard no_grad;
  const Copy copy("olmo3");
  const NamedTensors weights = read_safetensors(copy.folder / "model.safetensors");
  fs::remove(copy.folder / "model.safetensors");
  NamedTensors shards[2];
  json map;
  for (size_t i = 0; i < weights.size(); ++i) {
    shards[i % 2].push_back(weights[i]);
    map[weights[i].first] = "part-" + std::to_string(i % 2) + ".safetensors";
  }
  shards[1].emplace_back("model.stray", torch::ones({3}));
  for (int i = 0; i < 2; ++i)
    write_safetensors(copy.folder / ("part-" + std::to_string(i) + ".safetensors"), shards[i]);
  copy.folder.write("model.safetensors.index.json", json{{"weight_map", map}}.dump());
  const HuggingFaceModel read = read_hugging_face(copy.folder.path());
  REQUIRE(read.notes.size() == 1);
  CHECK(read.notes[0].find("model.stray") != std::string::npos);
  const Expected expected = expected_of("olmo3");
  CHECK(gap(read.model->forward(expected.tokens), expected.logits) <= 2e-5);
}
