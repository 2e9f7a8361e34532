#include "models/hugging_face.hpp"

#include <torch/nn/module.h>
#include <torch/types.h>
#include <torch/utils.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>
#include <set>
#include <stdexcept>
#include <utility>

#include "models/model_folder.hpp"
#include "models/safetensors.hpp"

namespace scalevec::models {
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

// Weights under the names that a whole model has, without what transformers itself drops when it loads: a tied
// unembedding, and the rotation tables of its old versions.
void settle_names(NamedTensors& weights, const DecoderOptions& options, const fs::path& folder) {
  std::erase_if(weights, [](const auto& w) { return w.first.ends_with("rotary_emb.inv_freq"); });
  const bool whole =
      std::any_of(weights.begin(), weights.end(), [](const auto& w) { return w.first.starts_with("model."); });
  if (!whole)  // an AutoModel, as embedding models are stored
    for (auto& [name, value] : weights)
      if (!name.starts_with("lm_head.")) name = "model." + name;
  if (!options.tie_embeddings) return;
  const auto find = [&](const std::string& name) {
    return std::find_if(weights.begin(), weights.end(), [&](const auto& w) { return w.first == name; });
  };
  const auto head = find("lm_head.weight");
  const auto embed = find("model.embed_tokens.weight");
  if (head == weights.end()) return;
  if (embed == weights.end()) {
    head->first = "model.embed_tokens.weight";
  } else {
    if (!head->second.equal(embed->second))
      throw std::runtime_error(folder.string() +
                               ": lm_head.weight differs from model.embed_tokens.weight, which config.json ties it to");
    weights.erase(head);
  }
}

// Phi-3 stores Q, K, V in one matrix, and gate and up in one.
struct Fused {
  const char* whole;
  std::vector<std::pair<const char*, std::int64_t>> parts;  // name, rows
};
std::vector<Fused> fused_maps(const DecoderOptions& o) {
  return {{"self_attn.qkv_proj.weight",
           {{"self_attn.q_proj.weight", o.heads * o.head_dim},
            {"self_attn.k_proj.weight", o.kv_heads * o.head_dim},
            {"self_attn.v_proj.weight", o.kv_heads * o.head_dim}}},
          {"mlp.gate_up_proj.weight", {{"mlp.gate_proj.weight", o.mlp_width}, {"mlp.up_proj.weight", o.mlp_width}}}};
}

NamedTensors split_fused(const NamedTensors& weights, const DecoderOptions& o) {
  NamedTensors out;
  for (const auto& [name, value] : weights) {
    bool split = false;
    for (const Fused& fused : fused_maps(o)) {
      std::int64_t rows = 0, at = 0;
      for (const auto& part : fused.parts) rows += part.second;
      // Of another shape it is left as it is, to be named as left over.
      if (!name.ends_with(fused.whole) || value.dim() != 2 || value.size(0) != rows) continue;
      const std::string path = name.substr(0, name.size() - std::string(fused.whole).size());
      for (const auto& [part, size] : fused.parts) {
        out.emplace_back(path + part, value.narrow(0, at, size));
        at += size;
      }
      split = true;
    }
    if (!split) out.emplace_back(name, value);
  }
  return out;
}

NamedTensors join_fused(const NamedTensors& weights, const DecoderOptions& o) {
  const auto find = [&](const std::string& name) {
    return std::find_if(weights.begin(), weights.end(), [&](const auto& w) { return w.first == name; })->second;
  };
  NamedTensors out;
  for (const auto& [name, value] : weights) {
    bool part_of = false;
    for (const Fused& fused : fused_maps(o))
      for (size_t i = 0; i < fused.parts.size(); ++i) {
        if (!name.ends_with(fused.parts[i].first)) continue;
        part_of = true;
        if (i > 0) continue;
        const std::string path = name.substr(0, name.size() - std::string(fused.parts[i].first).size());
        std::vector<torch::Tensor> parts;
        for (const auto& [part, size] : fused.parts) parts.push_back(find(path + part));
        out.emplace_back(path + fused.whole, torch::cat(parts));
      }
    if (!part_of) out.emplace_back(name, value);
  }
  return out;
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
  const auto windowed = [](std::int64_t w) { return w > 0; };
  const bool any_window = std::any_of(o.windows.begin(), o.windows.end(), windowed);
  if (o.norm_placement == NormPlacement::sandwich) return o.qk_norm ? "gemma3_text" : "gemma2";
  if (o.norm_placement == NormPlacement::post) return any_window ? "olmo3" : "olmo2";
  if (o.moe.experts > 0) return o.qk_norm ? "qwen3_moe" : "mixtral";
  if (o.qk_norm) return "qwen3";
  if (!o.no_rope.empty()) return "smollm3";
  const double usual = o.head_dim > 0 ? 1.0 / std::sqrt(static_cast<double>(o.head_dim)) : 0.0;
  const bool rescaled = std::abs(o.query_scale - usual) > 1e-12 * usual && o.query_scale > 0.0;
  if (o.embed_scale != 1.0 || o.logit_scale != 1.0 || o.residual_scale != 1.0 || rescaled) return "granite";
  if (o.qkv_bias && !o.o_bias) return "qwen2";
  return any_window ? "mistral" : "llama";
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

HuggingFaceModel read_hugging_face(const fs::path& folder, const std::vector<std::string>& ignore) {
  HuggingFaceModel out;
  const fs::path config = folder / "config.json";
  out.config = text_of(config);
  const DecoderOptions options = decoder_options_from_hugging_face(out.config, config.string(), ignore, &out.notes);
  NamedTensors weights = read_safetensors_folder(folder, &out.notes);
  settle_names(weights, options, folder);
  weights = split_fused(weights, options.resolved());
  out.model = std::make_shared<Decoder>(options, 0);
  out.stored = load_weights(*out.model, weights, folder.string(),
                            [&](const std::string& name) { return hugging_face_name(out.model->options(), name); });
  return out;
}

void export_hugging_face(const Decoder& model, const fs::path& folder, const std::string& source,
                         std::optional<torch::Dtype> dtype) {
  const torch::NoGradGuard no_grad;
  const DecoderOptions& o = model.options();
  const torch::Dtype type = dtype.value_or(model.named_parameters()["embed.weight"].scalar_type());
  const std::string config = hugging_face_config(o, source, type);
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
  for (auto& [name, value] : weights) value = value.to(type);
  if (nlohmann::json::parse(config)["model_type"] == "phi3") weights = join_fused(weights, o);
  write_safetensors(folder / "model.safetensors", weights);
  std::ofstream out(folder / "config.json", std::ios::binary);
  out << config;
  if (!out.flush()) throw std::runtime_error((folder / "config.json").string() + ": cannot be written");
}

}  // namespace scalevec::models
