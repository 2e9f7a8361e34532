#pragma once

#include <torch/types.h>

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "models/decoder.hpp"

namespace scalevec::experiments {

// A model with what its folder says besides the function.
struct StoredModel {
  std::shared_ptr<models::Decoder> decoder;  // in float32, or float64 where the file has that
  torch::Dtype dtype = torch::kFloat32;      // of the file
  std::filesystem::path hugging_face;        // folder of config.json, tokenizer … that it came with; empty: none
  std::vector<std::string> notes;            // what was passed over, a line each
};

// Opens a folder with model.json and model.safetensors; a run of `scalevec train`, with the weights of its latest
// checkpoint, or of step N as RUN@N; or a Hugging Face folder, of whose config.json `ignore` passes over keys. Of a run
// that trains at other weights than those that are validated, the latter, unless `as_trained`. UsageError or
// ConfigError name the file and what is wrong with it.
StoredModel open_stored(const std::filesystem::path& folder, const std::vector<std::string>& ignore = {},
                        bool as_trained = false);
std::shared_ptr<models::Decoder> open_model(const std::filesystem::path& folder);

// The same for a Hugging Face folder alone.
StoredModel open_hugging_face(const std::filesystem::path& folder, const std::vector<std::string>& ignore = {});

// Throws UsageError if the tokens in `data` were made with another tokenizer than that of the model, as far as both are
// known: data.json has the SHA-256 of the one, `hugging_face` (a folder or empty) the file of the other.
void check_tokenizer(const std::filesystem::path& hugging_face, const std::filesystem::path& data);

// Copies config.json, generation_config.json and the tokenizer's files, as far as there are any, from the folder of a
// Hugging Face model into the existing folder `to`. With `config`, `to` is kHuggingFaceFolder of one of our folders:
// config.json is copied too, and kCompanionChecksums written, which open_stored() checks. RunError if the disk refuses.
void copy_companions(const std::filesystem::path& from, const std::filesystem::path& to, bool config);

// Where our model folders keep them.
inline constexpr const char* kHuggingFaceFolder = "hugging_face";
inline constexpr const char* kCompanionChecksums = "checksums.json";

// Calls `write` with a temporary folder and then renames this folder to `out`, so that `out` is complete or absent.
// Throws UsageError if `out` exists and is not an empty folder, and RunError if writing fails.
void write_folder(const std::filesystem::path& out, const std::function<void(const std::filesystem::path&)>& write);

}  // namespace scalevec::experiments
