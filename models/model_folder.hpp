#pragma once

#include <torch/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>

#include "scalevec/models/decoder.hpp"
#include "scalevec/models/safetensors.hpp"

namespace scalevec {

// The options as JSON text, from which decoder_options_from_json() reads the same options.
std::string decoder_options_json(const DecoderOptions& options);

// Copies `weights` into the model. The model's dtype becomes float64 if any weight is float64, else float32 (which
// represents float16 and bfloat16 exactly). `name_of` maps the name of a parameter to its key in `weights`; by default
// they are equal. Throws std::runtime_error that begins with `what` and names every kind of mismatch: missing or
// additional keys, a wrong shape, a dtype that is not floating point.
void load_weights(Model& model, const NamedTensors& weights, const std::string& what,
                  const std::function<std::string(const std::string&)>& name_of = {});

// Writes model.json {"format": 1, "model": options} and model.safetensors into an existing folder. Files are not
// replaced atomically: write into a temporary folder and rename it. Throws std::runtime_error with the name of the
// file.
void write_model_folder(const Model& model, const DecoderOptions& options, const std::filesystem::path& folder);

// Reads what write_model_folder() wrote. Throws std::runtime_error or std::invalid_argument with the file and the
// error.
std::shared_ptr<Decoder> read_model_folder(const std::filesystem::path& folder);

}  // namespace scalevec
