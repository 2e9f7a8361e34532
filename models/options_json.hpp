#pragma once

#include "models/decoder_options.hpp"
#include "models/toy/toy_options.hpp"
#include "optim/config/option_json.hpp"

// For programs whose configuration contains a model. Not installed.
namespace scalevec::models {

// The options as data, one list for each object of the configuration.
Options decoder_fields(DecoderOptions& options);
Options rope_fields(RopeScaling& options);
Options moe_fields(MoeOptions& options);
Options scale_fields(ScaleOptions& options);
Options gamma_fields(GammaOptions& options);
Options multiplier_fields(MultiplierOptions& options);

// Read and check the keys of the options; throw ConfigError. They do not call json.finish(), since the caller may read
// other keys of the same object.
DecoderOptions read_decoder_options(JsonReader& json);
ToyOptions read_toy_options(std::string_view type, JsonReader& json);

// All options as JSON. Reading it returns the same options.
nlohmann::json json_of(const DecoderOptions& options);
nlohmann::json json_of(const ToyOptions& options);  // includes "type"

}  // namespace scalevec::models
