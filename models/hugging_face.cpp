#include "scalevec/models/hugging_face.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <fstream>
#include <iterator>
#include <set>
#include <stdexcept>
#include <utility>

#include "scalevec/models/model_folder.hpp"
#include "scalevec/models/safetensors.hpp"

namespace scalevec {
namespace {

namespace fs = std::filesystem;
using Names = std::pair<const char*, const char*>;

constexpr Names kOutside[] = {{"embed", "model.embed_tokens"}, {"final_norm", "model.norm"}, {"unembed", "lm_head"}};
constexpr Names kAttention[] = {{"attn_norm", "input_layernorm"},
                                {"attn.q", "self_attn.q_proj"},
                                {"attn.k", "self_attn.k_proj"},
                                {"attn.v", "self_attn.v_proj"},
                                {"attn.o", "self_attn.o_proj"},
                                {"attn.q_norm", "self_attn.q_norm"},
                                {"attn.k_norm", "self_attn.k_norm"},
                                {"attn_post_norm", "post_attention_layernorm"},
                                {"ffn_post_norm", "post_feedforward_layernorm"}};
constexpr Names kMlp[] = {{"gate", "gate_proj"}, {"up", "up_proj"}, {"down", "down_proj"}};
constexpr Names kMixtral[] = {{"gate", "w1"}, {"up", "w3"}, {"down", "w2"}};

template <class Table>
std::string look_up(const Table& table, const std::string& name) {
  for (const auto& [ours, theirs] : table)
    if (name == ours) return theirs;
  return {};
}

// Of a block, without the last part of the name.
std::string in_layer(const DecoderOptions& o, const std::string& name) {
  if (name == "ffn_norm")
    return o.norm_placement == NormPlacement::sandwich ? "pre_feedforward_layernorm" : "post_attention_layernorm";
  if (!name.starts_with("ffn.")) return look_up(kAttention, name);
  const std::string rest = name.substr(4);
  const bool mixtral = hugging_face_type(o) == "mixtral";
  const std::string home = mixtral ? "block_sparse_moe." : "mlp.";
  if (o.moe.experts == 0) {
    const std::string found = look_up(kMlp, rest);
    return found.empty() ? found : home + found;
  }
  if (rest == "router") return home + "gate";
  const std::size_t dot = rest.rfind('.');
  if (!rest.starts_with("experts.") || dot < 8) return {};
  const std::string found = look_up(mixtral ? std::to_array(kMixtral) : std::to_array(kMlp), rest.substr(dot + 1));
  return found.empty() ? found : home + rest.substr(0, dot + 1) + found;
}

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

// Every norm that the architecture gives a gain, by our path, with its width.
std::vector<std::pair<std::string, std::int64_t>> norms(const DecoderOptions& o) {
  std::vector<std::pair<std::string, std::int64_t>> out;
  const std::int64_t full = o.qk_norm_width == QkNormWidth::full ? o.head_dim : 1;
  for (std::int64_t layer = 0; layer < o.layers; ++layer) {
    const std::string path = "layers." + std::to_string(layer) + ".";
    for (const std::string sublayer : {"attn", "ffn"}) {
      if (o.pre_norms()) out.emplace_back(path + sublayer + "_norm", o.width);
      if (o.post_norms()) out.emplace_back(path + sublayer + "_post_norm", o.width);
    }
    if (!o.qk_norm) continue;
    out.emplace_back(path + "attn.q_norm", full > 1 ? full * o.heads : o.head_dim);
    out.emplace_back(path + "attn.k_norm", full > 1 ? full * o.kv_heads : o.head_dim);
  }
  out.emplace_back("final_norm", o.width);
  return out;
}

}  // namespace

std::string hugging_face_type(const DecoderOptions& o) {
  if (o.norm_placement == NormPlacement::sandwich) return o.qk_norm ? "gemma3_text" : "gemma2";
  if (o.norm_placement == NormPlacement::post) return "olmo2";
  if (o.moe.experts > 0) return o.qk_norm ? "qwen3_moe" : "mixtral";
  return o.qk_norm ? "qwen3" : "llama";
}

std::string hugging_face_name(const DecoderOptions& options, const std::string& name) {
  const std::size_t dot = name.rfind('.');
  const std::string last = dot == std::string::npos ? "" : name.substr(dot + 1);
  const std::string path = name.substr(0, dot);
  std::string theirs = look_up(kOutside, path);
  if (path.starts_with("layers.")) {
    const std::size_t end = path.find('.', 7);
    const std::string found = end == std::string::npos ? "" : in_layer(options, path.substr(end + 1));
    if (!found.empty()) theirs = "model." + path.substr(0, end + 1) + found;
  }
  const bool known = last == "weight" || last == "bias" || last == "gamma" || last == "delta";
  if (theirs.empty() || !known) throw std::invalid_argument(name + ": has no counterpart in a Hugging Face model");
  return theirs + (last == "bias" ? ".bias" : ".weight");
}

std::shared_ptr<Decoder> import_hugging_face(const fs::path& folder) {
  const fs::path config = folder / "config.json";
  const DecoderOptions options = decoder_options_from_hugging_face(text_of(config), config.string());
  NamedTensors weights = read_safetensors_folder(folder);
  drop_redundant(weights, options, folder);
  auto model = std::make_shared<Decoder>(options, 0);
  load_weights(*model, weights, folder.string(),
               [&](const std::string& name) { return hugging_face_name(model->options(), name); });
  return model;
}

void export_hugging_face(const Decoder& model, const fs::path& folder) {
  const torch::NoGradGuard no_grad;
  const DecoderOptions& o = model.options();
  const std::string config = hugging_face_config(o);
  const double offset = o.norm_placement == NormPlacement::sandwich ? 1.0 : 0.0;  // Gemma stores γ − 1
  NamedTensors weights;
  for (const auto& p : model.named_parameters())
    if (model.role(p.key()).kind != ParamKind::scale)
      weights.emplace_back(hugging_face_name(o, p.key()), p.value().detach());
  std::set<std::string> with_gain;
  for (const ScaleLink& link : model.scale_links()) {
    const std::string path = link.scale.substr(0, link.scale.rfind('.'));
    with_gain.insert(path);
    // As it is stored where that is possible: γ − 1 of 1 + δ is not δ to the last bit.
    const bool same = link.gamma.form() == (offset == 1.0 ? ScaleForm::zero_centred : ScaleForm::plain);
    weights.emplace_back(hugging_face_name(o, path + ".gamma"),
                         same ? model.named_parameters()[link.scale].detach() : (link.gamma.value() - offset).detach());
  }
  for (const auto& [path, size] : norms(o))
    if (!with_gain.contains(path))
      weights.emplace_back(hugging_face_name(o, path + ".gamma"),
                           torch::full({size}, 1.0 - offset, weights.front().second.options()));
  write_safetensors(folder / "model.safetensors", weights);
  std::ofstream out(folder / "config.json", std::ios::binary);
  out << config;
  if (!out.flush()) throw std::runtime_error((folder / "config.json").string() + ": cannot be written");
}

}  // namespace scalevec
