#include <torch/types.h>

#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "scalevec/models/safetensors.hpp"
#include "scalevec/optim/config/json_reader.hpp"

namespace scalevec {
namespace {

namespace fs = std::filesystem;

using Shards = std::map<std::string, std::set<std::string>>;  // file name → tensors

Shards read_index(const fs::path& index) {
  const auto refuse = [&](const std::string& what) { throw std::runtime_error(index.string() + ": " + what); };
  const nlohmann::json json = read_json_file(index.string());
  if (!json.is_object() || !json.contains("weight_map") || !json["weight_map"].is_object())
    refuse("has no weight_map; allowed: an object from tensor to file name");
  Shards shards;
  for (const auto& [tensor, file] : json["weight_map"].items()) {
    if (!file.is_string()) refuse("\"" + tensor + "\" has no file name");
    const auto name = file.get<std::string>();
    // No path: an index must not reach outside its folder.
    if (name.empty() || name == "." || name == ".." || name.find('/') != std::string::npos ||
        name.find('\0') != std::string::npos)
      refuse("\"" + tensor + "\" is in \"" + name + "\"; allowed: the name of a file in the same folder");
    shards[name].insert(tensor);
  }
  return shards;
}

}  // namespace

NamedTensors read_safetensors_folder(const fs::path& folder) {
  const fs::path single = folder / "model.safetensors", index = folder / "model.safetensors.index.json";
  if (fs::exists(single)) return read_safetensors(single);
  if (!fs::exists(index))
    throw std::runtime_error(folder.string() + ": has neither model.safetensors nor model.safetensors.index.json");
  NamedTensors all;
  for (auto& [file, listed] : read_index(index)) {
    for (auto& [name, tensor] : read_safetensors(folder / file)) {
      if (listed.erase(name) == 0)
        throw std::runtime_error((folder / file).string() + ": holds \"" + name +
                                 "\", which the index does not list there");
      all.emplace_back(name, std::move(tensor));
    }
    if (!listed.empty())
      throw std::runtime_error((folder / file).string() + ": lacks \"" + *listed.begin() +
                               "\", which the index lists there");
  }
  return all;
}

}  // namespace scalevec
