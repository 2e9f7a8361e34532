#include "scalevec/models/hugging_face.hpp"

#include <torch/torch.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <stdexcept>
#include <utility>

#include "scalevec/models/model_folder.hpp"
#include "scalevec/models/safetensors.hpp"

namespace scalevec {
namespace {

namespace fs = std::filesystem;

constexpr std::pair<const char*, const char*> kOutside[] = {{"embed.weight", "model.embed_tokens.weight"},
                                                            {"final_norm.gamma", "model.norm.weight"},
                                                            {"unembed.weight", "lm_head.weight"}};
constexpr std::pair<const char*, const char*> kInLayer[] = {{"attn_norm.gamma", "input_layernorm.weight"},
                                                            {"ffn_norm.gamma", "post_attention_layernorm.weight"},
                                                            {"attn.q.weight", "self_attn.q_proj.weight"},
                                                            {"attn.k.weight", "self_attn.k_proj.weight"},
                                                            {"attn.v.weight", "self_attn.v_proj.weight"},
                                                            {"attn.o.weight", "self_attn.o_proj.weight"},
                                                            {"attn.q_norm.gamma", "self_attn.q_norm.weight"},
                                                            {"attn.k_norm.gamma", "self_attn.k_norm.weight"},
                                                            {"ffn.gate.weight", "mlp.gate_proj.weight"},
                                                            {"ffn.up.weight", "mlp.up_proj.weight"},
                                                            {"ffn.down.weight", "mlp.down_proj.weight"}};

std::string text_of(const fs::path& file) {
  std::ifstream in(file, std::ios::binary);
  if (!in || fs::is_directory(file)) throw std::runtime_error(file.string() + ": cannot be read");
  return {std::istreambuf_iterator<char>(in), {}};
}

// What transformers itself drops when it loads: a tied unembedding, and the rotation tables of its old versions.
void drop_redundant(NamedTensors& weights, const DecoderOptions& options, const fs::path& folder) {
  const auto find = [&](const std::string& name) {
    return std::find_if(weights.begin(), weights.end(), [&](const auto& w) { return w.first == name; });
  };
  const auto head = find("lm_head.weight");
  const auto embed = find("model.embed_tokens.weight");
  if (options.tie_embeddings && head != weights.end() && embed != weights.end()) {
    if (!head->second.equal(embed->second))
      throw std::runtime_error(folder.string() +
                               ": lm_head.weight differs from model.embed_tokens.weight, which config.json ties it to");
    weights.erase(head);
  }
  std::erase_if(weights, [](const auto& w) { return w.first.ends_with(".self_attn.rotary_emb.inv_freq"); });
}

}  // namespace

std::string hugging_face_name(const std::string& name) {
  for (const auto& [ours, theirs] : kOutside)
    if (name == ours) return theirs;
  if (name.starts_with("layers.")) {
    const std::size_t end = name.find('.', 7);
    for (const auto& [ours, theirs] : kInLayer)
      if (end != std::string::npos && name.substr(end + 1) == ours)
        return "model." + name.substr(0, end + 1) + theirs;
  }
  throw std::invalid_argument(name + ": has no counterpart in a Hugging Face model");
}

std::shared_ptr<Decoder> import_hugging_face(const fs::path& folder) {
  const fs::path config = folder / "config.json";
  const DecoderOptions options = decoder_options_from_hugging_face(text_of(config), config.string());
  NamedTensors weights = read_safetensors_folder(folder);
  drop_redundant(weights, options, folder);
  auto model = std::make_shared<Decoder>(options, 0);
  load_weights(*model, weights, folder.string(), hugging_face_name);
  return model;
}

void export_hugging_face(const Decoder& model, const fs::path& folder) {
  const DecoderOptions& o = model.options();
  NamedTensors weights;
  for (const auto& p : model.named_parameters()) weights.emplace_back(hugging_face_name(p.key()), p.value().detach());
  const auto ones = [&](const std::string& name, std::int64_t size) {
    weights.emplace_back(hugging_face_name(name), torch::ones({size}, weights.front().second.options()));
  };
  for (std::int64_t layer = 0; layer < o.layers; ++layer) {
    const std::string path = "layers." + std::to_string(layer) + ".";
    if (!o.scale_vectors)
      for (const char* name : {"attn_norm.gamma", "ffn_norm.gamma"}) ones(path + name, o.width);
    if (o.qk_norm && !o.qk_norm_scale)
      for (const char* name : {"attn.q_norm.gamma", "attn.k_norm.gamma"}) ones(path + name, o.head_dim);
  }
  if (!o.scale_vectors) ones("final_norm.gamma", o.width);
  write_safetensors(folder / "model.safetensors", weights);
  std::ofstream out(folder / "config.json", std::ios::binary);
  out << hugging_face_config(o);
  if (!out.flush()) throw std::runtime_error((folder / "config.json").string() + ": cannot be written");
}

}  // namespace scalevec
