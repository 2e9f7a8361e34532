#pragma once

#include <filesystem>
#include <string>

#include "models/decoder.hpp"

namespace scalevec::experiments {

// The logits for a JSON file of rows of token ids ([[1, 2], [3]]; rows may have different lengths), as JSON of shape
// [row][position][vocabulary], with as many digits as the model's dtype has. Throws UsageError with the file, the row
// and the position of a value that is not a token id of the model.
std::string logits_json(models::Decoder& model, const std::filesystem::path& tokens);

}  // namespace scalevec::experiments
