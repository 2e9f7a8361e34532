#pragma once

#include <filesystem>
#include <memory>
#include <string>

#include "scalevec/models/decoder.hpp"

namespace scalevec {

// Reads and writes model folders of Hugging Face's transformers: config.json with model.safetensors, or with shards and
// an index. Model types: "llama", "qwen3", "qwen3_moe", "olmo2", "gemma2", "gemma3_text", "mixtral".

// The options that `text`, the contents of a config.json, stands for. Missing keys have the defaults of transformers.
// Throws std::invalid_argument, with `file` first, for another model type, for an option that the decoder does not have
// (a "yarn" rope scaling, dense layers among experts, …) and for an unknown key. Only keys that do not change the
// logits (token ids, dtype, …) are ignored.
DecoderOptions decoder_options_from_hugging_face(const std::string& text, const std::string& file);

// The only model_type whose blocks have the norms and experts of these options.
std::string hugging_face_type(const DecoderOptions& options);

// The text of config.json for a model with these options. Throws std::invalid_argument with the names of the options if
// the type of hugging_face_type() cannot express them. The form of γ, the absence of a γ (it is then written as ones)
// and options that matter only in training can have any value. Scale vectors that fold() removes (branch scales, the
// γ_a of DP, multipliers) are refused.
std::string hugging_face_config(const DecoderOptions& options);

// The name of a parameter in Hugging Face's layout: "layers.3.attn.q.weight" →
// "model.layers.3.self_attn.q_proj.weight". Throws std::invalid_argument for a name without a counterpart.
std::string hugging_face_name(const DecoderOptions& options, const std::string& name);

// Reads a model from a folder, in float32, or in float64 if the file has float64. Throws std::runtime_error or
// std::invalid_argument with the file and the error: missing or additional keys, a wrong shape, a tied unembedding that
// differs from the embedding.
std::shared_ptr<Decoder> import_hugging_face(const std::filesystem::path& folder);

// Writes config.json and model.safetensors, in the model's dtype, into an existing folder. Throws std::invalid_argument
// as hugging_face_config() does, and std::runtime_error if a file cannot be written.
void export_hugging_face(const Decoder& model, const std::filesystem::path& folder);

}  // namespace scalevec
