#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "scalevec/models/decoder.hpp"

namespace scalevec {

// Hugging Face's transformers folders: config.json and model.safetensors, or shards with an index. Model types:
// "llama", "qwen3", "qwen3_moe", "olmo2", "gemma2", "gemma3_text", "mixtral".

// The options that a config.json's text stands for; keys left out take transformers' default. std::invalid_argument,
// led by `file`, for another model type, for an option that the decoder does not have (a "yarn" rope scaling, dense
// layers among experts, …) and for an unknown key: none is ignored but those that leave the logits alone (token ids,
// dtype, …).
DecoderOptions decoder_options_from_hugging_face(const std::string& text, const std::string& file);

// The model_type whose blocks have these norms and experts: the only one that may hold such a model.
std::string hugging_face_type(const DecoderOptions& options);

// The config.json of a model with these options. std::invalid_argument if hugging_face_type() cannot express them,
// naming the options. How gains are made, whether a norm has one (else it gets ones) and what matters in training only,
// can be any; what a fold removes (own scales per branch, DP's γ_a, multipliers) cannot.
std::string hugging_face_config(const DecoderOptions& options);

// "layers.3.attn.q.weight" → "model.layers.3.self_attn.q_proj.weight". std::invalid_argument for a name that has none.
std::string hugging_face_name(const DecoderOptions& options, const std::string& name);

// float32, or float64 where the file has that. std::runtime_error or std::invalid_argument name the file and what is
// wrong: keys missing, left over, of another shape; a tied unembedding that differs from the embedding.
std::shared_ptr<Decoder> import_hugging_face(const std::filesystem::path& folder);

// Writes config.json and model.safetensors, in the model's dtype, into an existing folder.
void export_hugging_face(const Decoder& model, const std::filesystem::path& folder);

}  // namespace scalevec
