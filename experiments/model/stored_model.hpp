#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "scalevec/models/decoder.hpp"

namespace scalevec {

// Opens a folder with model.json and model.safetensors, or a run of `scalevec train`: its config.json and the weights
// of its latest checkpoint. UsageError or ConfigError name the file and what is wrong with it.
std::shared_ptr<Decoder> open_model(const std::filesystem::path& folder);

// The same for a Hugging Face folder.
std::shared_ptr<Decoder> open_hugging_face(const std::filesystem::path& folder);

// Lets `write` fill a folder that then takes its place at `out` whole. UsageError if `out` exists and is not an empty
// folder; RunError if the disk refuses.
void write_folder(const std::filesystem::path& out, const std::function<void(const std::filesystem::path&)>& write);

}  // namespace scalevec
