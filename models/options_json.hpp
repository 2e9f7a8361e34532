#pragma once

#include "scalevec/models/decoder_options.hpp"
#include "scalevec/models/toy/toy_options.hpp"
#include "scalevec/optim/config/json_reader.hpp"

// For programs whose configuration has a model in it. Not installed.
namespace scalevec {

// Read the options' keys and check them; throw ConfigError. They leave json.finish() to the caller, who may have read
// or still read other keys of the same object.
DecoderOptions read_decoder_options(JsonReader& json);
ToyOptions read_toy_options(std::string_view type, JsonReader& json);

// Every option, so that reading it gives the same options back.
nlohmann::json json_of(const DecoderOptions& options);
nlohmann::json json_of(const ToyOptions& options);  // with "type"

}  // namespace scalevec
