#include "models/hugging_face.hpp"

#include "optim/config/json_reader.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::models;

void scalevec::fuzz::hugging_face(std::string_view bytes) {
  try {
    const DecoderOptions options = decoder_options_from_hugging_face(std::string(bytes), "config.json");
    require(options.error().empty(), "what is accepted is sound");
  } catch (const ConfigError&) {
  }
}
