#pragma once

#include <filesystem>
#include <string>

#include "scalevec/models/decoder.hpp"

namespace scalevec {

// The logits of every row of token ids in a JSON file ([[1, 2], [3]]; rows may differ in length) as JSON of shape [row]
// [position][vocabulary], with the digits that the model's dtype has. UsageError names the file, the row and the place
// of what is no token id of this model's vocabulary.
std::string logits_json(Decoder& model, const std::filesystem::path& tokens);

}  // namespace scalevec
