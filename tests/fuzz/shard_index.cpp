#include <torch/types.h>

#include <fstream>
#include <set>

#include "models/safetensors.hpp"
#include "tests/fuzz/targets.hpp"

using namespace scalevec::models;

// A model.safetensors.index.json beside the shards a.safetensors (with a tensor "x") and b.safetensors ("y" and "z").
void scalevec::fuzz::shard_index(std::string_view bytes) {
  const InputFolder input("model.safetensors.index.json", bytes);
  const torch::Tensor one = torch::ones({2});
  write_safetensors(input.path() / "a.safetensors", {{"x", one}});
  write_safetensors(input.path() / "b.safetensors", {{"y", one}, {"z", one}});
  try {
    const SafetensorsFolder folder(input.path());
    require(folder.read_all().size() == folder.names().size(), "every tensor that is named is read");
    const std::set<std::string> names(folder.names().begin(), folder.names().end());
    require(names.size() == folder.names().size(), "no tensor is named twice");
    for (const auto& name : names) require(name == "x" || name == "y" || name == "z", "a tensor is in a shard");
  } catch (const std::runtime_error& e) {
    require(std::string(e.what()).starts_with(input.path().string()), "a refusal names the file");
  }
}
