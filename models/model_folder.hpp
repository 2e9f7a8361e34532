#pragma once

#include <torch/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>

#include "models/decoder.hpp"
#include "models/safetensors.hpp"

namespace scalevec::models {

// The options as JSON text, from which decoder_options_from_json() reads the same options.
std::string decoder_options_json(const DecoderOptions& options);

// Copies `weights` into the model, whose dtype becomes float64 if any of them is and float32 otherwise (float16 and
// bfloat16 fit in that exactly). `name_of` turns a parameter's name into its key in `weights`; none: the same name.
// std::runtime_error, led by `what`, names every kind of mismatch: keys missing, left over, of another shape, no
// floats. The dtype that holds all of `weights`.
torch::Dtype load_weights(Model& model, const NamedTensors& weights, const std::string& what,
                          const std::function<std::string(const std::string&)>& name_of = {});

// A model in a folder: model.json {"format": 1, "model": options} and model.safetensors, in `dtype` (none: the
// model's). Writes into an existing folder; the caller puts it in place. std::runtime_error names the file.
void write_model_folder(const Model& model, const DecoderOptions& options, const std::filesystem::path& folder,
                        std::optional<torch::Dtype> dtype = {});

// The options of a model folder, its weights unread.
DecoderOptions model_folder_options(const std::filesystem::path& folder);

// std::runtime_error or std::invalid_argument name the file and what is wrong with it. `stored`, where given, becomes
// the dtype of the file.
std::shared_ptr<Decoder> read_model_folder(const std::filesystem::path& folder, torch::Dtype* stored = nullptr);

}  // namespace scalevec::models
