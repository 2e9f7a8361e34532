#include "models/safetensors.hpp"

#include <torch/types.h>

#include <cstring>

#include "tests/fuzz/targets.hpp"

using namespace scalevec::models;

void scalevec::fuzz::safetensors(std::string_view bytes) {
  const InputFile input(bytes, ".safetensors");
  NamedTensors tensors;
  try {
    tensors = read_safetensors(input.path());
  } catch (const std::runtime_error& e) {
    // A c10::Error is no refusal of ours.
    require(std::string(e.what()).starts_with(input.path().string()), "a refusal names the file");
    return;
  }
  const InputFile copy("", ".copy");
  write_safetensors(copy.path(), tensors);
  const NamedTensors again = read_safetensors(copy.path());
  require(again.size() == tensors.size(), "as many tensors come back as were written");
  // Empty tensors share their place in the file, so that their order may change.
  for (const auto& [name, tensor] : tensors) {
    bool found = false;
    for (const auto& [other, t] : again)
      found = found || (name == other && t.sizes() == tensor.sizes() && t.scalar_type() == tensor.scalar_type() &&
                        (t.nbytes() == 0 || std::memcmp(t.data_ptr(), tensor.data_ptr(), tensor.nbytes()) == 0));
    require(found, "a tensor comes back as it was written");
  }
}
