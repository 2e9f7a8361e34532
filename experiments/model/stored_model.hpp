#pragma once

#include <filesystem>
#include <functional>
#include <memory>

#include "scalevec/models/decoder.hpp"

namespace scalevec {

// Reads a model from a folder with model.json and model.safetensors, or from the folder of a run of `scalevec train`
// (its config.json and the weights of its latest checkpoint). Throws UsageError or ConfigError with the file and the
// error.
std::shared_ptr<Decoder> open_model(const std::filesystem::path& folder);

// The same for a folder in Hugging Face's layout.
std::shared_ptr<Decoder> open_hugging_face(const std::filesystem::path& folder);

// Calls `write` with a temporary folder and then renames this folder to `out`, so that `out` is complete or absent.
// Throws UsageError if `out` exists and is not an empty folder, and RunError if writing fails.
void write_folder(const std::filesystem::path& out, const std::function<void(const std::filesystem::path&)>& write);

}  // namespace scalevec
