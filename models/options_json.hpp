#pragma once

#include "scalevec/models/decoder_options.hpp"
#include "scalevec/models/toy/output_scale_options.hpp"
#include "scalevec/optim/config/json_reader.hpp"

// For programs whose configuration has a model in it. Not installed.
namespace scalevec {

// Read the options' keys and check them; throw ConfigError. They leave json.finish() to the caller, who may have read
// or still read other keys of the same object.
DecoderOptions read_decoder_options(JsonReader& json);
OutputScaleOptions read_output_scale_options(JsonReader& json);

// Every option, so that reading it gives the same options back.
nlohmann::json json_of(const DecoderOptions& options);

}  // namespace scalevec
