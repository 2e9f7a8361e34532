#pragma once

#include <torch/types.h>

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "models/decoder.hpp"

namespace scalevec::models {

// Hugging Face's transformers folders: config.json and model.safetensors, or shards with an index. Model types:
// "llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "mixtral", "smollm3", "granite", "phi3", "olmo2", "olmo3",
// "gemma2", "gemma3_text".

// The options that a config.json's text stands for; keys left out take transformers' default. std::invalid_argument,
// led by `file`, for another model type and for an option that the decoder does not have (a "longrope" rope scaling,
// dense layers among experts, …). Keys that leave the logits alone (token ids, dtype, …) are passed over. A key that is
// not known is passed over if its value is null, false, 0, 1 or "", or if `ignore` names it, with a line in `notes`;
// else it is refused.
DecoderOptions decoder_options_from_hugging_face(const std::string& text, const std::string& file,
                                                 const std::vector<std::string>& ignore = {},
                                                 std::vector<std::string>* notes = nullptr);

// The model_type whose blocks have these norms, biases, windows and experts.
std::string hugging_face_type(const DecoderOptions& options);

// The config.json of a model with these options, of `type`, or hugging_face_type() where that is empty or cannot hold
// them. std::invalid_argument if that one cannot either, naming the options. How gains are made, whether a norm has one
// (else it gets ones) and what matters in training only, can be any; what a fold removes (own scales per branch, DP's
// γ_a, multipliers) cannot. Keys of `source`, the config.json that the model came with, that say nothing about the
// function are kept (token ids, max_position_embeddings, …); torch_dtype becomes `dtype`.
std::string hugging_face_config(const DecoderOptions& options, const std::string& source = {},
                                torch::Dtype dtype = torch::kFloat32);

// The name of a parameter in Hugging Face's layout: "layers.3.attn.q.weight" →
// "model.layers.3.self_attn.q_proj.weight". Throws std::invalid_argument for a name without a counterpart.
std::string hugging_face_name(const DecoderOptions& options, const std::string& name);

struct HuggingFaceModel {
  std::shared_ptr<Decoder> model;         // in float32, or float64 where the file has that
  torch::Dtype stored = torch::kFloat32;  // holds every dtype of the file
  std::string config;                     // the text of config.json
  std::vector<std::string> notes;         // what was passed over, a line each
};

// std::runtime_error or std::invalid_argument name the file and what is wrong: keys missing, left over, of another
// shape; a tied unembedding that differs from the embedding. Read as transformers does: names without their "model."
// in front, a tied matrix stored as lm_head.weight alone, rotation tables of old versions.
HuggingFaceModel read_hugging_face(const std::filesystem::path& folder, const std::vector<std::string>& ignore = {});

// Writes config.json and model.safetensors into an existing folder, in `dtype` (none: the model's), keeping of `source`
// what hugging_face_config() keeps.
void export_hugging_face(const Decoder& model, const std::filesystem::path& folder, const std::string& source = {},
                         std::optional<torch::Dtype> dtype = {});

}  // namespace scalevec::models
